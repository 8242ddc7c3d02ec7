"""Making a customer with history anonymous: the personal goes, the books stay."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from api.context import OnceDep, ServicesDep
from api.customers import CustomerId
from api.fields import Body, Identifier
from api.routing import noun
from api.rows import found
from domain.errors import InvalidInput, Refused
from models.forgetting import KEPT, forget, forget_obstacle
from models.queries_customers import customer

OBSTACLES: Final = {
    "subscribed": "This customer has a running subscription; cancel it first.",
    "invoice_open": "An invoice of this customer is open.",
    "refund_open": "A refund to this customer is under way.",
    "dispute_open": "A dispute of this customer is open.",
    "has_children": "This customer has children; end those ties first.",
    "merge_open": "A merge with this customer can still be undone; undo it, or wait until it is final.",
    "order_open": "An order of this customer is not over; cancel it, or wait until it is paid.",
    "parcel_open": "Something is still to be shipped to this customer; cancel it, or wait until it is on its way.",
    "on_blacklist": "The blacklist knows this customer; take the entries off first, for they say who it is.",
    "import_open": "A file is being imported, which may bring this customer; wait until it has ended.",
    "on_its_way": "A letter or a call to this customer is on its way; try again when it has arrived or failed.",
}

router = noun("customers")


class ForgetBody(Body):
    """`confirm` is the customer's id once more: there is no way back."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"confirm": "cus_k3jq5xw2m4"}]})

    confirm: Identifier


class ForgottenView(BaseModel):
    """Who was made anonymous, and what stays."""

    customer_id: str
    kept: dict[str, str] = Field(description="Tables that keep something, and why")


@router.post("/customers/{customer_id}/forget")
async def forget_customer(
    customer_id: CustomerId,
    body: ForgetBody,
    services: ServicesDep,
    once: OnceDep,  # noqa: ARG001 - a POST has its key; doing it twice changes nothing more
) -> ForgottenView:
    """Take everything personal from a customer with history; the books stay. There is no way back."""
    async with services.database.session() as session:
        row = found(await customer(session, customer_id, lock=True), "customer")
        if body.confirm != customer_id:
            raise InvalidInput("confirm", "must be the customer's id", code="not_confirmed")
        code = await forget_obstacle(session, row)
        if code is not None:
            raise Refused(code, OBSTACLES[code])
        await forget(session, row)
        return ForgottenView(customer_id=customer_id, kept=KEPT)
