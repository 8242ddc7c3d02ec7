"""Moves of subscribers to another price: what each would pay, then all at a set rate, with a verdict on each."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final, Literal

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.fields import Body, Identifier, Instant, Reason, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import add_once, found, known
from api.subscription_views import clock
from domain.errors import InvalidInput, Refused
from domain.messages import ChangeTerms, When
from domain.preview import preview_change
from domain.price_moves import (
    FAILURES_PERCENT_DEFAULT,
    PER_MINUTE_DEFAULT,
    PER_MINUTE_MAX,
    MoveStatus,
    Pace,
    check_steer,
)
from models import Price, PriceMove, Product, Subscription
from models.agreement import terms_of
from models.queries_catalogue import price, product
from models.queries_price_moves import MOVE_ITEMS, MOVES, SUBSCRIBERS, move_items, price_move, price_moves, subscribers
from models.session import database_now
from workflows.commands import MoveRequest

PREVIEWS_AT_ONCE_MAX: Final = 10

router = noun("price moves")
MoveId = Annotated[Identifier, Path(description="Id of the move")]
Verdict = Literal["asked", "moved", "planned", "elsewhere", "refused", "failed"]


class PreviewNew(Body):
    """From which price to which; `when` null is as any change: a smaller price waits for the period's end."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"from_price_id": "price_k3jq5xw2m4", "to_price_id": "price_p7rt2yv8n6"}]}
    )

    from_price_id: Identifier
    to_price_id: Identifier
    when: Literal["now", "period_end"] | None = None
    prorate: bool = True
    keep_anchor: bool = Field(default=False, description="Another interval keeps the billing day")


class PriceMoveNew(PreviewNew):
    """A move at a rate. It pauses by itself where more than a share of those asked did not move."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "from_price_id": "price_k3jq5xw2m4",
                    "to_price_id": "price_p7rt2yv8n6",
                    "when": "period_end",
                    "reason": "prices of 2027",
                }
            ]
        }
    )

    per_minute: Annotated[int, Field(ge=1, le=PER_MINUTE_MAX)] = PER_MINUTE_DEFAULT
    failures_percent_max: Annotated[int, Field(ge=0, le=100)] = FAILURES_PERCENT_DEFAULT
    reason: Reason = ""


class MoveRemark(Body):
    """Why; shown with the move."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "support asks for a break"}]})

    reason: Reason = ""


class DifferenceView(BaseModel):
    """What the move would do to one subscription now; amounts are those of a whole period, `net` is charged at once.

    `refused`: the code with which the change would be refused; then there is no difference to show.
    """

    subscription_id: str
    customer_id: str
    currency: str
    amount_before: int | None = None
    amount_after: int | None = None
    when: str | None = None
    net: int | None = None
    next_due_at: Instant | None = None
    refused: str | None = None


class PriceMoveView(View):
    """A move with its counts by verdict: `asked`, `moved`, `planned`, `elsewhere`, `refused`, `failed`.

    `elsewhere`: it had another price by then. `detail`: why it is paused or was stopped.
    """

    id: str
    from_price_id: str
    to_price_id: str
    when: str | None = Field(validation_alias="at")
    prorate: bool
    keep_anchor: bool
    per_minute: int
    failures_percent_max: int
    reason: str
    actor: str
    status: str
    detail: str
    seen: int
    verdicts: dict[str, int]
    started_at: Instant
    ended_at: Instant | None


class MoveItemView(View):
    """The verdict on one subscription."""

    subscription_id: str
    verdict: str
    detail: str


class MoveItemQuery(PageQuery):
    """Which verdicts."""

    verdict: Verdict | None = None


@router.post("/price-moves/preview")
async def preview_price_move(
    body: PreviewNew, services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> Listed[DifferenceView]:
    """What a move would do to each subscription now, to the cent, page by page; nothing is changed."""
    async with services.database.session() as session:
        chosen, sold = await _checked(session, body)
        rows = await subscribers(session, body.from_price_id, after=query.after(SUBSCRIBERS), limit=query.limit)
    gate = asyncio.Semaphore(PREVIEWS_AT_ONCE_MAX)

    async def foresee(view: DifferenceView) -> DifferenceView:
        async with gate:
            return await _difference(services, view, body, chosen, sold)

    page = listed(rows, SUBSCRIBERS, _subscriber)
    return Listed(items=await asyncio.gather(*map(foresee, page.items)), next_cursor=page.next_cursor)


@router.post("/price-moves", status_code=202)
async def create_price_move(
    body: PriceMoveNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> PriceMoveView:
    """Start a move: each subscription gets the ordinary change of its terms, once, at the rate asked for."""
    move_id = once.id("move")
    async with services.database.session() as session:
        await _checked(session, body)
        fields = body.model_dump(exclude={"when"})
        started = await database_now(session)
        await add_once(
            session,
            PriceMove(id=move_id, at=body.when, actor=caller.name, status="running", started_at=started, **fields),
        )
    when = None if body.when is None else When(body.when)
    pace = Pace(body.per_minute, body.failures_percent_max)
    await services.commands.price_moves.start(
        MoveRequest(
            move_id,
            body.from_price_id,
            body.to_price_id,
            when,
            body.prorate,
            body.keep_anchor,
            pace,
            caller.name,
            body.reason,
        )
    )
    return await get_price_move(move_id, services)


@router.get("/price-moves")
async def list_price_moves(services: ServicesDep, query: Annotated[PageQuery, Query()]) -> Listed[PriceMoveView]:
    """List moves, newest first."""
    async with services.database.session() as session:
        rows = await price_moves(session, after=query.after(MOVES), limit=query.limit)
        return listed(rows, MOVES, PriceMoveView.model_validate)


@router.get("/price-moves/{move_id}")
async def get_price_move(move_id: MoveId, services: ServicesDep) -> PriceMoveView:
    """Read one move with its counts."""
    async with services.database.session() as session:
        return PriceMoveView.model_validate(found(await price_move(session, move_id), "price move"))


@router.get("/price-moves/{move_id}/items")
async def list_price_move_items(
    move_id: MoveId, services: ServicesDep, query: Annotated[MoveItemQuery, Query()]
) -> Listed[MoveItemView]:
    """The verdict on each subscription."""
    async with services.database.session() as session:
        found(await price_move(session, move_id), "price move")
        after = query.after(MOVE_ITEMS)
        rows = await move_items(session, move_id, verdict=query.verdict, after=after, limit=query.limit)
        return listed(rows, MOVE_ITEMS, MoveItemView.model_validate)


@router.post("/price-moves/{move_id}/pause")
async def pause_price_move(
    move_id: MoveId, services: ServicesDep, once: OnceDep, body: MoveRemark | None = None
) -> PriceMoveView:
    """Pause a move; who is being asked is finished first."""
    return await _steer(services, move_id, MoveStatus.PAUSED, body, once.id("cmd"))


@router.post("/price-moves/{move_id}/resume")
async def resume_price_move(
    move_id: MoveId, services: ServicesDep, once: OnceDep, body: MoveRemark | None = None
) -> PriceMoveView:
    """Go on with a move; its failures are counted anew."""
    return await _steer(services, move_id, MoveStatus.RUNNING, body, once.id("cmd"))


@router.post("/price-moves/{move_id}/stop")
async def stop_price_move(
    move_id: MoveId, services: ServicesDep, once: OnceDep, body: MoveRemark | None = None
) -> PriceMoveView:
    """Stop a move for good; who was moved stays moved."""
    return await _steer(services, move_id, MoveStatus.STOPPED, body, once.id("cmd"))


async def _steer(
    services: Services, move_id: str, status: MoveStatus, body: MoveRemark | None, command_id: str
) -> PriceMoveView:
    async with services.database.session() as session:
        now = MoveStatus(found(await price_move(session, move_id), "price move").status)
    check_steer(now, status)
    if now is not status:
        await services.commands.price_moves.steer(move_id, status, "" if body is None else body.reason, command_id)
    return await get_price_move(move_id, services)


async def _checked(session: AsyncSession, body: PreviewNew) -> tuple[Price, Product]:
    """The price to move to, with its product: on sale, and in the currency of those who are moved."""
    if body.from_price_id == body.to_price_id:
        raise InvalidInput("to_price_id", "must be another price")
    left = known(await price(session, body.from_price_id), "from_price_id", "price")
    chosen = known(await price(session, body.to_price_id), "to_price_id", "price")
    sold = known(await product(session, chosen.product_id), "to_price_id", "product")
    if chosen.archived_at is not None or sold.archived_at is not None:
        raise Refused("archived", "The price to move to sells no more.")
    if left.currency != chosen.currency:
        raise InvalidInput("to_price_id", f"must be in {left.currency}", code="currency_mismatch")
    return chosen, sold


def _subscriber(row: Subscription) -> DifferenceView:
    return DifferenceView(subscription_id=row.id, customer_id=row.customer_id, currency=row.currency)


async def _difference(
    services: Services, view: DifferenceView, body: PreviewNew, chosen: Price, sold: Product
) -> DifferenceView:
    """By the code that makes the change, on the live state."""
    try:
        state = await services.commands.state(view.subscription_id)
        terms = terms_of(chosen, sold, state.terms.quantity)
        when = None if body.when is None else When(body.when)
        command = ChangeTerms(terms, when, body.prorate, body.keep_anchor)
        foreseen = preview_change(state, command, await clock(services, state))
    except (Refused, InvalidInput) as refused:
        return view.model_copy(update={"refused": refused.code})
    return view.model_copy(
        update={
            "amount_before": state.terms.price.minor,
            "amount_after": terms.price.minor,
            "when": foreseen.when.value,
            "net": foreseen.net,
            "next_due_at": foreseen.next_due,
        }
    )
