"""What the sandbox gateway does with each call: carry out, decline, ask the customer, or fail as it was told to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from local.gateway import cards
from local.gateway.books import MONEY_TAKEN, Books, Call, Transaction, new_id, now_ms
from local.gateway.schemas import HANG_SECONDS, NewCapture, NewCharge

_STATUS: Final = {
    "authorised": "approved",
    "captured": "approved",
    "settled": "approved",
    "declined": "declined",
    "voided": "voided",
    "action_required": "action_required",
}


class Refusal(Exception):
    """The gateway will not do this: an HTTP status, a stable code, words, and the field at fault."""

    def __init__(self, status: int, code: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field

    def body(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message, "field": self.field}}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and how long to sit on it first."""

    status: int
    body: dict[str, Any]
    wait_s: float = 0.0


class Bank:
    """The gateway's rules over its books. `down` refuses every merchant call with 503; `changed` are cards as they are
    now, after their tokens were given out.
    """

    def __init__(self, books: Books) -> None:
        self.books = books
        self.down = False
        self.changed: dict[str, cards.Token] = {}

    def charge(self, key: str, asked: NewCharge, base_url: str) -> Reply:
        """Carry out a new charge by its token's script; a known key gets its first answer again."""
        known = self.books.by_key(key)
        if known is not None:
            return self._again(known, asked, base_url)
        outcome, hang_seconds = self._next_outcome(asked.token)
        word, _, code = outcome.partition(":")
        if self.down:
            word, outcome = "down", "outage"
        transaction = _transaction(key, asked, word, code)
        with self.books.one_commit():
            self._log_charge(key, asked, outcome)
            if not self.down:
                self._advance_script(asked.token)
            if word not in {"error_before", "hang_before", "down"}:
                self.books.add(transaction)
        match word:
            case "down":
                return Reply(503, UNAVAILABLE.body())
            case "error_before" | "error_after":
                return Reply(500, BROKEN.body())
            case "hang_before":
                return Reply(500, BROKEN.body(), hang_seconds)
            case _:
                answer = _first_answer(transaction, base_url)
                return Reply(201, answer, hang_seconds if word == "hang" else 0.0)

    def capture(self, name: str, asked: NewCapture, base_url: str) -> Reply:
        """Take authorised money, once; the same capture again gets the same answer."""
        transaction = self.find("capture", name, asked.reference)
        amount = asked.amount or transaction.amount
        if amount > transaction.amount:
            raise Refusal(422, "too_much", f"authorised is {transaction.amount}, asked was {amount}", field="amount")
        if transaction.state == "authorised":
            transaction.state = "captured"
            transaction.captured_amount = amount
            transaction.capture_reference = asked.reference
            self.books.change(transaction)
        elif transaction.state not in MONEY_TAKEN:
            raise wrong_state("captured", transaction)
        elif (transaction.captured_amount, transaction.capture_reference) != (amount, asked.reference):
            raise Refusal(409, "already_captured", "this charge was captured with another amount or reference")
        return Reply(200, render(transaction, base_url))

    def cancel(self, name: str, base_url: str) -> Reply:
        """End a charge that still waits for the customer; again is the same answer."""
        transaction = self.find("cancel", name)
        if transaction.state == "action_required":
            transaction.state = "voided"
            self.books.change(transaction)
        elif transaction.state != "voided":
            raise wrong_state("cancelled", transaction)
        return Reply(200, render(transaction, base_url))

    def complete(self, action_id: str, outcome: str, base_url: str) -> Reply:
        """The customer's answer to a 3-D Secure question; the first one counts."""
        transaction = self.action(action_id)
        state = ("captured" if transaction.capture else "authorised") if outcome == "approve" else "declined"
        if transaction.state == "action_required":
            transaction.state = state
            transaction.captured_amount = transaction.amount if state == "captured" else 0
            transaction.code = "authentication_failed" if state == "declined" else None
            self.books.log(Call("complete", outcome, transaction.token, transaction.reference))
            self.books.change(transaction)
        elif transaction.state != state:
            raise wrong_state("completed", transaction)
        return Reply(200, render(transaction, base_url))

    def action(self, action_id: str) -> Transaction:
        transaction = self.books.by_action(action_id)
        if transaction is None:
            raise Refusal(404, "not_found", "no such action")
        return transaction

    def lookup(self, reference: str, base_url: str) -> Reply:
        """All charges under the merchant's reference, the newest first; 404 when none was ever seen."""
        found = self.books.by_reference(reference)
        self.books.log(Call("lookup", found[0].state if found else "not_found", reference=reference))
        if not found:
            raise Refusal(404, "not_found", "no charge was ever seen under this reference")
        return Reply(200, {"charges": [render(transaction, base_url) for transaction in found]})

    def token(self, token: str) -> cards.Token | None:
        return self.changed.get(token) or cards.ready_made(token) or self.books.token(token)

    def check_up(self, call: str, token: str | None = None, reference: str | None = None) -> None:
        """Refuse a call other than a charge while the gateway is down; a charge says so itself."""
        if self.down:
            self.books.log(Call(call, "outage", token, reference))
            raise UNAVAILABLE

    def _again(self, known: Transaction, asked: NewCharge, base_url: str) -> Reply:
        if self.down:
            self._log_charge(known.idempotency_key, asked, "outage")
            return Reply(503, UNAVAILABLE.body())
        same = (
            known.reference == asked.reference
            and known.token == asked.token
            and known.amount == asked.amount
            and known.currency == asked.currency
            and known.description == asked.description
            and known.capture == asked.capture
        )
        self._log_charge(known.idempotency_key, asked, "replay" if same else "idempotency_mismatch")
        if not same:
            message = "this Idempotency-Key was used with another body"
            raise Refusal(409, "idempotency_mismatch", message, field="Idempotency-Key")
        return Reply(200, _first_answer(known, base_url))

    def _next_outcome(self, token: str) -> tuple[str, float]:
        script = self.books.script(token)
        if script is not None:
            outcome = script.outcomes[0] if script.outcomes else script.then
            if outcome is not None:
                return outcome, script.hang_seconds
        known = self.token(token)
        return (known.outcome if known else "hard:no_such_token"), HANG_SECONDS

    def _advance_script(self, token: str) -> None:
        script = self.books.script(token)
        if script is not None and script.outcomes:
            script.outcomes.pop(0)
            self.books.set_script(token, script)

    def _log_charge(self, key: str, asked: NewCharge, outcome: str) -> None:
        self.books.log(Call("charge", outcome, asked.token, asked.reference, key, asked.amount, asked.currency))

    def find(self, call: str, name: str, reference: str | None = None) -> Transaction:
        """The charge that a call names by id or reference; the call is noted. Refused with 404 when there is none."""
        transaction = self.books.find(name)
        token = transaction.token if transaction else None
        state = transaction.state if transaction else "not_found"
        self.books.log(Call(call, state, token, reference or name))
        if transaction is None:
            raise Refusal(404, "not_found", "no such charge")
        return transaction


def render(transaction: Transaction, base_url: str) -> dict[str, Any]:
    """A charge as it stands now."""
    waiting = transaction.state == "action_required"
    return {
        "id": transaction.id,
        "reference": transaction.reference,
        "status": _STATUS[transaction.state],
        "state": transaction.state,
        "amount": transaction.amount,
        "captured_amount": transaction.captured_amount,
        "currency": transaction.currency,
        "code": transaction.code,
        "message": cards.message(transaction.code) if transaction.code else "",
        "action_url": f"{base_url}/actions/{transaction.action_id}" if waiting else None,
        "created_ms": transaction.created_ms,
    }


def _first_answer(transaction: Transaction, base_url: str) -> dict[str, Any]:
    """What was said when the charge was made, whatever became of it: a key's answer never changes."""
    if transaction.action_id:
        state, code = "action_required", None
    elif transaction.code:
        state, code = "declined", transaction.code
    else:
        state, code = ("captured" if transaction.capture else "authorised"), None
    captured = transaction.amount if state == "captured" else 0
    answer = render(transaction, base_url)
    if transaction.state == state and transaction.captured_amount == captured:
        return answer
    url = f"{base_url}/actions/{transaction.action_id}" if transaction.action_id else None
    first = {"status": _STATUS[state], "state": state, "captured_amount": captured, "action_url": url}
    return answer | first | {"code": code, "message": cards.message(code) if code else ""}


def _transaction(key: str, asked: NewCharge, word: str, code: str) -> Transaction:
    declined = word in {"soft", "hard"}
    waiting = word == "action"
    captured = asked.capture and not declined and not waiting
    state = "declined" if declined else "action_required" if waiting else "captured" if captured else "authorised"
    now = now_ms()
    return Transaction(
        id=new_id("ch"),
        idempotency_key=key,
        reference=asked.reference,
        token=asked.token,
        amount=asked.amount,
        currency=asked.currency,
        description=asked.description,
        capture=int(asked.capture),
        state=state,
        code=code or None,
        action_id=new_id("act") if waiting else None,
        captured_amount=asked.amount if captured else 0,
        capture_reference=None,
        voided_amount=0,
        created_ms=now,
        updated_ms=now,
    )


def wrong_state(verb: str, transaction: Transaction) -> Refusal:
    """What a charge in its state does not allow."""
    message = f"a charge that is {transaction.state.replace('_', ' ')} cannot be {verb}"
    return Refusal(409, "wrong_state", message)


UNAVAILABLE: Final = Refusal(503, "unavailable", "the gateway is down; nothing was carried out")
BROKEN: Final = Refusal(500, "internal_error", "something broke")
