"""Mail is really sent: the notifier against the sink in its own process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from local.ports import HeldPort
from providers.notifiers.base import AddressRefused, Email, NotifierUnavailable
from providers.notifiers.smtp import SmtpNotifier, compose
from tests.servers import Server

RECEIPT = Email(
    message_id="message:inv_7:receipt",
    sender="Dunlin Billing <billing@dunlin.example>",
    to="ada@customer.example",
    subject="Your receipt for März",
    text="We charged 19.99 €.\n.\nThank you.\n",
    html="<p>We charged <b>19.99 €</b>.</p>",
)


def notifier(sink: Server) -> SmtpNotifier:
    return SmtpNotifier("127.0.0.1", sink.smtp_port, timeout_s=5)


async def found(sink: Server, to: str) -> list[dict[str, Any]]:
    listed = (await sink.http.get("/messages", params={"to": to})).json()["messages"]
    return [(await sink.http.get(f"/messages/{message['id']}")).json() for message in listed]


@pytest.mark.stack
async def test_a_message_arrives_as_it_was_written_under_our_own_id(sink: Server) -> None:
    await notifier(sink).send(RECEIPT)
    [message] = await found(sink, "ADA@customer.example")
    assert message["subject"] == RECEIPT.subject
    assert message["text"].replace("\r\n", "\n") == RECEIPT.text
    assert message["html"].strip() == RECEIPT.html
    assert message["message_id"] == "<message.inv_7.receipt@dunlin.example>"
    by_subject = (await sink.http.get("/messages", params={"subject": "receipt FOR"})).json()["messages"]
    assert [one["id"] for one in by_subject] == [message["id"]]


@pytest.mark.stack
@pytest.mark.parametrize(("status", "error"), [("421", NotifierUnavailable), ("550", AddressRefused)])
async def test_a_refusal_for_now_and_for_good_are_told_apart(sink: Server, status: str, error: type[Exception]) -> None:
    message = replace(RECEIPT, to=f"refused-{status}@customer.example")
    await sink.http.put("/control", json={"refuse": status, "to": message.to, "times": 1})
    with pytest.raises(error, match=status):
        await notifier(sink).send(message)
    assert await found(sink, message.to) == []
    await notifier(sink).send(message)
    assert len(await found(sink, message.to)) == 1


async def test_a_mail_server_that_is_not_there_is_an_outage() -> None:
    with HeldPort() as nobody_listens, pytest.raises(NotifierUnavailable):
        await SmtpNotifier("127.0.0.1", nobody_listens.number, timeout_s=5).send(RECEIPT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": "ada@customer.example\r\nBcc: everyone@customer.example"},
        {"to": "ada@customer.example, eve@customer.example"},
        {"to": "nobody"},
        {"to": ""},
        {"subject": "Hello\nBcc: everyone@customer.example"},
        {"sender": "Dunlin\r\nX-Evil: 1 <billing@dunlin.example>"},
    ],
)
def test_no_value_can_add_a_header_or_a_recipient(wrong: dict[str, str]) -> None:
    with pytest.raises(AddressRefused):
        compose(replace(RECEIPT, **wrong))


def test_a_subject_is_written_as_its_language_writes_amounts() -> None:
    for subject in ("Rechnung: 1.234,50\u00a0€", "Reçu\u202f: 1\u202f234,50\u00a0€", "領収書 ¥1,500", "\u200fקבלה"):
        assert compose(replace(RECEIPT, subject=subject))["Subject"] == subject


def test_an_id_with_strange_characters_stays_one_header() -> None:
    mail = compose(replace(RECEIPT, message_id="a b\r\nBcc: x>"))
    assert mail["Message-ID"] == "<a.b..Bcc..x.@dunlin.example>"
    assert mail["Bcc"] is None
