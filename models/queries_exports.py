"""Which columns a file of each kind has, and the rows of it, read through a cursor of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain import ledger
from models.billing import LedgerPosting, Subscription
from models.catalogue import Price, Product
from models.credits import Voucher
from models.customers import Address, Customer, PaymentMethod
from models.relations import Note

ROWS_AT_ONCE: Final = 500

_OWNER: Final = (Customer.id.label("customer_id"), Customer.external_id.label("customer_external_id"))
_CUSTOMER_COLUMNS: Final = (
    *("id", "external_id", "title", "first_name", "last_name", "company", "email", "phone", "gender", "language"),
    *("time_zone", "currency", "tax_status", "tax_id", "agent", "notice_days", "tags", "created_at"),
)
_ADDRESS_COLUMNS: Final = ("kind", "is_default", "line1", "line2", "city", "region", "postal_code", "country")
_METHOD_COLUMNS: Final = ("gateway", "token", "kind", "brand", "last4", "exp_month", "exp_year", "position")
_NOTE_COLUMNS: Final = ("visibility", "text", "author", "created_at", "edited_by", "edited_at")
_VOUCHER_COLUMNS: Final = ("code", "currency", "issued", "expires_at", "reason", "test_mode", "issued_at", "expired_at")
_SUBSCRIPTION_COLUMNS: Final = (
    *("status", "access", "currency", "amount", "quantity", "cycle", "next_due_at", "period_start", "period_end"),
    *("trial_end", "held", "test_mode", "trigger", "created_at"),
)


def _of(model: type[Any], names: Sequence[str]) -> list[Any]:
    return [getattr(model, name) for name in names]


# What is left of a voucher, as the ledger has it.
_LEFT: Final = (
    select(-func.coalesce(func.sum(LedgerPosting.amount), 0))
    .where(LedgerPosting.account == literal(ledger.voucher("")) + Voucher.id)
    .correlate(Voucher)
    .scalar_subquery()
    .cast(BigInteger)
    .label("balance")
)

# All are ordered as an index is: nothing has to be sorted first.
STATEMENTS: Final[Mapping[str, Select[*tuple[Any, ...]]]] = MappingProxyType(
    {
        "customers": select(*_of(Customer, _CUSTOMER_COLUMNS))
        .where(Customer.merged_into.is_(None))
        .order_by(Customer.id),
        "addresses": select(Address.id, *_OWNER, *_of(Address, _ADDRESS_COLUMNS))
        .join(Customer, Address.customer_id == Customer.id)
        .order_by(Address.id),
        "payment-methods": select(PaymentMethod.id, *_OWNER, *_of(PaymentMethod, _METHOD_COLUMNS))
        .join(Customer, PaymentMethod.customer_id == Customer.id)
        .where(PaymentMethod.removed_at.is_(None))
        # As they are used, so that they are kept in that order where they are imported.
        .order_by(PaymentMethod.customer_id, PaymentMethod.position, PaymentMethod.id),
        "notes": select(Note.id, *_OWNER, *_of(Note, _NOTE_COLUMNS))
        .join(Customer, Note.customer_id == Customer.id)
        .where(Note.removed_at.is_(None))
        .order_by(Note.id),
        "vouchers": select(Voucher.id, *_OWNER, *_of(Voucher, _VOUCHER_COLUMNS), _LEFT)
        .outerjoin(Customer, Voucher.customer_id == Customer.id)
        .order_by(Voucher.id),
        "subscriptions": select(
            Subscription.id,
            Subscription.external_id,
            *_OWNER,
            Product.code.label("product_code"),
            Price.code.label("price_code"),
            *_of(Subscription, _SUBSCRIPTION_COLUMNS),
        )
        .join(Customer, Subscription.customer_id == Customer.id)
        .join(Product, Product.id == Subscription.product_id)
        .join(Price, Price.id == Subscription.price_id)
        .order_by(Subscription.id),
    }
)


def columns_of(kind: str) -> list[str]:
    """The names in the first line of a file of that kind, in order."""
    return [str(column.key) for column in STATEMENTS[kind].selected_columns]


async def rows_of(
    session: AsyncSession, kind: str, chosen: ColumnElement[bool] | None
) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    """Every row of that kind, some at a time. `chosen`: only what belongs to such customers; None is everything."""
    statement = STATEMENTS[kind]
    if chosen is not None:  # a voucher that is nobody's belongs to no segment, whatever its filter says
        statement = statement.where(Customer.id.is_not(None), chosen)
    result = await session.stream(statement)
    async for part in result.mappings().partitions(ROWS_AT_ONCE):
        yield [dict(row) for row in part]
