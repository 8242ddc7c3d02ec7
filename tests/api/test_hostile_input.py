"""Text that means something elsewhere is kept as it is or refused; what is too large or another's is turned away."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from domain.csv_cells import undefuse
from models.session import Database
from tests.api.conftest import KEYS, Caller
from tests.api.whole_api import OPERATIONS
from tests.api.whole_customer import customer, whole_customer

MB: Final = 1024 * 1024

# Kept to the letter: they mean nothing here.
KEPT: dict[str, str] = {
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "SQL": "'; DROP TABLE customers; --",
    "a formula": '=HYPERLINK("http://evil.example","click")',
    "another formula": "@SUM(1+1)*cmd|' /C calc'!A0",
    "a template": "{{7*7}} ${7*7} #{7*7} %(x)s {0.__class__}",
    "a shell": "$(reboot) `reboot` ; reboot",
    "marks of direction": "abc\u202etxt.exe\u202c \u200f\u05d0\u05d1\u200e",
    "emoji": "👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿 👍🏽",
    "letters with marks": "Z͑ͫ̓a͌̆l̡͖g̡ó",
    "other scripts": "日本語 ไทย العربية Ελληνικά",
    "wide letters": "ＡＤＭＩＮ",  # noqa: RUF001 - as somebody may write them
    "a path": "../../etc/passwd",
    "percent": "%00%0d%0aSet-Cookie:x=1",
    "wildcards": "100% _sure_ \\",
}
REFUSED: dict[str, str] = {
    "nothing at all": "a\x00b",
    "a new line": "a\r\nBcc: everybody@example.com",
    "a bell": "a\x07b",
    "an escape": "\x1b[31mred",
    "delete": "a\x7fb",
    "half a character": "a\ud800b",
    "a line separator": "a\u2028b",
    "a megabyte": "x" * MB,
    "too long": "x" * 201,
}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
async def test_it_is_kept_shown_found_and_exported_to_the_letter(api: Caller, text: str) -> None:
    made = await api.made("/v1/customers", {"email": "h@example.com", "currency": "EUR", "company": text})
    assert made["company"] == text
    path = f"/v1/customers/{made['id']}"
    note = await api.made(f"{path}/notes", {"text": text, "visibility": "public"})
    assert note["text"] == text
    overview = await api.get(f"{path}/overview")
    assert (overview.status_code, overview.headers["Content-Type"]) == (200, "application/json")
    assert json.dumps(text, ensure_ascii=False) in json.dumps(overview.json(), ensure_ascii=False)
    assert (await api.get("/v1/search", q=text)).status_code == 200
    wanted = {"field": "company", "op": "eq", "value": text}
    found = (await api.post("/v1/segments/preview", {"filter": wanted})).json()
    assert made["id"] in {each["id"] for each in found["sample"]}
    for op in ("contains", "starts_with"):  # no letter in it is a wildcard
        part = (await api.post("/v1/segments/preview", {"filter": wanted | {"op": op}})).json()
        assert part["count"] == found["count"]
    segment = await api.made("/v1/segments", {"name": f"hostile-{next(KEYS)}", "filter": wanted})
    file = await api.get("/v1/exports/customers.csv", segment=segment["id"])
    cells = [row["company"] for row in csv.DictReader(io.StringIO(file.text, newline=""))]
    assert {undefuse(cell) for cell in cells} == {text}
    assert not any(cell.lstrip("\u202a\u202e\u200e\u200f ").startswith(("=", "+", "-", "@")) for cell in cells)
    assert (await api.delete(path)).status_code == 200


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
async def test_it_is_refused_with_its_field(api: Caller, text: str) -> None:
    body = json.dumps({"email": "h@example.com", "currency": "EUR", "company": text}).encode()
    headers = {
        "Authorization": f"Bearer {api.key}",
        "Idempotency-Key": f"hostile-{next(KEYS)}",
        "Content-Type": "application/json",
    }
    response = await api.http.post("/v1/customers", content=body, headers=headers)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"] in {"company", "body"}
    assert len(response.content) < 2_000, "what was sent does not come back"
    for query in ("a\x00b", "x" * 10_000):
        assert (await api.get("/v1/search", q=query)).status_code == 422


async def test_a_body_of_ten_megabytes_is_refused_before_it_is_read(api: Caller) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b" " * MB

    headers = {"Authorization": f"Bearer {api.key}", "Idempotency-Key": f"large-{next(KEYS)}"}
    headers |= {"Content-Type": "application/json"}
    whole = await api.http.post("/v1/customers", content=b" " * (10 * MB), headers=headers)
    piecewise = await api.http.post("/v1/customers", content=pieces(), headers=headers)
    for response in (whole, piecewise):
        assert (response.status_code, response.json()["errors"][0]["code"]) == (422, "body_too_large")


# Of one customer, asked for under another: as if it were not there.
def _under_a_customer() -> list[str]:
    return [
        label
        for label, operation in OPERATIONS.items()
        if "{customer_id}" in operation.path and operation.path.count("{") > 1
    ]


BODIES: dict[str, dict[str, Any]] = {"notes": {"text": "mine now"}}


@pytest.mark.parametrize("label", _under_a_customer())
async def test_what_is_another_customers_is_not_there(api: Caller, fresh_whole: dict[str, str], label: str) -> None:
    operation = OPERATIONS[label]
    path = operation.path
    for name, value in fresh_whole.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path, "an id is missing here"
    body = BODIES.get(path.split("/")[4], {})
    before = await api.get(f"/v1/customers/{fresh_whole['owner']}/overview")
    headers = {"Authorization": f"Bearer {api.key}", "Idempotency-Key": f"other-{next(KEYS)}"}
    response = await api.http.request(
        operation.method.upper(), path, headers=headers, json=body if operation.body else None
    )
    assert response.status_code == 404, response.text
    after = await api.get(f"/v1/customers/{fresh_whole['owner']}/overview")
    assert {key: value for key, value in before.json().items() if key != "activity"} == {
        key: value for key, value in after.json().items() if key != "activity"
    }


@pytest.fixture(scope="module")
async def fresh_whole(database: Database) -> dict[str, str]:
    """The ids of one customer's things beside the id of another customer."""
    name = f"hostile{next(KEYS)}"
    owner = await whole_customer(database, name, 1)
    stranger = await customer(database, f"stranger{next(KEYS)}")
    prefixes = {"address_id": "adr", "method_id": "pm", "note_id": "note", "discount_id": "cdis"}
    own = {key: f"{prefix}_{name}_0" for key, prefix in prefixes.items()}
    return own | {"customer_id": stranger, "owner": owner}
