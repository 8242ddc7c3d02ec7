"""Templates over the API: written by leads, versioned, refused at the door, previewed with real data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from activities.staff_letters import StaffLetters
from api.keys import create_key
from domain.letters import EVENTS
from domain.roles import Role
from models.queries_operations import Stuck, stuck
from models.session import Database
from tests.api.conftest import KEYS, Caller
from tests.stack_fixtures import Shop, at

AT = "/v1/message-templates"
WORDS = {"subject": "Danke, {{ first_name }}", "text": "{{ topic }}", "html": "<p>{{ topic }}</p>"}


class Nobody:
    async def dispatch(self, messages: list[str]) -> None:
        del messages


@pytest.fixture
async def klara(api: Caller) -> AsyncIterator[str]:
    """A customer in Austria; afterwards all words are the built-in ones again."""
    body = {
        "email": "klara@example.com", "currency": "EUR", "first_name": "Klara", "last_name": "Berg",
        "language": "de-AT", "time_zone": "Europe/Vienna",
    }  # fmt: skip
    yield (await api.made("/v1/customers", body))["id"]
    for each in (await api.get(AT)).json()["items"]:
        for language in each["languages"]:
            await api.delete(f"{AT}/{each['event']}/{language}")


async def put(api: Caller, event: str, language: str, body: dict[str, Any]) -> httpx.Response:
    return await api.put(f"{AT}/{event}/{language}", body)


async def written(database: Database, customer: str, topic: str = "Ihre Geduld") -> dict[str, Any]:
    """A letter of staff to this customer, as the worker writes it."""
    letter = f"msg_letter_{next(KEYS)}_words"
    async with database.begin() as connection:
        await connection.execute(
            text(
                'INSERT INTO staff_letters (id, customer_id, template, "values", actor)'
                " VALUES (:id, :customer, 'staff_thanks', jsonb_build_object('topic', CAST(:topic AS text)), 'ann')"
            ),
            {"id": letter, "customer": customer, "topic": topic},
        )
    await StaffLetters(database, Nobody()).write_staff_letter(letter)  # pyright: ignore[reportArgumentType] - a list for any sequence
    async with database.begin() as connection:
        found = await connection.execute(text("SELECT * FROM messages WHERE id = :id"), {"id": letter})
        return dict(found.mappings().one())


async def test_a_fresh_installation_has_words_for_everything(api: Caller) -> None:
    items = {each["event"]: each for each in (await api.get(AT)).json()["items"]}
    assert set(items) == set(EVENTS)
    for event, each in items.items():
        assert {"en": 0, "de": 0}.items() <= each["languages"].items(), event
    shown = (await api.get(f"{AT}/receipt/de-CH")).json()
    assert (shown["language"], shown["version"]) == ("de", 0)
    assert (await api.get(f"{AT}/receipt/ja")).json()["language"] == "en"
    assert (await api.get(f"{AT}/nothing/de")).status_code == 404
    assert (await api.get(f"{AT}/receipt/-")).status_code == 422


async def test_a_changed_template_changes_what_is_written_and_never_what_was(
    api: Caller, database: Database, klara: str
) -> None:
    before = await written(database, klara)
    assert (before["language"], before["template_version"], before["subject"]) == ("de", 0, "Vielen Dank")
    first = await put(api, "staff_thanks", "de", WORDS)
    assert (first.status_code, first.json()["version"]) == (200, 1), first.text
    assert (await put(api, "staff_thanks", "de", WORDS)).json()["version"] == 1, "the same words are no new version"
    after = await written(database, klara, "<Kuchen>\nund Tee")
    assert (after["language"], after["template_version"], after["subject"]) == ("de", 1, "Danke, Klara")
    assert "<Kuchen>\nund Tee" in after["body"]
    assert "&lt;Kuchen&gt;" in after["html"]
    kept = (await api.get(f"/v1/messages/{before['id']}")).json()
    assert (kept["subject"], kept["body"], kept["html"]) == (before["subject"], before["body"], before["html"])

    reset = await api.delete(f"{AT}/staff_thanks/de")
    assert reset.json()["version"] == 0
    assert (await written(database, klara))["subject"] == "Vielen Dank"
    versions = (await api.get(f"{AT}/staff_thanks/de/versions")).json()["items"]
    assert [(each["version"], each["subject"], each["actor"]) for each in versions] == [
        (2, None, "tests"),
        (1, WORDS["subject"], "tests"),
    ]


async def test_versions_only_grow(api: Caller, database: Database, klara: str) -> None:
    assert klara
    await put(api, "paused", "de", {"subject": "Pause", "text": "Pause"})
    for change in ("UPDATE letter_templates SET text = 'x'", "DELETE FROM letter_templates"):
        with pytest.raises(DBAPIError, match="never changed or removed"):
            async with database.begin() as connection:
                await connection.execute(text(change))


async def test_two_who_write_at_once_make_two_versions_or_one_is_told(api: Caller, klara: str) -> None:
    assert klara
    bodies = [{"subject": f"Pause {n}", "text": "Pause"} for n in range(4)]
    answers = await asyncio.gather(*(put(api, "paused", "en", body) for body in bodies))
    last = max(answer.json()["version"] for answer in answers)
    assert len({answer.json()["version"] for answer in answers}) == 4
    stale = await put(api, "paused", "en", {"subject": "A", "text": "A", "based_on": last - 1})
    assert (stale.status_code, stale.json()["code"]) == (409, "changed_meanwhile")
    assert (await put(api, "paused", "en", {"subject": "A", "text": "A", "based_on": last})).status_code == 200


async def test_a_broken_template_is_refused_with_field_and_line(api: Caller, klara: str) -> None:
    assert klara
    response = await put(api, "receipt", "de", {"subject": "Danke", "text": "Hallo\n{{ amonut }}"})
    (error,) = response.json()["errors"]
    assert (response.status_code, error["field"], error["code"]) == (422, "text", "template_unknown_field")
    assert "line 2: there is no field `amonut`" in error["message"]
    html = {"subject": "Danke", "text": "Hallo", "html": "<p>\n<script>1</script>"}
    (error,) = (await put(api, "receipt", "de", html)).json()["errors"]
    assert (error["field"], error["code"]) == ("html", "template_html")
    assert (await api.get(f"{AT}/receipt/de/versions")).json()["items"] == []


async def test_a_template_that_fails_when_it_counts_holds_nothing_up_and_is_shown(
    api: Caller, database: Database, klara: str
) -> None:
    """As after a release that took a field away. A new version ends it."""
    async with database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO letter_templates (event, language, version, subject, text, actor)"
                " SELECT 'staff_thanks', 'de', coalesce(max(version), 0) + 1, '{{ gone }}', 'x', 'old release'"
                " FROM letter_templates WHERE event = 'staff_thanks' AND language = 'de'"
            )
        )
    letter = await written(database, klara)
    assert (letter["subject"], letter["template_version"], letter["status"]) == ("Vielen Dank", 0, "pending")
    assert "gone" in letter["template_trouble"]

    async def shown() -> list[Stuck]:
        async with database.session() as session:
            found = await stuck(session, limit=100, older_than_minutes=15)
        return [each for each in found if each.kind == "message_template"]

    (failing,) = await shown()
    assert failing.id == "staff_thanks/de"
    assert failing.why.startswith("1 letter(s) went out with the built-in words: de, version ")
    await put(api, "staff_thanks", "de", WORDS)
    assert await shown() == []


async def test_a_preview_is_what_would_be_sent(api: Caller, database: Database, klara: str) -> None:
    sample = await api.post(f"{AT}/receipt/de/preview", {})
    assert (sample.status_code, sample.json()["subject"]) == (200, "Zahlungsbeleg: 19,00 € für Coffee box")
    letter = await written(database, klara, "Ihren Besuch")
    same = (await api.post(f"{AT}/staff_thanks/de/preview", {"message_id": letter["id"]})).json()
    assert (same["subject"], same["text"], same["html"]) == (letter["subject"], letter["body"], letter["html"])
    draft = {"subject": "{{ amount }}", "text": "{{ name }}, {{ due_at }}", "customer_id": klara}
    shown = (await api.post(f"{AT}/renewal_notice/de/preview", draft)).json()
    assert shown["subject"] == "€ 19,00", "an amount as they write it in Austria"
    assert shown["text"].startswith("Klara Berg, 31. März 2026")
    assert (await api.get(f"{AT}/renewal_notice/de")).json()["version"] == 0, "a draft is not kept"
    for body, field in (
        ({"message_id": "msg_nobody"}, "message_id"),
        ({"message_id": letter["id"]}, "message_id"),
        ({"customer_id": "cus_nobody"}, "customer_id"),
        ({"subscription_id": "sub_nobody"}, "subscription_id"),
        ({"subject": "x"}, "text"),
        ({"subject": "x", "text": "{{ x }}"}, "text"),
    ):
        refused = await api.post(f"{AT}/receipt/de/preview", body)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field), body


async def test_agents_look_and_leads_write(api: Caller, database: Database) -> None:
    agent = Caller(api.http, await create_key(database, f"agent-{next(KEYS)}", Role.AGENT))
    assert (await agent.post(f"{AT}/receipt/de/preview", {})).status_code == 200
    assert (await put(agent, "receipt", "de", {"subject": "x", "text": "x"})).status_code == 403
    assert (await agent.delete(f"{AT}/receipt/de")).status_code == 403
    assert (await agent.post(f"{AT}/receipt/de/test", {"to": "me@example.com"})).status_code == 403


async def test_the_merchant_stands_on_every_letter_from_the_next_one_on(
    api: Caller, database: Database, klara: str
) -> None:
    name = f"Kaffee {next(KEYS)} & Co"
    await api.put("/v1/rules/seller", {"name": name, "address": ["Lindenstraße 12"]})
    letter = await written(database, klara)
    assert letter["body"].endswith(f"-- \n{name}\nLindenstraße 12\n")
    assert name.replace("&", "&amp;") in letter["html"]


@pytest.mark.stack
@pytest.mark.timeout(180)
async def test_both_forms_of_a_receipt_arrive_and_go_out_again_the_same(shop: Shop) -> None:
    """On the real parts: a renewal in a reader's own words, as text and HTML; sent again, it is the very same."""
    key = await create_key(shop.database, f"letters-{next(KEYS)}")
    async with httpx.AsyncClient(base_url=shop.stack.api_url, timeout=60, trust_env=False) as http:
        api = Caller(http, key)
        words = {"subject": "Ta {{ amount }}", "text": "Ta, {{ product }}", "html": "<p>Ta, {{ product }}</p>"}
        assert (await put(api, "receipt", "en-NZ", words)).status_code == 200
        customer = await shop.customer("tok_ok_visa")
        async with shop.database.begin() as connection:
            await connection.execute(text("UPDATE customers SET language = 'en-NZ' WHERE id = :id"), {"id": customer})
        state = await shop.start(customer, await shop.terms(), start_at=at("2027-10-04", 14))
        await shop.until(state.id, at("2027-10-04", 15))

        async def receipts() -> list[dict[str, Any]]:
            items = (await api.get("/v1/messages", customer_id=customer, template="receipt", status="sent")).json()
            return items["items"]

        async def one() -> bool:
            return len(await receipts()) == 1

        await shop.eventually(one, "the receipt is sent")
        (sent,) = await receipts()
        assert (sent["language"], sent["template_version"]) == ("en-NZ", 1)
        await put(api, "receipt", "en-NZ", words | {"text": "Changed"})
        assert (await api.post(f"/v1/messages/{sent['id']}/resend")).status_code == 201

        async def two() -> bool:
            return len(await receipts()) == 2

        await shop.eventually(two, "the receipt is sent again")
        await api.delete(f"{AT}/receipt/en-NZ")
    found = await shop.http.get(
        f"{shop.stack.mailsink_url}/messages", params={"to": f"{customer}@example.com", "limit": 10}
    )
    arrived = [
        (await shop.http.get(f"{shop.stack.mailsink_url}/messages/{mail['id']}")).json()
        for mail in found.json()["messages"]
        if mail["subject"].startswith("Ta ")
    ]
    assert len(arrived) == 2
    assert [(mail["subject"], mail["text"], mail["html"]) for mail in arrived[:1]] == [
        (mail["subject"], mail["text"], mail["html"]) for mail in arrived[1:]
    ]
    assert arrived[0]["text"].startswith("Ta, ")
    assert ">Ta, " in arrived[0]["html"]
