"""docs/discounts.md and docs/tax.md cannot lie: their tables are recomputed by the code that bills."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from domain.discounts import Discount, DiscountSource
from domain.money import Money, parse_major
from domain.pricing import price
from domain.state import Line, LineKind
from domain.tax import NO_TAX, TaxRate, TaxShare, TaxStatus, TaxTerms, taxes_of_part
from tests.domain.doc_tables import rows

DAY = date(2026, 3, 1)


def money(text: str) -> Money:
    return parse_major(*text.split())


def rate_of(text: str) -> int:
    """Thousandths of a percent."""
    return int(parse_major(text, "BHD").minor)


def discount(text: str, number: int, currency: str) -> Discount:
    source, size, *percent = text.split()
    given_at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)
    rate, amount = (rate_of(size), 0) if percent else (0, parse_major(size, currency).minor)
    return Discount(f"d{number}", text, DiscountSource(source), given_at, rate, amount)


def test_docs_order_of_discounts() -> None:
    for row in rows("discounts.md", "In which order"):
        whole = money(row["price"])
        given = [discount(each, at, whole.currency) for at, each in enumerate(row["discounts"].split(", "))]
        line = Line(LineKind.CYCLE, "Box", 1, whole.minor)
        priced = price([line], given, NO_TAX, DAY, whole.currency)
        assert priced.discount == parse_major(row["taken"], whole.currency).minor, row
        assert priced.total == money(row["left"]).minor, row


def test_docs_how_much_tax() -> None:
    for row in rows("tax.md", "How much"):
        whole, off = money(row["line"]), money(row["discount"])
        rate = rate_of(row["rate"].removesuffix(" %"))
        terms = TaxTerms(
            TaxStatus.TAXABLE, "XX", (TaxRate("r", "XX", "standard", rate, row["how"] == "contained", DAY),)
        )
        given = [discount(f"coupon {str(off).split()[0]}", 1, whole.currency)] if off.minor else []
        priced = price([Line(LineKind.CYCLE, "Box", 1, whole.minor)], given, terms, DAY, whole.currency)
        told = [str(Money(each, whole.currency)) for each in (priced.net, priced.tax, priced.total)]
        assert told == [row["net"], row["tax"], row["total"]], row


def test_parts_of_a_total_add_up_to_its_taxes() -> None:
    """The example at the end of docs/tax.md, and the same for two places."""
    for taxes in ((TaxShare("DE", 191),), (TaxShare("DE", 191), TaxShare("FR", -30))):
        whole, before = Money(1194, "EUR"), Money.zero("EUR")
        split: dict[str, int] = {}
        for amount in (1, 1, 1, 7, 333, 333, 333, 185):
            part = Money(amount, "EUR")
            shares = taxes_of_part(taxes, whole, before, part, [TaxShare(*each) for each in split.items()])
            for share in shares:
                split[share.place] = split.get(share.place, 0) + share.amount
            before += part
        assert before == whole
        assert split == {share.place: share.amount for share in taxes}
