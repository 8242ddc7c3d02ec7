"""Removing a customer who was never billed, with everything that is kept of them."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, Field

from api.context import ServicesDep
from api.customers import CustomerId
from api.routing import noun
from api.rows import found
from domain.errors import Refused
from models.queries_customers import customer
from models.removal import STAYS, obstacle, remove

OBSTACLES: Final = {
    "billed": "Something was ordered, billed or promised to this customer, and the books stay.",
    "has_children": "This customer has children; end those ties first.",
    "was_merged": "This customer has a part in a merge, and what moved is kept.",
    "on_its_way": "A letter or a call to this customer is on its way; try again when it has arrived or failed.",
}

router = noun("customers")


class RemovedView(BaseModel):
    """What was removed, and what stays."""

    customer_id: str
    removed: dict[str, int] = Field(description="Rows by table")
    stays: list[str] = Field(description="Tables that may still hold the id, and nothing else of the person")


@router.delete("/customers/{customer_id}")
async def remove_customer(customer_id: CustomerId, services: ServicesDep) -> RemovedView:
    """Remove a customer with nothing billed, and everything kept of them. There is no way back."""
    async with services.database.session() as session:
        row = found(await customer(session, customer_id, lock=True), "customer")
        code = await obstacle(session, customer_id)
        if code is not None:
            raise Refused(code, OBSTACLES[code])
        return RemovedView(customer_id=customer_id, removed=await remove(session, row), stays=list(STAYS))
