"""What is done to an authorisation: taken or given back, by intent, call, outcome, on the row of its charge.

The capture of an authorisation bears its reference (decision 18): one movement of money has one name in both books. A
row found `capturing` or `releasing` means that a call may have been made whose answer nobody kept: the gateway is asked
first.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.attempts import Attempt, find
from domain.declines import DeclineKind
from domain.errors import Broken
from domain.facts import Authorised, Charged, Declined, NeverArrived, Outcome, Released
from domain.order_holds import HOLD_GONE
from domain.state import Act, Collecting
from domain.terms import DunningTerms
from providers.gateways.base import Answer, AnswerStatus

# The status of a row while what is asked of its authorisation may be under way at the gateway.
UNDER_WAY: Final[Mapping[Act, str]] = MappingProxyType({Act.CAPTURE: "capturing", Act.RELEASE: "releasing"})

_ASK = text(
    """
UPDATE attempts SET status = :status, asked_at = now()
WHERE invoice_id = :invoice AND number = :number AND status = 'authorised'
RETURNING id
"""
)


async def ask(connection: AsyncConnection, collecting: Collecting) -> Attempt | None:
    """Write what is about to be asked of the authorisation; its row, which says whether it may have been asked before.

    Status `intended`: it surely was not.
    """
    wanted = {
        "invoice": collecting.invoice_id,
        "number": collecting.attempt,
        "status": UNDER_WAY[collecting.act],
    }
    is_first = await connection.scalar(_ASK, wanted) is not None
    attempt = await find(connection, collecting)
    if attempt is None or not is_first:
        return attempt
    return Attempt(
        attempt.id, attempt.reference, "intended", attempt.method_id, attempt.gateway, attempt.gateway_id, None, None,
        None, attempt.token,
    )  # fmt: skip


def outcome_of_hold(collecting: Collecting, attempt: Attempt, answer: Answer, policy: DunningTerms) -> Outcome:
    """What the gateway's word on the authorisation means for what was asked of it."""
    number, takes = collecting.attempt, collecting.act is Act.CAPTURE
    match answer.status:
        case AnswerStatus.APPROVED:  # also where it was to be given back, and was taken without us
            return Charged(number, collecting.amount_due, attempt.method_id, attempt.gateway, answer.gateway_id)
        case AnswerStatus.AUTHORISED:
            return NeverArrived(number)
        case AnswerStatus.DECLINED | AnswerStatus.VOIDED | AnswerStatus.NOT_FOUND if takes:
            return Declined(
                attempt=number,
                method_id=attempt.method_id or "",
                code=answer.code or HOLD_GONE,
                decline=answer.decline or DeclineKind.SOFT,
                another=False,
                policy=policy,
                gateway=attempt.gateway,
            )
        case AnswerStatus.DECLINED | AnswerStatus.VOIDED | AnswerStatus.NOT_FOUND:
            return Released(number, collecting.amount_due, attempt.gateway)
        case AnswerStatus.ACTION_REQUIRED:
            raise Broken(f"{attempt.reference} was authorised, and its customer is to confirm it again")


def status_after(act: Act, outcome: Outcome) -> str | None:
    """The status of the row after an outcome where the act has a part in it; None: as for every charge."""
    if act not in UNDER_WAY:
        return "authorised" if isinstance(outcome, Authorised) else None
    match outcome.kind:
        case "unknown":
            return UNDER_WAY[act]
        case "parked" | "never_arrived":  # it surely stands as it was
            return "authorised"
        case _:
            return None
