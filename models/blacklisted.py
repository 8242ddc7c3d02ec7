"""Whom the blacklist keeps from ordering, and which card from being charged: the refusal, wherever it is asked for."""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from domain.blacklist import MarkKind, marks
from domain.errors import NotFound, Refused
from models.customers import Customer
from models.queries_blacklist import listed_kinds, marks_of
from models.queries_customers import customer

_WORDS: Final = {
    MarkKind.EMAIL: "email address",
    MarkKind.PHONE: "phone number",
    MarkKind.FINGERPRINT: "card",
    MarkKind.ADDRESS: "address",
}


async def refuse_blacklisted(session: AsyncSession, payer: Customer, *, fingerprint: str | None = None) -> None:
    """Raises `Refused` where the blacklist knows the customer, by email, phone, an address or one of their cards.

    Where the parent pays, the parent must not be known either. `fingerprint`: only this card counts besides, for a
    customer who brings another one.
    """
    own = await marks_of(session, payer)
    if payer.payer_id != payer.id and fingerprint is None:
        parent = await customer(session, payer.payer_id)
        if parent is None:
            raise NotFound("There is no such customer.")
        own |= await marks_of(session, parent)
    if fingerprint is not None:
        own = {mark for mark in own if mark.kind is not MarkKind.FINGERPRINT} | marks(fingerprints=[fingerprint])
    refuse_kinds(await listed_kinds(session, own))


async def refuse_blacklisted_card(session: AsyncSession, fingerprint: str) -> None:
    """Raises `Refused` where the blacklist knows this card."""
    refuse_kinds(await listed_kinds(session, marks(fingerprints=[fingerprint])))


def refuse_kinds(kinds: tuple[MarkKind, ...]) -> None:
    """Raises `Refused` that says by what the blacklist knows somebody."""
    if kinds:
        words = " and ".join(_WORDS[kind] for kind in kinds)
        raise Refused("blacklisted", f"The customer's {words} is on the blacklist: no new order or charge is taken.")
