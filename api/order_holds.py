"""Money that an order has authorised: captured when the goods are sent, or released."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession

from api.blacklist import refuse_blacklisted, refuse_blacklisted_card
from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.fields import Body, Identifier, Minor, Name, Reason
from api.idempotency import Once
from api.order_views import OrderSummary, summary
from api.routing import noun
from api.rows import found
from domain.ids import derive
from domain.order_messages import CaptureOrder, OrderEnvelope, ReleaseOrder
from models.queries_customers import any_method, customer
from models.queries_orders import order, order_hold

router = noun("orders")
OrderId = Annotated[Identifier, Path(description="Id of the order")]


class CaptureBody(Body):
    """Take what is authorised. `amount`: what the caller means to take; another one than is due changes nothing."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "handed to the carrier"}]})

    amount: Minor | None = None
    reason: Reason = ""
    actor: Name | None = None


class ReleaseBody(Body):
    """Why, and who, where the API key acts for somebody."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "out of stock"}]})

    reason: Reason = ""
    actor: Name | None = None


@router.post("/orders/{order_id}/capture")
async def capture_order(
    order_id: OrderId, services: ServicesDep, once: OnceDep, caller: CallerDep, body: CaptureBody | None = None
) -> OrderSummary:
    """Take what is authorised, in full. The answer is the order: paid, or open where the authorisation was gone."""
    asked = body or CaptureBody()
    async with services.database.session() as session:
        await _refuse_blacklisted_hold(session, order_id)
    return await _sent(services, order_id, once, CaptureOrder(asked.amount), caller.acting(asked.actor), asked.reason)


@router.post("/orders/{order_id}/release")
async def release_order(
    order_id: OrderId, services: ServicesDep, once: OnceDep, caller: CallerDep, body: ReleaseBody | None = None
) -> OrderSummary:
    """Give back what is authorised: nothing was taken, and the order is open for another payment."""
    asked = body or ReleaseBody()
    async with services.database.session() as session:
        found(await order(session, order_id), "order")
    return await _sent(services, order_id, once, ReleaseOrder(), caller.acting(asked.actor), asked.reason)


async def _refuse_blacklisted_hold(session: AsyncSession, order_id: str) -> None:
    """Nothing is taken from whoever is on the blacklist by now, or from such a card: it is released."""
    row = found(await order(session, order_id), "order")
    await refuse_blacklisted(session, found(await customer(session, row.customer_id), "customer"))
    held = await order_hold(session, order_id)
    card = await any_method(session, held.payment_method_id or "") if held is not None else None
    if card is not None:
        await refuse_blacklisted_card(session, card.fingerprint)


async def _sent(
    services: Services, order_id: str, once: Once, command: CaptureOrder | ReleaseOrder, actor: str, reason: str
) -> OrderSummary:
    envelope = OrderEnvelope(derive("cmd", once.id("cmd"), command.kind), command, actor, reason)
    await services.commands.orders.send(order_id, envelope)
    async with services.database.session() as session:
        return await summary(session, order_id)
