"""Whatever is sent, the answer is a decision and one of those that are described: never a 500."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.schemas import APIOperation

from tests.api.conftest import Caller
from tests.api.whole_api import IDS, OPERATIONS, SPEC, Asked
from tests.api.whole_api import asked as asked  # noqa: PLC0414 - a fixture is found where it is re-exported

# `make fuzz` goes deep, each time elsewhere; the tests always send the same.
DEEP = os.environ.get("DUNLIN_TEST_DEPTH") == "deep"
EXAMPLES = 200 if DEEP else 6
# A request that fails says enough as it is: to look for a shorter one takes minutes.
PHASES = (Phase.explicit, Phase.generate)
SLOW_IS_FINE = (
    HealthCheck.function_scoped_fixture,
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
)

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


# What is done once and then is nothing more to ask of: these get made-up ids only.
ENDS = {"DELETE /v1/customers/{customer_id}"}
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def takes_something(operation: APIOperation[Any, Any, Any, Any]) -> bool:
    """Whether there is anything to get wrong."""
    return bool(operation.body) or any(len(of) for of in (operation.path_parameters, operation.query))


def raw_of(sent: dict[str, Any]) -> bytes | None:
    """A body that is no JSON."""
    data = sent.get("data")
    return data.encode() if isinstance(data, str) else data


@pytest.mark.parametrize("label", OPERATIONS)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=SLOW_IS_FINE,
    derandomize=not DEEP,
    database=None,
    phases=PHASES,
)
@given(data=st.data())
async def test_any_request_gets_a_described_answer(asked: Asked, label: str, data: st.DataObject) -> None:
    """Made from the API's own description, as it says and then with something wrong; ids that exist, and others."""
    operation = OPERATIONS[label]
    modes = MODES if takes_something(operation) else MODES[:1]
    mode = data.draw(st.sampled_from(modes))
    # The library leaves types open.
    cases: Any = operation.as_strategy(generation_mode=mode, headers={})  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    case: Case[Any] = data.draw(cases)
    if label not in ENDS and data.draw(st.booleans()):
        case.path_parameters = {name: IDS.get(name, value) for name, value in case.path_parameters.items()}
    sent = case.as_transport_kwargs(base_url="http://api")
    response = await asked.send(
        sent["method"], sent["url"], query=sent["params"], body=sent.get("json"), raw=raw_of(sent)
    )
    described = SPEC["paths"][operation.path][operation.method]["responses"]
    assert response.status_code != 500, response.text
    assert str(response.status_code) in described, f"{response.status_code} is not described: {response.text}"
