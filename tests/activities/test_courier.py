"""Letters where the mail server is slow or silent, or something breaks: none is sent twice or holds up another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Self

import pytest
from sqlalchemy import text
from temporalio.testing import ActivityEnvironment

from activities.courier import Messages, SendLimits, TemporalCourier
from models.session import Database
from providers.notifiers.base import AddressRefused, Email, Notifier, NotifierUnavailable
from providers.notifiers.smtp import SmtpNotifier
from tests.stack_fixtures import NUMBERS

pytestmark = pytest.mark.timeout(60)

QUICK = SendLimits(until=timedelta(seconds=1), letter=timedelta(seconds=5))


class Broken(Exception):
    """Not what a notifier says: a bug of ours."""


class Post:
    """Takes letters; some take it long, break it, or are refused, by their subject."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.silent = asyncio.Event()  # a letter is in hand that will never be taken

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[Self]:
        yield self

    async def send(self, message: Email) -> None:
        match message.subject:
            case "slow":
                await asyncio.sleep(QUICK.until.total_seconds() * 1.2)
            case "silent":
                self.silent.set()
                await asyncio.Event().wait()
            case "broken":
                raise Broken("a letter that cannot be written")
            case "refused":
                raise AddressRefused("nobody lives here")
            case _:
                pass
        self.taken.append(message.message_id)


async def letters(database: Database, *subjects: str) -> list[str]:
    """Rows that wait to be sent, in this order."""
    customer = f"cus_{next(NUMBERS)}"
    ids = [f"msg_{next(NUMBERS):06}" for _ in subjects]
    async with database.begin() as connection:
        await connection.execute(
            text("INSERT INTO customers (id, email, currency, invoice_prefix) VALUES (:id, :email, 'EUR', :prefix)"),
            {"id": customer, "email": "a@example.net", "prefix": customer},
        )
        for each, subject in zip(ids, subjects, strict=True):
            await connection.execute(
                text(
                    "INSERT INTO messages (id, customer_id, template, recipient, subject, body, at)"
                    " VALUES (:id, :customer, 'receipt', 'a@example.net', :subject, 'Thanks', now())"
                ),
                {"id": each, "customer": customer, "subject": subject},
            )
    return ids


async def rows(database: Database, ids: list[str]) -> list[tuple[Any, ...]]:
    """Status, tries, and whether it is claimed, in order."""
    async with database.begin() as connection:
        found = await connection.execute(
            text("SELECT status, tries, claimed_until IS NOT NULL FROM messages WHERE id = ANY(:ids) ORDER BY id"),
            {"ids": ids},
        )
        return [tuple(row) for row in found]


async def send(database: Database, notifier: Notifier, ids: list[str], limits: SendLimits = QUICK) -> int:
    return await ActivityEnvironment().run(
        Messages(database, notifier, "us@example.com", limits=limits).send_messages, ids
    )


async def test_what_a_slow_server_leaves_over_goes_with_the_next_try_at_once(fresh_database: Database) -> None:
    post, ids = Post(), await letters(fresh_database, "slow", "fine", "fine")
    with pytest.raises(NotifierUnavailable, match=r"^2 message\(s\) go with the next try"):
        await send(fresh_database, post, ids)
    assert await rows(fresh_database, ids) == [("sent", 1, False), ("pending", 0, False), ("pending", 0, False)]
    assert await send(fresh_database, post, ids) == 2
    assert post.taken == ids


async def test_a_letter_that_breaks_loses_no_record_and_holds_up_no_other(fresh_database: Database) -> None:
    post, ids = Post(), await letters(fresh_database, "fine", "broken", "refused", "fine")
    for tries in (1, 2):
        with pytest.raises(Broken):
            await send(fresh_database, post, ids)
        assert await rows(fresh_database, ids) == [
            ("sent", 1, False), ("pending", tries, False), ("refused", 1, False), ("sent", 1, False),
        ]  # fmt: skip
    assert post.taken == [ids[0], ids[3]]


async def test_a_try_that_is_cancelled_has_written_down_what_it_sent(fresh_database: Database) -> None:
    post, ids = Post(), await letters(fresh_database, "fine", "fine", "silent", "fine")
    limits = SendLimits(write_down_every=timedelta(hours=1))
    trying = asyncio.create_task(send(fresh_database, post, ids, limits))
    await post.silent.wait()
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying
    # What became of the third nobody knows: it keeps its lease. The fourth had no turn.
    assert await rows(fresh_database, ids) == [
        ("sent", 1, False), ("sent", 1, False), ("pending", 0, True), ("pending", 0, False),
    ]  # fmt: skip


async def test_a_letter_has_a_longest_time(fresh_database: Database) -> None:
    post, ids = Post(), await letters(fresh_database, "silent", "fine")
    with pytest.raises(NotifierUnavailable, match="takes too long"):
        await send(fresh_database, post, ids, SendLimits(letter=timedelta(seconds=0.2)))
    assert await rows(fresh_database, ids) == [("pending", 1, False), ("sent", 1, False)]


@asynccontextmanager
async def drip() -> AsyncGenerator[int]:
    """A mail server that answers every line, and takes its time for each."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = b"220 hello\r\n"
        while answer:
            await asyncio.sleep(0.3)
            writer.write(answer)
            answer = b"250 fine\r\n" if await reader.readline() else b""
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_server_that_drips_is_left_although_it_answers_each_line_in_time(fresh_database: Database) -> None:
    ids = await letters(fresh_database, "fine")
    async with drip() as port:
        with pytest.raises(NotifierUnavailable, match="takes too long"):
            await send(
                fresh_database,
                SmtpNotifier("127.0.0.1", port, timeout_s=5),
                ids,
                SendLimits(letter=timedelta(seconds=0.5)),
            )
    assert await rows(fresh_database, ids) == [("pending", 1, False)]


class Starts:
    """In place of a Temporal client: the batches that were started; `away` is when it does not answer."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.away = False

    async def start_activity(self, activity: str, ids: list[str], **_: object) -> None:
        assert activity == "send_messages"
        await asyncio.sleep(0.001)
        if self.away:
            raise ConnectionError("no Temporal")
        self.batches.append(ids)


async def test_what_is_dispatched_side_by_side_goes_in_few_batches_and_each_once() -> None:
    starts = Starts()
    courier = TemporalCourier(starts, "queue")  # pyright: ignore[reportArgumentType] - all of the client that it uses
    ids = [f"msg_{number:03}" for number in range(120)]

    async def step(number: int) -> None:
        await asyncio.sleep(number / 2000)
        await courier.dispatch([ids[number]])

    await asyncio.gather(*(step(number) for number in range(120)))
    assert sorted(each for batch in starts.batches for each in batch) == ids
    assert len(starts.batches) < 30


async def test_one_after_the_other_each_goes_at_once_by_itself() -> None:
    starts = Starts()
    courier = TemporalCourier(starts, "queue")  # pyright: ignore[reportArgumentType] - as above
    await courier.dispatch(["msg_1", "msg_2"])
    await courier.dispatch(["msg_3"])
    await courier.dispatch([])
    assert starts.batches == [["msg_1", "msg_2"], ["msg_3"]]


async def test_who_waits_hears_that_temporal_is_away_and_the_next_is_tried_again() -> None:
    starts = Starts()
    courier = TemporalCourier(starts, "queue")  # pyright: ignore[reportArgumentType] - as above
    starts.away = True
    heard = await asyncio.gather(*(courier.dispatch([f"msg_{n}"]) for n in range(3)), return_exceptions=True)
    assert [type(each) for each in heard] == [ConnectionError] * 3
    starts.away = False
    await courier.dispatch(["msg_0"])
    assert starts.batches == [["msg_0"]]
