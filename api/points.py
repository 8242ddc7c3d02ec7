"""Loyalty points of a customer: given and taken in movements that are never changed, and never below zero."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.context import CallerDep, OnceDep, ServicesDep
from api.customers import CustomerId
from api.fields import Body, Instant, Reason, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from domain.errors import InvalidInput, Refused
from models import PointMovement
from models.queries_customers import customer
from models.queries_relations import POINTS, last_points, points

POINTS_MAX: Final = 1_000_000_000  # of one customer, and of one movement

router = noun("loyalty points")


class PointsBody(Body):
    """How many points to give (above zero) or take (below), and why."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"amount": 250, "reason": "five years with us"}]})

    amount: Annotated[int, Field(ge=-POINTS_MAX, le=POINTS_MAX)]
    reason: Annotated[Reason, StringConstraints(min_length=1, pattern=r"\S")]


class MovementView(View):
    """One movement. `balance` is what the customer had after it."""

    id: str
    customer_id: str
    seq: int
    amount: int
    balance: int
    reason: str
    actor: str
    at: Instant


class PointsView(BaseModel):
    """What a customer has, and in how many movements it came about."""

    customer_id: str
    balance: int
    movements: int


@router.post("/customers/{customer_id}/points", status_code=201)
async def move_points(
    customer_id: CustomerId, body: PointsBody, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> MovementView:
    """Give or take points. More than there are cannot be taken."""
    if body.amount == 0:
        raise InvalidInput("amount", "is above zero to give points, below to take some")
    async with services.database.session() as session:
        found(await customer(session, customer_id, lock=True), "customer")  # one movement at a time
        before = await session.get(PointMovement, once.id("pts"))
        if before is not None:
            return MovementView.model_validate(before)
        last = await last_points(session, customer_id)
        seq, balance = (last.seq + 1, last.balance + body.amount) if last is not None else (1, body.amount)
        if balance < 0:
            raise Refused("not_enough_points", f"There are {balance - body.amount} points, fewer than are to be taken.")
        if balance > POINTS_MAX:
            raise Refused("too_many_points", f"A customer has at most {POINTS_MAX} points.")
        row = PointMovement(
            id=once.id("pts"),
            customer_id=customer_id,
            seq=seq,
            amount=body.amount,
            balance=balance,
            reason=body.reason,
            actor=caller.name,
        )
        session.add(row)
        await session.flush()
        return MovementView.model_validate(row)


@router.get("/customers/{customer_id}/points")
async def get_points(customer_id: CustomerId, services: ServicesDep) -> PointsView:
    """How many points a customer has."""
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        last = await last_points(session, customer_id)
        balance, movements = (last.balance, last.seq) if last is not None else (0, 0)
        return PointsView(customer_id=customer_id, balance=balance, movements=movements)


@router.get("/customers/{customer_id}/points/movements")
async def list_points(
    customer_id: CustomerId, services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> Listed[MovementView]:
    """All movements, newest first."""
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        rows = await points(session, customer_id, after=query.after(POINTS), limit=query.limit)
        return listed(rows, POINTS, MovementView.model_validate)
