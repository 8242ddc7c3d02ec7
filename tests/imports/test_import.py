"""A merchant's file, brought from the terminal to the whole stack: applied once, billed on the right days."""

from __future__ import annotations

import asyncio
import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from api.keys import create_key
from cli import app
from cli_import import EXIT_BAD_INPUT, EXIT_OK, EXIT_REFUSED, Wanted, import_file
from settings import Settings
from tests.stack_fixtures import Shop

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

TELCO = Path(__file__).resolve().parents[2] / "examples" / "telco"
LOS_ANGELES = ZoneInfo("America/Los_Angeles")
FILES = count(1)
COUNTED = ("subscriptions", "customers", "addresses", "payment_methods", "products", "prices", "imports")


@dataclass(slots=True)
class Desk:
    """A person at a terminal, with a key and a folder of files."""

    shop: Shop
    key: str
    folder: Path
    capture: pytest.CaptureFixture[str]

    async def run(
        self, file: Path, mapping: Path | None = None, cut_over: str | None = None, key: str | None = None
    ) -> tuple[int, str]:
        """The command's exit status, and what it says."""
        chosen = Settings(public_url=self.shop.stack.api_url, api_key=key or self.key)
        wanted = Wanted(file, mapping or self.mapping(), cut_over, None, None)
        status = await asyncio.to_thread(import_file, wanted, chosen)
        said = self.capture.readouterr()
        return status, said.out + said.err

    def file(self, *rows: str, header: str = "id,price,token") -> Path:
        path = self.folder / f"subscribers-{next(FILES)}.csv"
        path.write_text("\n".join([header, *rows, ""]))
        return path

    def mapping(self, **changes: Any) -> Path:
        data: dict[str, Any] = {
            "cut_over": "tomorrow",
            "test_mode": True,
            "external_id": "{id}",
            "currency": "USD",
            "zone": "America/Los_Angeles",
            "interval": "1 month",
            "customer": {"email": "{id}@example.com", "first_name": "Imported"},
            "product": {"code": "imported-box", "name": "Box"},
            "amount": {"value": "{price}"},
            "payment_method": {"gateway": "sandbox", "token": "{token}"},
            "start": {"months_before_cut_over": 5},
        }
        path = self.folder / f"mapping-{next(FILES)}.yaml"
        path.write_text(yaml.safe_dump(data | changes))
        return path

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    async def counts(self) -> dict[str, int]:
        return {table: (await self.shop.rows(f"SELECT count(*) FROM {table}"))[0]["count"] for table in COUNTED}  # noqa: S608

    async def subscription(self, external_id: str) -> dict[str, Any]:
        return (await self.shop.rows("SELECT * FROM subscriptions WHERE external_id = :id", id=external_id))[0]

    async def newest(self) -> dict[str, Any]:
        statement = (
            "SELECT id, status, rows_total, applied, known, refused, error FROM imports ORDER BY created_at DESC"
        )
        return (await self.shop.rows(f"{statement} LIMIT 1"))[0]


@pytest.fixture
async def desk(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(shop, await create_key(shop.database, f"desk-{next(FILES)}"), tmp_path, capsys)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


def correct(file: Path, wrong: str, right: str) -> None:
    file.write_text(file.read_text().replace(wrong, right))


def first_of_next_month() -> datetime:
    today = datetime.now(LOS_ANGELES)
    return datetime(today.year + today.month // 12, today.month % 12 + 1, 1, tzinfo=LOS_ANGELES)


def later(day: datetime, months: int) -> datetime:
    years, month = divmod(day.month - 1 + months, 12)
    return day.replace(year=day.year + years, month=month + 1)


async def test_the_example_runs_after_it_is_imported_and_bills_the_right_days(desk: Desk) -> None:
    cut_over = first_of_next_month()
    day = f"{cut_over:%Y-%m-%d}"
    status, said = await desk.run(TELCO / "subscribers.csv", TELCO / "mapping.yaml", day)
    assert (status, "122 applied, 0 already known, 0 refused of 122 rows." in said) == (EXIT_OK, True), said
    before = await desk.counts()

    status, said = await desk.run(TELCO / "subscribers.csv", TELCO / "mapping.yaml", day)
    assert (status, "0 applied, 122 already known, 0 refused of 122 rows." in said) == (EXIT_OK, True), said
    assert await desk.counts() == before | {"imports": before["imports"] + 1}, "a second run adds nothing"

    product = (await desk.shop.rows("SELECT id FROM products WHERE code = 'telco'"))[0]["id"]
    running = f"WorkflowType = 'Subscription' AND ExecutionStatus = 'Running' AND DunlinProduct = '{product}'"

    async def all_run() -> bool:
        return (await desk.shop.client.count_workflows(running)).count == 122

    await desk.shop.eventually(all_run, "122 workflows run")

    rows = rows_of(TELCO / "subscribers.csv")
    blank = next(row for row in rows if not row["TotalCharges"].strip())
    one_of_each = {row["Contract"]: row for row in rows if int(row["tenure"]) % 12}.values()
    for row in (blank, *one_of_each):
        await _bills_the_right_days(desk.shop, await desk.subscription(row["customerID"]), row, cut_over)


async def _bills_the_right_days(
    shop: Shop, subscription: dict[str, Any], row: dict[str, str], cut_over: datetime
) -> None:
    every = {"Month-to-month": 1, "One year": 12, "Two year": 24}[row["Contract"]]
    start, horizon = later(cut_over, -int(row["tenure"])), later(cut_over, 37)
    cycles = [later(start, every * number) for number in range(110)]
    due = [moment for moment in cycles if cut_over <= moment < horizon]
    await shop.until(subscription["id"], horizon.replace(day=1).astimezone(UTC))
    invoices = await shop.invoices(subscription["id"])
    got = [invoice["issued_at"].astimezone(LOS_ANGELES) for invoice in invoices]
    assert [f"{moment:%F}" for moment in got if moment < horizon] == [f"{moment:%F}" for moment in due], row
    whole, cents = f"{row['MonthlyCharges']}.".split(".")[:2]
    amount = (int(whole) * 100 + int(cents.ljust(2, "0"))) * every
    assert {(invoice["total"], invoice["status"]) for invoice in invoices} == {(amount, "paid")}, row


async def test_refused_rows_come_back_with_reasons_and_can_be_brought_again(desk: Desk) -> None:
    number = next(FILES)
    good, known = f"good-{number}", f"known-{number}"
    assert (await desk.run(desk.file(f"{known},5,tok_ok_visa_{known}")))[0] == EXIT_OK
    file = desk.file(
        f"{good},29.85,tok_ok_visa_{good}",
        f"negative-{number},-1,tok_ok_visa",
        f"{known},99,tok_ok_visa",
        f"{good},5,tok_ok_visa",
        f"=1+1|{number},5,card",
        f"no-method-{number},5,",
    )
    status, said = await desk.run(file)
    assert status == EXIT_REFUSED, said
    assert "2 applied, 1 already known, 3 refused of 6 rows." in said
    kept = Path(f"{file}.refused.csv")
    assert str(kept) in said
    refused = rows_of(kept)
    assert [(row["row"], row["field"]) for row in refused] == [
        ("3", "amount.value"),
        ("5", "external_id"),
        ("6", "payment_method.token"),
    ]
    assert refused[0]["reason"] == "a price is not negative; '-1' is"
    assert refused[0]["price"] == "'-1", "no cell is a formula"
    assert refused[1]["reason"] == f"'{good}' is in row 2 already"
    assert refused[2]["id"] == f"'=1+1|{number}"
    assert (await desk.subscription(known))["amount"] == 500, "what is known stays as it is"
    assert (await desk.subscription(good))["amount"] == 2985

    correct(kept, "'-1", "7.50")
    status, said = await desk.run(kept)
    assert "1 applied, 1 already known, 1 refused of 3 rows." in said
    assert (await desk.subscription(f"negative-{number}"))["amount"] == 750


async def test_a_customer_who_is_there_keeps_what_is_known(desk: Desk) -> None:
    number = next(FILES)
    customer = await desk.shop.customer("tok_ok_visa")
    await desk.shop.execute("UPDATE customers SET external_id = :new WHERE id = :id", new=f"old-{number}", id=customer)
    assert (await desk.run(desk.file(f"old-{number},5,tok_ok_amex_{number}")))[0] == EXIT_OK
    assert (await desk.subscription(f"old-{number}"))["customer_id"] == customer
    kept = await desk.shop.rows("SELECT first_name, email FROM customers WHERE id = :id", id=customer)
    assert kept == [{"first_name": "Ann", "email": f"{customer}@example.com"}]
    methods = await desk.shop.rows(
        "SELECT brand, last4 FROM payment_methods WHERE customer_id = :id ORDER BY position", id=customer
    )
    assert methods == [{"brand": "visa", "last4": "4242"}, {"brand": "amex", "last4": "0005"}], "the new one comes last"


async def test_what_the_catalogue_cannot_give_is_refused(desk: Desk) -> None:
    number = next(FILES)
    rows = desk.file(f"late-{number},5,tok_ok_visa", f"odd-{number},6,tok_ok_visa")
    product = {"code": f"gone-{number}", "name": "Gone"}
    await desk.shop.execute(
        "INSERT INTO products (id, code, name, archived_at) SELECT id, id, 'Gone', now()"
        " FROM (SELECT :id AS id) AS given",
        id=product["code"],
    )
    status, _ = await desk.run(rows, desk.mapping(product=product))
    assert (status, (await desk.newest())["refused"]) == (EXIT_REFUSED, 2)
    reasons = await desk.shop.rows(
        "SELECT DISTINCT reason FROM import_rows WHERE import_id = :id", id=(await desk.newest())["id"]
    )
    assert reasons == [{"reason": f"the product gone-{number} sells no more"}]

    await desk.shop.execute("UPDATE products SET archived_at = NULL WHERE id = :id", id=product["code"])
    await desk.shop.execute(
        "INSERT INTO prices (id, product_id, code, currency, unit_amount, interval_count, interval_unit)"
        " SELECT id, id, 'imported-usd-600-1-month', 'USD', 1, 1, 'month' FROM (SELECT :id AS id) AS given",
        id=product["code"],
    )
    status, said = await desk.run(rows, desk.mapping(product=product))
    assert (status, "1 applied, 0 already known, 1 refused" in said) == (EXIT_REFUSED, True), said
    assert (await desk.subscription(f"late-{number}"))["product_id"] == product["code"]
    elsewhere = desk.mapping(payment_method={"gateway": "elsewhere", "token": "t"}, product=product)
    assert (await desk.run(rows, elsewhere))[0] == EXIT_REFUSED
    newest = await desk.newest()
    assert (newest["known"], newest["refused"]) == (1, 1), "of a row that is known no gateway is asked"
    reasons = await desk.shop.rows("SELECT field, reason FROM import_rows WHERE import_id = :id", id=newest["id"])
    assert reasons == [{"field": "payment_method.gateway", "reason": "is one of sandbox"}]


BAD_FILES = {
    "nothing in it": (b"", "content: has 1 to 33554432 bytes; this file has 0"),
    "blank lines": (b"\n \n", "content: the file is empty"),
    "a header only": (b"id,price,token\n", "content: has 1 to 200000 rows under its header; this one has 0"),
    "another encoding": ("id,price,token\nä,5,t\n".encode("latin-1"), "line 2 is not UTF-8 (byte 0xe4)"),
    "UTF-16": ("id,price,token\na,5,t\n".encode("utf-16"), "line 1 is not UTF-8"),
    "a quote never closed": (b'id,price,token\n"a,5,t\n', "is a quote not closed?"),
    "a column missing": (b"id,prices,token\na,5,t\n", "mapping.amount.value: the file has no column 'price'"),
}


@pytest.mark.parametrize("case", BAD_FILES)
async def test_a_bad_file_changes_nothing(desk: Desk, case: str) -> None:
    content, told = BAD_FILES[case]
    path = desk.folder / "bad.csv"
    path.write_bytes(content)
    before = await desk.counts()
    status, said = await desk.run(path, desk.mapping().rename(desk.folder / "mapping.yaml"))
    assert (status, told in said) == (EXIT_BAD_INPUT, True), said
    assert await desk.counts() == before
    assert desk.files() == ["bad.csv", "mapping.yaml"]


BAD_MAPPINGS = {
    "an unknown key": ("costumer: x\n", "mapping.costumer: there is no such key (did you mean customer?)"),
    "a name twice": ("zone: a\nzone: b\n", "line 2: a name is a text and stands there once"),
    "no list of names": ("- a\n", "a mapping is a list of names with their values"),
    "no YAML": ("a: [\n", "line 2:"),
    "a reference": ("a: &x 1\nb: *x\n", "a reference (*name) is not taken here"),
    "nested without end": ("[" * 5_000, "mapping"),
    "too large": ("#" * 300_000, "a mapping has at most 262144 bytes"),
    "nothing": ("", "a mapping is a list of names"),
}


@pytest.mark.parametrize("case", BAD_MAPPINGS)
async def test_a_bad_mapping_changes_nothing(desk: Desk, case: str) -> None:
    content, told = BAD_MAPPINGS[case]
    path = desk.folder / "bad-mapping.yaml"
    path.write_text(content)
    before = await desk.counts()
    status, said = await desk.run(desk.file("a,5,t"), path)
    assert (status, told in said) == (EXIT_BAD_INPUT, True), said
    assert await desk.counts() == before


async def test_what_else_can_be_wrong_is_told_with_status_2(desk: Desk) -> None:
    file = desk.file("a,5,t")
    assert await desk.run(desk.folder / "none.csv") == (
        EXIT_BAD_INPUT,
        f"{desk.folder}/none.csv: No such file or directory.\n",
    )
    status, said = await desk.run(file, desk.folder / "none.yaml")
    assert (status, "No such file" in said) == (EXIT_BAD_INPUT, True)
    status, said = await desk.run(file, key="dk_wrong")
    assert (status, "does not take this key" in said) == (EXIT_BAD_INPUT, True)
    status, said = await desk.run(file, cut_over="2020-01-01")
    assert (status, "mapping.cut_over: is at most 31 days ago" in said) == (EXIT_BAD_INPUT, True)
    nowhere = Settings(public_url="http://127.0.0.1:9", api_key="k")
    status = await asyncio.to_thread(import_file, Wanted(file, desk.mapping(), None, None, None), nowhere)
    assert (status, "The API does not answer at http://127.0.0.1:9" in desk.capture.readouterr().err) == (2, True)
    keyless = Settings(public_url="http://127.0.0.1:9", data_dir=desk.folder)
    status = await asyncio.to_thread(import_file, Wanted(file, desk.mapping(), None, None, None), keyless)
    assert (status, "There is no API key" in desk.capture.readouterr().err) == (2, True)


def test_the_command_ends_with_the_same_status(tmp_path: Path) -> None:
    arguments = ["import", "subscribers", str(tmp_path / "none.csv"), "--mapping", str(tmp_path / "none.yaml")]
    result = CliRunner().invoke(app, [*arguments, "--api-key", "dk_x"])
    assert result.exit_code == EXIT_BAD_INPUT
    assert "No such file" in result.stderr


async def test_a_worker_killed_in_the_middle_doubles_nothing(desk: Desk) -> None:
    name = f"killed-{next(FILES)}"
    rows = [f"{name}-{number},{number % 7 + 1},tok_ok_visa_{name}{number}" for number in range(300)]
    running = asyncio.create_task(desk.run(desk.file(*rows, f"{name}-bad,x,t"), desk.mapping(test_mode=False)))

    async def under_way() -> bool:
        newest = await desk.shop.rows("SELECT applied FROM imports WHERE status = 'running'")
        return bool(newest) and newest[0]["applied"] > 0

    await desk.shop.eventually(under_way, "some rows are applied")
    await desk.shop.stack.kill("worker")
    await asyncio.sleep(0.5)
    await desk.shop.stack.restart("worker")
    status, said = await running
    assert (status, "300 applied, 0 already known, 1 refused of 301 rows." in said) == (EXIT_REFUSED, True), said
    found = await desk.shop.rows(
        "SELECT count(*), count(DISTINCT s.customer_id) AS payers, count(DISTINCT m.id) AS methods, min(s.event_seq)"
        " FROM subscriptions AS s JOIN payment_methods AS m ON m.customer_id = s.customer_id"
        " WHERE s.external_id LIKE :name",
        name=f"{name}-%",
    )
    assert found == [{"count": 300, "payers": 300, "methods": 300, "min": 2}]


async def test_the_same_file_twice_at_once_doubles_nothing(desk: Desk) -> None:
    name = f"twice-{next(FILES)}"
    file = desk.file(*(f"{name}-{number},5,tok_ok_visa_{name}{number}" for number in range(120)))
    before = await desk.counts()
    both = await asyncio.gather(desk.run(file), desk.run(file))
    assert [status for status, _ in both] == [EXIT_OK, EXIT_OK]
    after = await desk.counts()
    added = {table: after[table] - before[table] for table in COUNTED}
    assert {added["subscriptions"], added["customers"], added["payment_methods"]} == {120}
    assert added["imports"] == 2


async def test_the_progress_can_be_read_over_http(desk: Desk) -> None:
    assert (await desk.run(desk.file(f"seen-{next(FILES)},5,tok_ok_visa")))[0] == EXIT_OK
    async with httpx.AsyncClient(
        base_url=desk.shop.stack.api_url, headers={"Authorization": f"Bearer {desk.key}"}
    ) as api:
        view = (await api.get("/v1/imports", params={"limit": 1})).json()["items"][0]
    assert (view["status"], view["rows_total"], view["applied"], view["refused"], view["error"]) == (
        "done",
        1,
        1,
        0,
        None,
    )
    assert view["ended_at"] is not None
