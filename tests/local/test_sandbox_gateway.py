"""The sandbox gateway as a stranger's program sees it: HTTP and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.gateway import cards
from tests.servers import ROOT, Server

stack = pytest.mark.stack


async def charge(sandbox: Server, token: str, reference: str, change: dict[str, Any] | None = None) -> httpx.Response:
    body = {"reference": reference, "token": token, "amount": 1000, "currency": "EUR"} | (change or {})
    return await sandbox.http.post("/v1/charges", json=body, headers={"Idempotency-Key": reference})


async def test_it_imports_nothing_of_the_rest() -> None:
    for path in (ROOT / "local" / "gateway").glob("*.py"):
        imported = {
            alias.name if isinstance(node, ast.Import) else str(node.module)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        ours = {name for name in imported if (ROOT / name.split(".")[0]).exists() or (ROOT / f"{name}.py").exists()}
        assert {name for name in ours if not name.startswith("local.gateway")} == set(), path.name


@stack
async def test_a_script_is_used_up_by_new_charges_only(sandbox: Server) -> None:
    script = {"outcomes": ["soft:insufficient_funds", "error_before", "error_after", "down"], "then": "hard:fraud"}
    await sandbox.http.put("/control/tokens/tok_ok_visa/script", json=script)
    statuses: list[Any] = []
    for reference in ("r1", "r1", "r2", "r2", "r2", "r3", "r3"):
        response = await charge(sandbox, "tok_ok_visa", reference)
        statuses.append(response.json().get("code") or response.json().get("status") or response.status_code)
    # r1 declined and replayed; r2 fails before, then after, then is known; r3 meets the 503, then `then`.
    expected = ["insufficient_funds", "insufficient_funds", 500, 500, "approved", 503, "fraud"]
    assert statuses == expected
    page = (await sandbox.http.get("/control/calls", params={"token": "tok_ok_visa", "limit": 3})).json()
    rest = (await sandbox.http.get("/control/calls", params={"after": page["next_after"]})).json()
    outcomes = [call["outcome"] for call in page["calls"] + rest["calls"]]
    assert outcomes == [
        "soft:insufficient_funds", "replay", "error_before", "error_after", "replay", "down", "hard:fraud",
    ]  # fmt: skip


@stack
async def test_books_scripts_and_calls_survive_a_kill(sandbox: Server) -> None:
    await sandbox.http.put("/control/tokens/tok_ok_visa/script", json={"outcomes": ["approve", "soft:velocity"]})
    first = (await charge(sandbox, "tok_ok_visa", "r1")).json()
    await sandbox.processes.kill(sandbox.name)
    await sandbox.processes.restart(sandbox.name)
    assert (await charge(sandbox, "tok_ok_visa", "r1")).json() == first
    assert (await charge(sandbox, "tok_ok_visa", "r2")).json()["code"] == "velocity"
    assert (await sandbox.http.get("/control/books")).json()["captured"] == {"EUR": 1000}
    assert len((await sandbox.http.get("/control/calls")).json()["calls"]) == 3
    await sandbox.http.post("/control/reset")
    assert (await sandbox.http.get("/control/books")).json()["captured"] == {}
    assert (await sandbox.http.get("/control/calls")).json()["calls"] == []


@stack
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": "1000"}, "amount"),
        ({"amount": 10.5}, "amount"),
        ({"currency": "eur"}, "currency"),
        ({"reference": ""}, "reference"),
        ({"capture": "yes"}, "capture"),
        ({"color": "red"}, "color"),
    ],
)
async def test_bad_input_is_refused_by_name_and_changes_nothing(
    sandbox: Server, change: dict[str, Any], field: str
) -> None:
    response = await charge(sandbox, "tok_ok_visa", "r1", change=change)
    assert response.status_code == 422
    assert response.json()["error"]["field"] == field
    assert (await sandbox.http.get("/v1/report")).json()["transactions"] == []


@stack
async def test_odd_requests_get_clear_answers(sandbox: Server) -> None:
    http = sandbox.http
    assert (await http.post("/v1/charges", json={})).json()["error"]["field"] == "Idempotency-Key"
    keyed = {"Idempotency-Key": "k"}
    assert (await http.post("/v1/charges", content=b"{", headers=keyed)).status_code == 422
    assert (await http.post("/v1/charges", content=b" " * 70_000, headers=keyed)).status_code == 413
    assert (await http.get("/v1/charges", params={"reference": "never"})).json()["error"]["code"] == "not_found"
    wrong = {"outcomes": ["aprove"]}
    response = await http.put("/control/tokens/tok_ok_visa/script", json=wrong)
    assert (response.status_code, response.json()["error"]["field"]) == (422, "outcomes.0")
    late = {"number": "4242424242424242", "exp_month": 1, "exp_year": 2020}
    assert (await http.post("/v1/tokens", json=late)).json()["error"]["field"] == "exp_year"
    assert (await http.post("/v1/tokens", json={"account": "x"})).json()["error"]["field"] == "account"
    assert (await http.get("/v1/report", params={"from": "2026-01-01T00:00:00"})).json()["error"]["field"] == "from"


@stack
async def test_the_form_keeps_the_number_and_sends_the_browser_back_with_a_token(
    sandbox: Server, tmp_path: Path
) -> None:
    back = "https://shop.example/cards?customer=7"
    page = await sandbox.http.get("/form", params={"return_url": back})
    assert 'name="number"' in page.text
    card = {"return_url": back, "number": "4000 0000 0000 2016", "exp_month": "12", "exp_year": "2045", "cvc": "123"}
    wrong = await sandbox.http.post("/form", data=card | {"number": "4000 0000 0000 2017"})
    assert (wrong.status_code, "Please check: number" in wrong.text) == (422, True)
    sent = await sandbox.http.post("/form", data=card)
    assert sent.status_code == 303
    token = httpx.URL(sent.headers["location"]).params["token"]
    assert (await charge(sandbox, token, "r1")).json()["code"] == "stolen_card"
    assert (await sandbox.http.get("/form", params={"return_url": "javascript:alert(1)"})).status_code == 422
    assert "4000000000002016" not in _everything_in(tmp_path)


def _everything_in(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in folder.iterdir())


def test_every_test_card_has_a_right_check_digit() -> None:
    assert all(cards.luhn(number) for number in cards.TEST_CARDS)
    assert not cards.luhn("4242424242424241")


@pytest.mark.parametrize(
    ("token", "outcome"),
    [
        ("tok_ok_visa", "approve"),
        ("tok_ok_visa_cust123", "approve"),
        ("tok_hard_stolen_7", "hard:stolen_card"),
        ("tok_hard_stolen_card_7", "hard:stolen_card"),
        ("tok_hang_before_x", "hang_before"),
        ("tok_ok_visacard", None),
        ("ok_visa", None),
    ],
)
def test_ready_made_tokens_follow_their_profile(token: str, outcome: str | None) -> None:
    found = cards.ready_made(token)
    assert (found.outcome if found else None) == outcome
