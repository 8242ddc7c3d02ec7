"""`make bench-search`: how long the search box takes, as a multiple of the same request that only does `SELECT 1`.

The requests go through the whole API in this process (key, role, limits, log), one after another, on a database with
as many made-up customers as are wanted. Both kinds of request take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from api.app import create_app
from api.context import Services, ServicesDep
from api.keys import create_key
from api.routing import noun
from bench.customers import generate
from local.stack import Stack
from local.supervisor import Tell
from models.session import Database
from providers.gateways.registry import open_gateway
from settings import Settings

LATEST: Final = Path(__file__).with_name("search-latest.json")
ROUNDS: Final = 5
REPEATS: Final = 8  # of each query in a round
WANTED_P95: Final = 15.0
SEED: Final = 1

# What is asked: kind → queries. Those with braces are about a customer of the made-up ones, another one each time.
QUERIES: Final[Mapping[str, tuple[str, ...]]] = {
    "exact": ("{email}", "{external_id}", "{id}", "{number}"),
    "name": ("{first_name} {last_name}", "{last_name}", "{company}"),
    "prefix": ("{first_name} {start}", "{start}"),
    "misspelt": ("{first_name} {swapped}", "{swapped}", "{dropped}"),
    "last four": ("{last4}",),
    "phone": ("{phone}", "{local_phone}"),
    "nothing": ("xqzwv kjhgf", "nobody@nowhere.invalid", "+1 999 000 111 222"),
}


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How much. `count` customers; with `url`, the ones that are in that database."""

    count: int
    rounds: int = ROUNDS
    repeats: int = REPEATS
    url: str | None = None


async def measure_search(plan: SearchPlan, *, console: Console, tell: Tell) -> dict[str, Any]:
    """Measure and print."""
    if plan.url is not None:
        result = await _on_database(plan.url, plan, tell)
    else:
        async with Stack(Settings.model_construct(), ephemeral=True, tell=tell) as stack:
            await stack.migrate()
            begun = time.monotonic()
            await generate(stack.database_url, count=plan.count, seed=SEED, tell=tell)
            took = time.monotonic() - begun
            result = await _on_database(stack.database_url, plan, tell) | {"generated_in_s": round(took, 1)}
    _show(result, console)
    return result


async def _on_database(url: str, plan: SearchPlan, tell: Tell) -> dict[str, Any]:
    database = Database.connect(url, application_name="dunlin-bench", pool_max=2)
    gateway = open_gateway("sandbox", "http://127.0.0.1:9", timeout_s=1, calls_per_second_max=1)
    try:
        key = await create_key(database, "bench-search")
        app = create_app(Services(database, None, {gateway.name: gateway}))  # pyright: ignore[reportArgumentType] - no commands here
        app.include_router(_floor, prefix="/v1")
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://bench", headers={"Authorization": f"Bearer {key}"}
        ) as http:
            queries = await _queries(database, plan.repeats)
            await _round(http, queries)  # warms caches and statements; not counted
            rounds: list[dict[str, float]] = []
            for number in range(1, plan.rounds + 1):
                rounds.append(await _round(http, queries))
                tell(f"round {number} of {plan.rounds}: p95 {rounds[-1]['p95']:.1f} times SELECT 1")
        return await _result(database, plan, rounds)
    finally:
        await gateway.aclose()
        await database.close()


_floor: Final = noun("bench")


@_floor.get("/bench-floor")
async def only_select_one(services: ServicesDep) -> dict[str, int]:
    """The same way through the API, with the least that can be asked of a database."""
    async with services.database.session() as session:
        return {"one": (await session.execute(text("SELECT 1"))).scalar_one()}


async def _queries(database: Database, repeats: int) -> list[tuple[str, str]]:
    """Each kind's queries, `repeats` times, about customers spread over all there are."""
    statement = text(
        "SELECT c.id, c.external_id, c.first_name, c.last_name, c.company, c.email, c.phone, m.last4, i.number "
        "FROM customers AS c JOIN payment_methods AS m ON m.customer_id = c.id "
        "JOIN invoices AS i ON i.customer_id = c.id "
        "WHERE c.company <> '' AND length(c.last_name) > 4 ORDER BY md5(c.id) LIMIT :limit"
    )
    async with database.begin() as connection:
        people = (await connection.execute(statement, {"limit": repeats})).mappings().all()
    asked: list[tuple[str, str]] = []
    for person in people:
        last = person["last_name"]
        forms = dict(person) | {
            "start": last[:4],
            "swapped": f"{last[:2]}{last[3]}{last[2]}{last[4:]}",
            "dropped": f"{last[:2]}{last[3:]}",
            "local_phone": f"0{person['phone'][3:]}",
        }
        asked += [(kind, form.format(**forms)) for kind, texts in QUERIES.items() for form in texts]
    return asked


async def _round(http: httpx.AsyncClient, queries: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Multiples of the floor's median: of all queries together, and the median of each kind."""
    floor: list[float] = []
    times: dict[str, list[float]] = {}
    for kind, query in queries:
        floor.append(await _timed(http, "/v1/bench-floor", {}))
        times.setdefault(kind, []).append(await _timed(http, "/v1/search", {"q": query}))
    unit = statistics.median(floor)
    every = sorted(each for values in times.values() for each in values)
    kinds = {kind: statistics.median(values) / unit for kind, values in times.items()}
    p95 = every[math.ceil(0.95 * len(every)) - 1]
    worst = every[-1]
    return {
        "median": statistics.median(every) / unit,
        "p95": p95 / unit,
        "worst": worst / unit,
        "select_1_ms": unit * 1000,
        "p95_ms": p95 * 1000,
    } | kinds


async def _timed(http: httpx.AsyncClient, path: str, query: dict[str, str]) -> float:
    begun = time.perf_counter()
    response = await http.get(path, params=query)
    took = time.perf_counter() - begun
    response.raise_for_status()
    return took


async def _result(database: Database, plan: SearchPlan, rounds: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    async with database.begin() as connection:
        count = await connection.scalar(text("SELECT count(*) FROM customers"))
        words = await connection.scalar(text("SELECT count(*) FROM search_words"))
        version = await connection.scalar(text("SHOW server_version"))
    figures = {
        name: {
            "median": round(statistics.median(each[name] for each in rounds), 2),
            "min": round(min(each[name] for each in rounds), 2),
            "max": round(max(each[name] for each in rounds), 2),
        }
        for name in rounds[0]
    }
    return figures | {
        "customers": count,
        "words": words,
        "rounds": plan.rounds,
        "queries_a_round": plan.repeats * sum(map(len, QUERIES.values())),
        "machine": {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "cores": os.cpu_count(),
            "load_average": [round(load, 2) for load in os.getloadavg()],
            "python": platform.python_version(),
            "postgresql": str(version).split()[0],
        },
    }


def _show(result: Mapping[str, Any], console: Console) -> None:
    table = Table(title=f"Search over {result['customers']:,} customers, as a multiple of SELECT 1")
    for head in ("", "median", "least", "most"):
        table.add_column(head, justify="left" if not head else "right")
    for name in ("median", "p95", "worst", *QUERIES, "select_1_ms", "p95_ms"):
        figure = result[name]
        table.add_row(name.replace("_", " "), *(f"{figure[each]:.1f}" for each in ("median", "min", "max")))
    console.print(table)
    met = result["p95"]["median"] <= WANTED_P95
    console.print(f"p95 at most {WANTED_P95:g} times: {'yes' if met else 'no'}")
