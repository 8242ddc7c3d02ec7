"""How the sandbox gateway's HTTP becomes answers, outages and lost answers.

refused connection, 503, 429        GatewayUnavailable    it was surely not taken
timeout, broken connection, 5xx     OutcomeUnknown        look it up; for a mere question: GatewayUnavailable
404                                 NOT_FOUND             as an answer
other 4xx                           OrderRefused          our call is wrong, a person must look
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import httpx
from aiolimiter import AsyncLimiter

from domain.declines import decline_kind
from providers.gateways.base import (
    Answer,
    AnswerStatus,
    GatewayUnavailable,
    MethodDetails,
    Order,
    OrderRefused,
    OutcomeUnknown,
)

CONNECTIONS_MAX: Final = 100
# Well below the gateway's own limit: a connection that it closes just as we use it loses us an answer.
KEEP_ALIVE_S: Final = 20
_NOT_TAKEN: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NOT_TAKEN_STATUS: Final = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})


class SandboxGateway:
    """`Gateway` over the sandbox's HTTP API, with kept-alive connections; close it with `aclose`."""

    name: str = "sandbox"
    is_sandbox: bool = True

    def __init__(self, url: str, *, timeout_s: float, calls_per_second_max: float) -> None:
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

    async def authorize(self, order: Order) -> Answer:
        return await self._charge(order, capture=False)

    async def capture(self, authorization: str, order: Order) -> Answer:
        body = {"reference": order.reference, "amount": order.amount.minor}
        return await self._order("POST", f"/v1/charges/{quote(authorization, safe='')}/capture", json=body)

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
        """Send what may move money: whatever is not surely untaken is unknown."""
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
        if response.status_code == HTTPStatus.NOT_FOUND:
            return Answer(AnswerStatus.NOT_FOUND)
        if not response.is_success:
            raise _refused(response)
        try:
            return _answer(response.json())
        except (ValueError, KeyError) as error:
            raise OutcomeUnknown(f"sandbox gateway: unreadable answer: {error!r}") from error

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
            raise _refused(response)
        return response.json()


def _answer(charge: dict[str, Any]) -> Answer:
    status, code = AnswerStatus(charge["status"]), charge["code"]
    declined = status is AnswerStatus.DECLINED
    return Answer(
        status=status,
        gateway_id=charge["id"],
        code=code,
        decline=decline_kind(SandboxGateway.name, code) if declined else None,
        message=charge["message"],
        action_url=charge["action_url"],
    )


def _refused(response: httpx.Response) -> OrderRefused:
    try:
        error = response.json()["error"]
        return OrderRefused(error["code"], error["message"])
    except (ValueError, KeyError, TypeError):
        return OrderRefused(f"http_{response.status_code}", response.text[:200])
