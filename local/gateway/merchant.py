"""The sandbox gateway's merchant calls under /v1: tokens, charges, refunds, look-ups, settlements, the report."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Header, Query, Request
from fastapi.responses import Response
from pydantic import ValidationError

from local.gateway import cards, report
from local.gateway.bank import Bank, Refusal
from local.gateway.books import Call
from local.gateway.edge import (
    FAR_FUTURE_MS,
    PAGE_SIZE_MAX,
    TheBank,
    TheCardLife,
    TheReturns,
    TheSettlements,
    base_url,
    problems,
    reply,
    send,
    unprocessable,
)
from local.gateway.schemas import (
    NAME_LENGTH_MAX,
    Completion,
    NewAccount,
    NewCapture,
    NewCard,
    NewCharge,
    NewMethod,
    NewRefund,
)

router = APIRouter(prefix="/v1")
_CURSOR: Final = r"^[0-9]{1,18}-(sale|refund)-[0-9]{1,18}$"


@router.post("/tokens")
async def tokenize(bank: TheBank, new: Annotated[NewMethod, Body()]) -> Response:
    bank.check_up("tokenize")
    token = cards.tokenize_account(new.account) if isinstance(new, NewAccount) else card_token(new)
    bank.books.add_token(token)
    bank.books.log(Call("tokenize", "created", token.token))
    return reply(201, _masked(token))


@router.get("/tokens/{token}")
async def describe(bank: TheBank, token: str) -> Response:
    bank.check_up("describe", token)
    known = bank.token(token)
    bank.books.log(Call("describe", "found" if known else "not_found", token))
    if known is None:
        raise Refusal(404, "not_found", "no such token")
    return reply(200, _masked(known))


@router.get("/charges")
async def lookup(
    bank: TheBank, request: Request, reference: Annotated[str, Query(min_length=1, max_length=NAME_LENGTH_MAX)]
) -> Response:
    bank.check_up("lookup", reference=reference)
    return await send(bank.lookup(reference, base_url(request)))


@router.post("/charges/{name:path}/capture")
async def capture(
    bank: TheBank, returns: TheReturns, request: Request, name: str, asked: NewCapture | None = None
) -> Response:
    bank.check_up("capture", reference=name)
    return await send(returns.capture(name, asked or NewCapture(), base_url(request)))


@router.post("/charges/{name:path}/void")
async def void(bank: TheBank, returns: TheReturns, request: Request, name: str) -> Response:
    bank.check_up("void", reference=name)
    return await send(returns.void(name, base_url(request)))


@router.post("/charges/{name:path}/cancel")
async def cancel(bank: TheBank, request: Request, name: str) -> Response:
    bank.check_up("cancel", reference=name)
    return await send(bank.cancel(name, base_url(request)))


@router.post("/refunds")
async def refund(
    bank: TheBank,
    returns: TheReturns,
    asked: NewRefund,
    idempotency_key: Annotated[str, Header(min_length=1, max_length=NAME_LENGTH_MAX)],
) -> Response:
    bank.check_up("refund", reference=asked.reference)
    return await send(returns.refund(idempotency_key, asked))


@router.get("/refunds")
async def find_refund(
    bank: TheBank, returns: TheReturns, reference: Annotated[str, Query(min_length=1, max_length=NAME_LENGTH_MAX)]
) -> Response:
    bank.check_up("find_refund", reference=reference)
    return await send(returns.find(reference))


@router.get("/settlements")
async def settlements(
    bank: TheBank,
    settled: TheSettlements,
    after: Annotated[int, Query(ge=0, le=FAR_FUTURE_MS)] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE_SIZE_MAX)] = PAGE_SIZE_MAX,
) -> Response:
    bank.check_up("settlements")
    lines, cursor, more = settled.page(after, limit)
    return reply(200, {"lines": lines, "cursor": str(cursor), "more": more})


@router.get("/card-updates")
async def card_updates(
    bank: TheBank,
    card_life: TheCardLife,
    after: Annotated[int, Query(ge=0, le=FAR_FUTURE_MS)] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE_SIZE_MAX)] = PAGE_SIZE_MAX,
) -> Response:
    bank.check_up("card_updates")
    updates, cursor, more = card_life.page(after, limit)
    return reply(200, {"updates": updates, "cursor": str(cursor), "more": more})


@router.post("/actions/{action_id}/complete")
async def complete(bank: TheBank, request: Request, action_id: str, completion: Completion) -> Response:
    bank.check_up("complete")
    return await send(bank.complete(action_id, completion.outcome, base_url(request)))


@router.get("/report")
async def transactions(
    bank: TheBank,
    since: Annotated[datetime | None, Query(alias="from")] = None,
    until: Annotated[datetime | None, Query(alias="to")] = None,
    after: Annotated[str, Query(pattern=_CURSOR)] = "0-sale-0",
    limit: Annotated[int, Query(ge=1, le=PAGE_SIZE_MAX)] = PAGE_SIZE_MAX,
) -> Response:
    bank.check_up("report")
    start, end = _ms(since, "from", 0), _ms(until, "to", FAR_FUTURE_MS)
    moment, kind, seq = after.split("-")
    rows, last = report.page(bank.books.connection, start, end, (int(moment), kind, int(seq)), limit)
    return reply(200, {"transactions": rows, "next_after": "-".join(map(str, last)) if last else None})


def charge_route(bank: Bank) -> Callable[[Request], Awaitable[Response]]:
    """POST /v1/charges, without the framework's parsing between it and the books."""

    async def charge(request: Request) -> Response:
        key = request.headers.get("idempotency-key", "")
        if not 0 < len(key) <= NAME_LENGTH_MAX:
            return unprocessable("Idempotency-Key", f"this header is needed, 1 to {NAME_LENGTH_MAX} characters")
        try:
            asked = NewCharge.model_validate_json(await request.body())
        except ValidationError as error:
            return problems(error.errors(include_url=False, include_context=False, include_input=False))
        try:
            return await send(bank.charge(key, asked, base_url(request)))
        except Refusal as refusal:
            return reply(refusal.status, refusal.body())

    return charge


def card_token(new: NewCard) -> cards.Token:
    """A new token for a card that has not expired on the gateway's calendar."""
    today = datetime.now().astimezone()
    if (new.exp_year, new.exp_month) < (today.year, today.month):
        raise Refusal(422, "invalid_request", "the card has expired", field="exp_year")
    return cards.tokenize_card(new.number, new.exp_month, new.exp_year)


def _masked(token: cards.Token) -> dict[str, Any]:
    return {
        "token": token.token,
        "kind": token.kind,
        "brand": token.brand,
        "last4": token.last4,
        "exp_month": token.exp_month,
        "exp_year": token.exp_year,
        "fingerprint": token.fingerprint,
    }


def _ms(moment: datetime | None, field: str, default: int) -> int:
    if moment is None:
        return default
    if moment.tzinfo is None:
        raise Refusal(422, "invalid_request", "a time needs an offset", field=field)
    return int(moment.timestamp() * 1000)
