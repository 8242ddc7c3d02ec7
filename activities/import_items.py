"""What applying a batch of imported customers, addresses, tokens, notes or vouchers writes.

A row's id is made from its external id, so that it is applied once, in whatever file it stands; a row whose external
id is our own id of something is that thing: a file that was exported here adds nothing here. The customers that rows
belong to are locked, so that what a customer may have at most, and the one default address, hold at every moment.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final, assert_never, cast

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from activities.vouchers import issue
from domain.blacklist import MarkKind, marks
from domain.calendar import whole_second
from domain.errors import InvalidInput, Unavailable
from domain.import_cells import Taken
from domain.import_items import Gift, Method, Owned, Person, Place, Remark
from domain.imports import Refusal, refuse
from domain.vouchers import CODE_SEED_BYTES, IssueVoucher, check_issue, code_from, code_of
from models.credits import Voucher
from models.customers import Address, Customer, PaymentMethod, invoice_prefix_of
from models.queries_blacklist import listed_kinds, marks_of
from models.relations import Note, NoteVersion
from models.session import database_now
from models.written import phone_written, tax_id_written
from providers.gateways.base import MethodDetails

ADDRESSES_MAX: Final = 50
METHODS_MAX: Final = 20

Item = Person | Place | Method | Remark | Gift

_TABLES: Final[Mapping[type[Item], Any]] = MappingProxyType(
    {Person: Customer, Place: Address, Method: PaymentMethod, Remark: Note, Gift: Voucher}
)
_AT_ITS_OWN: Final = ("row", "source", "external_id", "owner")  # what is no column of a row's table, or is set apart


@dataclass(frozen=True, slots=True)
class Brought:
    """By whom rows are brought, and what the gateway says of tokens, by the external ids of their rows."""

    actor: str
    methods: Mapping[str, MethodDetails]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch besides what was applied."""

    known: int
    refused: Sequence[Refusal]


async def known_items(session: AsyncSession, rows: Sequence[Taken]) -> frozenset[str]:
    """The external ids of those rows that are there."""
    items = cast("Sequence[Item]", rows)
    if not items:
        return frozenset()
    table = _TABLES[type(items[0])]
    named = {item.id: item.external_id for item in items} | {item.external_id: item.external_id for item in items}
    there = {named[found] for found in await session.scalars(select(table.id).where(table.id.in_(named)))}
    if table is Customer:  # whoever gave it this external id
        taken = select(Customer.external_id).where(Customer.external_id.in_([item.external_id for item in items]))
        there |= {found or "" for found in await session.scalars(taken)}
    return frozenset(there)


async def write_items(session: AsyncSession, rows: Sequence[Taken], by: Brought) -> Written:
    """Write a batch of one kind in the caller's transaction. What is there already stays as it is."""
    items = cast("Sequence[Item]", rows)
    owners = await _owners(session, (item.owner for item in items if isinstance(item, Owned) and item.owner))
    there = await known_items(session, items)
    known, refused = len(there), list[Refusal]()
    for item in items:
        if item.external_id in there:
            continue
        try:
            if not await _write(session, item, owners, by):
                known += 1
        except InvalidInput as error:
            refused.append(refuse(item, error.field, error.message))
    return Written(known, refused)


async def _owners(session: AsyncSession, named: Iterable[str]) -> dict[str, Customer]:
    """The customers by their external ids, else by our ids, locked in one order; of one merged, the one who goes on."""
    wanted = set(named)
    if not wanted:
        return {}
    goes_on = func.coalesce(Customer.merged_into, Customer.id)
    either = or_(Customer.external_id.in_(wanted), Customer.id.in_(wanted))
    found = (
        await session.execute(select(Customer.id, Customer.external_id, goes_on.label("heir")).where(either))
    ).all()
    statement = select(Customer).where(Customer.id.in_({row.heir for row in found})).order_by(Customer.id)
    rows = {row.id: row for row in await session.scalars(statement.with_for_update(key_share=True))}
    if any(row.merged_into is not None for row in rows.values()):
        raise Unavailable("a customer of these rows was merged just now")  # the page is tried again
    by_id = {row.id: rows[row.heir] for row in found}
    return by_id | {row.external_id: rows[row.heir] for row in found if row.external_id is not None}


async def _write(session: AsyncSession, item: Item, owners: Mapping[str, Customer], by: Brought) -> bool:
    """Write one; False where it was there after all. Raises `InvalidInput` where it cannot be, before it writes."""
    match item:
        case Person():
            return await _write_person(session, item)
        case Place():
            return await _write_place(session, item, _owner(item, owners))
        case Method():
            return await _write_method(session, item, _owner(item, owners), by.methods[item.external_id])
        case Remark():
            return await _write_remark(session, item, _owner(item, owners), by.actor)
        case Gift():
            return await _write_gift(session, item, _owner(item, owners) if item.owner else None, by.actor)
        case _:
            assert_never(item)


def _owner(item: Owned, owners: Mapping[str, Customer]) -> Customer:
    found = owners.get(item.owner)
    if found is None:
        raise InvalidInput("customer", f"there is no customer with the external id or id {item.owner}")
    return found


async def _write_person(session: AsyncSession, item: Person) -> bool:
    fields = _columns(item) | {
        "external_id": item.external_id,
        "phone": _phone(item.phone),
        "gender": item.gender or None,
        "tax_id": tax_id_written(item.tax_id, item.tax_status),
        "agent": item.agent or None,
        "tags": list(item.tags),
        "invoice_prefix": invoice_prefix_of(item.id),
    }
    statement = upsert(Customer).values(id=item.id, **fields).on_conflict_do_nothing().returning(Customer.id)
    return await session.scalar(statement) is not None


async def _write_place(session: AsyncSession, item: Place, owner: Customer) -> bool:
    kinds = (await session.execute(select(Address.kind).where(Address.customer_id == owner.id))).scalars().all()
    if len(kinds) >= ADDRESSES_MAX:
        raise InvalidInput("customer", f"a customer has at most {ADDRESSES_MAX} addresses")
    default = item.is_default or item.kind not in kinds
    if default:
        before = update(Address).where(Address.customer_id == owner.id, Address.kind == item.kind, Address.is_default)
        await session.execute(before.values(is_default=False).execution_options(synchronize_session=False))
    fields = _columns(item) | {"is_default": default}
    await session.execute(insert(Address).values(id=item.id, customer_id=owner.id, **fields))
    return True


async def _write_method(session: AsyncSession, item: Method, owner: Customer, details: MethodDetails) -> bool:
    """Behind the methods that the customer has. A token that they have already is known."""
    working = select(PaymentMethod.gateway, PaymentMethod.token).where(
        PaymentMethod.customer_id == owner.id, PaymentMethod.removed_at.is_(None)
    )
    before = {(row.gateway, row.token) for row in await session.execute(working)}
    if (item.gateway, details.token) in before:
        return False
    if len(before) >= METHODS_MAX:
        raise InvalidInput("customer", f"a customer has at most {METHODS_MAX} payment methods")
    own = {mark for mark in await marks_of(session, owner) if mark.kind is not MarkKind.FINGERPRINT}
    listed = await listed_kinds(session, own | marks(fingerprints=[details.fingerprint]))
    if listed:
        raise InvalidInput("customer", f"is on the blacklist by {' and '.join(listed)}: no card is kept for them")
    fields = asdict(details) | {"gateway": item.gateway, "position": len(before)}
    await session.execute(insert(PaymentMethod).values(id=item.id, customer_id=owner.id, **fields))
    return True


async def _write_remark(session: AsyncSession, item: Remark, owner: Customer, actor: str) -> bool:
    now = await database_now(session)
    if item.created_at is not None and item.created_at > now:
        raise InvalidInput("created_at", "must not lie ahead")
    said = {"visibility": item.visibility, "text": item.text, "author": item.author or actor}
    at = item.created_at or now
    note = insert(Note).values(id=item.id, customer_id=owner.id, version=1, created_at=at, **said)
    await session.execute(note)
    await session.execute(insert(NoteVersion).values(note_id=item.id, version=1, at=at, **said))
    return True


async def _write_gift(session: AsyncSession, item: Gift, owner: Customer | None, actor: str) -> bool:
    now = whole_second(await database_now(session))
    check_issue(item.amount, item.expires_at, now)
    request = IssueVoucher(
        item.id,
        item.amount,
        item.currency,
        now,
        actor,
        item.reason,
        customer_id=owner.id if owner is not None else None,
        expires_at=item.expires_at,
        test_mode=item.test_mode,
    )
    code = code_of(item.code) if item.code else code_from(secrets.token_bytes(CODE_SEED_BYTES))
    await issue(await session.connection(), request, code)
    return True


def _columns(item: Item) -> dict[str, Any]:
    return {name: value for name, value in asdict(item).items() if name not in _AT_ITS_OWN}


def _phone(written: str) -> str:
    """As it is compared and dialled; a number that does not tell its country is kept as it was written."""
    try:
        return phone_written(written)
    except InvalidInput:
        return written
