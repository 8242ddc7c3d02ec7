"""Letters on the real parts: an invoice as a file, a link to pay, and one letter for what has changed."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.policy import default
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from api.keys import create_key
from domain.roles import Role
from tests.api.conftest import KEYS, Caller
from tests.stack_fixtures import Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

VISA = "tok_ok_visa"


@pytest.fixture
async def agent(shop: Shop) -> AsyncIterator[Caller]:
    async with httpx.AsyncClient(base_url=shop.stack.api_url, timeout=60, trust_env=False) as http:
        yield Caller(http, await create_key(shop.database, f"letters-{next(KEYS)}", Role.AGENT))


async def arrived(shop: Shop, customer: str) -> list[dict[str, Any]]:
    """What the mail sink has for a customer, each with its source."""
    found = await shop.http.get(
        f"{shop.stack.mailsink_url}/messages", params={"to": f"{customer}@example.com", "limit": 100}
    )
    return [
        (await shop.http.get(f"{shop.stack.mailsink_url}/messages/{mail['id']}")).json()
        for mail in found.json()["messages"]
    ]


def attached(mail: dict[str, Any]) -> tuple[str, bytes]:
    """Name and content of the one file that came with a mail."""
    (part,) = message_from_bytes(base64.b64decode(mail["source"]), policy=default).iter_attachments()
    return str(part.get_filename()), part.get_payload(decode=True)  # pyright: ignore[reportReturnType] - the bytes of a file


async def test_an_invoice_arrives_as_a_file_that_is_kept_and_never_changes(shop: Shop, agent: Caller) -> None:
    customer = await shop.customer(VISA)
    state = await shop.start(customer, await shop.terms(), start_at=at("2027-10-04", 14))
    await shop.until(state.id, at("2027-10-04", 15))
    (invoice,) = (await agent.get("/v1/invoices", customer_id=customer)).json()["items"]
    sent = await agent.made(f"/v1/invoices/{invoice['id']}/send", None)

    async def files() -> list[tuple[str, bytes]]:
        return [attached(mail) for mail in await arrived(shop, customer) if mail["subject"].startswith("Invoice ")]

    async def has(number: int) -> bool:
        return len(await files()) == number

    await shop.eventually(lambda: has(1), "the invoice arrives")
    ((name, first),) = await files()
    kept = await agent.get(f"/v1/messages/{sent['id']}/file")
    assert name == f"{invoice['number']}.pdf"
    assert first == kept.content == (await agent.get(f"/v1/invoices/{invoice['id']}/pdf")).content
    assert first.startswith(b"%PDF-")
    assert b"<pdfaid:part>2</pdfaid:part>" in first
    # The customer moves and gets another language: the paper of now is another one, what was sent stays.
    async with shop.database.begin() as connection:
        await connection.execute(
            text("UPDATE customers SET language = 'de', company = 'Byron KG' WHERE id = :id"), {"id": customer}
        )
    assert (await agent.get(f"/v1/invoices/{invoice['id']}/pdf")).content != first
    await agent.made(f"/v1/messages/{sent['id']}/resend", None)
    await shop.eventually(lambda: has(2), "the invoice arrives again")
    assert [content for _, content in await files()] == [first, first]
    for change in (
        "UPDATE invoices SET total = total + 1, amount_due = amount_due + 1 WHERE id = :id",
        "UPDATE invoices SET number = 'other' WHERE id = :id",
        "UPDATE invoices SET local_date = '2020-01-01' WHERE id = :id",
        "UPDATE invoice_lines SET description = 'other' WHERE invoice_id = :id",
        "DELETE FROM invoice_lines WHERE invoice_id = :id",
    ):
        with pytest.raises(DBAPIError, match="never changed or removed"):
            async with shop.database.begin() as connection:
                await connection.execute(text(change), {"id": invoice["id"]})


async def test_what_is_open_is_listed_and_its_letter_has_a_link_to_pay(shop: Shop, agent: Caller) -> None:
    customer = await shop.customer(VISA)
    state = await shop.start(customer, await shop.terms(), start_at=at("2027-10-04", 14))
    await shop.until(state.id, at("2027-10-04", 15))
    await shop.script(await shop.token(customer), then="soft:insufficient_funds")
    await shop.until(state.id, at("2027-11-04", 15))
    (due,) = (await agent.get("/v1/invoices/due", customer_id=customer, test_mode="true")).json()["items"]
    assert (due["status"], due["due_on"], due["age_days"]) == ("open", "2027-11-04", 0)
    (told,) = (await agent.get("/v1/messages", customer_id=customer, template="payment_failed")).json()["items"]
    letter = (await agent.get(f"/v1/messages/{told['id']}")).json()
    (url,) = set(re.findall(r"http://\S+/link/[\w-]+", letter["body"]))
    assert f'href="{url}"' in letter["html"]
    page = await agent.http.get(url)
    assert page.status_code == 200, page.text
    same = (await agent.post("/v1/message-templates/payment_failed/en/preview", {"message_id": told["id"]})).json()
    assert (same["subject"], same["text"], same["html"]) == (letter["subject"], letter["body"], letter["html"])
