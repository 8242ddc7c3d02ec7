"""Invoices as files: the words, formats and days of the reader; whatever a name holds is text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.papers import InvoicePaper, PaperLine, PaperNote, PaperPayment, PaperTax, Seller
from providers.documents import press
from providers.documents.press import NOT_DRAWN, Press, set_invoice
from providers.documents.words import WORDS

MAY = (datetime(2026, 4, 30, 22, tzinfo=UTC), datetime(2026, 5, 31, 22, tzinfo=UTC))
PAPER = InvoicePaper(
    number="ABC-0007",
    on=date(2026, 5, 1),
    language="de",
    zone="Europe/Berlin",
    currency="EUR",
    status="paid",
    test_mode=False,
    seller=Seller("Boxes GmbH", ("10969 Berlin",), "DE136695976", "billing@example.com"),
    buyer=("Ada Lovelace", "London"),
    buyer_tax_id="",
    subscription="sub_1",
    order=None,
    lines=(PaperLine("Box", 2, 617283, 1234566, MAY),),
    total=1234566,
    credit_applied=500,
    amount_due=1234066,
    payments=(PaperPayment(datetime(2026, 5, 1, 23, tzinfo=UTC), "visa 4242", 1234066),),
    notes=(PaperNote("N-1", date(2026, 6, 1), 1000),),
)


def shown(paper: InvoicePaper) -> str:
    """What the template is given, in one string, with plain spaces."""
    return re.sub(r"[\u00a0\u202f]", " ", json.dumps(press._shown(paper), ensure_ascii=False))  # pyright: ignore[reportPrivateUsage] - text in a PDF is glyph numbers


def with_text(text: str) -> InvoicePaper:
    return replace(PAPER, lines=(replace(PAPER.lines[0], description=text),), buyer=(text,))


def test_the_same_invoice_is_the_same_file_and_pdf_a() -> None:
    first = set_invoice(PAPER)
    assert first == set_invoice(PAPER)
    assert first.startswith(b"%PDF-")
    assert b"<pdfaid:part>2</pdfaid:part><pdfaid:conformance>B" in first


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("de", ["Rechnung", "12.345,66 €", "1. Mai 2026 \u2013 31. Mai 2026", "Bezahlt am 2. Mai 2026 (visa 4242)"]),
        ("de-CH", ["Rechnung", "12\u2019345.66"]),
        ("fr", ["Facture", "12 345,66 €", "Payé le 2 mai 2026"]),
        ("es", ["Factura", "12.345,66 €", "Pagado el 2 de mayo de 2026"]),
        ("en-GB", ["Invoice", "€12,345.66", "1 May 2026", "Credit note N-1 of 1 June 2026"]),
        ("ja", ["Invoice", "€12,345.66", "May 1, 2026"]),
        ("not a language", ["Invoice"]),
    ],
)
def test_an_invoice_is_written_as_its_reader_is_used_to(language: str, words: list[str]) -> None:
    text = shown(replace(PAPER, language=language))
    for word in words:
        assert word in text
    assert set_invoice(replace(PAPER, language=language)) != b""


def test_what_is_left_to_pay_follows_the_status() -> None:
    assert [replace(PAPER, status=status).left_to_pay for status in ("open", "uncollectible", "paid", "void")] == [
        1234066,
        1234066,
        0,
        0,
    ]


def test_amounts_have_their_currencys_digits() -> None:
    assert "¥1,234,566" in shown(replace(PAPER, currency="JPY", language="en"))
    assert "1,234.566" in shown(replace(PAPER, currency="KWD", language="en"))


@pytest.mark.parametrize(
    "text",
    [
        '#panic("x")',
        '#read("/etc/passwd")',
        "*b* _i_ $x^2$ <label> @ref `raw` // gone",
        '"}], "total": "0',
        "#[",
        "\\",
        "שלום עולם box 12",
        "مرحبا صندوق",
        "中文 商品 😀👩\u200d👩\u200d👧 ❤\ufe0f",
        "a" * 5000,
        "tab\tnull\x00 \ud800 end",
        "",
    ],
    ids=ascii,
)
def test_whatever_a_name_holds_is_text(text: str) -> None:
    file = set_invoice(with_text(text))
    assert file.startswith(b"%PDF-")
    assert file == set_invoice(with_text(text))


def test_a_sign_without_a_shape_costs_its_own_box_and_no_more() -> None:
    assert set_invoice(with_text("Box 中 שלום")) == set_invoice(with_text(f"Box {NOT_DRAWN} שלום"))
    assert set_invoice(with_text("Box שלום")) != set_invoice(with_text("Box ????"))


def test_very_many_signs_without_a_shape_still_give_a_file() -> None:
    assert set_invoice(with_text("".join(chr(0x4E00 + n) for n in range(200)))).startswith(b"%PDF-")


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=40))
def test_any_name_at_all_can_be_set(text: str) -> None:
    assert set_invoice(with_text(text)).startswith(b"%PDF-")


async def test_a_long_invoice_goes_over_several_pages() -> None:
    long = await Press().invoice(replace(PAPER, lines=PAPER.lines * 60))
    assert long.startswith(b"%PDF-")


def test_discounts_and_tax_are_on_the_paper_with_the_readers_own_words() -> None:
    taxed = replace(
        PAPER,
        lines=(replace(PAPER.lines[0], discounts=(("Frühling", 800),)),),
        taxes=(PaperTax("DE", 19_000, False, None, 1000, 190), PaperTax("US-NY", 8875, False, None, 1999, 177)),
        net=2999,
    )
    text = shown(taxed)
    for words in (
        "Frühling",
        "\u22128,00 €",
        "Netto",
        "29,99 €",
        "USt. 19 % auf 10,00 € (DE)",
        "USt. 8,875 % auf 19,99 €",
    ):
        assert words in text
    assert set_invoice(taxed).startswith(b"%PDF-")
    assert '"before": []' in shown(PAPER), "where no tax is, nothing is said of it"


@pytest.mark.parametrize("language", sorted(WORDS))
def test_why_there_is_no_tax_is_said_once(language: str) -> None:
    none = [PaperTax("AT", 0, False, reason, 1000, 0) for reason in ("reverse_charge", "reverse_charge", "no_rate")]
    paper = replace(PAPER, language=language, taxes=tuple(none), net=2000)
    assert f'"reasons": ["{WORDS[language].reverse_charge}"]' in shown(paper)
    assert set_invoice(paper) != set_invoice(replace(PAPER, language=language))
