"""What is taken from a customer who is made anonymous, table by table; the books stay."""

from __future__ import annotations

from typing import Final

from sqlalchemy import exists, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.billing import Invoice, Message, Subscription
from models.contact import PhoneCall
from models.customers import Customer
from models.disputes import Dispute
from models.merges import Merge
from models.refunds import Refund

OVER: Final = "canceled"
REFUNDS_OVER: Final = ("succeeded", "failed", "canceled", "lapsed")

# Table → what of it is emptied. `:id` is the customer, `:email` and `:phone` what they had.
EMPTIED: Final = {
    "customers": """UPDATE customers SET external_id = NULL, title = '', first_name = '', last_name = '', company = '',
        email = '', phone = '', gender = NULL, tax_id = NULL, agent = NULL, tags = '[]'::jsonb, verified_email = NULL,
        verified_at = NULL, verified_by = NULL, updated_at = now() WHERE id = :id""",
    "payment_methods": """UPDATE payment_methods SET token = '', last4 = '', exp_month = NULL, exp_year = NULL,
        fingerprint = '', details = '{}'::jsonb, removed_at = coalesce(removed_at, now()) WHERE customer_id = :id""",
    "received_mails": """UPDATE received_mails SET raw = ''::bytea, why = '' WHERE message_id IN (
        SELECT id FROM messages WHERE customer_id = :id)""",
    "messages": """UPDATE messages SET recipient = '', subject = '', body = '', error = NULL
        WHERE customer_id = :id""",
    "staff_letters": """UPDATE staff_letters SET "values" = '{}'::jsonb WHERE customer_id = :id""",
    "phone_calls": "UPDATE phone_calls SET number = '', message = '' WHERE customer_id = :id",
    "tasks": """UPDATE tasks SET title = kind, next_action = '', detail = '{}'::jsonb, outcome = ''
        WHERE customer_id = :id""",
    "reviews": "UPDATE reviews SET text = '', status = 'hidden', status_reason = 'forgotten' WHERE customer_id = :id",
    "vouchers": "UPDATE vouchers SET reason = '' WHERE customer_id = :id",
    "refunds": "UPDATE refunds SET reason = '' WHERE customer_id = :id",
    "fulfilments": "UPDATE fulfilments SET recipient = '', address = NULL, reason = '' WHERE customer_id = :id",
    "customer_discounts": "UPDATE customer_discounts SET reason = '' WHERE customer_id = :id",
    "idempotency_records": """UPDATE idempotency_records SET digest = 'forgotten', status = 410, body = '{}'
        WHERE strpos(coalesce(body, ''), :id) > 0 OR strpos(route, :id) > 0""",
    "import_rows": """UPDATE import_rows SET source = '[]'::jsonb
        WHERE CAST(:email AS text) <> '' AND strpos(lower(source::text), lower(CAST(:email AS text))) > 0""",
}
# Deleted, in this order.
DELETED: Final = (
    "DELETE FROM note_versions WHERE note_id IN (SELECT id FROM notes WHERE customer_id = :id)",
    "DELETE FROM notes WHERE customer_id = :id",
    "DELETE FROM addresses WHERE customer_id = :id",
    "DELETE FROM customer_changes WHERE customer_id = :id",
    "DELETE FROM customer_logins WHERE customer_id = :id",
    "DELETE FROM login_places WHERE customer_id = :id",
    "DELETE FROM custom_values WHERE customer_id = :id",
    "DELETE FROM point_movements WHERE customer_id = :id",
)
# What stays, and why.
KEPT: Final = {
    "documents": "files of invoices as they were sent: the law wants them kept",
    "ledger_entries, invoices, credit_notes, attempts, disputes": "the books: amounts and ids",
    "subscription_events, refund_events": "the books' timeline, with the reasons that staff gave",
    "blacklist_entries": "take them off first, where they are to go",
    "imports": "files with rows of many customers",
}


async def forget_obstacle(session: AsyncSession, customer_id: str) -> str | None:
    """The code of what keeps this customer from being made anonymous now; None for nothing. One statement."""
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
    )
    row = (await session.execute(statement)).mappings().one()
    return next((str(code) for code, holds in row.items() if holds), None)


async def forget(session: AsyncSession, customer: Customer) -> None:
    """Take everything personal from the customer and from those merged into it. The caller has locked it."""
    await session.execute(text("SELECT set_config('dunlin.removes_customer', 'yes', true)"))
    merged = await session.scalars(select(Customer).where(Customer.merged_into == customer.id))
    for each in (customer, *merged):
        values = {"id": each.id, "email": each.email}
        for statement in (*DELETED, *EMPTIED.values()):
            await session.execute(text(statement), {key: values[key] for key in values if f":{key}" in statement})
