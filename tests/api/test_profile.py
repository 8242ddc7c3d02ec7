"""A customer's profile: every field is edited alone, taken only when it can be right, and its change is kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import KEYS, Caller

VAT = "DE136695976"

# Field, what is sent, what is kept, and what the log shows of it.
EDITS: list[tuple[str, Any, Any]] = [
    ("title", "Countess", "Countess"),
    ("first_name", "Ada", "Ada"),
    ("last_name", "Byron", "Byron"),
    ("company", "Analytical Engines", "Analytical Engines"),
    ("email", "Countess@EXAMPLE.org", "Countess@example.org"),
    ("phone", "0044 (0)20 8366 1177", "+442083661177"),
    ("gender", "female", "female"),
    ("language", "pt-BR", "pt-BR"),
    ("time_zone", "Europe/London", "Europe/London"),
    ("currency", "GBP", "GBP"),
    ("tax_status", "exempt", "exempt"),
    ("tax_id", "de 136 695 976", VAT),
    ("agent", "ann", "ann"),
]


@pytest.mark.parametrize(("field", "sent", "kept"), EDITS, ids=[field for field, _, _ in EDITS])
async def test_a_field_is_edited_alone_and_its_change_is_kept(
    api: Caller, customer: dict[str, Any], field: str, sent: Any, kept: Any
) -> None:
    path = f"/v1/customers/{customer['id']}"
    changed = (await api.patch(path, {field: sent})).json()
    others = {name: value for name, value in customer.items() if name not in {field, "tel", "updated_at"}}
    assert (changed[field], changed | others) == (kept, changed)
    (line,) = (await api.get(f"{path}/changes")).json()["items"]
    assert (line["field"], line["old"], line["new"], line["actor"]) == (field, customer[field], kept, "tests")


async def test_the_external_id_is_edited_and_nobody_elses(api: Caller, customer: dict[str, Any]) -> None:
    name = f"crm-{next(KEYS)}"
    assert (await api.patch(f"/v1/customers/{customer['id']}", {"external_id": name})).json()["external_id"] == name
    other = await api.made("/v1/customers", {"email": "eve@example.com", "currency": "EUR"})
    taken = await api.patch(f"/v1/customers/{other['id']}", {"external_id": name})
    assert (taken.status_code, taken.json()["errors"][0]["field"]) == (409, "external_id")


@pytest.mark.parametrize("phone", ["030 901820", "+999 123", "+1 555", "+49", "tel:+4930901820", "+٤٩30901820"])
async def test_a_number_that_cannot_be_dialled_is_refused(api: Caller, customer: dict[str, Any], phone: str) -> None:
    response = await api.patch(f"/v1/customers/{customer['id']}", {"phone": phone})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "phone")


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"tax_status": "reverse_charge", "tax_id": "DE 136 695 976"}, VAT),
        ({"tax_status": "reverse_charge", "tax_id": "EL 094259216"}, "EL094259216"),
        ({"tax_status": "reverse_charge", "tax_id": "GB 980 7806 84"}, "GB980780684"),
        ({"tax_status": "reverse_charge", "tax_id": "AU 83 914 571 673"}, "AU83914571673"),
        ({"tax_status": "exempt", "tax_id": "12-3456789"}, "12-3456789"),
        ({"tax_status": "exempt", "tax_id": "  "}, None),
        ({"tax_status": "exempt"}, None),
    ],
    ids=str,
)
async def test_a_tax_id_is_kept_in_one_form(api: Caller, fields: dict[str, Any], kept: str | None) -> None:
    body = {"email": "vat@example.com", "currency": "EUR"} | fields
    assert (await api.made("/v1/customers", body))["tax_id"] == kept


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"tax_status": "reverse_charge"}, "tax_id_required"),
        ({"tax_status": "reverse_charge", "tax_id": ""}, "tax_id_required"),
        ({"tax_status": "reverse_charge", "tax_id": "12-3456789"}, "invalid_input"),
        ({"tax_status": "reverse_charge", "tax_id": "DE136695977"}, "invalid_input"),
        ({"tax_status": "taxable", "tax_id": "DE136695977"}, "invalid_input"),
    ],
    ids=str,
)
async def test_a_wrong_tax_id_is_refused(
    api: Caller, customer: dict[str, Any], fields: dict[str, Any], code: str
) -> None:
    for response in (
        await api.post("/v1/customers", {"email": "vat@example.com", "currency": "EUR"} | fields),
        await api.patch(f"/v1/customers/{customer['id']}", fields),
    ):
        assert (response.status_code, response.json()["code"]) == (422, code)
        assert response.json()["errors"][0]["field"] == "tax_id"
    assert (await api.get(f"/v1/customers/{customer['id']}")).json() == customer


async def test_status_and_tax_id_stay_together_whichever_is_sent(api: Caller, customer: dict[str, Any]) -> None:
    path = f"/v1/customers/{customer['id']}"
    assert (await api.patch(path, {"tax_id": VAT})).status_code == 200
    assert (await api.patch(path, {"tax_status": "reverse_charge"})).json()["tax_id"] == VAT
    assert (await api.patch(path, {"tax_id": None})).json()["code"] == "tax_id_required"
    assert (await api.patch(path, {"tax_id": None, "tax_status": "taxable"})).json()["tax_id"] is None
