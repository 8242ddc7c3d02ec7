"""How the sandbox gateway's HTTP becomes answers, outages and lost answers.

refused connection, 503, 429        GatewayUnavailable    it was surely not taken
timeout, broken connection, 5xx     OutcomeUnknown        look it up; for a mere question: GatewayUnavailable
404                                 NOT_FOUND             as an answer
409 of a void, a failed refund      FAILED                a value with the gateway's code
other 4xx                           OrderRefused          our call is wrong, a person must look
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import httpx
from aiolimiter import AsyncLimiter

from domain.declines import decline_kind
from domain.money import Money
from providers.gateways.base import (
    Answer,
    AnswerStatus,
    CardChange,
    CardChangePage,
    GatewayNotice,
    GatewayUnavailable,
    Given,
    GivenStatus,
    MethodDetails,
    Order,
    OrderRefused,
    OutcomeUnknown,
    RefundOrder,
    SettledLine,
    SettlementPage,
    TheirTransaction,
    TransactionPage,
)
from providers.gateways.signatures import read_signed

CONNECTIONS_MAX: Final = 100
# Well below the gateway's own limit: a connection that it closes just as we use it loses us an answer.
KEEP_ALIVE_S: Final = 20
PAGE_SIZE: Final = 500
_NOT_TAKEN: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_Word = TypeVar("_Word")
_NOT_TAKEN_STATUS: Final = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})


class SandboxGateway:
    """`Gateway` over the sandbox's HTTP API, with kept-alive connections; close it with `aclose`."""

    name: str = "sandbox"
    is_sandbox: bool = True

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        calls_per_second_max: float,
        webhook_secret: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> None:
        self._url: Final = url
        self._page_size: Final = page_size
        self._webhook_secret: Final = webhook_secret
        self._limiter: Final = AsyncLimiter(calls_per_second_max, time_period=1)
        self._http: Final = httpx.AsyncClient(
            base_url=url,
            timeout=timeout_s,
            limits=httpx.Limits(
                max_connections=CONNECTIONS_MAX,
                max_keepalive_connections=CONNECTIONS_MAX,
                keepalive_expiry=KEEP_ALIVE_S,
            ),
            trust_env=False,  # only settings.py reads the environment
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def sale(self, order: Order) -> Answer:
        return await self._charge(order, capture=True)

    async def authorise(self, order: Order) -> Answer:
        return await self._charge(order, capture=False)

    async def capture(self, authorisation: str, order: Order) -> Answer:
        """Take what was set aside; where it is gone, what a look-up says of it."""
        body = {"reference": order.reference, "amount": order.amount.minor}
        try:
            return await self._order("POST", f"/v1/charges/{quote(authorisation, safe='')}/capture", json=body)
        except OrderRefused as refused:
            if refused.code != "wrong_state":
                raise
            return await self.lookup(authorisation)

    async def release(self, authorisation: str) -> Answer:
        """Give back what was set aside; where the gateway will not, what a look-up says of it."""
        response = await self._send("POST", f"/v1/charges/{quote(authorisation, safe='')}/void")
        match response.status_code:
            case HTTPStatus.NOT_FOUND:
                return Answer(AnswerStatus.NOT_FOUND)
            case HTTPStatus.CONFLICT:
                return await self.lookup(authorisation)
            case _:
                return _taken(response, _answer)

    async def void(self, reference: str) -> Answer:
        """Undo a charge, or end one that waits for the customer."""
        path = f"/v1/charges/{quote(reference, safe='')}"
        try:
            return await self._order("POST", f"{path}/void")
        except OrderRefused as refused:
            if refused.code != "wrong_state":
                raise
            return await self._order("POST", f"{path}/cancel")

    async def lookup(self, reference: str) -> Answer:
        found = await self._ask("/v1/charges", params={"reference": reference})
        if found is None:
            return Answer(AnswerStatus.NOT_FOUND)
        answers = [_answer(charge) for charge in found["charges"]]
        # Newest first. Where a reference was used twice, what moved money counts more than a later decline.
        return next((answer for answer in answers if answer.status != AnswerStatus.DECLINED), answers[0])

    async def describe(self, token: str) -> MethodDetails | None:
        found = await self._ask(f"/v1/tokens/{quote(token, safe='')}")
        return MethodDetails(**found) if found is not None else None

    async def void_sale(self, sale: str) -> Given:
        """Undo an unsettled sale in full; one that was settled in the meantime is a failure, `already_settled`."""
        response = await self._send("POST", f"/v1/charges/{quote(sale, safe='')}/void")
        match response.status_code:
            case HTTPStatus.NOT_FOUND:
                return Given(GivenStatus.NOT_FOUND)
            case HTTPStatus.CONFLICT:
                return _failed(response)
            case _:
                return Given(GivenStatus.SUCCEEDED, gateway_id=_taken(response, _answer).gateway_id)

    async def refund(self, order: RefundOrder) -> Given:
        """Give money back; an unknown sale is a failure, `no_such_charge`."""
        body = {
            "reference": order.reference,
            "charge": order.sale,
            "amount": order.amount.minor,
            "currency": order.amount.currency,
            "token": order.token,
        }
        response = await self._send("POST", "/v1/refunds", json=body, headers={"Idempotency-Key": order.reference})
        return _failed(response) if response.status_code == HTTPStatus.NOT_FOUND else _taken(response, _given)

    async def find_refund(self, reference: str) -> Given:
        found = await self._ask("/v1/refunds", params={"reference": reference})
        return Given(GivenStatus.NOT_FOUND) if found is None else _given(found)

    async def settlements(self, cursor: str | None) -> SettlementPage:
        """The next lines after the cursor, None: from the first. The cursor stays good for ever."""
        params = {"limit": self._page_size} | ({"after": cursor} if cursor is not None else {})
        page = await self._report("/v1/settlements", params)
        return SettlementPage(tuple(map(_settled_line, page["lines"])), page["cursor"], page["more"])

    async def transactions(self, since: datetime, until: datetime, cursor: str | None) -> TransactionPage:
        """Sales and refunds made in [since, until) by the gateway's clock."""
        params: dict[str, Any] = {"from": since.isoformat(), "to": until.isoformat(), "limit": self._page_size}
        page = await self._report("/v1/report", params | ({"after": cursor} if cursor is not None else {}))
        return TransactionPage(tuple(map(_their_transaction, page["transactions"])), page["next_after"])

    async def card_changes(self, cursor: str | None) -> CardChangePage:
        """Cards that were renewed or closed, after the cursor; it stays good for ever."""
        params = {"limit": self._page_size} | ({"after": cursor} if cursor is not None else {})
        page = await self._report("/v1/card-updates", params)
        return CardChangePage(tuple(map(_card_change, page["updates"])), page["cursor"], page["more"])

    def card_form(self, return_url: str) -> str:
        return f"{self._url}/form?{urlencode({'return_url': return_url})}"

    def confirm_page(self, action_url: str, return_url: str) -> str:
        return f"{action_url}?{urlencode({'return_url': return_url})}"

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> GatewayNotice:
        """An event of at most five minutes, signed with the secret of the settings. Raises `BadSignature`."""
        return read_signed(self._webhook_secret, body, headers)

    async def _charge(self, order: Order, *, capture: bool) -> Answer:
        body = {
            "reference": order.reference,
            "token": order.token,
            "amount": order.amount.minor,
            "currency": order.amount.currency,
            "description": order.description,
            "capture": capture,
        }
        return await self._order("POST", "/v1/charges", json=body, headers={"Idempotency-Key": order.reference})

    async def _order(self, method: str, path: str, **content: Any) -> Answer:
        response = await self._send(method, path, **content)
        if response.status_code == HTTPStatus.NOT_FOUND:
            return Answer(AnswerStatus.NOT_FOUND)
        return _taken(response, _answer)

    async def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Send what may move money, and give its answer or refusal: whatever is not surely untaken is unknown."""
        async with self._limiter:
            try:
                response = await self._http.request(method, path, **content)
            except _NOT_TAKEN as error:
                raise GatewayUnavailable(f"sandbox gateway: {error!r}") from error
            except httpx.TransportError as error:
                raise OutcomeUnknown(f"sandbox gateway: {error!r}") from error
        if response.status_code in _NOT_TAKEN_STATUS:
            raise GatewayUnavailable(f"sandbox gateway: status {response.status_code}")
        if response.is_server_error:
            raise OutcomeUnknown(f"sandbox gateway: status {response.status_code}")
        return response

    async def _report(self, path: str, params: dict[str, Any]) -> dict[str, Any]:
        found = await self._ask(path, params=params)
        if found is None:
            raise OrderRefused("not_found", f"the gateway has no {path}")
        return found

    async def _ask(self, path: str, **content: Any) -> dict[str, Any] | None:
        """Ask what is so, None for 404: nothing moves, so any failure may be repeated."""
        async with self._limiter:
            try:
                response = await self._http.get(path, **content)
            except httpx.TransportError as error:
                raise GatewayUnavailable(f"sandbox gateway: {error!r}") from error
        if response.is_server_error or response.status_code in _NOT_TAKEN_STATUS:
            raise GatewayUnavailable(f"sandbox gateway: status {response.status_code}")
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        if not response.is_success:
            raise OrderRefused(*_error(response))
        return response.json()


def _answer(charge: dict[str, Any]) -> Answer:
    # The sandbox calls an authorisation approved, too; only its state tells whether money was taken.
    held = charge["state"] == AnswerStatus.AUTHORISED
    status, code = AnswerStatus.AUTHORISED if held else AnswerStatus(charge["status"]), charge["code"]
    declined = status is AnswerStatus.DECLINED
    return Answer(
        status=status,
        gateway_id=charge["id"],
        code=code,
        decline=decline_kind(SandboxGateway.name, code) if declined else None,
        message=charge["message"],
        action_url=charge["action_url"],
    )


def _given(refund: dict[str, Any]) -> Given:
    return Given(GivenStatus(refund["status"]), refund["id"], refund["code"], refund["message"])


def _settled_line(line: dict[str, Any]) -> SettledLine:
    return SettledLine(
        batch_id=line["batch"],
        kind=line["kind"],
        gateway_id=line["id"],
        reference=line["reference"],
        amount=Money(line["amount"], line["currency"]),
        settled_at=_at(line["settled_ms"]),
    )


def _their_transaction(row: dict[str, Any]) -> TheirTransaction:
    return TheirTransaction(
        kind=row["kind"],
        gateway_id=row["id"],
        reference=row["reference"],
        amount=Money(row["amount"], row["currency"]),
        state=row["state"],
        at=_at(row["created_ms"]),
    )


def _card_change(update: dict[str, Any]) -> CardChange:
    closed = update["kind"] == "closed"
    return CardChange(update["id"], MethodDetails(**update["card"]), closed, _at(update["at_ms"]))


def _at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _taken(response: httpx.Response, read: Callable[[dict[str, Any]], _Word]) -> _Word:
    """The answer to an order that was taken; one that cannot be read is unknown."""
    if not response.is_success:
        raise OrderRefused(*_error(response))
    try:
        return read(response.json())
    except (ValueError, KeyError) as error:
        raise OutcomeUnknown(f"sandbox gateway: unreadable answer: {error!r}") from error


def _failed(response: httpx.Response) -> Given:
    code, message = _error(response)
    return Given(GivenStatus.FAILED, code=code, message=message)


def _error(response: httpx.Response) -> tuple[str, str]:
    try:
        error = response.json()["error"]
        return error["code"], error["message"]
    except (ValueError, KeyError, TypeError):
        return f"http_{response.status_code}", response.text[:200]
