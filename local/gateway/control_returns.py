"""The sandbox gateway's control of money back: scripts, settlement, disputes, wrong books and events."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from local.gateway.bank import Refusal
from local.gateway.books import Transaction, new_id, now_ms
from local.gateway.edge import PAGE_SIZE_MAX, TheBank, TheDisputes, TheEvents, TheReturns, TheSettlements, TheTimetable
from local.gateway.events import Event, Events
from local.gateway.refund_books import ReturnsScript
from local.gateway.schemas import (
    Change,
    Delivery,
    ForeignSale,
    NewDispute,
    NewEvent,
    RefundFinish,
    Release,
    ReturnsScripts,
    Settle,
    Settling,
    WebhookTarget,
)
from local.gateway.settlement import Closing

router = APIRouter(prefix="/control")


# Refunds and voids


@router.put("/returns/{name:path}/script")
async def script(returns: TheReturns, name: str, new: ReturnsScripts) -> ReturnsScripts:
    returns.refunds.set_script(name, ReturnsScript(**new.model_dump()))
    return new


@router.delete("/returns/{name:path}/script")
async def forget(returns: TheReturns, name: str) -> dict[str, str]:
    returns.refunds.set_script(name, None)
    return {"name": name}


@router.post("/refunds/{name:path}/finish")
async def finish(returns: TheReturns, name: str, asked: RefundFinish) -> dict[str, Any]:
    return returns.finish(name, asked.outcome)


# Settlement


@router.post("/settle")
async def settle(settlements: TheSettlements, asked: Settle | None = None) -> dict[str, Any]:
    wanted = asked or Settle()
    return settlements.close(
        Closing(
            references=wanted.references,
            until_ms=int(wanted.until.timestamp() * 1000) if wanted.until else None,
            pieces=wanted.pieces,
            late_s=wanted.late_seconds,
            twice=wanted.twice,
        )
    )


@router.post("/settlements/report")
async def report_late_pieces(settlements: TheSettlements) -> dict[str, int]:
    return {"pieces": settlements.report_all()}


@router.put("/settling")
async def settling(timetable: TheTimetable, new: Settling) -> Settling:
    timetable.change(new.every_seconds)
    return new


# Books that are wrong


@router.patch("/transactions/{name:path}")
async def change(bank: TheBank, returns: TheReturns, name: str, new: Change) -> dict[str, Any]:
    refund = returns.refunds.find(name)
    if refund is not None:
        refund.amount, refund.state = new.amount or refund.amount, new.state or refund.state
        returns.refunds.change(refund, now_ms())
        return {"id": refund.id, "amount": refund.amount, "state": refund.state}
    charge = bank.find("spoil", name)
    if new.amount is not None:
        charge.amount = new.amount
        charge.captured_amount = new.amount if charge.captured_amount else 0
        charge.voided_amount = new.amount if charge.voided_amount else 0
    charge.state = new.state or charge.state
    bank.books.change(charge)
    return {"id": charge.id, "amount": charge.amount, "state": charge.state}


@router.delete("/transactions/{name:path}")
async def drop(bank: TheBank, returns: TheReturns, name: str) -> dict[str, str]:
    refund = returns.refunds.find(name)
    if refund is not None:
        returns.refunds.drop(refund)
        return {"id": refund.id}
    charge = bank.find("spoil", name)
    bank.books.drop(charge)
    return {"id": charge.id}


@router.post("/transactions", status_code=201)
async def foreign(bank: TheBank, new: ForeignSale) -> dict[str, str]:
    now, sale_id = now_ms(), new_id("ch")
    bank.books.add(
        Transaction(
            id=sale_id,
            idempotency_key=sale_id,
            reference=new.reference,
            token=new.token,
            amount=new.amount,
            currency=new.currency,
            description="",
            capture=int(new.state != "authorised"),
            state=new.state,
            code=None,
            action_id=None,
            captured_amount=0 if new.state == "authorised" else new.amount,
            capture_reference=None,
            voided_amount=0,
            created_ms=now,
            updated_ms=now,
        )
    )
    return {"id": sale_id, "reference": new.reference}


# Disputes


@router.post("/disputes", status_code=201)
async def dispute(disputes: TheDisputes, asked: NewDispute) -> dict[str, Any]:
    return disputes.open(asked)


@router.post("/disputes/{dispute_id}/evidence_due")
async def evidence_due(disputes: TheDisputes, dispute_id: str) -> dict[str, Any]:
    return disputes.move(dispute_id, "evidence_due")


@router.post("/disputes/{dispute_id}/won")
async def won(disputes: TheDisputes, dispute_id: str) -> dict[str, Any]:
    return disputes.move(dispute_id, "won")


@router.post("/disputes/{dispute_id}/lost")
async def lost(disputes: TheDisputes, dispute_id: str) -> dict[str, Any]:
    return disputes.move(dispute_id, "lost")


# Events


@router.get("/webhooks")
async def webhooks(events: TheEvents) -> dict[str, Any]:
    target = events.target
    return {
        "url": target.url,
        "signed": target.secret is not None,
        "twice": target.twice,
        "hold": target.hold,
        "bad_signature": target.bad_signature,
    }


@router.put("/webhooks")
async def retarget(events: TheEvents, new: WebhookTarget) -> dict[str, Any]:
    target = events.target
    if "url" in new.model_fields_set:
        target.url = new.url
    if "secret" in new.model_fields_set:
        target.secret = new.secret
    target.twice, target.hold, target.bad_signature = new.twice, new.hold, new.bad_signature
    events.retarget()
    return await webhooks(events)


@router.post("/webhooks/release")
async def release(events: TheEvents, asked: Release | None = None) -> dict[str, Any]:
    wanted = asked.events if asked and asked.events is not None else events.held()
    found = [_event(events, event_id) for event_id in wanted]
    _check_target(events)
    return {"deliveries": [await events.deliver(event) for event in found]}


@router.get("/events")
async def listed(
    events: TheEvents,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE_SIZE_MAX)] = 1_000,
) -> dict[str, Any]:
    page = events.listed(after, limit)
    return {"events": page, "next_after": page[-1]["seq"] if len(page) == limit else None}


@router.post("/events", status_code=201)
async def emit(events: TheEvents, new: NewEvent) -> dict[str, str]:
    return {"id": events.emit(new.type, new.data)}


@router.post("/events/{event_id}/deliver")
async def deliver(events: TheEvents, event_id: str, how: Delivery | None = None) -> dict[str, Any]:
    event, way = _event(events, event_id), how or Delivery()
    _check_target(events)
    return await events.deliver(event, bad_signature=way.bad_signature, age_s=way.age_seconds)


def _event(events: Events, event_id: str) -> Event:
    event = events.find(event_id)
    if event is None:
        raise Refusal(404, "not_found", f"no such event: {event_id}")
    return event


def _check_target(events: Events) -> None:
    if events.target.url is None or events.target.secret is None:
        raise Refusal(409, "no_target", "set a url and a secret first: PUT /control/webhooks")
