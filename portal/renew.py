"""Entering another card by link: it takes the place of the one that the link names, or goes first; once.

The card and the link's end are one transaction. What is open is tried with the new card at once (policy `card_update`);
an invoice that is open still has its own link on the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from domain.errors import Refused
from domain.ids import derive
from domain.links import ID_PREFIX, LinkKind, Standing, new_link
from domain.messages import CollectNow, Envelope
from domain.paying import ACTOR
from models import Customer, Invoice, PaymentMethod
from models.queries_customers import customer, method
from models.queries_links import keep_link, link, open_invoices
from models.queries_subscriptions import with_open_invoice
from models.session import database_now
from models.wallet import chargeable
from portal import shown
from portal.context import Portal, portal_of
from portal.edge import form_of
from portal.frame import page
from portal.opened import NoSuchLink, Opened, still_open
from portal.wallet import brought, card_form, checked_token, keep, token_in, unusable

TRIGGER: Final = "card_update"
REASON: Final = "card update link"


async def show(request: Request, found: Opened) -> Response:
    """Which card it is about, and where another one is entered; after that, that it was done."""
    portal = portal_of(request)
    async with portal.database.session() as session:
        owner = await _owner(session, found)
        named = await method(session, owner.id, found.subject_id)
        cards = await chargeable(session, owner.id)
        unpaid = await _unpaid(portal, session, found, owner) if found.standing is Standing.USED else []
    return page(
        found.frame(),
        "renew.html",
        title="Your payment card",
        done=found.standing is Standing.USED,
        named=_card(named) if named is not None else None,
        cards=[_card(card) for card in cards],
        unpaid=unpaid,
        another=card_form(portal, found),
    )


async def confirm_card(request: Request, found: Opened) -> Response:
    """Back from the gateway's form: the card is shown, and nothing is done before the customer says so."""
    portal, token = portal_of(request), token_in(request)
    if found.standing is Standing.USED:
        return RedirectResponse(found.path, 303)
    async with portal.database.session() as session:
        owner = await _owner(session, found)
        try:
            card = await brought(portal, session, owner.id, token)
        except Refused:
            return unusable(found, portal)
    return page(
        found.frame(),
        "confirm_card.html",
        title="Use this card?",
        text="Your payments will be made with this card from now on. Anything that is due is charged to it at once.",
        card=shown.card_of(card.details.kind, card.details.brand, card.details.last4),
        expiry=shown.expiry(card.details.exp_month, card.details.exp_year),
        button="Use this card",
        hidden={"token": card.details.token},
        path=found.path,
    )


async def use_card(request: Request, found: Opened) -> Response:
    """Keep the card, end the link, try what is open. The same card pressed again is the same press."""
    portal, form = portal_of(request), await form_of(request)
    token = checked_token(form.get("token", ""))
    async with portal.database.session() as session:
        row = await still_open(session, found)
        owner = await customer(session, (await _owner(session, found)).id, lock=True)
        if owner is None:
            raise NoSuchLink
        try:
            card = await brought(portal, session, owner.id, token)
            identity = derive("pm", owner.id, card.gateway.name, card.details.token)
            if row.used_at is not None and await method(session, owner.id, identity) is None:
                return RedirectResponse(found.path, 303)
            named = await method(session, owner.id, found.subject_id)
            instead_of = named.id if named is not None else None
            kept = await keep(session, owner, card, first=named is None, instead_of=instead_of, why=REASON)
        except Refused:
            return unusable(found, portal)
        row.used_at = row.used_at or await database_now(session)
        await _link_what_is_open(session, found, owner)
    await _collect(portal, found, owner.id, kept.id)
    return RedirectResponse(found.path, 303)


async def _collect(portal: Portal, found: Opened, customer_id: str, method_id: str) -> None:
    async with portal.database.session() as session:
        subscriptions: Sequence[str] = await with_open_invoice(session, customer_id)
    for subscription in subscriptions:
        command = CollectNow(method_id, TRIGGER)
        envelope = Envelope(derive("cmd", found.row.id, subscription), command, ACTOR, REASON)
        await portal.commands.send_if_taken(subscription, envelope)


async def _owner(session: AsyncSession, found: Opened) -> Customer:
    owner = await customer(session, found.row.customer_id or "")
    if owner is None:
        raise NoSuchLink
    return owner


async def _link_what_is_open(session: AsyncSession, found: Opened, owner: Customer) -> None:
    """A payment link for each open invoice: should the new card be declined, there is a way on from the page."""
    now = await database_now(session)
    for row in await open_invoices(session, owner.id):
        fresh = new_link(_way_on(found, row), LinkKind.PAY_INVOICE, row.id, now)
        await keep_link(session, fresh, customer_id=owner.id, actor=found.row.id)


async def _unpaid(portal: Portal, session: AsyncSession, found: Opened, owner: Customer) -> list[dict[str, str]]:
    locale = shown.locale_of(owner.language)
    ways = [(row, await link(session, _way_on(found, row))) for row in await open_invoices(session, owner.id)]
    return [
        {
            "number": row.number,
            "amount": shown.money(row.amount_due, row.currency, locale),
            "href": f"{portal.base}/{portal.links.token(way.link)}",
        }
        for row, way in ways
        if way is not None
    ]


def _way_on(found: Opened, row: Invoice) -> str:
    return derive(ID_PREFIX, found.row.id, row.id)


def _card(card: PaymentMethod) -> str:
    ends = shown.expiry(card.exp_month, card.exp_year)
    return f"{shown.card(card)}, {ends}" if ends else shown.card(card)
