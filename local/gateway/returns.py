"""How the sandbox gateway gives money back: refunds of settled charges, voids of unsettled ones, and their scripts.

A capture goes by the same scripts, and by a word of its own.

An outcome is a word; a repeat of what was already done uses none:

    succeed                          done
    fail:CODE                        refused with that code, nothing moved
    pending                          (refund) taken; a control call finishes it
    pending:succeed pending:fail:CODE  (refund) taken; the first look-up finds it finished
    settles_first                    (void) the charge is settled at that moment, and the void comes too late
    gone                             (capture) the authorisation ends at that moment: there is nothing to take
    error_before error_after         status 500, nothing was done / it was done
    hang_before hang                 the same, after `hang_seconds`; `hang` then answers
    down                             status 503, nothing was done
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from local.gateway import cards
from local.gateway.bank import BROKEN, UNAVAILABLE, Bank, Refusal, Reply, render, wrong_state
from local.gateway.books import Call, Transaction, new_id, now_ms
from local.gateway.disputes import DisputeBooks
from local.gateway.refund_books import MONEY_GIVEN, Refund, RefundBooks, ReturnsScript
from local.gateway.schemas import HANG_SECONDS, NewCapture, NewRefund
from local.gateway.settlement import Settlements

_FAILURES: Final = {
    "already_voided": "The charge was voided: there is nothing to give back.",
    "not_captured": "Nothing was captured of this charge.",
    "not_settled": "The charge is not settled yet: void it, or wait.",
    "currency_mismatch": "A refund is in the currency of its charge.",
    "exceeds_captured": "This is more than was captured and neither refunded nor disputed.",
    "method_not_allowed": "Another method must be a bank account, or a card of the same brand.",
}
_TOO_EARLY: Final = {"captured": "not_settled", "voided": "already_voided"}
_NOTHING_DONE: Final = frozenset({"error_before", "hang_before", "down"})


class Returns:
    """The rules of money back, over the bank's books. A refusal of a refund is a refund that failed, and is kept."""

    def __init__(self, bank: Bank, refunds: RefundBooks, disputes: DisputeBooks, settlements: Settlements) -> None:
        self._bank: Final = bank
        self._disputes: Final = disputes
        self._settlements: Final = settlements
        self.refunds: Final = refunds

    # Refunds

    def refund(self, key: str, asked: NewRefund) -> Reply:
        """Give money of a settled charge back; a known key gets its first answer again."""
        body = asked.model_dump_json()
        known = self.refunds.by_key(key)
        if known is not None:
            return self._again(known, asked, body)
        charge = self._bank.books.find(asked.charge)
        if charge is None:
            self._log(asked, "no_such_charge", key)
            raise Refusal(404, "no_such_charge", "no such charge", field="charge")
        code = self._against(charge, asked)
        if code is not None:
            refund = _refund(key, asked, body, charge, f"fail:{code}")
            with self._bank.books.one_commit():
                self._log(asked, code, key)
                self.refunds.add(refund)
            return Reply(201, json.loads(refund.answer))
        name, script, outcome = self._next("refunds", charge, asked.token)
        refund = _refund(key, asked, body, charge, outcome)
        with self._bank.books.one_commit():
            self._log(asked, outcome, key)
            self._use("refunds", name, script)
            if outcome not in _NOTHING_DONE:
                self.refunds.add(refund)
        return _told(outcome, _hang_s(script), lambda: Reply(201, json.loads(refund.answer)))

    def find(self, reference: str) -> Reply:
        """The refund as it stands now; one that was pending until looked up is finished by this."""
        refund = self.refunds.find(reference)
        if refund is not None and refund.state == "pending" and refund.then_outcome is not None:
            _finish(refund, refund.then_outcome)
            self.refunds.change(refund, now_ms())
        self._bank.books.log(Call("find_refund", refund.state if refund else "not_found", reference=reference))
        if refund is None:
            raise Refusal(404, "not_found", "no refund was ever seen under this reference")
        return Reply(200, shown(refund))

    def finish(self, reference: str, outcome: str) -> dict[str, Any]:
        """Decide a pending refund: `succeed` or `fail:CODE`."""
        refund = self.refunds.find(reference)
        if refund is None:
            raise Refusal(404, "not_found", "no refund was ever seen under this reference")
        if refund.state != "pending":
            raise Refusal(409, "wrong_state", f"a refund that is {refund.state} is not pending")
        _finish(refund, outcome)
        self.refunds.change(refund, now_ms())
        return shown(refund)

    def _again(self, known: Refund, asked: NewRefund, body: str) -> Reply:
        same = known.body == body
        self._log(asked, "replay" if same else "idempotency_mismatch", known.idempotency_key)
        if not same:
            message = "this Idempotency-Key was used with another body"
            raise Refusal(409, "idempotency_mismatch", message, field="Idempotency-Key")
        return Reply(200, json.loads(known.answer))

    def _against(self, charge: Transaction, asked: NewRefund) -> str | None:
        """The code of what stands against this refund."""
        if charge.state != "settled":
            return _TOO_EARLY.get(charge.state, "not_captured")
        if asked.currency != charge.currency:
            return "currency_mismatch"
        if asked.amount > charge.captured_amount - self.refunds.reserved(charge.id) - self._disputes.taken(charge.id):
            return "exceeds_captured"
        if asked.token is not None and not self._may_go_to(asked.token, charge.token):
            return "method_not_allowed"
        return None

    def _may_go_to(self, token: str, paid_with: str) -> bool:
        other, first = self._bank.token(token), self._bank.token(paid_with)
        return token == paid_with or (
            other is not None and (other.kind == "bank" or (first is not None and first.brand == other.brand))
        )

    def _log(self, asked: NewRefund, outcome: str, key: str) -> None:
        call = Call("refund", outcome, asked.token, asked.reference, key, asked.amount, asked.currency)
        self._bank.books.log(call)

    # Voids

    def void(self, name: str, base_url: str) -> Reply:
        """Undo a charge in full, before it is settled; again is the same answer."""
        books = self._bank.books
        charge = self._bank.find("void", name)
        if charge.state == "voided":
            return Reply(200, render(charge, base_url))
        if charge.state == "settled":
            raise _TOO_LATE
        if charge.state not in {"authorised", "captured"}:
            raise wrong_state("voided", charge)
        scripted, script, outcome = self._next("voids", charge, None)
        word, _, code = outcome.partition(":")
        with books.one_commit():
            self._use("voids", scripted, script)
            if word == "settles_first":
                self._settlements.settle_one(charge.id)
            elif word != "fail" and word not in _NOTHING_DONE:
                charge.state, charge.voided_amount, charge.captured_amount = "voided", charge.captured_amount, 0
                books.change(charge)
        if word == "settles_first":
            raise _TOO_LATE
        if word == "fail":
            raise Refusal(409, code, f"The void was refused: {code.replace('_', ' ')}.")
        return _told(outcome, _hang_s(script), lambda: Reply(200, render(charge, base_url)))

    # Captures

    def capture(self, name: str, asked: NewCapture, base_url: str) -> Reply:
        """Take authorised money; a repeat, and what cannot be captured, uses no outcome."""
        books = self._bank.books
        charge = books.find(name)
        if charge is None or charge.state != "authorised":
            return self._bank.capture(name, asked, base_url)
        scripted, script, outcome = self._next("captures", charge, None)
        with books.one_commit():
            self._use("captures", scripted, script)
            if outcome == "gone":
                charge.state = "voided"
                books.change(charge)
        if outcome in _NOTHING_DONE:
            charge = self._bank.find("capture", name)
            return _told(outcome, _hang_s(script), lambda: Reply(200, render(charge, base_url)))
        reply = self._bank.capture(name, asked, base_url)
        return _told(outcome, _hang_s(script), lambda: reply)

    # Scripts

    def _next(self, kind: str, charge: Transaction, token: str | None) -> tuple[str, ReturnsScript | None, str]:
        """Whose script says what comes next: the sale's under either reference, then the token's that is to get it."""
        target = token or charge.token
        for name in (charge.capture_reference, charge.reference, target):
            script = self.refunds.script(name) if name else None
            outcome = script.next(kind) if script else None
            if name and outcome:
                return name, script, outcome
        fails = cards.refund_failure(target) if kind == "refunds" else None
        return target, None, f"fail:{fails}" if fails else "succeed"

    def _use(self, kind: str, name: str, script: ReturnsScript | None) -> None:
        if script is not None:
            script.use(kind)
            self.refunds.set_script(name, script)


def shown(refund: Refund) -> dict[str, Any]:
    """A refund as it stands now."""
    status = "succeeded" if refund.state in MONEY_GIVEN else refund.state
    code = refund.code
    message = _FAILURES.get(code, f"The refund failed: {code.replace('_', ' ')}.") if code else ""
    return {
        "id": refund.id,
        "reference": refund.reference,
        "charge": refund.charge_id,
        "status": status,
        "state": refund.state,
        "amount": refund.amount,
        "currency": refund.currency,
        "token": refund.token,
        "code": code,
        "message": message,
        "created_ms": refund.created_ms,
    }


def _refund(key: str, asked: NewRefund, body: str, charge: Transaction, outcome: str) -> Refund:
    word, _, rest = outcome.partition(":")
    now = now_ms()
    refund = Refund(
        id=new_id("re"),
        idempotency_key=key,
        body=body,
        reference=asked.reference,
        charge_id=charge.id,
        token=asked.token or charge.token,
        amount=asked.amount,
        currency=asked.currency,
        state="pending",
        code=None,
        then_outcome=rest or None,
        answer="",
        created_ms=now,
        updated_ms=now,
    )
    if word != "pending":
        _finish(refund, outcome)
    refund.answer = json.dumps(shown(refund))
    return refund


def _finish(refund: Refund, outcome: str) -> None:
    word, _, code = outcome.partition(":")
    refund.state = "failed" if word == "fail" else "succeeded"
    refund.code = code or None
    refund.then_outcome = None


def _told(outcome: str, hang_s: float, answer: Callable[[], Reply]) -> Reply:
    match outcome:
        case "down":
            return Reply(503, UNAVAILABLE.body())
        case "error_before" | "error_after":
            return Reply(500, BROKEN.body())
        case "hang_before":
            return Reply(500, BROKEN.body(), hang_s)
        case "hang":
            told = answer()
            return Reply(told.status, told.body, hang_s)
        case _:
            return answer()


def _hang_s(script: ReturnsScript | None) -> float:
    return script.hang_seconds if script else HANG_SECONDS


_TOO_LATE: Final = Refusal(409, "already_settled", "The charge is settled: refund it.")
