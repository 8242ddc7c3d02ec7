"""How a card comes from the gateway's own form into the customer's wallet: its token and what may be shown of it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from domain.errors import InvalidInput, Refused
from domain.ids import derive
from domain.links import PATH
from models import Customer, CustomerChange, PaymentMethod
from models.wallet import is_somebody_elses, masked, put_in
from portal.context import Portal
from portal.frame import page
from portal.opened import Opened
from providers.gateways.base import Gateway, HostedPages, MethodDetails

TOKEN_LENGTH_MAX = 255
FIELD = "token"


@dataclass(frozen=True, slots=True)
class Brought:
    """A card that the gateway's form sent back."""

    gateway: Gateway
    details: MethodDetails


def card_form(portal: Portal, found: Opened) -> str | None:
    """Where another card is entered: the gateway's own form, which sends the browser back. None: it has none."""
    gateway = next(iter(portal.gateways.values()))
    if not isinstance(gateway, HostedPages):
        return None
    return gateway.card_form(f"{portal.links.address}{PATH}/{found.token}/card")


def token_in(request: Request) -> str:
    """The token that the form added to the address. Raises `InvalidInput`."""
    return checked_token(request.query_params.get(FIELD, ""))


def checked_token(token: str) -> str:
    if not 0 < len(token) <= TOKEN_LENGTH_MAX or not all("!" <= sign <= "~" for sign in token):
        raise InvalidInput(FIELD, "is not a token")
    return token


async def brought(portal: Portal, session: AsyncSession, customer_id: str, token: str) -> Brought:
    """What may be shown of it, asked of the gateway. Raises `Refused` for one that is unknown or somebody else's."""
    gateway = next(iter(portal.gateways.values()))
    details = await gateway.describe(token)
    if details is None or await is_somebody_elses(session, gateway.name, details.token, customer_id):
        raise Refused("unknown_token", "The payment company does not know this card.")
    return Brought(gateway, details)


async def keep(
    session: AsyncSession, payer: Customer, card: Brought, *, first: bool, instead_of: str | None = None, why: str
) -> PaymentMethod:
    """The card in the wallet, once, and a line of the customer's log. The customer's row is locked by the caller.

    Raises `Refused` where it may not be kept.
    """
    details = card.details
    row = PaymentMethod(
        id=derive("pm", payer.id, card.gateway.name, details.token),
        customer_id=payer.id,
        gateway=card.gateway.name,
        token=details.token,
        kind=details.kind,
        brand=details.brand,
        last4=details.last4,
        exp_month=details.exp_month,
        exp_year=details.exp_year,
        fingerprint=details.fingerprint,
    )
    kept, old = await put_in(session, payer, row, first=first, instead_of=instead_of)
    if kept is row:
        change = CustomerChange(
            customer_id=payer.id,
            actor=f"customer, {why}",
            field="payment_method",
            old=masked(old) if old is not None else None,
            new=masked(row),
        )
        session.add(change)
        await session.flush()
    return kept


def unusable(found: Opened, portal: Portal) -> Response:
    """The card is unknown, somebody else's, or may not be used here: which of them is not said."""
    return page(
        found.frame(),
        "unusable.html",
        409,
        title="This card cannot be used",
        text="Please enter another one, or ask us. Nothing was charged.",
        another=card_form(portal, found),
        path=found.path,
    )
