"""The measure of the search box runs on made-up customers, and finds them; no time is asserted."""

from __future__ import annotations

import io

from rich.console import Console
from sqlalchemy import text

from bench.customers import generate
from bench.search import QUERIES, SearchPlan, measure_search
from models.session import Database
from tests.conftest import Server

COUNT = 300


async def test_made_up_customers_are_the_same_for_a_seed_and_found(postgres_server: Server) -> None:
    url = await postgres_server.new_database()
    said: list[str] = []
    await generate(url, count=COUNT, seed=7, tell=said.append)
    table = io.StringIO()
    plan = SearchPlan(COUNT, rounds=1, repeats=2, url=url)
    result = await measure_search(plan, console=Console(file=table, width=200), tell=said.append)
    assert result["customers"] == COUNT
    assert result["queries_a_round"] == 2 * sum(map(len, QUERIES.values()))
    assert all(0 < result[name]["min"] <= result[name]["max"] for name in ("median", "p95", *QUERIES))
    assert "multiple of SELECT 1" in table.getvalue()

    other = await postgres_server.new_database()
    await generate(other, count=COUNT, seed=7, tell=said.append)
    names = text("SELECT string_agg(first_name || last_name || email, ' ' ORDER BY id) FROM customers")
    rows: list[str] = []
    for each in (url, other):
        database = Database.connect(each, application_name="tests", pool_max=1)
        async with database.begin() as connection:
            rows.append((await connection.execute(names)).scalar_one())
            kept = (await connection.execute(text("SELECT count(*) FROM customer_search"))).scalar_one()
            assert kept == COUNT, "what is copied in is found too"
        await database.close()
    assert rows[0] == rows[1]
