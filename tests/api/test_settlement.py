"""Settlement, reconciliation and differences over HTTP: what is refused, and what is shown."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from models.session import Database
from tests.api.conftest import Caller

WINDOW = {"since": "2026-01-30T00:00:00Z", "until": "2026-01-31T00:00:00Z"}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("settlement-runs", {"gateway": "nobody"}, "gateway"),
        ("settlement-runs", {"from_start": "yes"}, "from_start"),
        ("settlement-runs", {"surprise": 1}, "surprise"),
        ("reconciliation-runs", {}, "since"),
        ("reconciliation-runs", WINDOW | {"gateway": "nobody"}, "gateway"),
        ("reconciliation-runs", {"since": "2026-01-31T00:00:00Z", "until": "2026-01-31T00:00:00Z"}, "since"),
        ("reconciliation-runs", {"since": "2199-01-31T00:00:00Z"}, "since"),
        ("reconciliation-runs", {"since": "2025-01-31T00:00:00Z", "until": "2026-01-31T00:00:00Z"}, "since"),
        ("reconciliation-runs", {"since": "2026-01-31"}, "since"),
        ("reconciliation-runs", WINDOW | {"in_flight_s": -1}, "in_flight_s"),
        ("reconciliation-runs", WINDOW | {"in_flight_s": 86_401}, "in_flight_s"),
        ("differences/dif_nobody/resolve", {}, "action"),
        ("differences/dif_nobody/resolve", {"action": "forget"}, "action"),
        ("differences/dif_nobody/resolve", {"action": "dismiss"}, "reason"),
        ("differences/dif_nobody/resolve", {"action": "dismiss", "reason": "  "}, "reason"),
    ],
)
async def test_bad_input_names_its_field(api: Caller, path: str, body: dict[str, Any], field: str) -> None:
    response = await api.post(f"/v1/{path}", body)
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


@pytest.mark.parametrize("path", ["settlement-runs/x", "reconciliation-runs/x", "differences/x"])
async def test_what_is_not_there_is_not_found(api: Caller, path: str) -> None:
    assert (await api.get(f"/v1/{path}")).status_code == 404


@pytest.mark.parametrize("query", [{"status": "closed"}, {"kind": "odd"}, {"limit": 0}, {"cursor": "x"}])
async def test_lists_refuse_what_they_do_not_know(api: Caller, query: dict[str, Any]) -> None:
    assert (await api.get("/v1/differences", **query)).status_code == 422


async def test_a_difference_shows_both_sides_and_what_it_takes(api: Caller, database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO differences (id, gateway, reference, kind, currency, ours, theirs, run_id, status,"
                " found_at) VALUES ('dif_shown', 'api', 'order-1', 'missing_here', 'EUR', '{}',"
                " jsonb_build_object('moved', 500), 'run', 'open', now()), ('dif_closed', 'api', 'order-2', 'amount',"
                " 'EUR', jsonb_build_object('moved', 500), jsonb_build_object('moved', 400), 'run', 'gone', now())"
            )
        )
    shown = (await api.get("/v1/differences/dif_shown")).json()
    assert (shown["ours"], shown["theirs"], shown["owed"]) == (None, {"moved": 500}, 500)
    assert shown["allowed"] == ["recheck", "adopt", "dismiss"]
    found = (await api.get("/v1/differences", gateway="api", status="gone", kind="amount")).json()["items"]
    assert [(each["id"], each["owed"], each["allowed"]) for each in found] == [("dif_closed", -100, [])]
    assert len((await api.get("/v1/differences", gateway="api")).json()["items"]) == 2
    assert (await api.get("/v1/differences", reference="order-3")).json()["items"] == []


async def test_the_runs_of_one_kind_are_not_those_of_the_other(api: Caller, database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO settlement_runs (id, kind, gateway, source, status, started_at) VALUES"
                " ('run_api_s', 'settlement', 'api', 'test', 'running', now()),"
                " ('run_api_r', 'reconciliation', 'api', 'test', 'running', now())"
            )
        )
    for path, mine, other in (
        ("settlement-runs", "run_api_s", "run_api_r"),
        ("reconciliation-runs", "run_api_r", "run_api_s"),
    ):
        listed = {each["id"] for each in (await api.get(f"/v1/{path}", limit=100)).json()["items"]}
        assert mine in listed
        assert other not in listed
        assert (await api.get(f"/v1/{path}/{mine}")).json()["status"] == "running"
        assert (await api.get(f"/v1/{path}/{other}")).status_code == 404
