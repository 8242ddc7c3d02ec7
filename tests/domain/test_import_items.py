"""What a row of customers, addresses, tokens, notes and vouchers becomes, or why it is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from domain.errors import InvalidInput
from domain.ids import derive
from domain.import_cells import REASON_LENGTH_MAX, Row
from domain.import_fields import FIELDS, Kind
from domain.import_items import (
    NOTE_LENGTH_MAX,
    TAGS_MAX,
    Gift,
    Method,
    Person,
    Place,
    Remark,
    gift,
    method,
    person,
    place,
    remark,
)
from domain.mapping import read_mapping
from domain.vouchers import VOUCHER_MINOR_MAX

READERS = {
    Kind.CUSTOMERS: person,
    Kind.ADDRESSES: place,
    Kind.PAYMENT_METHODS: method,
    Kind.NOTES: remark,
    Kind.VOUCHERS: gift,
}
# A row of each kind, as our own files have it: with all that it needs and nothing more.
BARE: dict[Kind, dict[str, str]] = {
    Kind.CUSTOMERS: {"external_id": "c-1", "email": "zoe@example.com", "currency": "EUR"},
    Kind.ADDRESSES: {
        "id": "a-1", "customer_external_id": "c-1", "kind": "billing", "line1": "Hauptstr. 1", "city": "Köln",
        "country": "DE",
    },
    Kind.PAYMENT_METHODS: {"id": "m-1", "customer_id": "cus_1", "gateway": "sandbox", "token": "tok_1"},
    Kind.NOTES: {"id": "n-1", "customer_external_id": "c-1", "text": "called"},
    Kind.VOUCHERS: {"id": "v-1", "currency": "EUR", "balance": "2500"},
}  # fmt: skip
CUSTOMER = {
    "external_id": "c-1", "email": "zoe@example.com", "currency": "CHF", "time_zone": "Europe/Zurich", "title": "Dr",
    "first_name": "Zoë", "last_name": "Ng", "company": "Ng AG", "phone": "+41 44 668 18 00", "gender": "f",
    "language": "de-CH", "tax_status": "exempt", "tax_id": "CHE-1", "agent": "ann", "notice_days": "7",
    "tags": "vip, long standing,vip,,a:b_c.d-e",
}  # fmt: skip


def row(kind: Kind, cells: dict[str, str], mapping: dict[str, Any] | None = None) -> Row:
    plan = read_mapping(mapping if mapping is not None else FIELDS[kind].own, kind)
    return Row(plan, 7, ("as", "it was"), dict.fromkeys(plan.columns, "") | cells)


def read(kind: Kind, /, **cells: str) -> Any:
    """What this row becomes; the cells that are not named are those of a bare one."""
    return READERS[kind](row(kind, BARE[kind] | cells))


def refusal(kind: Kind, /, **cells: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        read(kind, **cells)
    return refused.value


# ---------------------------------------------------------------- what they become


def test_a_full_row_becomes_a_customer() -> None:
    assert person(row(Kind.CUSTOMERS, CUSTOMER)) == Person(
        7, ("as", "it was"), "c-1", email="zoe@example.com", currency="CHF", time_zone="Europe/Zurich", title="Dr",
        first_name="Zoë", last_name="Ng", company="Ng AG", phone="+41 44 668 18 00", gender="f", language="de-CH",
        tax_status="exempt", tax_id="CHE-1", agent="ann", notice_days=7, tags=("vip", "long standing", "a:b_c.d-e"),
    )  # fmt: skip


def test_what_a_customers_row_leaves_out_is_as_usual() -> None:
    assert read(Kind.CUSTOMERS) == Person(
        7, ("as", "it was"), "c-1", email="zoe@example.com", currency="EUR", time_zone="UTC", title="", first_name="",
        last_name="", company="", phone="", gender="", language="en", tax_status="taxable", tax_id="", agent="",
        notice_days=0, tags=(),
    )  # fmt: skip


def test_a_row_becomes_an_address() -> None:
    full = {"kind": "shipping", "is_default": "true", "line2": "Hof", "region": "NW", "postal_code": "50667"}
    assert read(Kind.ADDRESSES, **full) == Place(
        7, ("as", "it was"), "a-1", owner="c-1", kind="shipping", is_default=True, line1="Hauptstr. 1", line2="Hof",
        city="Köln", region="NW", postal_code="50667", country="DE",
    )  # fmt: skip
    bare = read(Kind.ADDRESSES)
    assert (bare.kind, bare.is_default, bare.line2, bare.region, bare.postal_code) == ("billing", False, "", "", "")


def test_a_row_becomes_a_method() -> None:
    assert read(Kind.PAYMENT_METHODS) == Method(
        7, ("as", "it was"), "m-1", owner="cus_1", gateway="sandbox", token="tok_1"
    )
    assert read(Kind.PAYMENT_METHODS, customer_external_id="c-1").owner == "c-1", "the external id goes first"


def test_a_row_becomes_a_note() -> None:
    assert read(Kind.NOTES) == Remark(
        7, ("as", "it was"), "n-1", owner="c-1", visibility="internal", text="called", author="", created_at=None
    )
    full = read(
        Kind.NOTES,
        text="first\r\nsecond\tthird",
        visibility="public",
        author="ann",
        created_at="2026-03-01T10:00:00+01:00",
    )
    assert (full.text, full.visibility, full.author) == ("first\nsecond\tthird", "public", "ann")
    assert full.created_at == datetime(2026, 3, 1, 9, tzinfo=UTC)


def test_a_row_becomes_a_voucher() -> None:
    assert read(Kind.VOUCHERS) == Gift(
        7, ("as", "it was"), "v-1", owner="", code="", currency="EUR", amount=2500, expires_at=None, reason="",
        test_mode=False,
    )  # fmt: skip
    full = read(
        Kind.VOUCHERS,
        customer_id="cus_1",
        code="SPRING-26",
        expires_at="2027-01-01T00:00:00.9Z",
        reason="x" * REASON_LENGTH_MAX,
        test_mode="true",
    )
    assert (full.owner, full.code, full.reason, full.test_mode) == ("cus_1", "SPRING-26", "x" * 500, True)
    assert full.expires_at == datetime(2027, 1, 1, tzinfo=UTC), "at a whole second"


def test_a_voucher_may_be_given_in_major_units() -> None:
    mapping = {"external_id": "{id}", "currency": "{currency}", "amount": {"value": "{worth}"}}

    def worth(currency: str, text: str) -> int:
        return gift(row(Kind.VOUCHERS, {"id": "v", "currency": currency, "worth": text}, mapping)).amount

    assert (worth("EUR", "25.50"), worth("JPY", "300"), worth("EUR", "0.01")) == (2550, 300, 1)
    with pytest.raises(InvalidInput) as refused:
        worth("EUR", "0")
    assert refused.value.field == "amount.value"


@pytest.mark.parametrize(
    ("kind", "prefix", "identity"),
    [
        (Kind.CUSTOMERS, "cus", "c-1"),
        (Kind.ADDRESSES, "adr", "a-1"),
        (Kind.PAYMENT_METHODS, "pm", "m-1"),
        (Kind.NOTES, "note", "n-1"),
        (Kind.VOUCHERS, "vch", "v-1"),
    ],
)
def test_ids_come_from_external_ids_alone(kind: Kind, prefix: str, identity: str) -> None:
    found = read(kind)
    assert isinstance(found, Person | Place | Method | Remark | Gift)
    assert found.external_id == identity
    assert found.id == derive(prefix, "external", identity)


# ---------------------------------------------------------------- what is refused


LONG_OR_BROKEN = ("x" * 201, "two\nlines")
BAD: list[tuple[Kind, str, str, tuple[str, ...]]] = [
    (Kind.CUSTOMERS, "external_id", "external_id", ("", "c 1", "ü", "x" * 129)),
    (Kind.CUSTOMERS, "email", "email", ("", "zoe", "zoe@", "a b@example.com")),
    (Kind.CUSTOMERS, "currency", "currency", ("", "eur", "XXX")),
    (Kind.CUSTOMERS, "time_zone", "time_zone", ("Berlin", "Europe/Nowhere")),
    *[
        (Kind.CUSTOMERS, name, name, LONG_OR_BROKEN)
        for name in ("title", "first_name", "last_name", "company", "gender", "tax_id", "agent")
    ],
    (Kind.CUSTOMERS, "phone", "phone", ("call me", "+", "1" * 40)),
    (Kind.CUSTOMERS, "language", "language", ("e", "EN", "german!")),
    (Kind.CUSTOMERS, "tax_status", "tax_status", ("Exempt", "none")),
    (Kind.CUSTOMERS, "notice_days", "notice_days", ("-1", "61", "1.5", "x")),
    (Kind.CUSTOMERS, "tags", "tags", ("-x", "a/b", "x" * 65, "ok,ü")),
    (Kind.ADDRESSES, "id", "external_id", ("",)),
    (Kind.ADDRESSES, "customer_external_id", "customer", ("", "c 1")),
    (Kind.ADDRESSES, "kind", "kind", ("", "home")),
    (Kind.ADDRESSES, "is_default", "is_default", ("yes",)),
    (Kind.ADDRESSES, "line1", "line1", ("", *LONG_OR_BROKEN)),
    (Kind.ADDRESSES, "line2", "line2", LONG_OR_BROKEN),
    (Kind.ADDRESSES, "city", "city", ("", *LONG_OR_BROKEN)),
    (Kind.ADDRESSES, "region", "region", LONG_OR_BROKEN),
    (Kind.ADDRESSES, "postal_code", "postal_code", ("1" * 17, "50_667")),
    (Kind.ADDRESSES, "country", "country", ("", "de", "XX")),
    (Kind.PAYMENT_METHODS, "id", "external_id", ("",)),
    (Kind.PAYMENT_METHODS, "customer_id", "customer", ("",)),
    (Kind.PAYMENT_METHODS, "gateway", "gateway", ("", "-x", "a b")),
    (Kind.PAYMENT_METHODS, "token", "token", ("", "tok 1", "x" * 256)),
    (Kind.NOTES, "id", "external_id", ("",)),
    (Kind.NOTES, "customer_external_id", "customer", ("",)),
    (Kind.NOTES, "visibility", "visibility", ("secret",)),
    (Kind.NOTES, "text", "text", ("", "bell\a", "x" * (NOTE_LENGTH_MAX + 1), "\ud800")),
    (Kind.NOTES, "author", "author", LONG_OR_BROKEN),
    (Kind.NOTES, "created_at", "created_at", ("yesterday", "2026-03-01T10:00:00")),
    (Kind.VOUCHERS, "id", "external_id", ("",)),
    (Kind.VOUCHERS, "currency", "currency", ("",)),
    (Kind.VOUCHERS, "customer_id", "customer", ("c 1",)),
    (Kind.VOUCHERS, "code", "code", ("-x", "a b", "x" * 65)),
    (
        Kind.VOUCHERS,
        "balance",
        "amount.minor",
        ("", "0", "-1", "1.5", "1e3", "٣", str(VOUCHER_MINOR_MAX + 1), "1" * 17),
    ),
    (Kind.VOUCHERS, "expires_at", "expires_at", ("2026-03-01",)),
    (Kind.VOUCHERS, "reason", "reason", ("x" * (REASON_LENGTH_MAX + 1), "two\nlines")),
    (Kind.VOUCHERS, "test_mode", "test_mode", ("1",)),
]


@pytest.mark.parametrize(("kind", "column", "field", "texts"), BAD)
def test_a_bad_cell_names_its_field(kind: Kind, column: str, field: str, texts: tuple[str, ...]) -> None:
    for text in texts:
        assert refusal(kind, **{column: text}).field == field, text


def test_the_edges_are_taken() -> None:
    read(Kind.CUSTOMERS, notice_days="60")
    read(Kind.CUSTOMERS, tags=",".join(f"t{number}" for number in range(TAGS_MAX)))
    read(Kind.CUSTOMERS, tags="x" * 64)
    read(Kind.CUSTOMERS, tax_status="reverse_charge")
    read(Kind.CUSTOMERS, title="x" * 200)
    read(Kind.NOTES, text="x" * NOTE_LENGTH_MAX)
    read(Kind.NOTES, text="\u200e \u202e \u2028")
    read(Kind.VOUCHERS, balance=str(VOUCHER_MINOR_MAX))
    read(Kind.VOUCHERS, balance="1")
    read(Kind.VOUCHERS, balance="0000000000000007")


def test_a_customer_has_so_many_tags() -> None:
    refused = refusal(Kind.CUSTOMERS, tags=",".join(f"t{number}" for number in range(TAGS_MAX + 1)))
    assert (refused.field, "50" in refused.message, "51" in refused.message) == ("tags", True, True)


def test_a_refusal_shows_the_rule_and_what_breaks_it() -> None:
    said = [
        ("an email address", refusal(Kind.CUSTOMERS, email="zoe")),
        ("a telephone number", refusal(Kind.CUSTOMERS, phone="zoe")),
        ("a language such as en", refusal(Kind.CUSTOMERS, language="ZOE")),
        ("a tag of at most 64", refusal(Kind.CUSTOMERS, tags="-zoe")),
        ("a gateway's name", refusal(Kind.PAYMENT_METHODS, gateway="-zoe")),
        ("a token without spaces", refusal(Kind.PAYMENT_METHODS, token="z oe")),
        ("a code such as SPRING-26", refusal(Kind.VOUCHERS, code="-zoe")),
        ("a post code", refusal(Kind.ADDRESSES, postal_code="_zoe")),
        ("a whole number of minor units", refusal(Kind.VOUCHERS, balance="zoe")),
    ]
    for rule, refused in said:
        assert f"oe' is not {rule}" in refused.message.replace("OE", "oe")
    assert "at most 10000 characters; this one has 10001" in refusal(Kind.NOTES, text="x" * 10_001).message
    assert "only line feeds and tabs" in refusal(Kind.NOTES, text="\a").message
    assert "1 to 1000000000000 minor units; this one has 0" in refusal(Kind.VOUCHERS, balance="0").message
    assert "taxable, exempt, reverse_charge" in refusal(Kind.CUSTOMERS, tax_status="x").message
    assert "billing, shipping" in refusal(Kind.ADDRESSES, kind="x").message
    assert "internal, public" in refusal(Kind.NOTES, visibility="x").message
