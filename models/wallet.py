"""How a payment method enters a customer's wallet and in which order they are used: one rule, whoever brings it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.errors import Refused
from models.blacklisted import refuse_blacklisted
from models.customers import Customer, PaymentMethod
from models.disputes import BlacklistEntry
from models.queries_customers import methods
from models.session import database_now

METHODS_MAX: Final = 20


async def admit(session: AsyncSession, payer: Customer, fingerprint: str, before: Sequence[PaymentMethod]) -> None:
    """Raises `Refused` where the customer or the card is blacklisted, or there are too many methods already."""
    await refuse_blacklisted(session, payer, fingerprint=fingerprint)
    if len(before) >= METHODS_MAX:
        raise Refused("too_many", f"A customer has at most {METHODS_MAX} payment methods.")


async def put_in(
    session: AsyncSession, payer: Customer, brought: PaymentMethod, *, first: bool, instead_of: str | None = None
) -> tuple[PaymentMethod, PaymentMethod | None]:
    """The method as it is kept, and the one whose place it took. The customer's row is locked by the caller.

    It takes the place of `instead_of`, and of the same card where that was entered before. Brought again, it stays as
    it is. One that was removed since is not brought back: `Refused`.
    """
    known = await session.get(PaymentMethod, brought.id)
    if known is not None:
        if known.removed_at is not None:
            raise Refused("removed", "This payment method was removed.")
        return known, None
    before = list(await methods(session, payer.id))
    old = next((each for each in before if each.id == instead_of or _is_same_card(each, brought)), None)
    await admit(session, payer, brought.fingerprint, [each for each in before if each is not old])
    if old is not None:
        place = before.index(old)
        old.removed_at = await database_now(session)
        await session.flush()
        before[place] = brought
        ordered = [brought, *(each for each in before if each is not brought)] if first else before
    else:
        ordered = [brought, *before] if first else [*before, brought]
    session.add(brought)
    number(ordered)
    await session.flush()
    return brought, old


def number(ordered: Sequence[PaymentMethod]) -> None:
    """Give methods their order of use."""
    for position, row in enumerate(ordered):
        row.position = position


async def chargeable(session: AsyncSession, payer_id: str) -> Sequence[PaymentMethod]:
    """The methods that may be charged, in their order of use: working, and not on the blacklist."""
    listed = exists().where(
        BlacklistEntry.kind == "fingerprint",
        BlacklistEntry.value == PaymentMethod.fingerprint,
        BlacklistEntry.removed_at.is_(None),
    )
    statement = (
        select(PaymentMethod)
        .where(
            PaymentMethod.customer_id == payer_id,
            PaymentMethod.removed_at.is_(None),
            PaymentMethod.closed_at.is_(None),
            ~listed,
        )
        .order_by(PaymentMethod.position, PaymentMethod.created_at, PaymentMethod.id)
    )
    return (await session.scalars(statement)).all()


async def is_somebody_elses(session: AsyncSession, gateway: str, token: str, customer_id: str) -> bool:
    """Whether this token was ever kept for another customer."""
    return bool(
        await session.scalar(
            select(
                exists().where(
                    PaymentMethod.gateway == gateway,
                    PaymentMethod.token == token,
                    PaymentMethod.customer_id != customer_id,
                )
            )
        )
    )


def masked(method: PaymentMethod) -> str:
    """A method as it may be shown: `visa 4242`, `visa 4242, 03/2027`."""
    name = " ".join(part for part in (method.brand or method.kind, method.last4) if part)
    if method.exp_month is None or method.exp_year is None:
        return name
    return f"{name}, {method.exp_month:02}/{method.exp_year}"


def _is_same_card(one: PaymentMethod, other: PaymentMethod) -> bool:
    return one.gateway == other.gateway and one.fingerprint == other.fingerprint != ""
