"""Mail is really sent: the notifier against the sink in its own process."""

from __future__ import annotations

import asyncio
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


async def send(port: int, *messages: Email) -> None:
    async with SmtpNotifier("127.0.0.1", port, timeout_s=5).session() as session:
        for message in messages:
            await session.send(message)


async def found(sink: Server, to: str) -> list[dict[str, Any]]:
    listed = (await sink.http.get("/messages", params={"to": to})).json()["messages"]
    return [(await sink.http.get(f"/messages/{message['id']}")).json() for message in listed]


@pytest.mark.stack
async def test_a_message_arrives_as_it_was_written_under_our_own_id(sink: Server) -> None:
    await send(sink.smtp_port, RECEIPT)
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
        await send(sink.smtp_port, message)
    assert await found(sink, message.to) == []
    await send(sink.smtp_port, message)
    assert len(await found(sink, message.to)) == 1


async def test_a_mail_server_that_is_not_there_is_an_outage() -> None:
    with HeldPort() as nobody_listens, pytest.raises(NotifierUnavailable):
        await send(nobody_listens.number, RECEIPT)


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


@pytest.mark.stack
async def test_one_session_takes_many_letters_and_a_refusal_holds_up_none(sink: Server) -> None:
    to = "many@customer.example"
    refused = replace(RECEIPT, to="nobody@customer.example")
    await sink.http.put("/control", json={"refuse": "550", "to": refused.to, "times": 1})
    async with SmtpNotifier("127.0.0.1", sink.smtp_port, timeout_s=5).session() as session:
        await session.send(replace(RECEIPT, to=to))
        with pytest.raises(AddressRefused):
            await session.send(refused)
        await session.send(replace(RECEIPT, to=to))
    assert len(await found(sink, to)) == 2


async def test_a_server_that_hangs_up_after_each_letter_is_called_again() -> None:
    """As mail servers do that allow few letters in one connection."""
    taken: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        while (line := await reader.readline()) and not line.startswith(b"DATA"):
            writer.write(b"250 fine\r\n")
        writer.write(b"354 go on\r\n")
        taken.append(await reader.readuntil(b"\r\n.\r\n"))
        writer.write(b"250 taken\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with SmtpNotifier("127.0.0.1", port, timeout_s=5).session() as session:
            for _ in range(2):
                await session.send(RECEIPT)
                await asyncio.sleep(0.05)  # the other side's farewell
    assert len(taken) == 2
