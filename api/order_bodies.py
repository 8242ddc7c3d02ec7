"""What an order or a basket may be made of, as it is sent: lines by price or free, and what they become.

A price is read from the catalogue when the line is sent and pinned from then on. Another amount than the catalogue's
needs a reason; how far below it an agent may go is the merchant's rule, and a lead may go further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.fields import Body, Identifier, Instant, Line, Minor, Name, Quantity, Reason
from api.keys import Caller
from domain.errors import InvalidInput, Refused
from domain.order_lines import LINES_MAX, check_lines, refuse_beyond
from domain.order_state import OrderLine, OrderLineKind
from domain.roles import Role
from domain.terms import TRIAL_DAYS_MAX
from models import Price, Product
from models.agreement import terms_of
from models.queries_business import discount_rules
from models.queries_catalogue import prices_with_products

_FREE_SELLERS: Final = frozenset({Role.LEAD, Role.ADMIN})


class OrderLineNew(Body):
    """One line: a `price_id` of the catalogue, or a `description` and `unit_amount` of something that is not in it.

    `unit_amount` beside a price is a special price and needs a `reason`; of a subscription it holds for all its cycles.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"price_id": "price_aaaaaaaaaaaaaaaaaaaaaaaa", "quantity": 2},
                {"description": "Engraving", "unit_amount": 1500},
            ]
        }
    )

    price_id: Identifier | None = None
    quantity: Quantity = 1
    unit_amount: Minor | None = None
    reason: Reason = ""
    description: Name | None = None
    start_at: Instant | None = Field(default=None, description="When a subscription begins; null: when it is paid")
    trial_days: Annotated[int, Field(ge=0, le=TRIAL_DAYS_MAX)] | None = Field(
        default=None, description="In place of the price's own"
    )


Lines = Annotated[list[OrderLineNew], Field(min_length=1, max_length=LINES_MAX)]


class Source(Body):
    """Where it was sold."""

    funnel: Line = Field(default="", description="Such as a campaign or the name of a call list")
    page: Line = Field(default="", description="Such as the address of the page it was sold on")


async def lines_of(
    session: AsyncSession, bodies: Sequence[OrderLineNew], currency: str, caller: Caller
) -> tuple[OrderLine, ...]:
    """The lines as they are agreed now. Raises `InvalidInput` naming the line, `Refused` for a price too low."""
    wanted = [body.price_id for body in bodies if body.price_id is not None]
    catalogue = await prices_with_products(session, wanted)
    lines = tuple(_line(place, body, catalogue) for place, body in enumerate(bodies))
    for place, line in enumerate(lines):
        if line.price_id is not None and catalogue[line.price_id][0].currency != currency:
            raise InvalidInput(f"lines.{place}.price_id", f"the order is in {currency}", code="currency_mismatch")
    check_lines(lines, currency)
    if caller.role not in _FREE_SELLERS:
        refuse_beyond(lines, await discount_rules(session))
    return lines


def _line(place: int, body: OrderLineNew, catalogue: dict[str, tuple[Price, Product]]) -> OrderLine:
    field = f"lines.{place}"
    if body.price_id is None:
        return _free(field, place, body)
    if body.price_id not in catalogue:
        raise InvalidInput(f"{field}.price_id", "there is no such price", code="unknown_reference")
    price, product = catalogue[body.price_id]
    if price.archived_at is not None or product.archived_at is not None:
        raise Refused("archived", f"The price of line {place + 1} sells no more.")
    name = f"{product.name}, {price.option}" if price.option else product.name
    agreed = price.unit_amount if body.unit_amount is None else body.unit_amount
    common: dict[str, Any] = {
        "position": place + 1,
        "description": body.description or name,
        "quantity": body.quantity,
        "unit_amount": agreed,
        "list_amount": price.unit_amount,
        "reason": body.reason,
        "product_id": product.id,
        "price_id": price.id,
        "tax_category": price.tax_category,
    }
    if price.one_time:
        if body.start_at is not None or body.trial_days is not None:
            raise InvalidInput(f"{field}.start_at", "is for subscriptions; this price is paid once")
        return OrderLine(kind=OrderLineKind.ONE_TIME, **common)
    terms = replace(terms_of(price, product, body.quantity, trial_days=body.trial_days), unit_amount=agreed)
    return OrderLine(kind=OrderLineKind.SUBSCRIPTION, terms=terms, start_at=body.start_at, **common)


def _free(field: str, place: int, body: OrderLineNew) -> OrderLine:
    if body.description is None or body.unit_amount is None:
        raise InvalidInput(f"{field}.price_id", "a line has a price_id, or a description and a unit_amount")
    if body.start_at is not None or body.trial_days is not None:
        raise InvalidInput(f"{field}.start_at", "is for subscriptions, which have a price_id")
    return OrderLine(
        place + 1, OrderLineKind.ONE_TIME, body.description, body.quantity, body.unit_amount, reason=body.reason
    )
