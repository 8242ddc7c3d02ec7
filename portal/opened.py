"""Whether a link opens: the row it names, the code in its address, and its standing now.

What is unknown, tampered with or shaped wrongly is one error; only who holds a true link is told that it has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from domain.links import Link, LinkKind, LinkMaker, Standing, link_id_of, standing
from domain.papers import Seller
from models import CustomerLink
from models.queries_business import seller
from models.queries_links import link
from models.session import database_now
from portal.context import portal_of
from portal.frame import Frame

# What a token is compared with where there is no such link, so that the time says nothing.
_NOBODY: Final = Link("lnk_aaaaaaaaaaaaaaaaaaaaaaaa", LinkKind.BASKET, "", datetime(2000, 1, 1, tzinfo=UTC))


class NoSuchLink(Exception):
    """There is none, or not for this."""


class LinkOver(Exception):
    """It was one, and works no more."""

    def __init__(self, standing: Standing, seller: Seller) -> None:
        super().__init__(standing)
        self.standing = standing
        self.seller = seller


@dataclass(frozen=True, slots=True)
class Opened:
    """A link that works, or was used. `path` is its page's address; `instead`: what its subject has become."""

    row: CustomerLink
    token: str
    standing: Standing
    seller: Seller
    path: str
    base: str
    instead: str | None = None

    @property
    def kind(self) -> LinkKind:
        return LinkKind(self.row.kind)

    @property
    def subject_id(self) -> str:
        return self.instead or self.row.subject_id

    def frame(self, language: str = "en") -> Frame:
        return Frame(self.base, self.seller, language)


async def opened(request: Request) -> Opened:
    """The link in the request's path. Raises `NoSuchLink` or `LinkOver`."""
    portal, token = portal_of(request), str(request.path_params["token"])
    link_id = link_id_of(token)
    async with portal.database.session() as session:
        row = await link(session, link_id) if link_id is not None else None
        now, merchant = await database_now(session), await seller(session)
    row = _checked(portal.links, token, row)
    stands = standing(row.link, now, used_at=row.used_at, revoked_at=row.revoked_at)
    if stands in {Standing.EXPIRED, Standing.REVOKED}:
        raise LinkOver(stands, merchant)
    return Opened(row, token, stands, merchant, f"{portal.base}/{token}", portal.base)


async def still_open(session: AsyncSession, found: Opened) -> CustomerLink:
    """The link's row, locked, for a step that ends it or that must not be taken after its end. Raises as `opened`."""
    row = await link(session, found.row.id, lock=True)
    if row is None:
        raise NoSuchLink
    now = await database_now(session)
    stands = standing(row.link, now, used_at=row.used_at, revoked_at=row.revoked_at)
    if stands in {Standing.EXPIRED, Standing.REVOKED}:
        raise LinkOver(stands, found.seller)
    return row


def _checked(links: LinkMaker, token: str, row: CustomerLink | None) -> CustomerLink:
    true = links.is_of(token if token.isascii() else "", row.link if row is not None else _NOBODY)
    if row is None or not true:
        raise NoSuchLink
    return row
