"""One POST, one effect: whatever is repeated, at once or later, after an answer or after a crash."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy import func, select, text, update

from api import idempotency
from models import Customer, IdempotencyRecord
from models.session import Database
from tests.api.conftest import Caller

ADA = {"email": "ada@example.com", "currency": "EUR"}


async def customers_by_key(database: Database, email: str) -> int:
    async with database.session() as session:
        return await session.scalar(select(func.count()).select_from(Customer).where(Customer.email == email)) or 0


async def test_the_same_request_again_gets_the_same_answer(api: Caller, database: Database) -> None:
    body = {"email": "again@example.com", "currency": "EUR"}
    first = await api.post("/v1/customers", body, key="again")
    second = await api.post("/v1/customers", body, key="again")
    assert first.status_code == second.status_code == 201
    assert first.content == second.content
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert await customers_by_key(database, "again@example.com") == 1


async def test_a_refusal_is_kept_too(api: Caller) -> None:
    path = "/v1/customers/cus_nobody/addresses"
    body = {"kind": "billing", "line1": "1 Road", "city": "Ulm", "country": "DE"}
    first = await api.post(path, body, key="refusal")
    second = await api.post(path, body, key="refusal")
    assert first.status_code == second.status_code == 404
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.headers["Content-Type"] == "application/problem+json"


async def test_another_body_or_route_under_a_used_key_is_an_error(api: Caller) -> None:
    await api.post("/v1/customers", ADA, key="used")
    for path, body in (
        ("/v1/customers", {**ADA, "email": "eve@example.com"}),
        ("/v1/products", ADA),
        ("/v1/customers?x=1", ADA),
    ):
        response = await api.post(path, body, key="used")
        assert response.status_code == 422, path
        if "?" not in path:
            assert response.json()["code"] == "idempotency_key_reused"
            assert response.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_two_callers_may_use_one_key(api: Caller, database: Database) -> None:
    from api.keys import create_key  # noqa: PLC0415

    other = Caller(api.http, await create_key(database, "other"))
    first = await api.post("/v1/customers", ADA, key="shared")
    second = await other.post("/v1/customers", ADA, key="shared")
    assert first.json()["id"] != second.json()["id"]


async def test_a_bad_body_leaves_the_key_free(api: Caller) -> None:
    bad = await api.post("/v1/customers", {**ADA, "currency": "EURO"}, key="corrected")
    good = await api.post("/v1/customers", ADA, key="corrected")
    assert (bad.status_code, good.status_code) == (422, 201)


async def test_many_at_once_make_one(api: Caller, database: Database) -> None:
    body = {"email": "many-at-once@example.com", "currency": "EUR"}
    answers = await asyncio.gather(*(api.post("/v1/customers", body, key="many") for _ in range(12)))
    statuses = {answer.status_code for answer in answers}
    assert statuses <= {201, 409}
    assert all(a.json()["code"] == "idempotency_in_progress" for a in answers if a.status_code == 409)
    assert len({a.json()["id"] for a in answers if a.status_code == 201}) == 1
    assert await customers_by_key(database, "many-at-once@example.com") == 1


async def test_a_crash_before_the_answer_was_kept_makes_no_second_one(api: Caller, database: Database) -> None:
    body = {"email": "crash@example.com", "currency": "EUR"}
    first = await api.post("/v1/customers", body, key="crash")
    # What a killed server leaves: the customer is there, the claim is open.
    record = IdempotencyRecord.key == "crash"
    async with database.begin() as connection:
        await connection.execute(
            update(IdempotencyRecord)
            .where(record)
            .values(status=None, body=None, locked_until=func.now() + timedelta(seconds=60))
        )
    waiting = await api.post("/v1/customers", body, key="crash")
    assert (waiting.status_code, waiting.json()["code"]) == (409, "idempotency_in_progress")
    assert waiting.headers["Retry-After"]
    async with database.begin() as connection:
        await connection.execute(update(IdempotencyRecord).where(record).values(locked_until=func.now()))
    repeated = await api.post("/v1/customers", body, key="crash")
    assert repeated.status_code == 201
    assert repeated.json() == first.json()
    assert await customers_by_key(database, "crash@example.com") == 1


async def test_an_outage_frees_the_key_for_the_same_request_only(api: Caller) -> None:
    made = await api.made("/v1/customers", ADA)
    path = f"/v1/customers/{made['id']}/payment-methods"
    for _ in range(2):  # nothing listens at the gateway's address
        response = await api.post(path, {"token": "tok_visa"}, key="outage")
        assert (response.status_code, response.json()["code"]) == (503, "unavailable")
        assert response.headers["Retry-After"]
    other = await api.post(path, {"token": "tok_other"}, key="outage")
    assert other.json()["code"] == "idempotency_key_reused"


async def test_the_key_is_asked_for_and_checked(api: Caller) -> None:
    headers = {"Authorization": f"Bearer {api.key}"}
    for key, code in (
        (None, "idempotency_key_required"),
        ("", "idempotency_key_invalid"),
        ("a b", "idempotency_key_invalid"),
        ("ä", "idempotency_key_invalid"),
        ("x" * 256, "idempotency_key_invalid"),
    ):
        sent = headers if key is None else headers | {"Idempotency-Key": key.encode()}
        response = await api.http.post("/v1/customers", json=ADA, headers=sent)  # pyright: ignore[reportArgumentType]
        assert (response.status_code, response.json()["code"]) == (422, code), key
        assert response.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_ids_come_from_caller_and_key(api: Caller, database: Database) -> None:
    made = (await api.post("/v1/customers", ADA, key="identity")).json()
    async with database.session() as session:
        caller = await session.scalar(text("SELECT caller_id FROM idempotency_records WHERE key = 'identity'"))
    assert caller is not None
    assert made["id"] == idempotency.Once(caller, "identity").id("cus")


async def test_old_answers_go_as_new_keys_come(api: Caller, database: Database) -> None:
    made = await api.post("/v1/customers", ADA, key="swept-0")
    assert made.status_code == 201
    old = [f"swept-{n}" for n in range(1, 2 * idempotency.SWEPT_PER_CLAIM_MAX + 1)]
    for key in [*old, "swept-busy", "swept-young"]:
        await api.post("/v1/customers", ADA, key=key)
    aged = func.now() - idempotency.KEPT - timedelta(minutes=1)
    over = func.now() - timedelta(minutes=1)
    async with database.begin() as connection:
        of = IdempotencyRecord.key
        await connection.execute(update(IdempotencyRecord).where(of.like("swept-%")).values(locked_until=over))
        await connection.execute(update(IdempotencyRecord).where(of.in_([*old, "swept-busy"])).values(created_at=aged))
        young = func.now() - idempotency.KEPT + timedelta(minutes=1)
        await connection.execute(update(IdempotencyRecord).where(of == "swept-young").values(created_at=young))
        await connection.execute(
            update(IdempotencyRecord).where(of == "swept-busy").values(locked_until=func.now() + timedelta(minutes=1))
        )
    for _ in range(2):
        await api.post("/v1/customers", ADA)
    async with database.session() as session:
        left = await session.scalars(
            select(IdempotencyRecord.key).where(IdempotencyRecord.key.like("swept-%")).order_by(IdempotencyRecord.key)
        )
        assert list(left) == ["swept-0", "swept-busy", "swept-young"]


async def test_a_claim_sweeps_a_few_and_a_repetition_none(api: Caller, database: Database) -> None:
    keys = [f"few-{n}" for n in range(idempotency.SWEPT_PER_CLAIM_MAX + 3)]
    for key in ["few-again", *keys]:
        await api.post("/v1/customers", ADA, key=key)
    over = func.now() - timedelta(hours=1)
    async with database.begin() as connection:
        await connection.execute(
            update(IdempotencyRecord)
            .where(IdempotencyRecord.key.in_(keys))
            .values(created_at=func.now() - idempotency.KEPT - timedelta(days=1), locked_until=over)
        )

    async def left() -> int:
        async with database.session() as session:
            counted = select(func.count()).select_from(IdempotencyRecord).where(IdempotencyRecord.key.in_(keys))
            return await session.scalar(counted) or 0

    assert (await api.post("/v1/customers", ADA, key="few-again")).headers["Idempotent-Replayed"] == "true"
    assert await left() == len(keys)
    await api.post("/v1/customers", ADA)
    assert await left() == 3
    await api.post("/v1/customers", ADA)
    assert await left() == 0
