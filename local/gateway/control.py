"""The sandbox gateway's control under /control: what tests and demos script, break and read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query

from local.gateway import cards, report
from local.gateway.bank import Refusal
from local.gateway.books import Script, now_ms
from local.gateway.edge import PAGE_SIZE_MAX, TheBank, TheCardLife, TheEvents, TheTimetable
from local.gateway.schemas import Outage, RenewedCard, TokenScript

router = APIRouter(prefix="/control")


@router.get("/health")
async def health(bank: TheBank) -> dict[str, bool]:
    return {"down": bank.down}


@router.get("/cards")
async def test_cards() -> dict[str, Mapping[str, str]]:
    ready = {f"tok_{profile}": outcome for profile, outcome in cards.PROFILES.items()}
    return {"cards": dict(cards.TEST_CARDS), "accounts": dict(cards.TEST_ACCOUNTS), "tokens": ready}


@router.put("/tokens/{token}/script")
async def script(bank: TheBank, token: str, new: TokenScript) -> TokenScript:
    bank.books.set_script(token, Script(list(new.outcomes), new.then, new.hang_seconds))
    return new


@router.get("/tokens/{token}/script")
async def remaining(bank: TheBank, token: str) -> TokenScript:
    known = bank.books.script(token)
    if known is None:
        raise Refusal(404, "not_found", "this token has no script")
    return TokenScript(outcomes=known.outcomes, then=known.then, hang_seconds=known.hang_seconds)


@router.delete("/tokens/{token}/script")
async def forget(bank: TheBank, token: str) -> dict[str, str]:
    bank.books.set_script(token, None)
    return {"token": token}


@router.post("/tokens/{token}/renew", status_code=201)
async def renew(cards_of: TheCardLife, token: str, new: RenewedCard) -> dict[str, Any]:
    return cards_of.renew(token, new)


@router.post("/tokens/{token}/close", status_code=201)
async def close(cards_of: TheCardLife, token: str) -> dict[str, Any]:
    return cards_of.close(token)


@router.put("/outage")
async def outage(bank: TheBank, new: Outage) -> Outage:
    bank.down = new.down
    return new


@router.get("/calls")
async def calls(
    bank: TheBank,
    token: str | None = None,
    reference: str | None = None,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE_SIZE_MAX)] = 1_000,
) -> dict[str, Any]:
    page = bank.books.calls(token, reference, after, limit)
    return {"calls": page, "next_after": page[-1]["id"] if len(page) == limit else None}


@router.get("/books")
async def books(bank: TheBank) -> dict[str, Any]:
    cash = report.cash(bank.books.connection)
    captured = {currency: money["captured"] - money["voided"] for currency, money in cash.items()}
    return {"captured": captured, "cash": cash, "totals": bank.books.totals(), "at_ms": now_ms()}


@router.post("/reset")
async def reset(bank: TheBank, events: TheEvents, timetable: TheTimetable) -> dict[str, bool]:
    bank.books.reset()
    bank.changed.clear()
    bank.down = False
    events.target.behave()
    timetable.change(None)
    return {"reset": True}
