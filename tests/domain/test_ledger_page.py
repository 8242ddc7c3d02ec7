"""docs/ledger.md cannot lie: its chart of accounts and every movement are compared with the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from domain import ledger
from domain.credits import credit_sides
from domain.disputes import Step
from domain.disputes import postings as dispute_postings
from domain.ledger import RECONCILIATION, Posting, cash, disputed, postings, tax, voucher
from domain.state import Datum, Entry
from domain.vouchers import Move, sides
from tests.domain.doc_tables import rows
from tests.domain.stories import at

ROOT = Path(__file__).parents[2]
OF_ACTIVITIES = {"credit_note", "refund", "void"}  # two accounts each, posted by activities/refund_books.py


def accounts_of_the_code() -> set[str]:
    names = {value for name, value in vars(ledger).items() if name.isupper() and isinstance(value, str)}
    return names | {each.replace("X", end) for each, end in families()}


def families() -> list[tuple[str, str]]:
    return [(cash("X"), "<gateway>"), (disputed("X"), "<gateway>"), (voucher("X"), "<id>"), (tax("X"), "<place>")]


def entry(kind: str, **data: Datum) -> Iterable[Posting]:
    return postings(Entry(1, at("2026-01-15 10:00"), kind, "system", "", {"currency": "EUR", **data}))


def dispute(step: Step) -> Iterable[Posting]:
    return dispute_postings(step, "sandbox", amount=1000, fee=1500, currency="EUR")


TAXED: dict[str, Datum] = {"tax": 190, "tax:DE": 190}

COMPUTED: list[tuple[str, Iterable[Posting]]] = [
    ("invoice_issued", entry("invoice_issued", total=1000, credit_applied=0)),
    ("invoice_issued", entry("invoice_issued", total=1000, credit_applied=300)),
    ("invoice_issued", entry("invoice_issued", total=-400, credit_applied=0)),
    ("invoice_issued", entry("invoice_issued", total=1190, credit_applied=0, **TAXED)),
    ("payment_succeeded", entry("payment_succeeded", amount=700, gateway="sandbox")),
    ("credit_granted", entry("credit_granted", amount=500, source="agent")),
    ("credit_granted", entry("credit_granted", amount=500, source="unused")),
    ("credit_granted", entry("credit_granted", amount=595, source="unused", **{"tax": 95, "tax:DE": 95})),
    ("credit_granted", entry("credit_granted", amount=500, source="voucher")),
    ("invoice_voided", entry("invoice_voided", amount=750)),
    ("invoice_written_off", entry("invoice_written_off", amount=1000)),
    ("invoice_written_off", entry("invoice_written_off", amount=1190, **TAXED)),
    ("voucher_issued", sides(Move.ISSUED, "v", 5000, "EUR")),
    ("voucher_adjusted", sides(Move.ADJUSTED, "v", -700, "EUR")),
    ("voucher_redeemed", sides(Move.REDEEMED, "v", -1200, "EUR")),
    ("voucher_given_back", sides(Move.GIVEN_BACK, "v", 1200, "EUR")),
    ("voucher_expired", sides(Move.EXPIRED, "v", -300, "EUR")),
    ("credit_note_issued", credit_sides(500, "EUR")),
    ("credit_note_withdrawn", credit_sides(-500, "EUR")),
    *((f"dispute_{step}", dispute(step)) for step in (Step.OPENED, Step.WON, Step.LOST, Step.FEE)),
    ("adopted", (Posting(cash("sandbox"), 200, "EUR"), Posting(RECONCILIATION, -200, "EUR"))),
]


def sums(cell: str, sign: int) -> list[tuple[str, int]]:
    return [(account, sign * int(amount)) for account, amount in re.findall(r"`?([\w:]+)`? (\d+)", cell)]


def test_the_chart_names_every_account_of_the_code_and_no_other() -> None:
    chart = rows("ledger.md", "Chart of accounts")
    assert {row["account"] for row in chart} == accounts_of_the_code()
    assert {row["normal side"] for row in chart} <= {"debit", "credit", "either"}


def test_every_movement_is_as_the_page_says() -> None:
    told = [row for row in rows("ledger.md", "Movements") if row["entry"] not in OF_ACTIVITIES]
    assert [row["entry"] for row in told] == [kind for kind, _ in COMPUTED]
    for row, (_, made) in zip(told, COMPUTED, strict=True):
        page = sums(row["debit"], 1) + sums(row["credit"], -1)
        assert sorted(page) == sorted((side.account, side.amount) for side in made), row


def test_every_line_of_a_voucher_s_life_sums_to_zero() -> None:
    for row in rows("ledger.md", "A voucher's life in numbers"):
        amounts = [int(cell.replace("\N{MINUS SIGN}", "-") or 0) for name, cell in row.items() if name != "step"]
        assert sum(amounts) == 0, row
        assert any(amounts)


@pytest.mark.parametrize("room", ["domain", "activities"])
def test_no_account_is_made_up_where_it_is_posted(room: str) -> None:
    """Accounts are names of `domain.ledger`, so the chart above is all there is."""
    for path in sorted((ROOT / room).rglob("*.py")):
        text = path.read_text("utf-8")
        if "_mutmut_" in text:
            pytest.skip("the code is being mutated and holds every variant at once")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Posting":
                assert not isinstance(node.args[0], ast.Constant | ast.JoinedStr), f"{path}:{node.lineno}"
