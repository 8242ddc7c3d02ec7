"""Whatever JSON is sent, the answer is a decision: never a 500, and every refusal names a field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import Caller

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["EUR", "a@example.com", "Europe/Berlin", "month", "\x00", "2027-02-30T00:00:00Z"])
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)

GOOD: dict[str, dict[str, Any]] = {
    "/v1/customers": {"email": "a@example.com", "currency": "EUR", "time_zone": "UTC", "tags": [], "notice_days": 1},
    "/v1/products": {"code": "x", "name": "X", "options": [], "description": ""},
    "/v1/prices": {
        "product_id": "prod_nobody",
        "code": "m",
        "currency": "EUR",
        "unit_amount": 1,
        "interval": {"count": 1, "unit": "month"},
        "policy": {"alignment": {"weekday": 1}},
    },
    "/v1/blacklist": {"kind": "fingerprint", "value": "fp-of-nobody", "address": None, "reason": "x"},
    "/v1/dunning-policies": {"name": "p", "retries": [{"after_days": 1, "hour": 1}], "grace_days": 1},
    "/v1/customers/cus_nobody/addresses": {"kind": "billing", "line1": "x", "city": "x", "country": "DE"},
}


@pytest.mark.parametrize("path", GOOD)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_json_gets_a_decision(api: Caller, path: str, data: st.DataObject) -> None:
    body: Any = data.draw(JSON)
    if data.draw(st.integers(0, 4)):  # mostly a good body with one thing wrong
        field = data.draw(st.sampled_from(sorted(GOOD[path])))
        body = GOOD[path] | {field: data.draw(JSON)}
    response = await api.post(path, body)
    assert response.status_code in {201, 404, 409, 422}, response.text
    if response.status_code == 422:
        assert all(error["field"] and error["message"] for error in response.json()["errors"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cursor=st.text(max_size=60) | st.binary(max_size=30).map(lambda raw: raw.hex()), limit=SCALARS)
async def test_any_page_asked_for_gets_a_decision(api: Caller, cursor: str, limit: Any) -> None:
    response = await api.get("/v1/customers", cursor=cursor, limit=limit)
    assert response.status_code in {200, 422}, response.text
