"""Parents and children: two levels and no more, and on whose methods a child is charged."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, ServicesDep
from api.customers import CustomerId, CustomerView
from api.fields import Body, Identifier
from api.keys import Caller
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found, known, replace_fields
from domain.errors import InvalidInput, Merged, Refused
from domain.ids import derive
from models import Customer, CustomerChange, Task
from models.blacklisted import refuse_blacklisted
from models.queries_customers import customer
from models.queries_ties import CHILDREN, children, children_count, living_counts, locked, methods_count

CHILDREN_MAX: Final = 1000
SELF: Final = "self"
PARENT: Final = "parent"
METHOD_MISSING: Final = "method_missing"  # the kind of the task

router = noun("parents and children")


class TieBody(Body):
    """Whose child this customer is to be. `pays`: on whose methods the child is charged."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"parent_id": "cus_k3jq5xw2m4", "pays": "parent"}]})

    parent_id: Identifier
    pays: Literal["parent", "self"] = SELF


class TieView(BaseModel):
    """How things stand. `methods`: how many working methods the customer can be charged on.

    `task_id`: the task that asks for a method, opened because this very change left the customer without one.
    """

    customer_id: str
    parent_id: str | None
    pays: str
    charged_customer_id: str = Field(description="Whose methods are charged")
    methods: int
    task_id: str | None = None


class ChildView(CustomerView):
    """A child, with how many of its subscriptions have not ended."""

    subscriptions: int


@router.put("/customers/{customer_id}/parent")
async def set_parent(customer_id: CustomerId, body: TieBody, services: ServicesDep, caller: CallerDep) -> TieView:
    """Make a customer another one's child, or change who pays. Nobody is a parent and a child at once."""
    async with services.database.session() as session:
        rows = await locked(session, customer_id, body.parent_id)
        for row in rows.values():
            if row.merged_into is not None:
                raise Merged(row.id, row.merged_into)
        child = found(rows.get(customer_id), "customer")
        parent = known(rows.get(body.parent_id), "parent_id", "customer")
        if parent is child:
            raise InvalidInput("parent_id", "is the customer itself", code="own_parent")
        if parent.parent_id is not None:
            raise Refused("third_level", f"{parent.id} is a child itself, and a child has no children.")
        if await children_count(session, child.id):
            raise Refused("third_level", f"{child.id} has children, and a parent has no parent.")
        if child.parent_id != parent.id and await children_count(session, parent.id) >= CHILDREN_MAX:
            raise Refused("too_many", f"A parent has at most {CHILDREN_MAX} children.")
        if body.pays == PARENT and child.payer_id != parent.id:
            await refuse_blacklisted(session, parent)
        return await _tie(session, child, parent.id, body.pays, caller)


@router.delete("/customers/{customer_id}/parent")
async def remove_parent(customer_id: CustomerId, services: ServicesDep, caller: CallerDep) -> TieView:
    """End the tie. From now on the child is charged on its own methods; where it has none, a task asks for one."""
    async with services.database.session() as session:
        child = found(await customer(session, customer_id, lock=True), "customer")
        return await _tie(session, child, None, SELF, caller)


@router.get("/customers/{customer_id}/children")
async def list_children(
    customer_id: CustomerId, services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> Listed[ChildView]:
    """The children of a customer, newest first."""
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        rows = await children(session, customer_id, after=query.after(CHILDREN), limit=query.limit)
        living = await living_counts(session, [row.id for row in rows.rows])
        return listed(rows, CHILDREN, lambda row: _child(row, living.get(row.id, 0)))


async def _tie(session: AsyncSession, child: Customer, parent_id: str | None, pays: str, caller: Caller) -> TieView:
    """Write it with its log; the customer is locked."""
    was_paid = child.payer_id != child.id
    changed = replace_fields(child, {"parent_id": parent_id, "pays": pays})
    log = [
        CustomerChange(customer_id=child.id, actor=caller.name, field=field, old=old, new=new)
        for field, (old, new) in changed.items()
    ]
    session.add_all(log)
    await session.flush()
    count = await methods_count(session, child.payer_id)
    task_id = None
    if was_paid and child.payer_id == child.id and not count:
        # Named by the logged change: a tie that is made and ended again asks again.
        task_id = derive("task", METHOD_MISSING, child.id, str(log[-1].id))
        session.add(_method_missing(task_id, child.id))
    return TieView(
        customer_id=child.id,
        parent_id=child.parent_id,
        pays=child.pays,
        charged_customer_id=child.payer_id,
        methods=count,
        task_id=task_id,
    )


def _method_missing(task_id: str, customer_id: str) -> Task:
    return Task(
        id=task_id,
        kind=METHOD_MISSING,
        title="A payment method is missing",
        next_action="The parent no longer pays for this customer, who has no method of their own: ask for one.",
        customer_id=customer_id,
        subject_kind="customer",
        subject_id=customer_id,
        priority="high",
        opened_by="system",
    )


def _child(row: Customer, subscriptions: int) -> ChildView:
    values: dict[str, Any] = {name: getattr(row, name) for name in CustomerView.model_fields}
    return ChildView(subscriptions=subscriptions, **values)
