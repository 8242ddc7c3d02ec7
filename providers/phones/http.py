"""A phone switch behind a web hook: one POST with the number, and what its answers mean.

The body is `{"reference", "number", "agent", "customer_id"}`, the reference also as `Idempotency-Key`. 2xx: the call is
being placed. 4xx: it will not be. Anything else, or no answer: unknown. Redirects are not followed: a number is sent to
the configured address and to no other.
"""

from __future__ import annotations

from typing import Final

import httpx

from providers.phones.base import Call, CallRefused, CallUnknown, SwitchUnreachable

_OK_BELOW: Final = 300
_REFUSED: Final = range(400, 500)
_MAY_HAVE_RUNG: Final = frozenset({408, 409, 425, 429})  # of these the switch does not say that it placed no call


class HookSwitch:
    """One connection pool to the hook; `timeout_s` bounds a whole call."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url = url
        self._http = httpx.AsyncClient(timeout=timeout_s, trust_env=False, follow_redirects=False)

    async def place(self, call: Call) -> None:
        body = {
            "reference": call.reference,
            "number": call.number,
            "agent": call.agent,
            "customer_id": call.customer_id,
        }
        try:
            answer = await self._http.post(self._url, json=body, headers={"Idempotency-Key": call.reference})
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise SwitchUnreachable("the phone switch is not reached") from error
        except httpx.HTTPError as error:
            raise CallUnknown("the phone switch did not answer") from error
        if answer.status_code < _OK_BELOW:
            return
        if answer.status_code in _REFUSED and answer.status_code not in _MAY_HAVE_RUNG:
            raise CallRefused(f"the phone switch answered {answer.status_code}")
        raise CallUnknown(f"the phone switch answered {answer.status_code}")

    async def aclose(self) -> None:
        await self._http.aclose()
