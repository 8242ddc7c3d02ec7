"""A provider behind a webhook: one signed POST for each parcel, and what its answers mean.

The body is `{"type", "timestamp", "data"}` of type `fulfilment.requested` or `fulfilment.withdrawn`, signed by the
rules of Standard Webhooks; `webhook-id` and `Idempotency-Key` are the parcel's id. 2xx: taken. 4xx: it will not be.
Anything else, or no answer: it may have been, and the same id is sent again. Redirects are not followed: addresses of
people are sent to the configured address and to no other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

import httpx
from standardwebhooks import Webhook, WebhookVerificationError

from providers.fulfilment.base import (
    BadNotice,
    Notice,
    Parcel,
    ParcelRefused,
    ProviderUnknown,
    ProviderUnreachable,
    TooLate,
)

REQUESTED: Final = "fulfilment.requested"
WITHDRAWN: Final = "fulfilment.withdrawn"
REFERENCE_LENGTH_MAX: Final = 200
_OK_BELOW: Final = 300
_REFUSED: Final = range(400, 500)
# Of these the provider does not say that it will not: it asks for patience, or our own setting is wrong.
_ASK_AGAIN: Final = frozenset({401, 403, 404, 408, 409, 425, 429})


class WebhookProvider:
    """One connection pool to the provider; `timeout_s` bounds a whole call."""

    def __init__(self, url: str, secret: str, *, timeout_s: float) -> None:
        self._url = url
        self._webhook = Webhook(secret)
        self._http = httpx.AsyncClient(timeout=timeout_s, trust_env=False, follow_redirects=False)

    @property
    def name(self) -> str:
        return "webhook"

    @property
    def by_batch(self) -> bool:
        return False

    async def hand_off(self, parcel: Parcel) -> str | None:
        data = {
            "fulfilment_id": parcel.id,
            "reference": parcel.reference,
            "recipient": parcel.recipient,
            "address": dict(parcel.address),
            "items": [
                {"code": item.code, "name": item.name, "option": item.option, "quantity": item.quantity}
                for item in parcel.items
            ],
            "replaces": parcel.replaces,
            "test_mode": parcel.test_mode,
        }
        answer = await self._post(parcel.id, REQUESTED, data)
        if answer.status_code in _REFUSED:
            raise ParcelRefused(f"the provider answered {answer.status_code}")
        return _reference(answer)

    async def withdraw(self, parcel_id: str, reason: str) -> None:
        answer = await self._post(f"{parcel_id}.withdrawn", WITHDRAWN, {"fulfilment_id": parcel_id, "reason": reason})
        if answer.status_code in _REFUSED:
            raise TooLate(f"the provider answered {answer.status_code}")

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> Notice:
        by_name = {name.lower(): value for name, value in headers.items()}
        try:
            self._webhook.verify(body, by_name, json_parse=False)
            event = json.loads(body)
            return Notice(
                event_id=by_name["webhook-id"],
                kind=str(event["type"]),
                at=datetime.fromisoformat(event["timestamp"]),
                data=dict(event["data"]),
            )
        except WebhookVerificationError as error:
            raise BadNotice(str(error)) from error
        except (ValueError, KeyError, TypeError) as error:  # a header or body that is not even of the right form
            raise BadNotice(f"not a signed event: {error!r}") from error

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _post(self, key: str, kind: str, data: Mapping[str, Any]) -> httpx.Response:
        """The answer, where it is one: 2xx or a refusal."""
        now = datetime.now(UTC).replace(microsecond=0)
        body = json.dumps({"type": kind, "timestamp": now.isoformat(), "data": data}, ensure_ascii=False)
        headers = {
            "content-type": "application/json",
            "idempotency-key": key,
            "webhook-id": key,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(key, now, body),
        }
        try:
            answer = await self._http.post(self._url, content=body.encode(), headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise ProviderUnreachable("the fulfilment provider is not reached") from error
        except httpx.HTTPError as error:
            raise ProviderUnknown("the fulfilment provider did not answer") from error
        if answer.status_code < _OK_BELOW or (answer.status_code in _REFUSED and answer.status_code not in _ASK_AGAIN):
            return answer
        raise ProviderUnknown(f"the fulfilment provider answered {answer.status_code}")


def _reference(answer: httpx.Response) -> str | None:
    """The provider's own name of the parcel, `{"reference": "…"}`; an answer may well have none."""
    try:
        said: Any = answer.json()
    except ValueError:
        return None
    reference: Any = cast("dict[str, Any]", said).get("reference") if isinstance(said, dict) else None
    short = isinstance(reference, str) and 1 <= len(reference) <= REFERENCE_LENGTH_MAX and reference.isprintable()
    return reference if short else None
