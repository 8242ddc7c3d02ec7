"""Mail that customers write: on the right page or on none, once, and shown as what it is."""

from __future__ import annotations

import asyncio
import mailbox
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from api.keys import create_key
from cli_inbox import hand_in as command
from domain.errors import InvalidInput
from domain.inbound import RAW_BYTES_MAX
from domain.roles import Role
from models.session import Database
from providers.inbound.mail import read
from settings import Settings
from tests.api.conftest import KEYS, Caller
from tests.api.test_messages import written
from tests.stack_fixtures import Shop

AT = "/v1/inbound-mail"
BOUNCE = """\
From: MAILER-DAEMON@mx.example.net
To: billing@dunlin.example
Subject: Undelivered Mail Returned to Sender
Message-ID: <{own}@mx.example.net>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="B"

--B
Content-Type: text/plain

I'm sorry to have to inform you.

--B
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; gone@example.com
Action: {action}
Status: 5.1.1
Diagnostic-Code: smtp; 550 no such user

--B
Content-Type: text/rfc822-headers

Message-ID: <{ours}@dunlin.example>
Subject: Receipt

--B--
"""


def mail(sender: str, words: str = "Thank you!\nAda", **headers: str) -> bytes:
    made = EmailMessage(policy=SMTP)
    made["From"], made["To"], made["Subject"] = sender, "billing@dunlin.example", "Re: Receipt"
    made["Message-ID"] = f"<own-{next(KEYS)}@example.com>"
    for name, value in headers.items():
        del made[name.replace("_", "-")]
        made[name.replace("_", "-")] = value
    made.set_content(words)
    return made.as_bytes()


async def handed(api: Caller, raw: bytes) -> dict[str, Any]:
    response = await api.http.post(
        AT,
        content=raw,
        headers={
            "Authorization": f"Bearer {api.key}",
            "Idempotency-Key": f"mail-{next(KEYS)}",
            "Content-Type": "message/rfc822",
        },
    )
    assert response.status_code == 201, response.text
    return response.json()


@pytest.fixture
async def ada(api: Caller) -> dict[str, Any]:
    """A customer whose address nobody else has."""
    return await api.made("/v1/customers", {"email": f"ada{next(KEYS)}@inbound.example", "currency": "EUR"})


async def test_an_answer_lands_on_the_page_of_whom_we_wrote_to(
    api: Caller, database: Database, ada: dict[str, Any]
) -> None:
    """Also from another address: who names our message has had it before them."""
    ours = await written(database, ada["id"])
    raw = mail("Ada <private@elsewhere.example>", In_Reply_To=f"<{ours}@dunlin.example>")
    said = await handed(api, raw)
    assert (said["customer_id"], said["matched_by"], said["reply_to"]) == (ada["id"], "message", ours)
    (shown,) = (await api.get("/v1/messages", customer_id=ada["id"], direction="received")).json()["items"]
    assert (shown["sender"], shown["subject"], shown["status"]) == (
        "private@elsewhere.example",
        "Re: Receipt",
        "received",
    )
    overview = (await api.get(f"/v1/customers/{ada['id']}/overview")).json()["messages"]["items"]
    assert {each["id"] for each in overview} == {ours, said["id"]}
    assert (await api.get(f"/v1/messages/{said['id']}")).json()["body"] == "Thank you!\nAda\n"
    kept = await api.get(f"{AT}/{said['id']}/raw")
    assert (kept.content, kept.headers["content-disposition"][:10]) == (raw, "attachment")


async def test_a_thread_is_followed_by_its_references(api: Caller, database: Database, ada: dict[str, Any]) -> None:
    ours = await written(database, ada["id"])
    raw = mail("x@elsewhere.example", In_Reply_To="<a@b>", References=f"<{ours}@dunlin.example> <a@b>")
    assert (await handed(api, raw))["customer_id"] == ada["id"]


async def test_by_address_only_where_one_customer_alone_has_it(api: Caller, ada: dict[str, Any]) -> None:
    said = await handed(api, mail(f"Ada <{ada['email'].upper()}>"))
    assert (said["customer_id"], said["matched_by"]) == (ada["id"], "address")
    await api.made("/v1/customers", {"email": ada["email"], "currency": "EUR"})
    unclear = await handed(api, mail(ada["email"]))
    assert (unclear["customer_id"], unclear["matched_by"]) == (None, None)
    assert "customers have the address" in unclear["why"]
    stranger = await handed(api, mail("who@nowhere.example"))
    assert stranger["customer_id"] is None
    listed = [each["id"] for each in (await api.get(f"{AT}/unplaced")).json()["items"]]
    assert {unclear["id"], stranger["id"]} <= set(listed)
    assert said["id"] not in listed


async def test_a_person_puts_it_where_it_belongs(api: Caller, ada: dict[str, Any]) -> None:
    said = await handed(api, mail("who@nowhere.example"))
    placed = await api.post(f"{AT}/{said['id']}/assign", {"customer_id": ada["id"]})
    assert placed.json()["customer_id"] == ada["id"]
    shown = (await api.get(f"/v1/messages/{said['id']}")).json()["received"]
    assert shown == {"kind": "mail", "matched_by": "person", "why": "put here by tests"}
    assert (await api.post(f"{AT}/{said['id']}/assign", {"customer_id": "cus_nobody"})).status_code == 422
    again = await api.post(f"/v1/messages/{said['id']}/resend")
    assert (again.status_code, again.json()["code"]) == (409, "not_sent")


async def test_a_staff_message_that_is_answered_is_on_no_customers_page(
    api: Caller, database: Database, ada: dict[str, Any]
) -> None:
    ours = await written(database, ada["id"], audience="staff")
    said = await handed(api, mail("lead@dunlin.example", In_Reply_To=f"<{ours}@dunlin.example>"))
    assert said["customer_id"] is None


async def test_the_same_mail_lands_once(api: Caller, database: Database, ada: dict[str, Any]) -> None:
    raw = mail(ada["email"])
    answers = await asyncio.gather(*(handed(api, raw) for _ in range(4)))
    assert len({each["id"] for each in answers}) == 1
    assert [each["new"] for each in answers].count(True) == 1
    unnamed = b"From: " + ada["email"].encode() + b"\r\n\r\nhello\r\n"
    assert (await handed(api, unnamed))["id"] == (await handed(api, unnamed))["id"]
    async with database.begin() as connection:
        rows = await connection.scalar(
            text("SELECT count(*) FROM messages WHERE customer_id = :id AND direction = 'received'"), {"id": ada["id"]}
        )
    assert rows == 2


async def test_a_bounce_marks_the_message_it_is_about(api: Caller, database: Database, ada: dict[str, Any]) -> None:
    ours = await written(database, ada["id"])
    waits = BOUNCE.format(own=f"b{next(KEYS)}", ours=ours, action="delayed")
    assert (await handed(api, waits.encode()))["kind"] == "auto_reply"
    assert (await api.get(f"/v1/messages/{ours}")).json()["status"] == "sent", "one that waits may still arrive"
    said = await handed(api, BOUNCE.format(own=f"b{next(KEYS)}", ours=ours, action="failed").encode())
    assert (said["kind"], said["customer_id"], said["reply_to"]) == ("bounce", ada["id"], ours)
    marked = (await api.get(f"/v1/messages/{ours}")).json()
    assert marked["status"] == "bounced"
    assert marked["error"] == "5.1.1 smtp; 550 no such user rfc822; gone@example.com"
    nobodys = await handed(api, BOUNCE.format(own=f"b{next(KEYS)}", ours="msg_nobody", action="failed").encode())
    assert nobodys["customer_id"] is None


@pytest.mark.parametrize("header", [{"Auto_Submitted": "auto-replied"}, {"Precedence": "bulk"}, {"X_Autoreply": "yes"}])
def test_an_answering_machine_is_known(header: dict[str, str]) -> None:
    assert read(mail("ada@example.com", **header)).kind == "auto_reply"
    assert read(mail("ada@example.com", Auto_Submitted="no")).kind == "mail"


def test_html_alone_is_read_without_what_could_run() -> None:
    raw = (
        b"From: a@b.example\r\nContent-Type: text/html; charset=latin-1\r\n\r\n"
        b"<style>p{}</style><p>Gr\xfc\xdfe</p><script>alert(1)</script><p>1 &lt; 2<br>Ada</p>"
    )
    assert read(raw).text == "Grüße\n1 < 2\nAda"


async def test_what_is_no_mail_is_refused(api: Caller) -> None:
    headers = {"Authorization": f"Bearer {api.key}", "Idempotency-Key": f"mail-{next(KEYS)}"}
    response = await api.http.post(AT, content=b"\x00\xff", headers=headers)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (422, "not_a_mail")
    headers["Idempotency-Key"] += "-large"
    response = await api.http.post(AT, content=b"x" * (RAW_BYTES_MAX + 1), headers=headers)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (422, "body_too_large")


@settings(deadline=None)
@given(raw=st.binary(max_size=300), head=st.sampled_from([b"", b"From: a@b\n", b"From: a@b\nContent-Type: "]))
def test_anything_may_come_in(raw: bytes, head: bytes) -> None:
    """It is read or refused, and nothing that a database could not keep comes out."""
    try:
        found = read(head + raw)
    except InvalidInput:
        return
    for each in (found.subject, found.text, found.sender, found.recipient):
        assert "\x00" not in each
        each.encode()


@pytest.mark.stack
@pytest.mark.timeout(180)
async def test_a_customer_answers_and_the_mailbox_is_handed_in(shop: Shop, tmp_path: Path) -> None:
    """What arrived in the mail sink is answered as a mail program does it, and the command brings the mailbox."""
    customer = await shop.customer()
    key = await create_key(shop.database, f"mail-{next(KEYS)}", Role.AGENT)
    async with httpx.AsyncClient(base_url=shop.stack.api_url, timeout=60, trust_env=False) as http:
        api = Caller(http, key)
        body = {"template": "staff_thanks", "values": {"topic": "your patience"}}
        letter = await api.made(f"/v1/customers/{customer}/messages", body)

        async def arrived() -> bool:
            return "Thank you" in await shop.mails(customer)

        await shop.eventually(arrived, "the letter arrives")
        inbox = await shop.http.get(
            f"{shop.stack.mailsink_url}/messages", params={"to": f"{customer}@example.com", "limit": 10}
        )
        ours = inbox.json()["messages"][0]["message_id"]
        path = tmp_path / "inbox"
        box = mailbox.mbox(path)
        box.add(mail("somebody@elsewhere.example", "You are welcome.", In_Reply_To=ours))
        box.add(b"Subject: nobody wrote this\n\nx\n")
        box.close()
        chosen = Settings(public_url=shop.stack.api_url, data_dir=tmp_path)
        for _ in range(2):
            assert await asyncio.to_thread(command, path, key, chosen) == 1
        (found,) = (await api.get("/v1/messages", customer_id=customer, direction="received")).json()["items"]
        assert found["reply_to"] == letter["id"]
