"""Tasks over the API: opened, handed on, found, closed with an outcome and never lost."""

from __future__ import annotations

from typing import Any

import pytest

from activities.tasks import NewTask, open_task
from models.session import Database
from tests.api.conftest import KEYS, Caller

CALL: dict[str, Any] = {"title": "Call back", "next_action": "Ask for the account's holder"}


async def ids(api: Caller, **query: Any) -> list[str]:
    response = await api.get("/v1/tasks", **query)
    assert response.status_code == 200, response.text
    return [each["id"] for each in response.json()["items"]]


async def test_a_task_goes_from_hand_to_hand_and_ends_with_an_outcome(api: Caller, customer: dict[str, Any]) -> None:
    task = await api.made("/v1/tasks", CALL | {"customer_id": customer["id"], "deadline": "2027-03-05T16:00:00+01:00"})
    assert task | CALL == task
    assert (task["kind"], task["status"], task["priority"]) == ("manual", "open", "normal")
    assert (task["opened_by"], task["deadline"]) == ("tests", "2027-03-05T15:00:00Z")
    path = f"/v1/tasks/{task['id']}"
    changed = await api.patch(path, {"assignee": "ben", "priority": "urgent", "deadline": None, "title": "Call Ada"})
    assert changed.status_code == 200
    wanted = {"assignee": "ben", "priority": "urgent", "deadline": None, "title": "Call Ada"}
    assert changed.json() == task | wanted | {"updated_at": changed.json()["updated_at"]}
    closed = await api.post(f"{path}/close", {"outcome": "she has another bank now"})
    shown = closed.json()
    assert (shown["status"], shown["outcome"], shown["closed_by"]) == ("done", "she has another bank now", "tests")
    assert shown["closed_at"] is not None
    assert (await api.get(path)).json() == shown


async def test_a_closed_task_stays_as_it_is(api: Caller) -> None:
    task = await api.made("/v1/tasks", CALL)
    path = f"/v1/tasks/{task['id']}"
    closed = (await api.post(f"{path}/close", {"outcome": "not needed", "status": "canceled"})).json()
    assert closed["status"] == "canceled"
    for refused in (
        await api.patch(path, {"assignee": "ben"}),
        await api.post(f"{path}/close", {"outcome": "something else", "status": "canceled"}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "task_closed")
        assert "closed by tests" in refused.json()["detail"]
    again = await api.post(f"{path}/close", {"outcome": "not needed", "status": "canceled"})
    assert again.json() == closed, "a repetition after a crash finds what was done"


async def test_a_task_cannot_be_deleted(api: Caller) -> None:
    task = await api.made("/v1/tasks", CALL)
    assert (await api.delete(f"/v1/tasks/{task['id']}")).status_code == 405


async def test_the_systems_task_is_opened_once_and_keeps_what_people_did_to_it(api: Caller, database: Database) -> None:
    new = NewTask("refund_exhausted", "Give it back", "Ask", "refund", f"re_{next(KEYS)}", detail={"code": "closed"})
    async with database.begin() as connection:
        task_id = await open_task(connection, new)
    path = f"/v1/tasks/{task_id}"
    assert (await api.patch(path, {"assignee": "ben"})).json()["detail"] == {"code": "closed"}
    async with database.begin() as connection:
        assert await open_task(connection, new) == task_id
    assert (await api.get(path)).json()["assignee"] == "ben"
    assert await ids(api, subject_kind="refund", subject_id=new.subject_id) == [task_id]


async def test_tasks_are_found(api: Caller, customer: dict[str, Any]) -> None:
    mine = {"customer_id": customer["id"]}
    late = await api.made("/v1/tasks", CALL | mine | {"deadline": "2020-01-01T00:00:00Z", "assignee": "late ben"})
    far = await api.made("/v1/tasks", CALL | mine | {"deadline": "2190-01-01T00:00:00Z", "kind": "far-away"})
    bare = await api.made("/v1/tasks", CALL | mine)
    done = await api.made("/v1/tasks", CALL | mine | {"deadline": "2020-01-01T00:00:00Z"})
    await api.post(f"/v1/tasks/{done['id']}/close", {"outcome": "done"})
    names = {late["id"]: "late", far["id"]: "far", bare["id"]: "bare", done["id"]: "done"}

    async def found(**query: Any) -> list[str]:
        return [names[each] for each in await ids(api, **mine, **query)]

    assert await found() == ["done", "bare", "far", "late"]
    assert await found(overdue=True) == ["late"]
    assert await found(overdue=False) == ["done", "bare", "far"]
    assert await found(status="done") == ["done"]
    assert await found(kind="far-away") == ["far"]
    assert await found(assignee="late ben") == ["late"]
    assert await found(assignee="nobody") == []


async def test_the_same_request_opens_one_task(api: Caller) -> None:
    first = await api.post("/v1/tasks", CALL, key="task-once")
    again = await api.post("/v1/tasks", CALL, key="task-once")
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"title": ""}, "title"),
    ({"title": "a\nb"}, "title"),
    ({"title": "x" * 201}, "title"),
    ({"title": None}, "title"),
    ({"priority": "soon"}, "priority"),
    ({"deadline": "tomorrow"}, "deadline"),
    ({"deadline": "2027-03-05T16:00:00"}, "deadline"),
    ({"assignee": ""}, "assignee"),
    ({"next_action": "x" * 2001}, "next_action"),
    ({"status": "done"}, "status"),
    ({"opened_by": "system"}, "opened_by"),
]
BAD_NEW: list[tuple[dict[str, Any], str]] = [
    ({"customer_id": "cus_nobody"}, "customer_id"),
    ({"kind": "not a code"}, "kind"),
    ({"subject_kind": "refund"}, "subject_id"),
    ({"subject_id": "re_1"}, "subject_id"),
]


@pytest.mark.parametrize(("wrong", "field"), [*BAD, *BAD_NEW], ids=str)
async def test_a_bad_task_is_refused(api: Caller, wrong: dict[str, Any], field: str) -> None:
    response = await api.post("/v1/tasks", CALL | wrong)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize(("wrong", "field"), BAD, ids=str)
async def test_a_bad_change_is_refused(api: Caller, wrong: dict[str, Any], field: str) -> None:
    task = await api.made("/v1/tasks", CALL)
    response = await api.patch(f"/v1/tasks/{task['id']}", wrong)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)
    assert (await api.get(f"/v1/tasks/{task['id']}")).json() == task


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "outcome"),
        ({"outcome": " "}, "outcome"),
        ({"outcome": ""}, "outcome"),
        ({"outcome": "done", "status": "open"}, "status"),
    ],
    ids=str,
)
async def test_a_task_is_not_closed_without_an_outcome(api: Caller, body: dict[str, Any], field: str) -> None:
    task = await api.made("/v1/tasks", CALL)
    response = await api.post(f"/v1/tasks/{task['id']}/close", body)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)
    assert (await api.get(f"/v1/tasks/{task['id']}")).json()["status"] == "open"


async def test_what_is_not_there_is_404(api: Caller) -> None:
    for response in (
        await api.get("/v1/tasks/task_none"),
        await api.patch("/v1/tasks/task_none", {"assignee": "ben"}),
        await api.post("/v1/tasks/task_none/close", {"outcome": "done"}),
    ):
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
