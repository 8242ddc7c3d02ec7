"""The life of cards: a notice before one comes to its end, and what gateways tell of cards that were renewed or closed.

A notice is a row that exists once for each card, end and distance, with its letter and link, in one transaction. A
change that a gateway tells of is a row as well, with the card it changed and the line of the customer's log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.alive import alive
from activities.courier import Courier
from activities.letters import columns_of, known_as
from activities.outbox import NewMessage, put
from domain.calendar import whole_second
from domain.card_life import MONTHS, last_day, notice_due, written
from domain.errors import NotFound
from domain.ids import derive
from domain.letters import LetterSet, Reader
from domain.links import ID_PREFIX, LinkKind, LinkMaker, new_link
from models.queries_letters import letter_set
from models.queries_links import keep_link
from models.session import Database
from providers.gateways.base import CardChange, CardUpdater, Gateway
from providers.letters.desk import compose

PAGE: Final = 200
ACTOR: Final = "card expiry"
UPDATER: Final = "account updater"


@dataclass(frozen=True, slots=True)
class ExpiryPage:
    """Look at the cards after this id, as of `now`."""

    now: datetime
    after: str = ""


@dataclass(frozen=True, slots=True)
class UpdatesPage:
    """Read what a gateway tells; an empty name is the first of those that tell anything."""

    now: datetime
    gateway: str = ""


class Clocks(Protocol):
    """Tells the time of a subscription."""

    async def virtual_now(self, subscription_id: str) -> datetime: ...


class CardLife:
    """The activities behind the Schedules `card-expiry` and `card-updates`."""

    def __init__(
        self,
        database: Database,
        gateways: Mapping[str, Gateway],
        courier: Courier,
        links: LinkMaker,
        clocks: Clocks,
    ) -> None:
        self._clocks = clocks
        self._database = database
        self._gateways = gateways
        self._courier = courier
        self._links = links

    @activity.defn(name="notify_of_expiry")
    @alive
    async def notify_of_expiry(self, asked: ExpiryPage) -> ExpiryPage | None:
        """Tell the owners of the next cards; where to go on, None at the end. Safe to repeat."""
        async with self._database.begin() as connection:
            rows = (await connection.execute(_EXPIRING, {"now": asked.now, "after": asked.after, "page": PAGE})).all()
            letters = await letter_set(connection)
        told: list[str] = []
        for row in rows:
            clock = await self._clock(row, asked.now)
            if row.exp_month not in MONTHS or clock is None:
                continue
            days = notice_due(row.exp_year, row.exp_month, row.time_zone, clock)
            if days is not None:
                async with self._database.begin() as connection:
                    told += await self._tell(connection, row, days, (clock, asked.now), letters)
        await self._send(told)
        return ExpiryPage(asked.now, rows[-1].id) if len(rows) == PAGE else None

    @activity.defn(name="read_card_updates")
    @alive
    async def read_card_updates(self, asked: UpdatesPage) -> UpdatesPage | None:
        """Apply the next changes that a gateway tells of; where to go on, None at the end. Each is applied once."""
        names = sorted(name for name, gateway in self._gateways.items() if isinstance(gateway, CardUpdater))
        if not names:
            return None
        name = asked.gateway or names[0]
        gateway = self._gateways[name]
        assert isinstance(gateway, CardUpdater)  # noqa: S101 - it is one of `names`
        async with self._database.begin() as connection:
            cursor = await connection.scalar(_CURSOR, {"gateway": name})
        page = await gateway.card_changes(cursor)
        told: list[str] = []
        async with self._database.begin() as connection:
            letters = await letter_set(connection)
            for change in page.changes:
                told += await self._apply(connection, name, change, asked.now, letters)
            await connection.execute(_GO_ON, {"gateway": name, "cursor": page.cursor})
        await self._send(told)
        if page.more:
            return UpdatesPage(asked.now, name)
        following = names[names.index(name) + 1 :]
        return UpdatesPage(asked.now, following[0]) if following else None

    async def _clock(self, row: Row[Any], now: datetime) -> datetime | None:
        """The customer's time: a subscription in test mode is asked for its own. None: it has just ended."""
        if row.tested is None:
            return now
        try:
            return whole_second(await self._clocks.virtual_now(row.tested))
        except NotFound:
            return None

    async def _tell(
        self, connection: AsyncConnection, row: Row[Any], days: int, at: tuple[datetime, datetime], letters: LetterSet
    ) -> list[str]:
        """The notice of one card, written once; the id of its letter either way, for one that was not sent yet.

        `at`: by the customer's clock, and by the wall's, by which links end.
        """
        clock, now = at
        expires = written(row.exp_year, row.exp_month)
        still = (await connection.execute(_STILL, {"id": row.id})).one_or_none()
        if still is None or (still.exp_year, still.exp_month) != (row.exp_year, row.exp_month):
            return []  # replaced, renewed or closed meanwhile
        identity = derive("msg", "card_expires", row.id, expires, str(days))
        message_id = identity if row.email else None
        notice = {
            "method": row.id,
            "expires": expires,
            "days": days,
            "customer": row.customer_id,
            "message": message_id,
            "at": clock,
        }
        fresh = (await connection.execute(_NOTICE, notice)).one_or_none()
        if fresh is None or message_id is None:
            return [] if message_id is None else [message_id]
        facts = {
            "method": known_as(row.brand or row.kind, row.last4),
            "expires_on": last_day(row.exp_year, row.exp_month).isoformat(),
            "update_link": await self._link(connection, identity, row.id, row.customer_id, now),
        }
        await self._write(connection, identity, "card_expires", facts, row, clock, letters)
        return [message_id]

    async def _apply(
        self, connection: AsyncConnection, gateway: str, change: CardChange, now: datetime, letters: LetterSet
    ) -> list[str]:
        """One change, for each customer who has this card; the ids of letters to those who are asked for another."""
        told: list[str] = []
        rows = (await connection.execute(_CARDS, {"gateway": gateway, "token": change.card.token})).all()
        for row in rows:
            before = _shown(row.brand, row.kind, row.last4, row.exp_month, row.exp_year)
            card = change.card
            after = _shown(card.brand, card.kind, card.last4, card.exp_month, card.exp_year)
            after = "closed" if change.is_closed else after
            line = {
                "gateway": gateway,
                "id": change.id,
                "method": row.id,
                "kind": "closed" if change.is_closed else "renewed",
                "customer": row.customer_id,
                "before": before,
                "after": after,
                "at": change.at,
            }
            if (await connection.execute(_CHANGE, line)).one_or_none() is None:
                continue  # read again after a crash: it was applied
            if change.is_closed:
                await connection.execute(_CLOSE, {"method": row.id, "at": change.at})
            else:
                new = {"brand": card.brand, "last4": card.last4, "month": card.exp_month, "year": card.exp_year}
                await connection.execute(_RENEW, {"method": row.id, "fingerprint": card.fingerprint, **new})
            log = {"customer": row.customer_id, "actor": UPDATER, "old": before, "new": after}
            await connection.execute(_LOG, log)
            if change.is_closed and row.email and row.is_used:
                identity = derive("msg", "card_closed", gateway, change.id, row.id)
                facts = {
                    "method": known_as(row.brand or row.kind, row.last4),
                    "update_link": await self._link(connection, identity, row.id, row.customer_id, now),
                }
                await self._write(connection, identity, "card_closed", facts, row, now, letters)
                told.append(identity)
        return told

    async def _link(
        self, connection: AsyncConnection, message_id: str, method: str, customer: str, now: datetime
    ) -> str:
        link = new_link(derive(ID_PREFIX, message_id), LinkKind.UPDATE_CARD, method, now)
        await keep_link(connection, link, customer_id=customer, actor=ACTOR)
        return self._links.url(link)

    @staticmethod
    async def _write(
        connection: AsyncConnection,
        message_id: str,
        event: str,
        facts: Mapping[str, object],
        row: Row[Any],
        at: datetime,
        letters: LetterSet,
    ) -> None:
        name = " ".join(part for part in (row.first_name, row.last_name) if part) or row.company
        reader = Reader(name, row.email, row.language, row.time_zone, row.first_name, row.last_name, row.company)
        message = NewMessage(
            id=message_id,
            customer_id=row.customer_id,
            recipient=row.email,
            at=at,
            **columns_of(compose(letters, event, facts, reader)),
        )
        await put(connection, message)

    async def _send(self, told: list[str]) -> None:
        """What an earlier run has written and not handed on is handed on as well."""
        if not told:
            return
        async with self._database.begin() as connection:
            waiting = (await connection.scalars(_WAITING, {"ids": told})).all()
        await self._courier.dispatch(list(waiting))


def _shown(brand: str, kind: str, last4: str, month: int | None, year: int | None) -> str:
    name = " ".join(part for part in (brand or kind, last4) if part)
    return name if month is None or year is None else f"{name}, {month:02}/{year}"


# The first card in the order of use of whoever pays for a subscription that is not cancelled. The clock is the wall's,
# or where all of these are in test mode, that of the one that is furthest ahead.
_EXPIRING = text(
    """
SELECT m.id, m.customer_id, m.kind, m.brand, m.last4, m.exp_month, m.exp_year, u.tested,
    c.email, c.first_name, c.last_name, c.company, c.language, c.time_zone
FROM payment_methods AS m JOIN customers AS c ON c.id = m.customer_id
CROSS JOIN LATERAL (
    SELECT count(*) AS runs, CASE WHEN bool_and(s.test_mode) THEN
        (array_agg(s.id ORDER BY s.virtual_now DESC, s.id))[1] END AS tested
    FROM customers AS o JOIN subscriptions AS s ON s.customer_id = o.id
    WHERE (o.id = m.customer_id AND o.pays = 'self' OR o.parent_id = m.customer_id AND o.pays = 'parent')
    AND s.status <> 'canceled'
) AS u
WHERE m.id > :after AND m.removed_at IS NULL AND m.closed_at IS NULL
AND m.exp_month IS NOT NULL AND m.exp_year IS NOT NULL
AND u.runs > 0 AND (u.tested IS NOT NULL OR
    m.exp_year * 12 + m.exp_month - (extract(year FROM CAST(:now AS timestamptz)) * 12
        + extract(month FROM CAST(:now AS timestamptz))) BETWEEN -1 AND 2)
AND NOT EXISTS (
    SELECT FROM payment_methods AS b
    WHERE b.customer_id = m.customer_id AND b.removed_at IS NULL AND b.closed_at IS NULL
    AND (b.position, b.created_at, b.id) < (m.position, m.created_at, m.id)
)
ORDER BY m.id LIMIT :page
"""
)
_STILL = text(
    """
SELECT exp_month, exp_year FROM payment_methods
WHERE id = :id AND removed_at IS NULL AND closed_at IS NULL FOR SHARE
"""
)
_NOTICE = text(
    """
INSERT INTO card_notices (payment_method_id, expires, days, customer_id, message_id, at)
VALUES (:method, :expires, :days, :customer, :message, :at) ON CONFLICT DO NOTHING RETURNING days
"""
)
_WAITING = text("SELECT id FROM messages WHERE id = ANY(:ids) AND status = 'pending' ORDER BY id")
_CURSOR = text("SELECT cursor FROM card_feeds WHERE gateway = :gateway")
_GO_ON = text(
    """
INSERT INTO card_feeds (gateway, cursor) VALUES (:gateway, :cursor)
ON CONFLICT (gateway) DO UPDATE SET cursor = excluded.cursor, updated_at = now()
"""
)
_CARDS = text(
    """
SELECT m.id, m.customer_id, m.kind, m.brand, m.last4, m.exp_month, m.exp_year,
    c.email, c.first_name, c.last_name, c.company, c.language, c.time_zone,
    EXISTS (
        SELECT FROM customers AS o JOIN subscriptions AS s ON s.customer_id = o.id
        WHERE (o.id = m.customer_id AND o.pays = 'self' OR o.parent_id = m.customer_id AND o.pays = 'parent')
        AND s.status <> 'canceled'
    ) AS is_used
FROM payment_methods AS m JOIN customers AS c ON c.id = m.customer_id
WHERE m.gateway = :gateway AND m.token = :token AND m.removed_at IS NULL ORDER BY m.id FOR UPDATE OF m
"""
)
_CHANGE = text(
    """
INSERT INTO card_changes (gateway, id, payment_method_id, kind, customer_id, before, after, at)
VALUES (:gateway, :id, :method, :kind, :customer, :before, :after, :at) ON CONFLICT DO NOTHING RETURNING id
"""
)
_CLOSE = text("UPDATE payment_methods SET closed_at = :at WHERE id = :method AND closed_at IS NULL")
_RENEW = text(
    """
UPDATE payment_methods SET brand = :brand, last4 = :last4, exp_month = :month, exp_year = :year,
    fingerprint = :fingerprint, closed_at = NULL
WHERE id = :method
"""
)
_LOG = text(
    """
INSERT INTO customer_changes (customer_id, actor, field, old, new)
VALUES (:customer, :actor, 'payment_method', :old, :new)
"""
)
