"""How billing facts reach the books: one statement writes the journal and all that follows from it.

From the entries of a journal come the timeline, invoices with their lines and numbers, ledger entries, messages to
send, what is to be shipped, and the subscription's row in lists. Everything has an id made from the entry, so a
repetition adds nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.blacklist import is_stopped
from activities.letters import LetterSubject, known_as, rows_for
from activities.shipments import SHIPS, fulfilments_of
from domain.calendar import local_day
from domain.errors import Broken
from domain.explain import attention
from domain.ids import derive
from domain.ledger import postings, taxes_in
from domain.letters import LetterSet, Reader
from domain.links import Link, LinkMaker
from domain.order_state import OrderState
from domain.plan import due_at
from domain.state import Entry, State
from domain.tax import Treatment
from models.queries_business import blacklist_rules_of
from models.queries_letters import MARK_SQL, letter_set
from models.queries_links import keep_link

_SUBSCRIPTION = """
WITH subscription AS (
    INSERT INTO subscriptions AS s (
        id, external_id, customer_id, product_id, price_id, status, access, currency, amount, quantity, cycle,
        next_due_at, period_start, period_end, trial_end, held, attention, test_mode, trigger, event_seq, virtual_now
    )
    SELECT id, external_id, customer_id, product_id, price_id, status, access, currency, amount, quantity, cycle,
        next_due_at, period_start, period_end, trial_end, held, attention, test_mode, trigger, event_seq, virtual_now
    FROM jsonb_to_record(CAST(:row AS jsonb)) AS r(
        id text, external_id text, customer_id text, product_id text, price_id text, status text, access text,
        currency text, amount bigint, quantity int, cycle int, next_due_at timestamptz, period_start timestamptz,
        period_end timestamptz, trial_end timestamptz, held bool, attention text, test_mode bool, trigger text,
        event_seq int, virtual_now timestamptz
    )
    ON CONFLICT (id) DO UPDATE SET
        customer_id = excluded.customer_id,
        product_id = excluded.product_id, price_id = excluded.price_id, status = excluded.status,
        access = excluded.access, amount = excluded.amount, quantity = excluded.quantity, cycle = excluded.cycle,
        next_due_at = excluded.next_due_at, period_start = excluded.period_start, period_end = excluded.period_end,
        trial_end = excluded.trial_end, held = excluded.held, attention = excluded.attention,
        event_seq = excluded.event_seq, virtual_now = excluded.virtual_now, updated_at = now()
    WHERE s.event_seq <= excluded.event_seq
),
events AS (
    INSERT INTO subscription_events (subscription_id, seq, at, kind, actor, reason, data)
    SELECT :subscription, seq, at, kind, actor, reason, data
    FROM jsonb_to_recordset(CAST(:events AS jsonb))
        AS r(seq int, at timestamptz, kind text, actor text, reason text, data jsonb)
    /* again */
),
"""
# What follows from the lines of a journal, whoever's: a subscription's or an order's.
FOLLOWS: Final = """
new_invoices AS (
    SELECT r.*, row_number() OVER (ORDER BY r.entry_seq) AS ordinal, count(*) OVER () AS ordinals
    FROM jsonb_to_recordset(CAST(:invoices AS jsonb)) AS r(
        id text, entry_seq int, cycle int, reason text, sequence int, subtotal bigint, discount bigint, tax bigint,
        taxes jsonb, total bigint, credit_applied bigint, amount_due bigint, status text, issued_at timestamptz,
        local_date text, period_start timestamptz, period_end timestamptz
    )
    WHERE NOT EXISTS (SELECT 1 FROM invoices AS known WHERE known.id = r.id)
),
series AS (
    UPDATE customers SET invoice_seq = invoice_seq + (SELECT count(*) FROM new_invoices)
    WHERE id = :customer AND EXISTS (SELECT 1 FROM new_invoices)
    RETURNING invoice_prefix, invoice_seq
),
invoices_written AS (
    INSERT INTO invoices (
        id, number, customer_id, subscription_id, order_id, cycle, reason, sequence, currency, subtotal, discount, tax,
        taxes, total, credit_applied, amount_due, status, issued_at, local_date, period_start, period_end, test_mode
    )
    SELECT id, invoice_prefix || '-' || lpad((invoice_seq - ordinals + ordinal)::text, 4, '0'), :customer,
        :subscription, :order, cycle, reason, sequence, :currency, subtotal, discount, tax, taxes, total,
        credit_applied, amount_due, status, issued_at, local_date, period_start, period_end, :test_mode
    FROM new_invoices, series
),
lines AS (
    INSERT INTO invoice_lines (
        invoice_id, position, kind, description, quantity, unit_amount, amount, tax_category, discount, discounts, tax,
        tax_place, tax_rate, tax_inclusive, tax_reason, period_start, period_end
    )
    SELECT r.invoice_id, r.position, r.kind, r.description, r.quantity, r.unit_amount, r.quantity * r.unit_amount,
        r.tax_category, r.discount, r.discounts, r.tax, r.tax_place, r.tax_rate, r.tax_inclusive, r.tax_reason,
        r.period_start, r.period_end
    FROM jsonb_to_recordset(CAST(:lines AS jsonb)) AS r(
        invoice_id text, position int, kind text, description text, quantity int, unit_amount bigint,
        tax_category text, discount bigint, discounts jsonb, tax bigint, tax_place text, tax_rate int,
        tax_inclusive bool, tax_reason text, period_start timestamptz, period_end timestamptz
    )
    JOIN new_invoices ON new_invoices.id = r.invoice_id
),
settled AS (
    UPDATE invoices SET status = r.status, paid_at = r.paid_at
    FROM jsonb_to_recordset(CAST(:settled AS jsonb)) AS r(id text, status text, paid_at timestamptz)
    WHERE invoices.id = r.id AND invoices.status = 'open'
),
entries AS (
    INSERT INTO ledger_entries (id, at, kind, customer_id, subscription_id, invoice_id, description, test_mode)
    SELECT id, at, kind, :customer, :subscription, invoice_id, description, :test_mode
    FROM jsonb_to_recordset(CAST(:entries AS jsonb))
        AS r(id text, at timestamptz, kind text, invoice_id text, description text)
    ON CONFLICT DO NOTHING
    RETURNING id
),
postings AS (
    INSERT INTO ledger_postings (entry_id, position, account, currency, amount)
    SELECT entry_id, position, account, currency, amount
    FROM jsonb_to_recordset(CAST(:postings AS jsonb))
        AS r(entry_id text, position int, account text, currency text, amount bigint)
    JOIN entries ON entries.id = r.entry_id
)
/* ships */
INSERT INTO messages (
    id, customer_id, subscription_id, order_id, event_seq, template, recipient, subject, body, html, language,
    template_version, template_trouble, status, at
)
SELECT id, :customer, :subscription, :order, event_seq, template, recipient, subject, body, html, language,
    template_version, template_trouble, 'pending', at
FROM jsonb_to_recordset(CAST(:messages AS jsonb)) AS r(
    id text, event_seq int, template text, recipient text, subject text, body text, html text, language text,
    template_version int, template_trouble text, at timestamptz
)
ON CONFLICT DO NOTHING
"""
_STATEMENTS: dict[tuple[bool, bool], TextClause] = {
    (first, bool(part)): text(
        _SUBSCRIPTION.replace("/* again */", "" if first else "ON CONFLICT DO NOTHING")
        + FOLLOWS.replace("/* ships */", part)
    )
    for first in (True, False)
    for part in (SHIPS, "")
}

_PAYER: TextClause = text(
    f"""
SELECT c.email, c.first_name, c.last_name, c.company, c.language, c.time_zone, c.dunning_policy_id,
    coalesce((
        SELECT json_agg(json_build_object(
            'id', m.id, 'gateway', m.gateway, 'token', m.token, 'brand', m.brand, 'last4', m.last4
        ) ORDER BY m.position, m.created_at, m.id)
        FROM payment_methods AS m
        WHERE m.customer_id = CASE c.pays WHEN 'parent' THEN c.parent_id ELSE c.id END
        AND m.removed_at IS NULL AND m.closed_at IS NULL AND NOT EXISTS (
            SELECT 1 FROM blacklist_entries AS b
            WHERE b.kind = 'fingerprint' AND b.value = m.fingerprint AND b.removed_at IS NULL
        )
    ), '[]'::json)::text AS methods,
    (SELECT p.value FROM business_policies AS p WHERE p.key = 'blacklist')::text AS blacklist,
    CASE c.pays WHEN 'parent' THEN c.parent_id ELSE c.id END AS payer,
    {MARK_SQL} AS mark
FROM customers AS c WHERE c.id = :customer
"""  # noqa: S608 - a constant
)


@dataclass(frozen=True, slots=True)
class Method:
    """A payment method as a charge needs it."""

    id: str
    gateway: str
    token: str
    brand: str
    last4: str

    def __str__(self) -> str:
        return known_as(self.brand, self.last4)


@dataclass(frozen=True, slots=True)
class Payer:
    """The customer as billing needs it: whom to write to, and what to charge, in order of use.

    A child that its parent pays for is written to itself, and charged on the parent's methods. A card on the blacklist
    is not among the methods: nothing is charged to it, as if it had been removed. `letters` and `links`: what is
    written with.
    """

    reader: Reader
    dunning_policy_id: str | None
    methods: tuple[Method, ...]
    letters: LetterSet
    links: LinkMaker


async def payer(connection: AsyncConnection, customer_id: str, links: LinkMaker) -> Payer:
    """The customer of a subscription; `links` are for letters.

    One statement, and two more after a template or the seller has changed.
    """
    row = (await connection.execute(_PAYER, {"customer": customer_id})).one_or_none()
    if row is None:
        raise Broken(f"customer {customer_id} is missing")
    name = " ".join(part for part in (row.first_name, row.last_name) if part) or row.company
    reader = Reader(name, row.email, row.language, row.time_zone, row.first_name, row.last_name, row.company)
    methods = tuple(Method(**method) for method in json.loads(row.methods))
    stopping = blacklist_rules_of(json.loads(row.blacklist or "{}")).stopping
    if stopping and methods and await is_stopped(connection, [customer_id, row.payer], stopping):
        methods = ()
    return Payer(reader, row.dunning_policy_id, methods, await letter_set(connection, row.mark), links)


async def write_books(
    connection: AsyncConnection,
    state: State,
    entries: Sequence[Entry],
    to: Payer,
    now: datetime,
    *,
    first: bool = False,
    tell: Sequence[Entry] | None = None,
) -> tuple[str, ...]:
    """Write these journal entries and the row of `state`; returns the ids of what is to be dispatched.

    These are messages to send and fulfilments to hand off.

    One statement; safe to repeat with the same entries. `first`: another outcome of the same step must not have been
    written in the meantime; raises `IntegrityError` where one was. `tell`: the entries that letters are written of,
    where these are not all that the step leads to (none yet), or not the only ones (its outcome).
    """
    named = [(method.id, str(method)) for method in to.methods]
    open_id = state.collecting and state.collecting.invoice_id
    subject = LetterSubject(state.id, state.terms.product_name, state.id, open_id)
    messages = rows_for(subject, entries if tell is None else tell, to.reader, to.letters, named, to.links)
    pays: list[Link] = [link for message in messages if (link := message.pop("pays")) is not None]
    fulfilments = fulfilments_of(state, entries)
    parameters: dict[str, Any] = {
        "subscription": state.id,
        "order": None,
        "row": as_json(_row(state, now)),
        **followed(state, entries, messages),
    }
    if fulfilments:
        parameters["fulfilments"] = as_json(fulfilments)
    await connection.execute(_STATEMENTS[first, bool(fulfilments)], parameters)
    for link in pays:
        await keep_link(connection, link, customer_id=state.customer_id, actor="letter")
    return tuple(each["id"] for each in (*messages, *fulfilments))


def followed(state: State | OrderState, entries: Sequence[Entry], messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The parameters of `FOLLOWS`, and the timeline."""
    own = {"customer": state.customer_id, "currency": state.currency, "test_mode": state.test_mode}
    return own | {
        "events": as_json([_event(entry) for entry in entries]),
        "invoices": as_json(_invoices(state, entries)),
        "lines": as_json(_lines(entries)),
        "settled": as_json(_settled(entries)),
        "messages": as_json(messages),
        **_ledger(state, entries),
    }


def _row(state: State, now: datetime) -> dict[str, Any]:
    due = due_at(state)
    period = state.period
    return {
        "id": state.id,
        "external_id": state.external_id,
        "customer_id": state.customer_id,
        "product_id": state.terms.product_id,
        "price_id": state.terms.price_id,
        "status": state.status.value,
        "access": state.access.value,
        "currency": state.currency,
        "amount": state.terms.price.minor,
        "quantity": state.terms.quantity,
        "cycle": state.cycle,
        "next_due_at": _iso(due),
        "period_start": _iso(period.start) if period else None,
        "period_end": _iso(period.end) if period else None,
        "trial_end": _iso(state.trial_end),
        "held": state.hold is not None,
        "attention": attention(state),
        "test_mode": state.test_mode,
        "trigger": state.trigger.value,
        "event_seq": state.seq,
        "virtual_now": _iso(now),
    }


def _event(entry: Entry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at": _iso(entry.at),
        "kind": entry.kind,
        "actor": entry.actor,
        "reason": entry.reason,
        "data": entry.data,
    }


# What an invoice says that a journal of an earlier release does not.
_PLAIN = {"discount": 0, "tax": 0}


def _invoices(state: State | OrderState, entries: Iterable[Entry]) -> list[dict[str, Any]]:
    final = {row["id"]: row["status"] for row in _settled(entries)}
    return [
        {
            **_PLAIN,
            "subtotal": entry.data["total"],
            **entry.data,
            "id": entry.data["invoice_id"],
            "entry_seq": entry.seq,
            "taxes": {share.place: share.amount for share in taxes_in(entry.data)},
            "status": final.get(entry.data["invoice_id"], "open"),
            "issued_at": _iso(entry.at),
            "local_date": local_day(entry.at, state.zone).isoformat(),
        }
        for entry in entries
        if entry.kind == "invoice_issued"
    ]


def _lines(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    return [
        {
            "invoice_id": entry.data["invoice_id"],
            "position": position,
            "kind": line.kind.value,
            "description": line.description,
            "quantity": line.quantity,
            "unit_amount": line.unit_amount,
            "tax_category": line.tax_category,
            "discount": line.discount,
            "discounts": [
                {"id": share.discount_id, "name": share.name, "amount": share.amount} for share in line.discounts
            ],
            "tax": line.tax,
            **_treatment(line.treatment),
            "period_start": _iso(line.period.start) if line.period else None,
            "period_end": _iso(line.period.end) if line.period else None,
        }
        for entry in entries
        for position, line in enumerate(entry.lines, start=1)
    ]


def _treatment(how: Treatment | None) -> dict[str, Any]:
    return {
        "tax_place": how.place if how else None,
        "tax_rate": how.rate if how else None,
        "tax_inclusive": how is not None and how.inclusive,
        "tax_reason": how.reason.value if how and how.reason else None,
    }


_FINAL = {
    "payment_succeeded": "paid", "invoice_settled": "paid", "invoice_written_off": "uncollectible",
    "invoice_voided": "void",
}  # fmt: skip


def _settled(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    return [
        {
            "id": entry.data["invoice_id"],
            "status": _FINAL[entry.kind],
            "paid_at": _iso(entry.at) if _FINAL[entry.kind] == "paid" else None,
        }
        for entry in entries
        if entry.kind in _FINAL
    ]


def _ledger(state: State | OrderState, entries: Iterable[Entry]) -> dict[str, str]:
    heads: list[dict[str, Any]] = []
    sides: list[dict[str, Any]] = []
    for entry in entries:
        moved = postings(entry)
        if not moved:
            continue
        identity = derive("led", state.id, str(entry.seq))
        heads.append(
            {
                "id": identity,
                "at": _iso(entry.at),
                "kind": entry.kind,
                "invoice_id": entry.data.get("invoice_id"),
                "description": entry.kind.replace("_", " "),
            }
        )
        sides.extend(
            {
                "entry_id": identity,
                "position": position,
                "account": side.account,
                "currency": side.currency,
                "amount": side.amount,
            }
            for position, side in enumerate(moved, start=1)
        )
    return {"entries": as_json(heads), "postings": as_json(sides)}


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
