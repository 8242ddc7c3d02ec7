"""What is taken from a customer who is made anonymous, table by table; the books stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import exists, or_, select, text, tuple_, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.billing import Invoice, Message, Subscription
from models.contact import PhoneCall
from models.customers import Customer
from models.disputes import BlacklistEntry, Dispute
from models.fulfilment import Fulfilment
from models.imports import Import
from models.merges import Merge
from models.orders import Order
from models.queries_blacklist import listed_kinds, marks_of
from models.refunds import Refund

OVER: Final = "canceled"
REFUNDS_OVER: Final = ("succeeded", "failed", "canceled", "lapsed")

ORDERS_OVER: Final = ("paid", "canceled", "lapsed")
PARCELS_OPEN: Final = ("pending", "sending", "handed_off")

# Table → what of it is emptied. `:id` is the customer; `:email`, `:phone` and `:external_id` what they had.
EMPTIED: Final = {
    "customers": """UPDATE customers SET external_id = NULL, title = '', first_name = '', last_name = '', company = '',
        email = '', phone = '', gender = NULL, tax_id = NULL, agent = NULL, tags = '[]'::jsonb, verified_email = NULL,
        verified_at = NULL, verified_by = NULL, forgotten_at = coalesce(forgotten_at, now()), updated_at = now()
        WHERE id = :id""",
    "payment_methods": """UPDATE payment_methods SET token = '', last4 = '', exp_month = NULL, exp_year = NULL,
        fingerprint = '', details = '{}'::jsonb, removed_at = coalesce(removed_at, now()) WHERE customer_id = :id""",
    "received_mails": """UPDATE received_mails SET raw = ''::bytea, why = '' WHERE message_id IN (
        SELECT id FROM messages WHERE customer_id = :id)""",
    "messages": """UPDATE messages SET recipient = '', subject = '', body = '', html = NULL, sender = NULL,
        reply_to = NULL, error = NULL
        WHERE customer_id = :id""",
    "staff_letters": """UPDATE staff_letters SET "values" = '{}'::jsonb WHERE customer_id = :id""",
    "phone_calls": "UPDATE phone_calls SET number = '', message = '' WHERE customer_id = :id",
    "tasks": """UPDATE tasks SET title = kind, next_action = '', detail = '{}'::jsonb, outcome = ''
        WHERE customer_id = :id""",
    "reviews": "UPDATE reviews SET text = '', status = 'hidden', status_reason = 'forgotten' WHERE customer_id = :id",
    "vouchers": "UPDATE vouchers SET reason = '' WHERE customer_id = :id",
    "refunds": "UPDATE refunds SET reason = '' WHERE customer_id = :id",
    "fulfilments": """UPDATE fulfilments SET recipient = '', address = NULL, reason = '', tracking = '',
        provider_reference = NULL, attention = NULL WHERE customer_id = :id""",
    "fulfilment_events": """UPDATE fulfilment_events SET reason = '', data = '{}'::jsonb WHERE fulfilment_id IN (
        SELECT id FROM fulfilments WHERE customer_id = :id)""",
    "orders": "UPDATE orders SET page = '', attention = NULL WHERE customer_id = :id",
    "order_lines": """UPDATE order_lines SET reason = '', description = CASE WHEN product_id IS NULL THEN ''
        ELSE description END WHERE order_id IN (SELECT id FROM orders WHERE customer_id = :id)""",
    "order_events": """UPDATE order_events SET reason = '', data = '{}'::jsonb WHERE order_id IN (
        SELECT id FROM orders WHERE customer_id = :id)""",
    "baskets": """UPDATE baskets SET lines = '[]'::jsonb, note = '', page = '',
        withdrawn_at = coalesce(withdrawn_at, now()) WHERE customer_id = :id""",
    "links": "UPDATE links SET revoked_at = coalesce(revoked_at, now()) WHERE customer_id = :id",
    "card_changes": "UPDATE card_changes SET before = '', after = '' WHERE customer_id = :id",
    "attempts": "UPDATE attempts SET action_url = NULL WHERE customer_id = :id",
    "gateway_events": """UPDATE gateway_events SET body = '{}'::jsonb WHERE subject_id IN (
        SELECT id FROM disputes WHERE customer_id = :id)""",
    "merges": "UPDATE merges SET reason = '', undo_reason = '' WHERE master_id = :id OR loser_id = :id",
    "merge_moves": """UPDATE merge_moves SET detail = '{}'::jsonb WHERE merge_id IN (
        SELECT id FROM merges WHERE master_id = :id OR loser_id = :id)""",
    "customer_discounts": "UPDATE customer_discounts SET reason = '' WHERE customer_id = :id",
    "idempotency_records": """UPDATE idempotency_records SET digest = 'forgotten', status = 410, body = '{}'
        WHERE strpos(coalesce(body, ''), :id) > 0 OR strpos(route, :id) > 0
        OR CAST(:email AS text) <> '' AND strpos(lower(body), lower(CAST(:email AS text))) > 0
        OR CAST(:phone AS text) <> '' AND strpos(body, CAST(:phone AS text)) > 0""",
    "import_rows": """UPDATE import_rows SET source = '[]'::jsonb
        WHERE CAST(:email AS text) <> '' AND strpos(lower(source::text), lower(CAST(:email AS text))) > 0
        OR jsonb_exists(source, CAST(:external_id AS text)) OR jsonb_exists(source, CAST(:phone AS text))""",
    "imports": """UPDATE imports SET content = ''::bytea, file_name = '' WHERE CAST(:email AS text) <> '' AND strpos(
        lower(encode(content, 'escape')), lower(encode(convert_to(CAST(:email AS text), 'UTF8'), 'escape'))) > 0""",
}
# Deleted, in this order.
DELETED: Final = (
    "DELETE FROM note_versions WHERE note_id IN (SELECT id FROM notes WHERE customer_id = :id)",
    "DELETE FROM notes WHERE customer_id = :id",
    "DELETE FROM addresses WHERE customer_id = :id",
    "DELETE FROM customer_changes WHERE customer_id = :id",
    "DELETE FROM customer_logins WHERE customer_id = :id",
    "DELETE FROM login_places WHERE customer_id = :id",
    "DELETE FROM card_notices WHERE customer_id = :id",
    "DELETE FROM custom_values WHERE customer_id = :id",
    "DELETE FROM order_custom_values WHERE order_id IN (SELECT id FROM orders WHERE customer_id = :id)",
    "DELETE FROM point_movements WHERE customer_id = :id",
)
# What stays, and why.
KEPT: Final = {
    "documents": "files of invoices as they were sent: the law wants them kept",
    "ledger_entries, invoices, invoice_lines, credit_notes, attempts, disputes": "the books: amounts and ids",
    "subscription_events, refund_events": "the books' timeline, with the reasons that staff gave",
}


async def forget_obstacle(session: AsyncSession, owner: Customer) -> str | None:
    """The code of what keeps this customer from being made anonymous now; None for nothing."""
    customer_id = owner.id
    mine = Message.customer_id == customer_id
    statement = select(
        exists().where(Subscription.customer_id == customer_id, Subscription.status != OVER).label("subscribed"),
        exists().where(Invoice.customer_id == customer_id, Invoice.status == "open").label("invoice_open"),
        exists().where(Refund.customer_id == customer_id, Refund.status.not_in(REFUNDS_OVER)).label("refund_open"),
        exists()
        .where(Dispute.customer_id == customer_id, Dispute.status.in_(["opened", "evidence_due"]))
        .label("dispute_open"),
        exists().where(Customer.parent_id == customer_id).label("has_children"),
        exists()
        .where(
            or_(Merge.master_id == customer_id, Merge.loser_id == customer_id),
            Merge.status.not_in(["undone", "final"]),
        )
        .label("merge_open"),
        or_(
            exists().where(mine, Message.status == "pending"),
            exists().where(PhoneCall.customer_id == customer_id, PhoneCall.status == "pending"),
        ).label("on_its_way"),
        exists().where(Order.customer_id == customer_id, Order.status.not_in(ORDERS_OVER)).label("order_open"),
        exists().where(Fulfilment.customer_id == customer_id, Fulfilment.status.in_(PARCELS_OPEN)).label("parcel_open"),
        exists().where(Import.ended_at.is_(None)).label("import_open"),
    )
    row = (await session.execute(statement)).mappings().one()
    code = next((str(code) for code, holds in row.items() if holds), None)
    if code is None and await listed_kinds(session, await marks_of(session, owner)):
        return "on_blacklist"
    return code


async def names_forgotten(session: AsyncSession, customers: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether one of these customers was forgotten, or the owner of one of these subscriptions and orders."""
    owners = union_all(
        select(Subscription.customer_id).where(Subscription.id.in_(theirs)),
        select(Order.customer_id).where(Order.id.in_(theirs)),
    )
    gone = exists().where(or_(Customer.id.in_(customers), Customer.id.in_(owners)), Customer.forgotten_at.is_not(None))
    return bool(await session.scalar(select(gone)))


async def forget(session: AsyncSession, customer: Customer) -> None:
    """Take everything personal from the customer and from those merged into it. The caller has locked it."""
    await session.execute(text("SELECT set_config('dunlin.removes_customer', 'yes', true)"))
    merged = (await session.scalars(select(Customer).where(Customer.merged_into == customer.id))).all()
    for each in (customer, *merged):
        await _empty_blacklist(session, each)
        values = {"id": each.id, "email": each.email, "phone": each.phone, "external_id": each.external_id}
        for statement in (*DELETED, *EMPTIED.values()):
            await session.execute(text(statement), {key: values[key] for key in values if f":{key}" in statement})
    for each in (customer, *merged):
        await session.refresh(each)


async def _empty_blacklist(session: AsyncSession, customer: Customer) -> None:
    """Entries that were taken off again keep their kind and their times; one in force was an obstacle."""
    own = [(mark.kind.value, mark.value) for mark in sorted(await marks_of(session, customer))]
    entries = update(BlacklistEntry).where(
        BlacklistEntry.removed_at.is_not(None), tuple_(BlacklistEntry.kind, BlacklistEntry.value).in_(own)
    )
    await session.execute(entries.values(value="", reason=""))
