"""What is kept of a difference between our books and a gateway's, and when it counts as gone: rows and their tasks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.tasks import NewTask, close_task, open_task
from domain.ids import derive
from domain.reconciliation import Finding, Mismatch, Transaction, advice
from providers.gateways.base import TheirTransaction

TASK_KIND: Final = "reconciliation"
TASK_DUE_AFTER: Final = timedelta(days=3)
SYSTEM: Final = "system"


@dataclass(frozen=True, slots=True)
class Compared:
    """What was compared, and how it went.

    `references` were asked about; `judged` are the kinds of difference that could have been seen. `findings` are to be
    kept; `standing` are the differences there are if nothing is excused as being on its way: what is not among them
    is gone.
    """

    gateway: str
    references: Sequence[str]
    judged: frozenset[Mismatch]
    findings: Sequence[Finding]
    standing: Sequence[Finding]


def transaction_of(row: Row[Any]) -> Transaction:
    """One of our rows, as `ours` and `OURS` give them."""
    return Transaction(
        row.kind,
        row.reference,
        row.amount,
        row.currency,
        row.state,
        row.gateway_id,
        row.at,
        row.open_since,
        taken_at=row.taken_at,
    )


def reported(theirs: TheirTransaction) -> Transaction:
    """One transaction as the gateway reports it. One that waits for the gateway's own answer is open."""
    return Transaction(
        theirs.kind,
        theirs.reference,
        theirs.amount.minor,
        theirs.amount.currency,
        theirs.state,
        theirs.gateway_id,
        theirs.at,
        theirs.at if theirs.state == "pending" else None,
    )


async def ours(connection: AsyncConnection, gateway: str, references: Sequence[str]) -> list[Transaction]:
    """What our books have of these references, as they are now."""
    rows = await connection.execute(_OURS_BY_REFERENCE, {"gateway": gateway, "references": list(references)})
    return await with_adopted(connection, gateway, references, [transaction_of(row) for row in rows])


async def with_adopted(
    connection: AsyncConnection, gateway: str, references: Sequence[str], found: Iterable[Transaction]
) -> list[Transaction]:
    """These transactions of ours with what was adopted of them, and those that we have by adoption alone."""
    rows = (await connection.execute(_ADOPTED, {"gateway": gateway, "references": list(references)})).all()
    side = list(found)
    for row in rows:
        own = next((each for each in side if _is_about(row, each)), None)
        if own is None:
            told = row.theirs or row.ours
            side.append(
                Transaction(
                    kind=told["kind"],
                    reference=row.reference,
                    amount=told["amount"],
                    currency=row.currency,
                    state="adopted",
                    gateway_id=row.gateway_id,
                    at=row.found_at,
                    adopted=row.adopted,
                )
            )
        else:
            side[side.index(own)] = replace(own, adopted=(own.adopted or 0) + row.adopted)
    return side


def _is_about(row: Row[Any], own: Transaction) -> bool:
    kind = (row.ours or row.theirs)["kind"]
    return (own.kind, own.reference) == (kind, row.reference) and own.gateway_id in {None, row.gateway_id}


async def keep(connection: AsyncConnection, compared: Compared, run_id: str, now: datetime) -> int:
    """Open what was found, once, each with its task; close what is gone, with its task. Returns how many are gone.

    What was dismissed stays so while both sides move the same money as they did then.
    """
    known = await _known(connection, compared)
    for finding in compared.findings:
        before = known.get((finding.transaction.reference, finding.mismatch.value), [])
        if any(_dismisses(row, finding) for row in before):
            continue
        await _open(connection, compared.gateway, finding, before, run_id, now)
    found = {(each.transaction.reference, each.mismatch.value) for each in compared.standing}
    gone = 0
    for key, rows in known.items():
        for row in rows:
            if row.status == "open" and key not in found and Mismatch(row.kind) in compared.judged:
                gone += await close(connection, row.id, "gone", actor=SYSTEM, resolution="equal", now=now)
    return gone


async def close(
    connection: AsyncConnection,
    difference_id: str,
    status: str,
    *,
    actor: str,
    resolution: str,
    now: datetime,
    reason: str = "",
    command_id: str | None = None,
    adopted: int | None = None,
) -> bool:
    """Close an open difference and its task; False where it was closed before."""
    closed = await connection.scalar(
        _CLOSE,
        {
            "id": difference_id,
            "status": status,
            "actor": actor,
            "resolution": resolution,
            "reason": reason,
            "command": command_id,
            "adopted": adopted,
            "at": now,
        },
    )
    if closed is None:
        return False
    task = NewTask(TASK_KIND, "", "", "difference", difference_id)
    outcome = f"{status}: {reason}" if reason else status
    await close_task(connection, task.id, actor=actor, outcome=outcome)
    return True


def shown(side: Transaction | None) -> dict[str, Any]:
    """A side as people see it; nothing where this side does not have it. `moved`: what it added to the money there."""
    if side is None:
        return {}
    return {
        "kind": side.kind,
        "amount": side.amount,
        "currency": side.currency,
        "state": side.state,
        "moved": side.moved,
        "gateway_id": side.gateway_id,
        "at": side.at.isoformat(),
    }


async def _known(connection: AsyncConnection, compared: Compared) -> dict[tuple[str, str], list[Row[Any]]]:
    rows = await connection.execute(
        _KNOWN, {"gateway": compared.gateway, "references": sorted(set(compared.references))}
    )
    known: dict[tuple[str, str], list[Row[Any]]] = {}
    for row in rows:
        known.setdefault((row.reference, row.kind), []).append(row)
    return known


async def _open(
    connection: AsyncConnection,
    gateway: str,
    finding: Finding,
    before: Sequence[Row[Any]],
    run_id: str,
    now: datetime,
) -> None:
    one, sides = finding.transaction, {"ours": shown(finding.ours), "theirs": shown(finding.theirs)}
    stands = next((row for row in before if row.status == "open"), None)
    if stands is not None:
        if (stands.ours, stands.theirs) != (sides["ours"], sides["theirs"]):
            await connection.execute(_LOOKS_NOW, {"id": stands.id, **_as_json(sides)})
        return
    gateway_id = (finding.theirs or one).gateway_id
    identity = derive("dif", gateway, finding.mismatch.value, one.reference, str(len(before)))
    customer = await connection.scalar(_CUSTOMER, {"gateway": gateway, "reference": one.reference})
    opened = await connection.scalar(
        _OPEN,
        {
            "id": identity,
            "gateway": gateway,
            "reference": one.reference,
            "gateway_id": gateway_id,
            "kind": finding.mismatch.value,
            "currency": one.currency,
            "customer": customer,
            "run": run_id,
            "at": now,
            **_as_json(sides),
        },
    )
    if opened is None:
        return  # another run found it at the same moment
    await open_task(
        connection,
        NewTask(
            kind=TASK_KIND,
            title=f"{_TITLES[finding.mismatch]}: {one.reference} at {gateway}",
            next_action=f"{advice(finding)} POST /v1/differences/{identity}/resolve",
            subject_kind="difference",
            subject_id=identity,
            customer_id=customer,
            deadline=now + TASK_DUE_AFTER,
            detail={"reference": one.reference, "kind": finding.mismatch.value, "owed": finding.owed, **sides},
        ),
    )


def _dismisses(row: Row[Any], finding: Finding) -> bool:
    """Whether a person has dismissed this very difference: the same money on both sides."""
    if row.status != "dismissed":
        return False
    return _money(row.ours) == _money(shown(finding.ours)) and _money(row.theirs) == _money(shown(finding.theirs))


def _money(side: Mapping[str, Any]) -> Iterable[Any]:
    return [side.get(name) for name in ("gateway_id", "amount", "currency", "moved")]


def _as_json(sides: Mapping[str, Any]) -> dict[str, str]:
    return {name: json.dumps(side) for name, side in sides.items()}


_TITLES: Final = {
    Mismatch.MISSING_HERE: "The gateway has a transaction that we do not have",
    Mismatch.MISSING_THERE: "We have a transaction that the gateway does not have",
    Mismatch.AMOUNT: "The gateway has another amount",
    Mismatch.STATE: "The gateway has another state",
}

# Every sale and refund asked of a gateway, as `Transaction`. A charge whose void, capture or release is under way is
# open since then; its row's wall time is `recorded_at`: `at` may be virtual.
OURS: Final = """
WITH ours AS (
    SELECT 'sale' AS kind, a.gateway, a.reference, a.amount, a.currency, a.gateway_id, a.recorded_at AS at,
        CASE WHEN a.status <> 'approved' THEN a.status WHEN a.settlement = 'pending' THEN 'captured'
            ELSE coalesce(a.settlement, 'captured') END AS state,
        CASE WHEN a.status IN ('pending', 'unknown', 'parked', 'action_required', 'canceled') THEN a.recorded_at
            WHEN a.status IN ('capturing', 'releasing') THEN a.asked_at
            WHEN a.status = 'approved' THEN (
                SELECT min(t.recorded_at) FROM refunds AS r JOIN refund_tries AS t ON t.refund_id = r.id
                WHERE r.attempt_id = a.id AND t.kind = 'void' AND t.status IN ('pending', 'unknown', 'parked')
            ) END AS open_since,
        a.asked_at AS taken_at
    FROM attempts AS a
    UNION ALL
    SELECT 'refund', r.gateway, t.reference, r.amount, r.currency, t.gateway_id, t.recorded_at,
        CASE WHEN t.status = 'succeeded' AND t.settlement = 'settled' THEN 'settled' ELSE t.status END,
        CASE WHEN t.status IN ('pending', 'unknown', 'parked') THEN t.recorded_at END, NULL
    FROM refund_tries AS t JOIN refunds AS r ON r.id = t.refund_id
    WHERE t.kind = 'refund'
)
SELECT ours.* FROM ours
"""
_OURS_BY_REFERENCE = text(f"{OURS} WHERE gateway = :gateway AND reference = ANY(:references)")  # constants

_KNOWN = text(
    """
SELECT id, reference, kind, status, ours, theirs FROM differences
WHERE gateway = :gateway AND reference = ANY(:references) ORDER BY found_at, id
"""
)
_ADOPTED = text(
    """
SELECT reference, gateway_id, currency, ours, theirs, adopted, found_at FROM differences
WHERE gateway = :gateway AND reference = ANY(:references) AND adopted IS NOT NULL ORDER BY found_at, id
"""
)
_OPEN = text(
    """
INSERT INTO differences (
    id, gateway, reference, gateway_id, kind, currency, ours, theirs, customer_id, run_id, found_at
) VALUES (
    :id, :gateway, :reference, :gateway_id, :kind, :currency, CAST(:ours AS jsonb), CAST(:theirs AS jsonb), :customer,
    :run, :at
) ON CONFLICT DO NOTHING RETURNING id
"""
)
_LOOKS_NOW = text("UPDATE differences SET ours = CAST(:ours AS jsonb), theirs = CAST(:theirs AS jsonb) WHERE id = :id")
_CLOSE = text(
    """
UPDATE differences SET status = :status, resolution = :resolution, reason = :reason, closed_by = :actor,
    closed_at = :at, command_id = :command, adopted = :adopted
WHERE id = :id AND status = 'open' RETURNING id
"""
)
_CUSTOMER = text(
    """
SELECT customer_id FROM attempts WHERE gateway = :gateway AND reference = :reference
UNION ALL
SELECT r.customer_id FROM refund_tries AS t JOIN refunds AS r ON r.id = t.refund_id
WHERE r.gateway = :gateway AND t.reference = :reference
LIMIT 1
"""
)
