"""Customers and what is theirs, brought from the terminal to the whole stack; a worker killed in the middle."""

from __future__ import annotations

import asyncio
import csv
import io
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from api.keys import create_key
from cli_import import EXIT_BAD_INPUT, EXIT_OK, EXIT_REFUSED, Wanted, import_file
from settings import Settings
from tests.stack_fixtures import Shop

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

FILES = count(1)
MANY = 3_000


class Desk:
    """A person at a terminal, with an admin's key and a folder of files."""

    def __init__(self, shop: Shop, key: str, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.shop = shop
        self.key = key
        self._folder = folder
        self._capture = capture

    async def run(self, kind: str, content: str, mapping: dict[str, Any] | None = None) -> tuple[int, str]:
        """The command's exit status, and what it says."""
        file = self._folder / f"{kind}-{next(FILES)}.csv"
        file.write_text(content)
        chosen = Settings(public_url=self.shop.stack.api_url, api_key=self.key)
        said_by = None
        if mapping is not None:
            said_by = file.with_suffix(".yaml")
            said_by.write_text(yaml.safe_dump(mapping))
        status = await asyncio.to_thread(import_file, Wanted(file, said_by, None, None, None, kind), chosen)
        said = self._capture.readouterr()
        return status, said.out + said.err

    async def taken(self, kind: str) -> str:
        headers = {"Authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(base_url=self.shop.stack.api_url, headers=headers) as api:
            response = await api.get(f"/v1/exports/{kind}.csv", timeout=60)
        response.raise_for_status()
        return response.text


@pytest.fixture
async def desk(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(shop, await create_key(shop.database, f"items-{next(FILES)}"), tmp_path, capsys)


PERSON = {"external_id": "{no}", "email": "{no}@example.com", "currency": "USD"}
NOTE = {"external_id": "{no}", "customer": "{who}", "text": "said: {no}"}


async def test_customers_and_what_is_theirs_are_brought_and_taken_and_brought(desk: Desk) -> None:
    name = f"items-{next(FILES)}"
    assert (await desk.run("customers", f"no\n{name}\n", PERSON))[0] == EXIT_OK
    cards = f"no,who,token\n{name}-1,{name},tok_ok_visa_{name}\n{name}-2,{name},tok_ok_amex_{name}\n{name}-3,{name},x\n"
    card = {"external_id": "{no}", "customer": "{who}", "gateway": "sandbox", "token": "{token}"}
    status, said = await desk.run("payment-methods", cards, card)
    assert (status, "2 applied, 0 already known, 1 refused of 3 rows." in said) == (EXIT_REFUSED, True), said
    place = {"external_id": "{no}", "customer": "{who}", "kind": "billing", "line1": "Quay", "city": "Kiel"}
    assert (await desk.run("addresses", f"no,who\n{name},{name}\n", place | {"country": "DE"}))[0] == EXIT_OK
    assert (await desk.run("notes", f"no,who\n{name},{name}\n", NOTE))[0] == EXIT_OK
    gift = {"external_id": "{no}", "customer": "{who}", "currency": "USD", "amount": {"value": "12.50"}}
    assert (await desk.run("vouchers", f"no,who\n{name},{name}\n", gift))[0] == EXIT_OK
    kept = await desk.shop.rows(
        "SELECT m.brand, m.position FROM payment_methods AS m JOIN customers AS c ON c.id = m.customer_id"
        " WHERE c.external_id = :name ORDER BY m.position",
        name=name,
    )
    assert kept == [{"brand": "visa", "position": 0}, {"brand": "amex", "position": 1}]
    for kind in ("customers", "addresses", "payment-methods", "notes", "vouchers"):
        file = await desk.taken(kind)
        rows = list(csv.DictReader(io.StringIO(file)))
        assert name in {row.get("customer_external_id") or row.get("external_id") for row in rows}
        own = [row for row in rows if name in {row.get("customer_external_id"), row.get("external_id")}]
        written = io.StringIO()
        writer = csv.DictWriter(written, list(rows[0]))
        writer.writeheader()
        writer.writerows(own)
        status, said = await desk.run(kind, written.getvalue())
        assert (status, f"0 applied, {len(own)} already known" in said) == (EXIT_OK, True), said


async def test_a_worker_killed_in_the_middle_of_notes_doubles_none(desk: Desk) -> None:
    name = f"killed-{next(FILES)}"
    assert (await desk.run("customers", f"no\n{name}\n", PERSON))[0] == EXIT_OK
    content = "no,who\n" + "".join(f"{name}-{number},{name}\n" for number in range(MANY)) + f"{name}-x,nobody\n"
    running = asyncio.create_task(desk.run("notes", content, NOTE))

    async def under_way() -> bool:
        newest = await desk.shop.rows("SELECT applied FROM imports WHERE kind = 'notes' AND status = 'running'")
        return bool(newest) and newest[0]["applied"] > 0

    await desk.shop.eventually(under_way, "some rows are applied")
    await desk.shop.stack.kill("worker")
    await asyncio.sleep(0.5)
    await desk.shop.stack.restart("worker")
    status, said = await running
    assert (status, f"{MANY:,} applied, 0 already known, 1 refused" in said) == (EXIT_REFUSED, True), said
    found = await desk.shop.rows(
        "SELECT count(*), count(DISTINCT n.text) AS texts FROM notes AS n JOIN customers AS c ON c.id = n.customer_id"
        " WHERE c.external_id = :name",
        name=name,
    )
    assert found == [{"count": MANY, "texts": MANY}]


async def test_what_is_wrong_with_the_whole_file_is_told_and_nothing_is_done(desk: Desk) -> None:
    before = await desk.shop.rows("SELECT count(*) FROM imports")
    for kind, content, mapping, told in (
        ("notes", "id\n1\n", None, "the file has no column"),
        ("notes", "no\n1\n", {"external_id": "{no}", "customer": "x"}, "mapping.text: is missing"),
        ("vouchers", "no\n1\n", {"external_id": "{no}", "currency": "EUR"}, "mapping.amount: is missing"),
        ("customers", "no\n1\n", PERSON | {"cut_over": "today"}, "mapping.cut_over: there is no such key"),
        ("subscribers", "no\n1\n", None, "mapping: is missing"),
    ):
        status, said = await desk.run(kind, content, mapping)
        assert (status, told in said) == (EXIT_BAD_INPUT, True), said
    assert await desk.shop.rows("SELECT count(*) FROM imports") == before
