"""Reads of templates: what letters are written with now, told by one mark whether anything has changed since."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from domain.letters import LetterSet, Template
from models.letters import LetterTemplate
from models.paging import KeyPart, Keyset, Page, page
from models.queries_business import seller

VERSIONS: Final = Keyset("letter_templates", (LetterTemplate.id,))
SETS_KEPT_MAX: Final = 8

# Part of a statement: changes with every template that is written and every time the seller is set. The time stands
# beside the id because processes that know more than one database keep their sets in one place.
MARK_SQL: Final = """concat_ws(' ',
    (SELECT concat(t.id, '@', t.at) FROM letter_templates AS t ORDER BY t.id DESC LIMIT 1), '/',
    (SELECT concat(b.id, '@', b.at) FROM business_policy_changes AS b WHERE b.key = 'seller' ORDER BY b.id DESC LIMIT 1)
)"""
_MARK: Final = text(f"SELECT {MARK_SQL}")
_IN_FORCE: Final = text(
    """
SELECT event, language, version, subject, text, html FROM (
    SELECT DISTINCT ON (event, language) * FROM letter_templates ORDER BY event, language, version DESC
) AS last WHERE subject IS NOT NULL
"""
)
_SETS: Final = dict[str, LetterSet]()


async def letter_set(connection: AsyncConnection | AsyncSession, mark: str | None = None) -> LetterSet:
    """What letters are written with. No statement where `mark` came with another one and nothing has changed.

    Read after its mark: a change in between is in the set already, and the next mark differs.
    """
    mark = mark if mark is not None else str(await connection.scalar(_MARK))
    known = _SETS.get(mark)
    if known is not None:
        return known
    rows = (await connection.execute(_IN_FORCE)).all()
    own = {(row.event, row.language): Template(row.subject, row.text, row.html, row.version) for row in rows}
    found = LetterSet(own, await seller(connection))
    while len(_SETS) >= SETS_KEPT_MAX:
        _SETS.pop(next(iter(_SETS)), None)
    _SETS[mark] = found
    return found


async def last_version(session: AsyncSession, event: str, language: str) -> LetterTemplate | None:
    """The version in force, or the one that went back to the built-in words; None where there never was one."""
    statement = select(LetterTemplate).where(LetterTemplate.event == event, LetterTemplate.language == language)
    return (await session.scalars(statement.order_by(LetterTemplate.version.desc()).limit(1))).one_or_none()


async def lock_templates(session: AsyncSession) -> None:
    """Writers take turns, so that ids follow the order of commits. Nobody who reads waits."""
    await session.execute(text("LOCK TABLE letter_templates IN SHARE ROW EXCLUSIVE MODE"))


async def versions(
    session: AsyncSession, event: str, language: str, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[LetterTemplate]:
    statement = select(LetterTemplate).where(LetterTemplate.event == event, LetterTemplate.language == language)
    return await page(session, statement, VERSIONS, after=after, limit=limit)
