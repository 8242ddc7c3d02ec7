"""Whether an event was signed by the gateway (Standard Webhooks), and what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from standardwebhooks import Webhook, WebhookVerificationError

from providers.gateways.base import BadSignature, GatewayNotice


def read_signed(secret: str | None, body: bytes, headers: Mapping[str, str]) -> GatewayNotice:
    """The event in `body`, `{"type", "timestamp", "data"}`, with its `webhook-*` headers.

    Raises `BadSignature` for one that was not signed with `secret`, was changed, is more than five minutes old or
    ahead, or is signed but no event; and always where no secret is set.
    """
    if secret is None:
        raise BadSignature("no webhook secret is set for this gateway")
    by_name = {name.lower(): value for name, value in headers.items()}
    try:
        Webhook(secret).verify(body, by_name, json_parse=False)
        event = json.loads(body)
        return GatewayNotice(
            event_id=by_name["webhook-id"],
            kind=str(event["type"]),
            at=datetime.fromisoformat(event["timestamp"]),
            data=dict(event["data"]),
        )
    except WebhookVerificationError as error:
        raise BadSignature(str(error)) from error
    except (ValueError, KeyError, TypeError) as error:  # a header or body that is not even of the right form
        raise BadSignature(f"not a signed event: {error!r}") from error
