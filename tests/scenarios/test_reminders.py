"""Reminders: told once at the time set, whatever dies in between, and not at all where nobody wants it any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest

from api.keys import create_key
from tests.stack_fixtures import Shop

pytestmark = pytest.mark.stack
NUMBERS = count(1)


class Desk:
    """An agent's tasks over HTTP, and the mail that comes of them."""

    def __init__(self, shop: Shop, key: str) -> None:
        self.shop = shop
        self._headers = {"Authorization": f"Bearer {key}"}

    async def open(self, assignee: str, remind_at: datetime) -> dict[str, Any]:
        body = {"title": "Call back", "assignee": assignee, "remind_at": remind_at.isoformat()}
        headers = self._headers | {"Idempotency-Key": f"remind-{next(NUMBERS)}-{assignee}"}
        answer = await self.shop.http.post(f"{self.shop.stack.api_url}/v1/tasks", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def change(self, task: str, body: dict[str, Any]) -> httpx.Response:
        return await self.shop.http.patch(
            f"{self.shop.stack.api_url}/v1/tasks/{task}", json=body, headers=self._headers
        )

    async def reminded(self) -> list[str]:
        answer = await self.shop.http.get(
            f"{self.shop.stack.api_url}/v1/tasks", params={"reminded": "true"}, headers=self._headers
        )
        return [each["id"] for each in answer.json()["items"]]

    async def mails(self, to: str) -> list[str]:
        answer = await self.shop.http.get(f"{self.shop.stack.mailsink_url}/messages", params={"to": to})
        return [mail["subject"] for mail in answer.json()["messages"]]


async def test_a_reminder_that_fell_due_while_no_worker_lived_is_told_once(shop: Shop) -> None:
    desk = Desk(shop, await create_key(shop.database, "reminders"))
    soon = datetime.now(UTC) + timedelta(seconds=3)
    kept = await desk.open("kept@example.com", soon)
    moved = await desk.open("moved@example.com", soon)
    cleared = await desk.open("cleared@example.com", soon)
    assert (await desk.change(moved["id"], {"remind_at": "2090-01-01T00:00:00Z"})).status_code == 422
    later = datetime.now(UTC) + timedelta(seconds=6)
    assert (await desk.change(moved["id"], {"remind_at": later.isoformat()})).status_code == 200
    assert (await desk.change(cleared["id"], {"remind_at": None})).status_code == 200
    await shop.stack.kill("worker")
    await shop.eventually(lambda: _past(soon), "the time of the reminder")
    assert kept["id"] not in await desk.reminded()
    await shop.stack.restart("worker")

    async def both_told() -> bool:
        return bool(await desk.mails("kept@example.com")) and bool(await desk.mails("moved@example.com"))

    await shop.eventually(both_told, "both are reminded", within_s=90)
    for address in ("kept@example.com", "moved@example.com"):
        assert await desk.mails(address) == ["Reminder: Call back"]
    assert await desk.mails("cleared@example.com") == []
    given = await desk.reminded()
    assert {kept["id"], moved["id"]} <= set(given)
    assert cleared["id"] not in given


async def _past(moment: datetime) -> bool:
    return datetime.now(UTC) > moment
