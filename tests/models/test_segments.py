"""A filter finds in the database whom it means: compared with a plain reading of the same tree in Python."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.custom_fields import Definition, FieldType
from domain.segments import parse
from models import Address, Customer, CustomField, CustomValue, Invoice, Price, Product, Subscription
from models.segments import condition
from models.session import Database

Facts = dict[str, Any]

NAMES = ["", "Ada", "ada", "ADAM", "b%_b", "É\\", "o'x"]
TAGS = ["vip", "late", "x y"]
MOMENTS = ["2027-01-01T00:00:00+00:00", "2027-06-01T12:00:00+00:00", "2028-01-01T00:00:00+00:00"]
DATES = ["2024-02-29", "2027-01-01", "1999-12-31"]
CUSTOM = {
    "note": Definition("note", FieldType.TEXT),
    "size": Definition("size", FieldType.NUMBER),
    "born": Definition("born", FieldType.DATE),
    "news": Definition("news", FieldType.YES_NO),
}
VALUES = {
    "note": [*NAMES[1:], 7],
    "size": [0, 2, 2.5, -1, "2"],
    "born": [*DATES, "soon", 5],
    "news": [True, False, "true"],
}
SUBSCRIPTIONS: st.SearchStrategy[Facts] = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["active", "past_due"]),
        "amount": st.sampled_from([100, 200]),
        "created_at": st.sampled_from(MOMENTS),
        "next_due_at": st.sampled_from([None, *MOMENTS]),
        "test_mode": st.booleans(),
    }
)
PEOPLE: st.SearchStrategy[Facts] = st.fixed_dictionaries(
    {
        "first_name": st.sampled_from(NAMES),
        "gender": st.sampled_from([None, *NAMES]),
        "email": st.sampled_from(["a@example.com", "A@Example.com", "b@example.com"]),
        "notice_days": st.sampled_from([0, 3, 7]),
        "created_at": st.sampled_from(MOMENTS),
        "tags": st.lists(st.sampled_from(TAGS), unique=True),
        "country": st.lists(st.sampled_from(["DE", "FR"]), unique=True),
        "invoices": st.lists(st.tuples(st.sampled_from(["open", "paid"]), st.sampled_from([100, 50])), max_size=2),
        "custom": st.fixed_dictionaries({}, optional={key: st.sampled_from(each) for key, each in VALUES.items()}),
        "subscriptions": st.lists(SUBSCRIPTIONS, max_size=2),
    }
)


def rules(field: str, ops: dict[str, Any]) -> st.SearchStrategy[Facts]:
    kinds: list[st.SearchStrategy[Facts]] = [
        st.fixed_dictionaries({"op": st.just(op), "value": value}) for op, value in ops.items()
    ]
    kinds.append(st.fixed_dictionaries({"op": st.just("is_set"), "value": st.booleans()}))
    return st.one_of(kinds).map(lambda rest: {"field": field} | rest)


def texts(field: str, values: list[str]) -> st.SearchStrategy[Facts]:
    one = st.sampled_from([each for each in values if each])
    part = one.map(lambda each: each[:2]) | st.sampled_from(["%", "_", "\\", "D"])
    many = st.lists(one, min_size=1, max_size=2)
    return rules(field, {"eq": one, "ne": one, "in": many, "contains": part, "starts_with": part})


def ordered(field: str, values: list[Any], *, equal: bool = True) -> st.SearchStrategy[Facts]:
    one = st.sampled_from(values)
    ops: dict[str, Any] = dict.fromkeys(["lt", "le", "gt", "ge", *(["eq", "ne"] if equal else [])], one)
    return rules(field, ops)


def sets(field: str, values: list[str]) -> st.SearchStrategy[Facts]:
    many = st.lists(st.sampled_from(values), min_size=1, max_size=2)
    return rules(field, {"has": st.sampled_from(values), "has_any": many, "has_all": many})


def trees(leaves: st.SearchStrategy[Facts]) -> st.SearchStrategy[Facts]:
    def joined(inner: st.SearchStrategy[Facts]) -> st.SearchStrategy[Facts]:
        lists = st.lists(inner, max_size=2)
        return st.one_of(
            *(st.fixed_dictionaries({word: lists}) for word in ("all", "any")), st.fixed_dictionaries({"not": inner})
        )

    return st.recursive(leaves, joined, max_leaves=3)


OF_SUBSCRIPTION = st.one_of(
    texts("status", ["active", "past_due"]),
    ordered("amount", [100, 150.5]),
    ordered("created_at", MOMENTS, equal=False),
    ordered("next_due_at", MOMENTS, equal=False),
)
OF_CUSTOMER = st.one_of(
    texts("first_name", NAMES),
    texts("gender", NAMES),
    texts("email", ["A@example.com", "b@example.com"]),
    ordered("notice_days", [0, 3, 6.5]),
    ordered("overdue", [0, 50, 100, 150]),
    ordered("created_at", MOMENTS, equal=False),
    sets("tags", TAGS),
    sets("country", ["DE", "FR"]),
    texts("custom.note", NAMES),
    ordered("custom.size", [0, 2, 2.5]),
    ordered("custom.born", DATES),
    rules("custom.news", {"eq": st.booleans()}),
    trees(OF_SUBSCRIPTION).map(lambda part: {"subscription": part}),
)


def meets(facts: Facts, tree: Facts) -> bool:  # noqa: PLR0911 - one for each word of the language
    if "all" in tree:
        return all(meets(facts, each) for each in tree["all"])
    if "any" in tree:
        return any(meets(facts, each) for each in tree["any"])
    if "not" in tree:
        return not meets(facts, tree["not"])
    if "subscription" in tree:
        return any(meets(each, tree["subscription"]) for each in facts["subscriptions"] if not each["test_mode"])
    value, asked = held(facts, tree["field"]), tree["value"]
    is_set = value not in (None, "", [])
    if tree["op"] == "is_set":
        return is_set == asked
    asked = cased(tree["field"], asked)
    if tree["op"] == "ne":
        return not is_set or value != asked
    return is_set and OPS[tree["op"]](value, asked)


OPS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, asked: value == asked,
    "lt": lambda value, asked: value < asked,
    "le": lambda value, asked: value <= asked,
    "gt": lambda value, asked: value > asked,
    "ge": lambda value, asked: value >= asked,
    "in": lambda value, asked: value in asked,
    "contains": lambda value, asked: asked.lower() in value.lower(),
    "starts_with": lambda value, asked: value.lower().startswith(asked.lower()),
    "has": lambda value, asked: asked in value,
    "has_any": lambda value, asked: any(each in value for each in asked),
    "has_all": lambda value, asked: all(each in value for each in asked),
}


def cased(field: str, value: Any) -> Any:
    if field != "email":
        return value
    return [each.lower() for each in value] if isinstance(value, list) else value.lower()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]


def held(facts: Facts, field: str) -> Any:
    if field == "overdue":
        return sum(amount for status, amount in facts["invoices"] if status == "open")
    if not field.startswith("custom."):
        return cased(field, facts[field])
    key = field.removeprefix("custom.")
    value = facts["custom"].get(key)
    fits = {
        "note": isinstance(value, str),
        "size": isinstance(value, int | float) and not isinstance(value, bool),
        "born": value in DATES,
        "news": isinstance(value, bool),
    }
    return value if fits[key] else None


@pytest.fixture(scope="module")
async def catalogue(database: Database) -> None:
    async with database.session() as session:
        session.add(Product(id="seg_prod", code="seg", name="S"))
        session.add_all(
            CustomField(id=f"seg_{key}", subject="customer", key=key, label="x", type=each.type.value)
            for key, each in CUSTOM.items()
        )
        await session.flush()
        price = {"currency": "EUR", "unit_amount": 100, "interval_count": 1, "interval_unit": "month"}
        session.add(Price(id="seg_price", product_id="seg_prod", code="m", **price))


def moment(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


async def write(session: AsyncSession, number: int, facts: Facts) -> str:
    identity = f"seg_{number}"
    own = {name: facts[name] for name in ("first_name", "gender", "email", "notice_days", "tags")}
    made = moment(facts["created_at"])
    session.add(Customer(id=identity, currency="EUR", invoice_prefix=identity, created_at=made, **own))
    await session.flush()
    session.add_all(
        Address(id=f"{identity}_{country}", customer_id=identity, kind="billing", line1="", city="", country=country)
        for country in facts["country"]
    )
    invoice = {"cycle": 1, "reason": "renewal", "currency": "EUR", "credit_applied": 0, "local_date": ""}
    invoice |= {"issued_at": made, "test_mode": False, "customer_id": identity}
    for at, (status, amount) in enumerate(facts["invoices"]):
        name = f"{identity}_{at}"
        numbers = {"id": name, "number": name, "subscription_id": name, "total": amount, "amount_due": amount}
        session.add(Invoice(status=status, **numbers, **invoice))
    session.add_all(
        CustomValue(customer_id=identity, field_id=f"seg_{key}", value=value) for key, value in facts["custom"].items()
    )
    terms = {"product_id": "seg_prod", "price_id": "seg_price", "access": "", "currency": "EUR", "quantity": 1}
    terms |= {"cycle": 1, "trigger": "timer", "event_seq": 1, "virtual_now": made, "customer_id": identity}
    for at, each in enumerate(facts["subscriptions"]):
        own = {name: each[name] for name in ("status", "amount", "test_mode")}
        times = {"created_at": moment(each["created_at"]), "next_due_at": moment(each["next_due_at"])}
        session.add(Subscription(id=f"{identity}_{at}", **own, **times, **terms))
    await session.flush()
    return identity


@pytest.mark.usefixtures("catalogue")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people=st.lists(PEOPLE, min_size=1, max_size=3), filters=st.lists(trees(OF_CUSTOMER), min_size=4, max_size=8))
async def test_the_database_and_a_plain_reading_agree(
    database: Database, people: list[Facts], filters: list[Facts]
) -> None:
    async with AsyncSession(database.engine) as session:
        ids = {await write(session, number, facts): facts for number, facts in enumerate(people)}
        for tree in filters:
            wanted = condition(parse(tree, CUSTOM))
            found = await session.scalars(select(Customer.id).where(Customer.id.in_(ids), wanted))
            assert set(found) == {each for each, facts in ids.items() if meets(facts, tree)}, tree
        await session.rollback()


def test_values_are_bound_and_never_part_of_the_statement() -> None:
    attack = "x'; DROP TABLE customers; --"
    tree = {"all": [{"field": field, "op": "eq", "value": attack} for field in ("id", "email", "custom.note")]}
    assert "DROP" not in str(select(Customer.id).where(condition(parse(tree, CUSTOM))))
