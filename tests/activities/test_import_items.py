"""Files of customers and what is theirs: out of one installation into another, twice, cut anywhere, and refused."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, cast

import pytest
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from temporalio.testing import ActivityEnvironment

from activities.imports import ImportRequest, Imports, Starter
from api.exports import Kind as ExportKind
from api.exports import export_lines
from domain.import_fields import Kind
from domain.imports import check_file
from domain.mapping import own_mapping, read_mapping
from models import Import
from models.session import Database
from providers.gateways.base import Gateway, MethodDetails
from tests.activities.test_twice import Cut, Scissors
from tests.conftest import Server

IMPORTS = count(1)
SEAMS_MAX = 40
FORMULA = '=HYPERLINK("http://evil.example")'
PEOPLE = 'id,mail,phone,tags\n1,ada@example.com,+49 30 901820,"vip, early"\n2,bob@example.com,030 901820,\n'
PERSON = {"external_id": "c-{id}", "email": "{mail}", "currency": "EUR", "phone": "{phone}", "tags": "{tags}"}
ORDER: tuple[Kind, ...] = (Kind.CUSTOMERS, Kind.ADDRESSES, Kind.PAYMENT_METHODS, Kind.NOTES, Kind.VOUCHERS)


class KnownCards:
    """A gateway as far as it can say what a token is of."""

    name = "sandbox"

    async def describe(self, token: str) -> MethodDetails | None:
        if not token.startswith("tok_"):
            return None
        return MethodDetails(token, "card", "visa", "4242", 12, 2030, f"fp-{token}")


class CutDatabase:
    """A real database whose transactions may never begin, never commit, or be the last thing that happens."""

    def __init__(self, database: Database, scissors: Scissors) -> None:
        self._database = database
        self._scissors = scissors

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[AsyncConnection]:
        self._scissors.snip()
        async with self._database.begin() as connection:
            yield connection
            self._scissors.snip()
        self._scissors.snip()

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[AsyncSession]:
        self._scissors.snip()
        async with self._database.session() as session:
            yield session
            self._scissors.snip()
        self._scissors.snip()


class Desk:
    """Files applied by the activity, without a workflow: a test is the workflow."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def bring(
        self, kind: Kind, content: str, mapping: dict[str, Any] | None = None, scissors: Scissors | None = None
    ) -> Any:
        """The import after it was applied (as far as it came)."""
        identity = f"imp_{next(IMPORTS)}"
        wanted = mapping or dict(own_mapping(kind))
        rows = check_file(content, read_mapping(wanted, kind))
        row = {"id": identity, "kind": kind, "file_name": "f", "actor": "ann", "mapping": wanted, "status": "pending"}
        async with self.database.begin() as connection:
            await connection.execute(insert(Import).values(**row, content=content.encode(), rows_total=rows))
        await self.go_on(identity, scissors)
        return await self.seen(identity)

    async def go_on(self, identity: str, scissors: Scissors | None = None) -> None:
        database: Any = self.database if scissors is None else CutDatabase(self.database, scissors)
        gateways = {"sandbox": cast("Gateway", KnownCards())}
        imports = Imports(database, gateways, cast("Starter", None))  # no subscription is started here
        first = 2
        while True:
            progress = await ActivityEnvironment().run(imports.import_page, ImportRequest(identity, first))
            if progress.next_row is None:
                return
            first = progress.next_row

    async def seen(self, identity: str) -> Any:
        return (await self.rows("SELECT id, status, applied, known, refused FROM imports WHERE id = :id", id=identity))[
            0
        ]

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        async with self.database.begin() as connection:
            return list((await connection.execute(text(statement), values)).all())

    async def refusals(self, identity: str) -> list[tuple[int, str, str]]:
        rows = await self.rows(
            'SELECT "row", field, reason FROM import_rows WHERE import_id = :id ORDER BY 1', id=identity
        )
        return [(row.row, row.field, row.reason) for row in rows]

    async def taken(self, kind: Kind) -> str:
        kinds = cast("ExportKind", kind.value)
        return "".join([part async for part in export_lines(self.database, kinds, None, tokens=True)])

    async def counts(self) -> tuple[int, ...]:
        tables = ("customers", "addresses", "payment_methods", "notes", "note_versions", "vouchers", "ledger_entries")
        return tuple([(await self.rows(f"SELECT count(*) FROM {table}"))[0].count for table in tables])  # noqa: S608


@pytest.fixture
def desk(fresh_database: Database) -> Desk:
    return Desk(fresh_database)


@pytest.fixture
async def elsewhere(postgres_server: Server) -> AsyncIterator[Desk]:
    """Another installation."""
    opened = Database.connect(await postgres_server.new_database(), application_name="tests", pool_max=5)
    yield Desk(opened)
    await opened.close()


def counted(seen: Any) -> tuple[str, int, int, int]:
    return seen.status, seen.applied, seen.known, seen.refused


async def stocked(desk: Desk) -> None:
    """Two customers, one without an id of the merchant's, with something of everything, awkward texts included."""
    await desk.bring(Kind.CUSTOMERS, PEOPLE, PERSON)
    async with desk.database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO customers (id, email, currency, invoice_prefix, company)"
                " VALUES ('cus_own', 'own@example.com', 'EUR', 'OWN', :company)"
            ),
            {"company": FORMULA},
        )
    places = "no,who,line,def\n1,c-1,Quay 1,false\n2,c-1,Quay 2,true\n3,cus_own,'+1 Road,false\n"
    place = {"external_id": "{no}", "customer": "{who}", "kind": "billing", "line1": "{line}", "city": "Bremen"}
    await desk.bring(Kind.ADDRESSES, places, place | {"country": "DE", "is_default": "{def}"})
    cards = "no,who,token\n1,c-1,tok_b\n2,c-1,tok_a\n3,cus_own,tok_c\n"
    card = {"external_id": "{no}", "customer": "{who}", "gateway": "sandbox", "token": "{token}"}
    await desk.bring(Kind.PAYMENT_METHODS, cards, card)
    notes = 'no,who,said,at\n1,c-1,"line one\r\n  line two, ""quoted""",2026-01-31T09:00:00+01:00\n2,cus_own,\'=1+1,\n'
    note = {"external_id": "{no}", "customer": "{who}", "text": "{said}", "created_at": "{at}", "author": "old ann"}
    await desk.bring(Kind.NOTES, notes, note | {"visibility": "public"})
    gifts = "no,who,worth,code\n1,c-1,50.00,spring-1\n2,,7.5,\n"
    gift = {"external_id": "{no}", "customer": "{who}", "currency": "EUR", "amount": {"value": "{worth}"}}
    await desk.bring(Kind.VOUCHERS, gifts, gift | {"code": "{code}", "reason": "brought along"})


def said(content: str, kind: Kind) -> list[str]:
    """What a file says besides what an installation gives its own: ids, and when something came in."""
    own = {"id", "customer_id", "external_id", "customer_external_id", "issued_at", "created_at"}
    kept = own - {"created_at"} if kind is Kind.NOTES else own
    rows = [dict(row) for row in csv.DictReader(io.StringIO(content))]
    for row in rows:  # our id became the id that the merchant gave
        row["who"] = (
            row["external_id"] or row["id"]
            if kind is Kind.CUSTOMERS
            else row["customer_external_id"] or row["customer_id"]
        )
    return sorted(str({name: value for name, value in row.items() if name not in kept}) for row in rows)


async def test_what_is_exported_can_be_imported_elsewhere_and_adds_nothing_here(desk: Desk, elsewhere: Desk) -> None:
    await stocked(desk)
    before = await desk.counts()
    assert before == (3, 3, 3, 2, 2, 2, 2)
    for kind in ORDER:
        file = await desk.taken(kind)
        lines = len(list(csv.DictReader(io.StringIO(file))))
        assert counted(await desk.bring(kind, file)) == ("done", 0, lines, 0), "here everything is known"
        assert counted(await elsewhere.bring(kind, file)) == ("done", lines, 0, 0)
        assert counted(await elsewhere.bring(kind, file)) == ("done", 0, lines, 0), "and there the second time"
    assert await desk.counts() == before
    assert await elsewhere.counts() == before
    for kind in ORDER:
        assert said(await desk.taken(kind), kind) == said(await elsewhere.taken(kind), kind), kind


async def test_what_was_brought_is_as_it_was_written(desk: Desk) -> None:
    await stocked(desk)
    people = await desk.rows("SELECT external_id, phone, tags FROM customers WHERE id <> 'cus_own' ORDER BY 1")
    assert [tuple(row) for row in people] == [("c-1", "+4930901820", ["vip", "early"]), ("c-2", "030 901820", [])]
    places = await desk.rows("SELECT line1, is_default FROM addresses ORDER BY line1")
    assert [tuple(row) for row in places] == [("+1 Road", True), ("Quay 1", False), ("Quay 2", True)]
    cards = await desk.rows("SELECT token, position, last4 FROM payment_methods ORDER BY customer_id, position")
    assert {(row.token, row.position, row.last4) for row in cards} == {
        ("tok_b", 0, "4242"),
        ("tok_a", 1, "4242"),
        ("tok_c", 0, "4242"),
    }
    notes = await desk.rows("SELECT text, author, visibility FROM notes ORDER BY created_at")
    assert [tuple(row) for row in notes] == [
        ('line one\n  line two, "quoted"', "old ann", "public"),
        ("=1+1", "old ann", "public"),
    ]
    gifts = await desk.rows("SELECT code, issued, actor FROM vouchers ORDER BY issued")
    assert (gifts[1].code, [row.issued for row in gifts], gifts[0].actor) == ("SPRING-1", [750, 5000], "ann")
    held = await desk.rows("SELECT sum(amount) AS held FROM ledger_postings WHERE account LIKE 'voucher:%'")
    assert held[0].held == -5750


async def test_a_voucher_is_brought_with_what_is_left_of_it(desk: Desk, elsewhere: Desk) -> None:
    await stocked(desk)
    async with desk.database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO ledger_entries (id, at, kind, description, test_mode)"
                " VALUES ('led_x', now(), 'voucher_redeemed', '', false)"
            )
        )
        await connection.execute(
            text(
                "INSERT INTO ledger_postings (entry_id, position, account, currency, amount)"
                " SELECT 'led_x', 1, 'voucher:' || id, 'EUR', 1200 FROM vouchers WHERE code = 'SPRING-1'"
                " UNION ALL SELECT 'led_x', 2, 'credit_in_transit', 'EUR', -1200"
            )
        )
    await elsewhere.bring(Kind.CUSTOMERS, await desk.taken(Kind.CUSTOMERS))
    await elsewhere.bring(Kind.VOUCHERS, await desk.taken(Kind.VOUCHERS))
    assert (await elsewhere.rows("SELECT issued FROM vouchers WHERE code = 'SPRING-1'"))[0].issued == 3800


async def test_rows_are_refused_one_by_one_with_their_reasons(desk: Desk) -> None:
    await stocked(desk)
    people = "id,mail\n9,nobody\n8,eve@example.com\n1,ada@example.com\n8,eve@example.com\n"
    person = {"external_id": "c-{id}", "email": "{mail}", "currency": "EUR", "tax_status": "reverse_charge"}
    seen = await desk.bring(Kind.CUSTOMERS, people, person)
    assert counted(seen) == ("done", 0, 1, 3)
    assert await desk.refusals(seen.id) == [
        (2, "email", "'nobody' is not an email address"),
        (3, "tax_id", "reverse charge needs the customer's VAT number"),
        (5, "external_id", "'c-8' is in row 3 already"),
    ]
    cards = "no,who,token\n11,c-9,tok_x\n12,c-1,nothing\n13,c-1,tok_a\n14,c-2,tok_bad\n15,c-2,tok_new\n"
    async with desk.database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO blacklist_entries (id, kind, value, reason, actor)"
                " VALUES ('blk_1', 'fingerprint', 'fp-tok_bad', 'lost dispute', 'ann')"
            )
        )
    card = {"external_id": "{no}", "customer": "{who}", "gateway": "sandbox", "token": "{token}"}
    seen = await desk.bring(Kind.PAYMENT_METHODS, cards, card)
    assert counted(seen) == ("done", 1, 1, 3)
    assert await desk.refusals(seen.id) == [
        (2, "customer", "there is no customer with the external id or id c-9"),
        (3, "token", "the gateway sandbox knows no such token"),
        (5, "customer", "is on the blacklist by fingerprint: no card is kept for them"),
    ]
    notes = "no,who,said,at\n21,c-1,,\n22,c-1,x,2999-01-01T00:00:00Z\n23,c-1,x,2026-01-01\n24,c-1,\x07,\n"
    note = {"external_id": "{no}", "customer": "{who}", "text": "{said}", "created_at": "{at}"}
    seen = await desk.bring(Kind.NOTES, notes, note)
    assert [(row, field) for row, field, _ in await desk.refusals(seen.id)] == [
        (2, "text"),
        (3, "created_at"),
        (4, "created_at"),
        (5, "text"),
    ]
    gifts = "no,worth,code,end\n31,0,,\n32,1,SPRING-1,\n33,1,,2020-01-01T00:00:00Z\n34,0.5,,\n"
    gift = {"external_id": "{no}", "currency": "JPY", "amount": {"value": "{worth}"}, "code": "{code}"}
    seen = await desk.bring(Kind.VOUCHERS, gifts, gift | {"expires_at": "{end}"})
    assert [(row, field) for row, field, _ in await desk.refusals(seen.id)] == [
        (2, "amount.value"),
        (3, "code"),
        (4, "expires_at"),
        (5, "amount.value"),
    ]
    assert (await desk.counts())[5:] == (2, 2), "no money came of it"


async def test_what_is_of_a_merged_customer_comes_to_the_one_who_goes_on(desk: Desk) -> None:
    await desk.bring(Kind.CUSTOMERS, PEOPLE, PERSON)
    async with desk.database.begin() as connection:
        heir = "(SELECT id FROM customers WHERE external_id = 'c-1')"
        await connection.execute(text(f"UPDATE customers SET merged_into = {heir} WHERE external_id = 'c-2'"))  # noqa: S608
    note = {"external_id": "{no}", "customer": "{who}", "text": "x"}
    assert counted(await desk.bring(Kind.NOTES, "no,who\n1,c-2\n2,c-1\n", note)) == ("done", 2, 0, 0)
    owners = await desk.rows(
        "SELECT DISTINCT c.external_id FROM notes AS n JOIN customers AS c ON c.id = n.customer_id"
    )
    assert [row.external_id for row in owners] == ["c-1"]


async def test_a_customer_has_no_more_than_they_may(desk: Desk) -> None:
    await desk.bring(Kind.CUSTOMERS, PEOPLE, PERSON)
    cards = "no,token\n" + "".join(f"{number},tok_{number}\n" for number in range(25))
    card = {"external_id": "{no}", "customer": "c-1", "gateway": "sandbox", "token": "{token}"}
    assert counted(await desk.bring(Kind.PAYMENT_METHODS, cards, card)) == ("done", 20, 0, 5)
    places = "no\n" + "".join(f"{number}\n" for number in range(60))
    place = {"external_id": "{no}", "customer": "c-1", "kind": "shipping", "line1": "x", "city": "x", "country": "DE"}
    assert counted(await desk.bring(Kind.ADDRESSES, places, place)) == ("done", 50, 0, 10)
    assert (await desk.rows("SELECT count(*) FROM addresses WHERE is_default"))[0].count == 1


@pytest.mark.parametrize("kind", [Kind.NOTES, Kind.VOUCHERS])
async def test_a_page_cut_at_every_seam_and_run_again_applies_each_row_once(desk: Desk, kind: Kind) -> None:
    """Two batches; the machine dies at each seam, and another one goes on."""
    await desk.bring(Kind.CUSTOMERS, PEOPLE, PERSON)
    extra: dict[Kind, dict[str, Any]] = {
        Kind.NOTES: {"text": "note {no}"},
        Kind.VOUCHERS: {"currency": "EUR", "amount": {"minor": "100"}},
    }
    rows = 103
    seams = 0
    for cut in range(SEAMS_MAX):
        before = await desk.counts()
        scissors = Scissors(cut)
        content = "no,who\n" + "".join(f"s{cut}-{number},c-{number % 2 + 1}\n" for number in range(rows))
        mapping = {"external_id": "{no}", "customer": "{who}"} | extra[kind]
        try:
            await desk.bring(kind, content, mapping, scissors)
        except Cut:
            newest = (await desk.rows("SELECT id FROM imports ORDER BY created_at DESC, id DESC LIMIT 1"))[0].id
            await desk.go_on(newest)
        else:
            assert scissors.passed <= cut
        newest = (await desk.rows("SELECT id, rows_total FROM imports ORDER BY created_at DESC LIMIT 1"))[0]
        seen = await desk.seen(newest.id)
        after = await desk.counts()
        added = sum(after[index] - before[index] for index in (3, 5))
        assert counted(seen) == ("done", rows, 0, 0)
        assert added == rows
        seams = max(seams, scissors.passed)
        if scissors.passed <= cut:
            break
    else:
        pytest.fail("more seams than expected")
    assert seams > 5
    held = await desk.rows("SELECT coalesce(sum(amount), 0) AS held FROM ledger_postings")
    assert held[0].held == 0
