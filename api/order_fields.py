"""Custom fields of orders: values set and removed by key, each change kept with old and new value."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, ServicesDep
from api.custom_fields import CustomValuesPatch, CustomValueView, item_of, logged, put_values
from api.fields import Identifier
from api.routing import noun
from api.rows import found
from domain.custom_fields import changed_values
from models import CustomerChange, Order, OrderCustomValue
from models.queries_custom import definition_of, fields_of
from models.queries_orders import order, order_values

ORDER = "order"

router = noun("orders")
OrderId = Annotated[Identifier, Path(description="Id of the order")]


class OrderValuesView(BaseModel):
    """All custom fields of orders with this one's values."""

    order_id: str
    items: list[CustomValueView]


@router.get("/orders/{order_id}/custom-fields")
async def get_order_values(order_id: OrderId, services: ServicesDep) -> OrderValuesView:
    """All custom fields of an order with their values, also of archived fields that have one."""
    async with services.database.session() as session:
        found(await order(session, order_id), "order")
        return await _shown(session, order_id)


@router.patch("/orders/{order_id}/custom-fields")
async def change_order_values(
    order_id: OrderId, body: CustomValuesPatch, services: ServicesDep, caller: CallerDep
) -> OrderValuesView:
    """Set or remove values of custom fields of an order, at any time. Each change stands in the customer's changes."""
    async with services.database.session() as session:
        row: Order = found(await session.get(Order, order_id, with_for_update=True), "order")
        held = await _held(session, order_id)
        changed = await write_values(session, order_id, body.values)
        session.add_all(
            CustomerChange(
                customer_id=row.customer_id,
                actor=caller.name,
                field=f"{row.number}.{key}",
                old=logged(held.get(key)),
                new=logged(value),
            )
            for key, value in changed.items()
        )
        await session.flush()
        return await _shown(session, order_id)


async def write_values(session: AsyncSession, order_id: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Key → value, null to remove it; what was changed. Raises `InvalidInput` naming the key and its rule."""
    defined = {each.key: each for each in await fields_of(session, ORDER)}
    definitions = {key: definition_of(each) for key, each in defined.items()}
    changed = changed_values(definitions, await _held(session, order_id), wanted)
    by_id = {defined[key].id: value for key, value in changed.items()}
    await put_values(session, OrderCustomValue, OrderCustomValue.order_id, order_id, by_id)
    return changed


async def check_values(session: AsyncSession, wanted: dict[str, Any]) -> None:
    """Raises `InvalidInput` as `write_values` would for a new order, before there is one."""
    definitions = {each.key: definition_of(each) for each in await fields_of(session, ORDER)}
    changed_values(definitions, {}, wanted)


async def _held(session: AsyncSession, order_id: str) -> dict[str, Any]:
    return {own.key: value.value for own, value in await order_values(session, order_id) if value is not None}


async def _shown(session: AsyncSession, order_id: str) -> OrderValuesView:
    values = await order_values(session, order_id)
    items = [item_of(own, None if value is None else value.value) for own, value in values]
    return OrderValuesView(order_id=order_id, items=items)
