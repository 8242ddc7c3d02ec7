"""One box: whatever an agent types while somebody is on the phone, the right customer comes first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import event, text

from api.app import create_app
from api.context import Services
from api.keys import create_key
from domain.search import asked
from models.queries_search import STATEMENTS_MAX, search
from models.session import Database
from tests.api.conftest import Caller

ADA: dict[str, Any] = {
    "email": "Ada.Lovelace@example.com",
    "currency": "EUR",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "phone": "+49 (0)30 901820",
    "external_id": "crm-7001",
}
JOHN: dict[str, Any] = {"email": "js@example.org", "currency": "EUR", "first_name": "John", "last_name": "Smith"}
ZOE: dict[str, Any] = {
    "email": "office@muller.example",
    "currency": "EUR",
    "first_name": "Zoë",
    "last_name": "Łukasz-Åberg",
    "company": "Müller & Söhne Straße GmbH",
}

ODD = [
    *("%%%%", "__", "'; DROP TABLE customers; --", "<b>x</b>", "=1+1", "\\\\", "a" * 200, "** & !"),
    *("\N{DUCK}\N{DUCK}", "\u202eadA", "\u0663\u0664\u0665\u0666", "\u674e\u5c0f\u9f99"),
]
THINGS = """
INSERT INTO payment_methods (id, customer_id, gateway, token, kind, last4, removed_at)
VALUES ('pm_1', '{john}', 'sandbox', 't', 'card', '4242', NULL),
    ('pm_2', '{ada}', 'sandbox', 't', 'card', '4242', now());
INSERT INTO products (id, code, name) VALUES ('prod', 'p', 'P');
INSERT INTO prices (id, product_id, code, currency, unit_amount, interval_count, interval_unit)
VALUES ('price', 'prod', 'm', 'EUR', 100, 1, 'month');
INSERT INTO subscriptions (id, external_id, customer_id, product_id, price_id, status, access, currency, amount,
    quantity, cycle, test_mode, trigger, event_seq, virtual_now)
VALUES ('sub_x', 'contract/9', '{ada}', 'prod', 'price', 'active', 'active', 'EUR', 100, 1, 1, false, 'timer', 1,
    now());
INSERT INTO invoices (id, number, customer_id, subscription_id, cycle, reason, currency, total, credit_applied,
    amount_due, status, issued_at, local_date, test_mode)
VALUES ('inv', 'ABC-000012', '{john}', 'sub', 1, 'renewal', 'EUR', 100, 0, 100, 'open', now(), '2027-01-01', false)
"""


@pytest.fixture
async def desk(fresh_database: Database, services: Services) -> AsyncIterator[Caller]:
    own = replace(services, database=fresh_database)
    transport = httpx.ASGITransport(create_app(own), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        yield Caller(http, await create_key(fresh_database, "tests"))


@pytest.fixture
async def people(desk: Caller) -> dict[str, str]:
    rows = {"ada": ADA, "john": JOHN, "zoe": ZOE}
    return {name: (await desk.made("/v1/customers", row))["id"] for name, row in rows.items()}


async def hits(api: Caller, q: str, **query: Any) -> list[dict[str, Any]]:
    response = await api.get("/v1/search", q=q, **query)
    assert response.status_code == 200, response.text
    return response.json()["items"]


async def first(api: Caller, q: str) -> tuple[str, str, str | None] | None:
    found = await hits(api, q)
    return (found[0]["customer_id"], found[0]["match"], found[0]["by"]) if found else None


@pytest.mark.parametrize(
    ("typed", "who", "match", "by"),
    [
        ("ada.lovelace@EXAMPLE.com", "ada", "exact", "email"),
        ("crm-7001", "ada", "exact", "external_id"),
        ("+4930901820", "ada", "exact", "phone"),
        ("0049 30 901820", "ada", "exact", "phone"),
        ("030/901820", "ada", "exact", "phone"),
        ("90-18-20", "ada", "exact", "phone"),
        ("Lovelace", "ada", "word", None),
        ("  lovelace,   ADA ", "ada", "word", None),
        ("love", "ada", "prefix", None),
        ("ada lov", "ada", "prefix", None),
        ("Lovelase", "ada", "similar", None),
        ("Loevlace Ada", "ada", "similar", None),
        ("ada.lovelcae@exmaple.com", "ada", "similar", None),
        ("Jonh", "john", "similar", None),
        ("Smtih", "john", "similar", None),
        ("jhon smiht", "john", "similar", None),
        ("zoe", "zoe", "word", None),
        ("ZOË lukasz", "zoe", "word", None),
        ("Aberg", "zoe", "word", None),
        ("muller sohne strasse", "zoe", "word", None),
        ("MÜLLER", "zoe", "word", None),
        ("Mueler gmbh", "zoe", "similar", None),
    ],
)
async def test_what_is_typed_finds_whom_it_means(
    desk: Caller, people: dict[str, str], typed: str, who: str, match: str, by: str | None
) -> None:
    assert await first(desk, typed) == (people[who], match, by)


async def test_numbers_of_invoices_cards_and_subscriptions(
    desk: Caller, people: dict[str, str], fresh_database: Database
) -> None:
    async with fresh_database.begin() as connection:
        for statement in THINGS.split(";"):
            await connection.execute(text(statement.format(**people)))
    assert await first(desk, "abc-000012") == (people["john"], "exact", "invoice_number")
    assert await first(desk, "sub_x") == (people["ada"], "exact", "subscription_id")
    assert await first(desk, "contract/9") == (people["ada"], "exact", "subscription_id")
    assert [hit["customer_id"] for hit in await hits(desk, "4242")] == [people["john"]], "a removed card finds nobody"
    assert await first(desk, people["zoe"]) == (people["zoe"], "exact", "id")


async def test_a_value_of_a_custom_field_finds_its_customer(desk: Caller, people: dict[str, str]) -> None:
    await desk.made("/v1/custom-fields", {"key": "car", "label": "Car", "type": "text"})
    path = f"/v1/customers/{people['john']}/custom-fields"
    assert (await desk.patch(path, {"values": {"car": "Škoda Octavia B-XY 1234"}})).status_code == 200
    assert await first(desk, "skoda octavia b-xy 1234") == (people["john"], "exact", "custom_field")
    assert await first(desk, "octavai") == (people["john"], "similar", None)
    await desk.patch(path, {"values": {"car": None}})
    assert await hits(desk, "octavia") == []


async def test_the_search_follows_every_change_and_forgets_what_nobody_bears(
    desk: Caller, people: dict[str, str], fresh_database: Database
) -> None:
    await desk.patch(f"/v1/customers/{people['ada']}", {"last_name": "Byron", "email": "ada@example.com", "phone": ""})
    assert await hits(desk, "Lovelace") == []
    assert await hits(desk, "901820") == []
    assert await first(desk, "Byron") == (people["ada"], "word", None)
    async with fresh_database.begin() as connection:
        words = set(await connection.scalars(text("SELECT word FROM search_words")))
        assert "lovelace" not in words, "a name that nobody has is not kept"
        assert {"byron", "ada", "smith"} <= words
        await connection.execute(text("DELETE FROM customers WHERE id = :id"), {"id": people["john"]})
        assert "smith" not in set(await connection.scalars(text("SELECT word FROM search_words")))


async def test_a_renewal_does_not_pay_for_the_search(people: dict[str, str], fresh_database: Database) -> None:
    """Numbering an invoice touches the customer's row; the row of the search must not be written for it."""
    version = text("SELECT xmin::text FROM customer_search WHERE customer_id = :id").bindparams(id=people["ada"])
    async with fresh_database.begin() as connection:
        before = await connection.scalar(version)
    async with fresh_database.begin() as connection:
        await connection.execute(text("UPDATE customers SET invoice_seq = invoice_seq + 1"))
    async with fresh_database.begin() as connection:
        assert await connection.scalar(version) == before


async def test_the_better_match_comes_first(desk: Caller) -> None:
    names = ["Marta", "Martha", "Martha Marthasdottir", "Marthe"]
    made = {
        name: (await desk.made("/v1/customers", {"email": "x@example.com", "currency": "EUR", "first_name": name}))[
            "id"
        ]
        for name in names
    }
    found = await hits(desk, "martha")
    assert [(hit["customer_id"], hit["match"]) for hit in found[:2]] == [
        (made["Martha"], "word"),
        (made["Martha Marthasdottir"], "word"),
    ]
    assert {(hit["customer_id"], hit["match"]) for hit in found[2:]} == {
        (made["Marta"], "similar"),
        (made["Marthe"], "similar"),
    }
    cut = (await desk.get("/v1/search", q="martha", limit=2)).json()
    assert (len(cut["items"]), cut["more"]) == (2, True)


@pytest.mark.parametrize(
    "typed",
    ODD,
)
async def test_odd_input_finds_nobody_and_breaks_nothing(desk: Caller, people: dict[str, str], typed: str) -> None:
    assert {hit["customer_id"] for hit in await hits(desk, typed)} <= set(people.values())


@pytest.mark.parametrize("typed", ["", "a", "   a   ", "x" * 201, "a\x00b"])
async def test_too_little_too_much_or_unreadable_is_refused(api: Caller, typed: str) -> None:
    response = await api.get("/v1/search", q=typed)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "q")


async def test_a_search_is_a_bounded_number_of_statements(people: dict[str, str], fresh_database: Database) -> None:
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    event.listen(fresh_database.engine.sync_engine, "before_cursor_execute", note)
    for typed in ("jhon smiht", people["ada"], "nobody at all", "one two three four five six seven eight"):
        said.clear()
        async with fresh_database.session() as session:
            await search(session, asked(typed), 20)
        assert 0 < len(said) <= STATEMENTS_MAX, typed
    event.remove(fresh_database.engine.sync_engine, "before_cursor_execute", note)
