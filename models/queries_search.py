"""The search box: from exact numbers to misspelt names, each stage asked only where the one before found too little.

A misspelt word is looked up among the words that customers have (some ten thousands) and not among customers (a
million): `search_words` gives what is alike, `domain.search.near` decides what is near enough, and the index of words
finds who has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

from sqlalchemy import TextClause, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from domain.search import WORDS_MAX, Asked, near, swaps
from models.customers import Customer
from models.limits import within
from models.search import VALUE_INDEXED_LENGTH_MAX, CustomerSearch

TIMEOUT_MS: Final = 2_000  # of one statement
STATEMENTS_MAX: Final = 10
CANDIDATES_MAX: Final = 200  # how many with the right words are compared by their whole name
PREFIXES_MAX: Final = 20
PREFIX_LENGTH_MIN: Final = 2
ALIKE_MAX: Final = 200
ALIKE_LEAST: Final = 0.2  # one wrong letter of four leaves as much in common

Match = Literal["exact", "word", "prefix", "similar"]


@dataclass(frozen=True, slots=True)
class Hit:
    """A customer, and how the query met them. `by` names what was met exactly; None: words."""

    customer: Customer
    match: Match
    by: str | None


# What a number, an address or an id says by itself; custom fields last, since a word may stand there too.
_EXACT: Final = text(
    f"""
    (SELECT coalesce(merged_into, id), 'id' AS by, 1 AS rank FROM customers WHERE id = CAST(:text AS text))
    UNION ALL (SELECT coalesce(merged_into, id), 'external_id', 2 FROM customers
        WHERE external_id = CAST(:text AS text))
    UNION ALL (SELECT customer_id, 'invoice_number', 3 FROM invoices WHERE number = upper(CAST(:text AS text)))
    UNION ALL (SELECT customer_id, 'order_number', 3 FROM orders WHERE number = upper(CAST(:text AS text)))
    UNION ALL (SELECT customer_id, 'order_number', 4 FROM orders WHERE external_id = CAST(:text AS text))
    UNION ALL (SELECT customer_id, 'subscription_id', 4 FROM subscriptions WHERE id = CAST(:text AS text))
    UNION ALL (SELECT customer_id, 'subscription_id', 4 FROM subscriptions WHERE external_id = CAST(:text AS text))
    UNION ALL (SELECT coalesce(merged_into, id), 'email', 5 FROM customers
        WHERE lower(email) = lower(CAST(:text AS text)) LIMIT :limit)
    UNION ALL (SELECT customer_id, 'phone', 6 FROM customer_search
        WHERE phone ~>=~ CAST(:phone AS text) AND phone ~<~ (CAST(:phone AS text) || ':') LIMIT :limit)
    UNION ALL (SELECT customer_id, 'last4', 7 FROM payment_methods
        WHERE last4 = CAST(:last4 AS text) AND removed_at IS NULL AND last4 <> '' LIMIT :limit)
    UNION ALL (SELECT v.customer_id, 'custom_field', 8 FROM custom_values AS v
        WHERE left(search_fold(v.value #>> '{{}}'), {VALUE_INDEXED_LENGTH_MAX})
            = left(search_fold(CAST(:text AS text)), {VALUE_INDEXED_LENGTH_MAX}) LIMIT :limit)
    """  # noqa: S608 - a number of ours
)
_CUSTOM: Final = "custom_field"
# The planner knows how often the commonest words stand in a row, takes all others for far commoner than they are, and
# would read the whole table for them.
_PLANNING: Final = select(
    func.set_config("enable_seqscan", "off", True),
    func.set_config("pg_trgm.similarity_threshold", str(ALIKE_LEAST), True),
)
_WORDS: Final = text("SELECT word FROM unnest(search_words_of(:text)) WITH ORDINALITY AS found(word, n) LIMIT :limit")
_PREFIXES: Final = text(
    """
    SELECT asked.word, ARRAY(
        SELECT DISTINCT w.word FROM search_words AS w
        WHERE w.word ~>=~ asked.word AND w.word ~<~ (asked.word || U&'\\+10FFFF') LIMIT :limit
    ) FROM unnest(CAST(:words AS text[])) AS asked(word)
    """
)
_ALIKE: Final = text(
    """
    SELECT asked.word, ARRAY(
        SELECT w.word FROM search_words AS w WHERE w.word % asked.word
        ORDER BY similarity(w.word, asked.word) DESC, w.word LIMIT :limit
    ) FROM unnest(CAST(:words AS text[])) AS asked(word)
    """
)


async def search(session: AsyncSession, query: Asked, limit: int) -> list[Hit]:
    """At most `limit` customers, best first: exactly met ones, then by whole words, by their beginnings, by likeness.

    Who is met by an id, a number, an email or a card's last digits ends the search. Raises `Unavailable` where it
    takes too long. At most `STATEMENTS_MAX` statements, however many customers there are.
    """
    async with within(session, TIMEOUT_MS):
        found = await _exact(session, query, limit)
        if not found or set(found.values()) == {_CUSTOM}:
            matches: dict[str, tuple[Match, str | None]] = {each: ("exact", by) for each, by in found.items()}
            await _by_words(session, query, limit, matches)
        else:
            matches = {each: ("exact", by) for each, by in found.items()}
        kept = list(matches)[:limit]
        rows = {row.id: row for row in await session.scalars(select(Customer).where(Customer.id.in_(kept)))}
    return [Hit(rows[each], *matches[each]) for each in kept if each in rows]


async def _exact(session: AsyncSession, query: Asked, limit: int) -> dict[str, str]:
    """Customer → by what, best first."""
    values = {"text": query.text, "phone": query.phone, "last4": query.last4, "limit": limit}
    rows = (await session.execute(_EXACT, values)).all()
    found: dict[str, str] = {}
    for customer_id, by, _ in sorted(rows, key=lambda row: (row[2], row[0])):
        found.setdefault(customer_id, by)
    return found


async def _by_words(
    session: AsyncSession, query: Asked, limit: int, matches: dict[str, tuple[Match, str | None]]
) -> None:
    words = (await session.scalars(_WORDS, {"text": query.text, "limit": WORDS_MAX})).all()
    if not words:
        return
    await session.execute(_PLANNING)
    accepted = {word: [word] for word in words}
    stages: tuple[tuple[Match, TextClause | None], ...] = (("word", None), ("prefix", _PREFIXES), ("similar", _ALIKE))
    for match, source in stages:
        if source is not None and not await _widen(session, source, match, accepted):
            continue
        for customer_id in await _having(session, list(accepted.values()), query.text):
            matches.setdefault(customer_id, (match, None))
        if len(matches) >= limit:
            return


async def _widen(session: AsyncSession, source: TextClause, match: Match, accepted: dict[str, list[str]]) -> bool:
    """Take more words for each word of the query; whether there were any."""
    words = [word for word in accepted if len(word) >= PREFIX_LENGTH_MIN and not word[0].isdigit()]
    limit = PREFIXES_MAX if match == "prefix" else ALIKE_MAX
    rows = await session.execute(source, {"words": words, "limit": limit})
    before = sum(map(len, accepted.values()))
    for row in rows:
        word, others = cast("tuple[str, list[str]]", tuple(row))
        more = others if match == "prefix" else [*near(word, others), *swaps(word)]
        accepted[word] = list(dict.fromkeys([*accepted[word], *more]))
    return sum(map(len, accepted.values())) > before


async def _having(session: AsyncSession, wanted: list[list[str]], asked: str) -> Sequence[str]:
    """Who has, for each list, one of its words; nearest whole names first, among the first that are found."""
    candidates = (
        select(CustomerSearch.customer_id, CustomerSearch.name)
        .where(*(CustomerSearch.words.overlap(words) for words in wanted))
        .limit(CANDIDATES_MAX)
        .subquery()
    )
    likeness = func.similarity(candidates.c.name, func.search_fold(bindparam("asked", asked)))
    statement = select(candidates.c.customer_id).order_by(likeness.desc(), candidates.c.customer_id)
    return (await session.scalars(statement)).all()
