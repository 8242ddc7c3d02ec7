"""The lines of a basket as they are kept: whole, with their agreed terms, so that no later change reaches them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession

from domain.order_lines import dues_of
from domain.order_state import DueLine, OrderLine
from models.customers import Customer
from models.orders import Basket
from models.queries_tax import tax_terms
from models.session import database_now

_LINES: Final = TypeAdapter(tuple[OrderLine, ...])


def kept(lines: Sequence[OrderLine]) -> list[Any]:
    """As they are written."""
    return _LINES.dump_python(tuple(lines), mode="json")


def offered(row: Basket) -> tuple[OrderLine, ...]:
    """As they were agreed."""
    return _LINES.validate_python(row.lines)


async def dues_now(
    session: AsyncSession, lines: Sequence[OrderLine], currency: str, buyer: Customer
) -> tuple[DueLine, ...]:
    """What they ask of this customer if paid now, taxed as the customer is on this day."""
    tax = await tax_terms(session, buyer.id)
    return dues_of(lines, currency, buyer.time_zone, tax, await database_now(session))


def total_of(dues: Sequence[DueLine]) -> int:
    """What is paid, in minor units."""
    return sum(due.line.gross for due in dues)
