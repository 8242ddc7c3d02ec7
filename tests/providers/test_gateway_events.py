"""An event is believed only when it was signed by the gateway, recently, as it came."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from providers.gateways.base import BadSignature, GatewayNotice
from providers.gateways.registry import open_gateway

SECRET = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
OTHER = f"whsec_{base64.b64encode(b'o' * 32).decode()}"
EVENT = {
    "type": "dispute.opened",
    "timestamp": "2026-03-01T09:00:00+00:00",
    "data": {"dispute_id": "dp_1", "fee": 1500},
}
BODY = json.dumps(EVENT).encode()


def signed(body: bytes = BODY, *, secret: str = SECRET, age: timedelta = timedelta()) -> dict[str, str]:
    at = datetime.now(UTC) - age
    signature = Webhook(secret).sign("evt_1", at, body.decode())
    return {"Webhook-Id": "evt_1", "Webhook-Timestamp": str(int(at.timestamp())), "Webhook-Signature": signature}


def read(body: bytes, headers: Mapping[str, str], secret: str | None = SECRET) -> GatewayNotice:
    gateway = open_gateway("sandbox", "http://127.0.0.1:9", timeout_s=1, calls_per_second_max=1, webhook_secret=secret)
    return gateway.read_event(body, headers)


def test_a_signed_event_is_read() -> None:
    at = datetime(2026, 3, 1, 9, tzinfo=UTC)
    assert read(BODY, signed()) == GatewayNotice("evt_1", "dispute.opened", at, {"dispute_id": "dp_1", "fee": 1500})


def test_one_of_several_signatures_is_enough_while_a_secret_changes() -> None:
    old, new = signed(secret=OTHER), signed()
    both = new | {"Webhook-Signature": f"{old['Webhook-Signature']} {new['Webhook-Signature']}"}
    assert read(BODY, both).event_id == "evt_1"


@pytest.mark.parametrize(
    ("signing", "change"),
    [
        ({"secret": OTHER}, {}),
        ({"age": timedelta(minutes=6)}, {}),
        ({"age": -timedelta(minutes=6)}, {}),
        ({}, {"Webhook-Id": "evt_2"}),
        ({}, {"Webhook-Id": ""}),
        ({}, {"Webhook-Timestamp": "soon"}),
        ({}, {"Webhook-Signature": "v1"}),
        ({}, {"Webhook-Signature": "v1,?"}),
        ({}, {"Webhook-Signature": ""}),
    ],
)
def test_a_signature_of_another_or_of_another_time_is_not_believed(
    signing: dict[str, Any], change: dict[str, str]
) -> None:
    with pytest.raises(BadSignature):
        read(BODY, signed(**signing) | change)


@pytest.mark.parametrize("changed", [BODY.replace(b"1500", b"0"), BODY + b" ", b"", b"\xff"])
def test_a_body_changed_on_its_way_is_not_believed(changed: bytes) -> None:
    with pytest.raises(BadSignature):
        read(changed, signed())


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"{}", json.dumps(EVENT | {"timestamp": "now"}).encode(), json.dumps(EVENT | {"data": 7}).encode()],
)
def test_what_is_signed_but_no_event_is_not_believed(body: bytes) -> None:
    with pytest.raises(BadSignature, match="not a signed event"):
        read(body, signed(body))


def test_without_a_secret_nothing_is_believed() -> None:
    with pytest.raises(BadSignature, match="no webhook secret"):
        read(BODY, signed(), secret=None)
