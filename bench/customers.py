"""Made-up customers in any number, the same ones for the same seed, written by COPY: something to search in.

Names are made of parts, so that there are tens of thousands of different ones and a few that many bear, as among
people. Each customer has a card, and every fifth an invoice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

import asyncpg

from local.supervisor import Tell
from models.customers import invoice_prefix_of

BATCH: Final = 20_000
INVOICE_EVERY: Final = 5
COMMON_SHARE: Final = 0.6  # of people with one of the common last names
COMPANY_SHARE: Final = 0.15
FIRST_DAY: Final = datetime(2021, 1, 1, tzinfo=UTC)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES: Final = _parts(
    "Ada Adam Aisha Alba Alma Amir Ana Anders Anna Anton Astrid Aylin Ben Bruno Carla Carmen Chloe Clara Daniel Dario "
    "David Diego Dilara Elena Elias Ella Emil Emma Erik Eva Farah Felix Finn Frida Gabriel Greta Hana Hannah Hugo Ida "
    "Ines Ivan Jan Jana Joao Johan John Jonas Julia Kai Karl Katja Lars Laura Lea Leon Lina Lisa Luca Lucia Luis "
    "Magnus Maria Marie Mark Marta Martin Mateo Max Maya Mia Mila Milan Mina Mohamed Nadia Nele Nils Nina Noah Nora "
    "Olga Oliver Omar Oskar Pablo Paul Pavel Peter Petra Piotr Rafael Rosa Sara Selma Simon Sofia Stefan Sven Tarek "
    "Teresa Thomas Tim Tom Vera Victor Yara Yusuf Zoe Åsa Björn François José Jürgen Łukasz Søren Zoë"
)
COMMON_NAMES: Final = _parts(
    "Smith Jones Brown Taylor Wilson Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Hoffmann García "
    "Fernández González López Martínez Silva Santos Rossi Russo Ferrari Nowak Kowalski Novak Horvat Jensen Nielsen "
    "Hansen Johansson Andersson Nilsson Korhonen Virtanen Dubois Moreau Laurent Bernard Petit Kaya Yilmaz Demir"
)
STARTS: Final = _parts(
    "Bar Ber Bor Brun Cal Car Dal Dor Eck El Fal Fer Fin Gar Ger Gold Hal Har Hil Hol Jar Kal Kar Kel Kor Lan Lar Lind "
    "Lo Mal Mar Mer Mor Nor Ol Par Per Pol Ran Ros Sal San Sel Sil Sor Stein Tal Tor Val Ver Vin Wal Wer Win Zan"
)
MIDDLES: Final = _parts(
    "a al an ar be da de el en er gi in is ka la le li ma me mi na ne ni ol on or ra re ri ro ta ti"
)
ENDS: Final = _parts(
    "bach baum berg borg dahl dano dini dorf dottir elli ero escu etti feld ford gaard gren haus heim holm ini insky "
    "kamp koski land ley lund mann mark nen nik ova owski quist rath rini rup sen shaw ski son stad stein strand tal "
    "ton vic ville wald well wood"
)
TRADES: Final = _parts("Bakery Books Coffee Cycles Design Energy Foods Garden Labs Logistics Media Motors Studio Tools")
DOMAINS: Final = ("example.com", "example.org", "example.net", "mail.example", "post.example")

CUSTOMER_COLUMNS: Final = (
    "id", "external_id", "first_name", "last_name", "company", "email", "phone", "language", "time_zone", "currency",
    "invoice_prefix", "invoice_seq", "tags", "created_at", "updated_at",
)  # fmt: skip
METHOD_COLUMNS: Final = ("id", "customer_id", "gateway", "token", "kind", "brand", "last4")
INVOICE_COLUMNS: Final = (
    "id", "number", "customer_id", "subscription_id", "cycle", "reason", "currency", "total", "credit_applied",
    "amount_due", "status", "issued_at", "local_date", "paid_at", "test_mode",
)  # fmt: skip

Row = tuple[Any, ...]


class People:
    """Customers number 0, 1, 2 … of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)  # noqa: S311 - made-up people, no secret

    def rows(self) -> Iterator[tuple[Row, Row, Row | None]]:
        """Customer, card, and an invoice for some."""
        number = 0
        while True:
            yield self._person(number)
            number += 1

    def _person(self, number: int) -> tuple[Row, Row, Row | None]:
        chance = self.chance
        first, last = chance.choice(FIRST_NAMES), self._last_name()
        company = f"{last} {chance.choice(TRADES)}" if chance.random() < COMPANY_SHARE else ""
        email = f"{_plain(first)}.{_plain(last)}{number}@{chance.choice(DOMAINS)}"
        identity = f"cus_made{self.seed}x{number:07d}"
        made = FIRST_DAY + timedelta(seconds=number * 97)
        has_invoice = number % INVOICE_EVERY == 0
        prefix = invoice_prefix_of(identity)
        phone = f"+49{chance.randrange(15_000_000_000, 17_999_999_999)}"
        customer = (
            *(identity, f"crm-{self.seed}-{number}", first, last, company, email, phone, "de", "Europe/Berlin", "EUR"),
            *(prefix, int(has_invoice), '["made"]', made, made),
        )
        last4 = f"{chance.randrange(10_000):04d}"
        card = (f"pm_made{self.seed}x{number:07d}", identity, "sandbox", f"tok_made_{number}", "card", "visa", last4)
        if not has_invoice:
            return customer, card, None
        invoice = (
            *(f"in_made{self.seed}x{number:07d}", f"{prefix}-000001", identity, f"sub_made{number}", 1, "renewal"),
            *("EUR", 1900, 0, 1900, "paid", made, f"{made:%Y-%m-%d}", made, False),
        )
        return customer, card, invoice

    def _last_name(self) -> str:
        chance = self.chance
        if chance.random() < COMMON_SHARE:
            return chance.choice(COMMON_NAMES)
        return chance.choice(STARTS) + chance.choice(MIDDLES) + chance.choice(ENDS)


def _plain(name: str) -> str:
    return name.lower().encode("ascii", "ignore").decode()


async def generate(url: str, *, count: int, seed: int, tell: Tell) -> None:
    """Write `count` customers. All or nothing: a failure leaves the database as it was."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute("SET synchronous_commit = off")
        people = islice(People(seed).rows(), count)
        async with connection.transaction():
            done = 0
            while batch := list(islice(people, BATCH)):
                await _copy(connection, batch)
                done += len(batch)
                tell(f"{done:,} of {count:,}")
        tell("Tidying the indexes …")
        for table in ("customers", "payment_methods", "invoices", "customer_search", "search_words"):
            await connection.execute(f"VACUUM (ANALYZE) {table}", timeout=600)
    finally:
        await connection.close()


async def _copy(connection: asyncpg.Connection[Any], batch: Sequence[tuple[Row, Row, Row | None]]) -> None:
    tables = (
        ("customers", CUSTOMER_COLUMNS, [row for row, _, _ in batch]),
        ("payment_methods", METHOD_COLUMNS, [row for _, row, _ in batch]),
        ("invoices", INVOICE_COLUMNS, [row for _, _, row in batch if row is not None]),
    )
    for table, columns, rows in tables:
        await connection.copy_records_to_table(table, records=rows, columns=columns, timeout=600)
