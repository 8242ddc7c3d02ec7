"""A basket paid by its link: what is bought, what of it comes again and when, a saved card or another one.

The first press makes the basket's one order and pays it; from then on the page is that of the order's invoice, with all
that can become of a payment. The press carries the total and the revision that the page showed: it pays that or
nothing. Everything it makes has an id from the basket's, so two browsers, two presses and the back button buy once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from babel import Locale
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from domain import baskets
from domain.baskets import BasketStanding
from domain.errors import InvalidInput, Refused
from domain.order_messages import OpenOrder, OrderEnvelope, Pay
from domain.order_state import Channel, DueLine, OrderLine, OrderLineKind
from domain.paying import ACTOR
from domain.terms import Terms
from models import Basket, Customer, Order, PaymentMethod
from models.blacklisted import refuse_blacklisted, refuse_blacklisted_card
from models.offers import dues_now, offered, total_of
from models.queries_customers import customer
from models.queries_orders import basket, order
from models.queries_tax import tax_terms
from models.session import database_now
from models.wallet import chargeable
from portal import pay as invoices
from portal import shown
from portal.context import Portal, portal_of
from portal.edge import form_of
from portal.frame import message, page
from portal.opened import NoSuchLink, Opened, still_open
from portal.pay import PARENTS_WORDS, USUAL, choice, reaches
from portal.wallet import brought, card_form, checked_token, keep, token_in, unusable

TITLE: Final = "Your basket"
REASON: Final = "basket"
FIELDS: Final = ("revision", "total")
DIGITS_MAX: Final = 15
FREE_WORDS: Final = "There is nothing to pay."

_OVER: Final = {
    BasketStanding.WITHDRAWN: "This offer was withdrawn. Please ask us if you still want it; nothing was charged.",
    BasketStanding.EXPIRED: "This offer has expired. Please ask us for a new one; nothing was charged.",
}
_ORDERED: Final = {
    "paid": ("Thank you", "Your order is confirmed. There is nothing left to do."),
    "draft": (
        "This offer was changed",
        "It is not as it was offered here any more. We will send you what is agreed now.",
    ),
}
_CLOSED: Final = ("This order is closed", "There is nothing to pay. If you think that is wrong, please ask us.")


@dataclass(frozen=True, slots=True)
class Offer:
    """A basket with its customer, read at one moment. `dues`: what is paid if it is paid now."""

    row: Basket
    owner: Customer
    stands: BasketStanding
    lines: tuple[OrderLine, ...]
    dues: tuple[DueLine, ...]
    methods: tuple[PaymentMethod, ...]
    bought: Order | None

    @property
    def is_fresh(self) -> bool:
        """Nothing was paid or tried yet: also where a press was cut off before it reached the order's workflow."""
        if self.bought is None:
            return self.stands in {BasketStanding.OPEN, BasketStanding.TAKEN}
        return self.bought.status == "draft" and self.bought.revision == 1 and self.bought.invoice_id is None

    @property
    def total(self) -> int:
        return total_of(self.dues) if self.bought is None else self.bought.total

    @property
    def needs_no_method(self) -> bool:
        """Somebody else's pay, or nothing does, now and later."""
        free = self.total == 0 and all(line.kind is OrderLineKind.ONE_TIME for line in self.lines)
        return free or self.owner.payer_id != self.owner.id

    @property
    def seen(self) -> dict[str, int]:
        """What a press says of the page it was on."""
        return {"revision": self.row.revision, "total": self.total}


async def show(request: Request, found: Opened) -> Response:
    """The offer; once it is bought, where its payment stands."""
    portal = portal_of(request)
    async with portal.database.session() as session:
        offer = await _offer(portal, session, found)
    if offer.is_fresh:
        return _page(portal, found, offer)
    instead = _invoice(found, offer)
    return _over(found, offer) if instead is None else await invoices.show(request, instead)


async def pay(request: Request, found: Opened) -> Response:
    """Buy it with a saved method. Of what a page of the invoice sends, `pay` of invoices takes care."""
    portal, form = portal_of(request), await form_of(request)
    async with portal.database.session() as session:
        row = await still_open(session, found)
        offer = await _offer(portal, session, replace(found, row=row), lock=True)
        method_id = None
        if offer.is_fresh:
            if _numbers(form) != offer.seen:
                return _page(portal, found, offer, changed=True)
            method_id = _chosen(offer, form.get("method", ""))
            await _take(session, offer, method_id)
    if offer.is_fresh:
        return await _buy(portal, found, offer, method_id)
    instead = None if _is_of_basket(form) else _invoice(found, offer)
    if instead is None:
        return RedirectResponse(found.path, 303)
    return await invoices.pay_as_asked(portal, instead, form)


async def confirm_card(request: Request, found: Opened) -> Response:
    """Back from the gateway's form: the card is shown, and nothing is done before the customer says so."""
    portal, token = portal_of(request), token_in(request)
    async with portal.database.session() as session:
        offer = await _offer(portal, session, found)
        if offer.is_fresh and not offer.needs_no_method:
            try:
                card = await brought(portal, session, offer.owner.id, token)
            except Refused:
                return unusable(found, portal)
        else:
            card = None
    if card is None:
        instead = _invoice(found, offer)
        return RedirectResponse(found.path, 303) if instead is None else await invoices.confirm_card(request, instead)
    locale = shown.locale_of(offer.owner.language)
    amount = shown.money(offer.total, offer.row.currency, locale)
    return page(
        found.frame(),
        "confirm_card.html",
        title="Pay your basket",
        text=f"{amount} will be charged to this card. It is kept for your later payments.",
        card=shown.card_of(card.details.kind, card.details.brand, card.details.last4),
        expiry=shown.expiry(card.details.exp_month, card.details.exp_year),
        button=_button(offer, locale),
        hidden={"token": card.details.token, **offer.seen},
        path=found.path,
    )


async def pay_with_card(request: Request, found: Opened) -> Response:
    """Keep the card, last in the order of use, and buy with it."""
    portal, form = portal_of(request), await form_of(request)
    token = checked_token(form.get("token", ""))
    async with portal.database.session() as session:
        row = await still_open(session, found)
        offer = await _offer(portal, session, replace(found, row=row), lock=True)
        method_id = None
        if offer.is_fresh and not offer.needs_no_method:
            if _numbers(form) != offer.seen:
                return _page(portal, found, offer, changed=True)
            try:
                method_id = await _kept(portal, session, offer, token)
            except Refused:
                return unusable(found, portal)
            await _take(session, offer, method_id)
    if method_id is not None:
        return await _buy(portal, found, offer, method_id)
    instead = None if _is_of_basket(form) else _invoice(found, offer)
    if instead is None:
        return RedirectResponse(found.path, 303)
    return await invoices.pay_with_card_as_asked(portal, instead, form)


async def _kept(portal: Portal, session: AsyncSession, offer: Offer, token: str) -> str:
    payer = await customer(session, offer.owner.id, lock=True)
    if payer is None:
        raise NoSuchLink
    card = await brought(portal, session, payer.id, token)
    return (await keep(session, payer, card, first=False, why=REASON)).id


async def _offer(portal: Portal, session: AsyncSession, found: Opened, *, lock: bool = False) -> Offer:
    row = await basket(session, found.subject_id, lock=lock)
    owner = await customer(session, row.customer_id or "") if row is not None else None
    if row is None or owner is None:
        raise NoSuchLink
    lines = offered(row)
    stands = baskets.standing(
        await database_now(session),
        expires_at=row.expires_at,
        withdrawn_at=row.withdrawn_at,
        order_id=row.order_id,
    )
    own: Sequence[PaymentMethod] = [] if owner.payer_id != owner.id else await chargeable(session, owner.id)
    return Offer(
        row=row,
        owner=owner,
        stands=stands,
        lines=lines,
        dues=await dues_now(session, lines, row.currency, owner),
        methods=tuple(each for each in own if reaches(portal, each, row.test_mode)),
        bought=await order(session, row.order_id) if row.order_id is not None else None,
    )


async def _take(session: AsyncSession, offer: Offer, method_id: str | None) -> None:
    """From here on nobody edits or withdraws it. Raises `Refused` for whom the blacklist knows."""
    await refuse_blacklisted(session, offer.owner)
    if method_id is not None:
        fingerprint = next((each.fingerprint for each in offer.methods if each.id == method_id), None)
        if fingerprint is not None:
            await refuse_blacklisted_card(session, fingerprint)
    offer.row.order_id = baskets.order_id_of(offer.row.id)
    await session.flush()


async def _buy(portal: Portal, found: Opened, offer: Offer, method_id: str | None) -> Response:
    """The one order, and its one first payment; both may be repeated, and are not done twice."""
    row, owner = offer.row, offer.owner
    order_id = baskets.order_id_of(row.id)
    async with portal.database.session() as session:
        tax = await tax_terms(session, owner.id)
    wanted = OpenOrder(
        id=order_id,
        customer_id=owner.id,
        zone=owner.time_zone,
        currency=row.currency,
        channel=Channel.CUSTOMER,
        agent=row.agent,
        lines=offer.lines,
        dues=offer.dues,
        test_mode=row.test_mode,
        basket_id=row.id,
        funnel=row.funnel,
        page=row.page,
        notice_days=owner.notice_days,
        tax=tax,
    )
    await portal.commands.orders.open(wanted)
    press = Pay(method_id, offer.total, baskets.TRIGGER)
    envelope = OrderEnvelope(baskets.press_of(row.id), press, ACTOR, REASON)
    await portal.commands.orders.send_if_taken(order_id, envelope)
    return RedirectResponse(found.path, 303)


def _invoice(found: Opened, offer: Offer) -> Opened | None:
    """The link as one to the invoice of the order, where that has one."""
    bought = offer.bought
    if bought is None or bought.invoice_id is None:
        return None
    return replace(found, instead=bought.invoice_id)


def _over(found: Opened, offer: Offer) -> Response:
    if offer.bought is None:
        return message(found.frame(), TITLE, _OVER[offer.stands], 410)
    return message(found.frame(), *_ORDERED.get(offer.bought.status, _CLOSED))


def _page(portal: Portal, found: Opened, offer: Offer, *, changed: bool = False) -> Response:
    row, locale, zone = offer.row, shown.locale_of(offer.owner.language), offer.owner.time_zone
    usual = (PARENTS_WORDS if offer.owner.payer_id != offer.owner.id else FREE_WORDS) if offer.needs_no_method else ""
    return page(
        found.frame(),
        "basket.html",
        409 if changed else 200,
        title=TITLE,
        test_mode=row.test_mode,
        changed=changed,
        note=row.note,
        lines=[_line(line, row.currency, zone, locale) for line in offer.lines],
        sums=_sums(offer, locale),
        until=shown.day(row.expires_at, zone, locale),
        button=_button(offer, locale),
        hidden=offer.seen,
        methods=[choice(method) for method in offer.methods],
        usual=USUAL,
        usual_words=usual,
        another=card_form(portal, found),
        path=found.path,
    )


def _button(offer: Offer, locale: Locale) -> str:
    return f"Pay {shown.money(offer.total, offer.row.currency, locale)}" if offer.total else "Order now"


def _line(line: OrderLine, currency: str, zone: str, locale: Locale) -> dict[str, str | list[str]]:
    smalls = list[str]()
    listed = line.list_amount
    if listed is not None and listed > line.unit_amount:
        smalls.append(f"instead of {shown.money(listed * line.quantity, currency, locale)}")
    if line.terms is not None:
        smalls += _again(line.terms, line.start_at, zone, locale)
    return {
        "text": line.description if line.quantity == 1 else f"{line.quantity} \u00d7 {line.description}",
        "smalls": smalls,
        "amount": shown.money(line.amount, currency, locale),
    }


def _again(terms: Terms, start_at: datetime | None, zone: str, locale: Locale) -> list[str]:
    """What of a subscription comes again, and when, in plain words."""
    count, unit = terms.interval.count, terms.interval.unit.value
    every = f"every {unit}" if count == 1 else f"every {count} {unit}s"
    said = [f"{shown.money(terms.price.minor, terms.currency, locale)} {every}, until you cancel"]
    if terms.setup_fee:
        said.append(f"once, with the first payment: {shown.money(terms.setup_fee, terms.currency, locale)}")
    if terms.trial_days:
        cost = shown.money(terms.trial_amount, terms.currency, locale) if terms.trial_amount else "nothing"
        said.append(f"the first {terms.trial_days} days cost {cost}")
    if start_at is not None:
        said.append(f"begins on {shown.day(start_at, zone, locale)}")
    return said


def _sums(offer: Offer, locale: Locale) -> list[tuple[str, str]]:
    tax = sum(due.line.tax for due in offer.dues)
    sums = [("Tax in it", shown.money(tax, offer.row.currency, locale))] if tax else []
    return [*sums, ("To pay now", shown.money(offer.total, offer.row.currency, locale))]


def _is_of_basket(form: Mapping[str, str]) -> bool:
    """Whether it was sent from the offer, and not from a page of its invoice."""
    return any(name in form for name in FIELDS)


def _numbers(form: Mapping[str, str]) -> dict[str, int]:
    for name in FIELDS:
        value = form.get(name, "")
        if not value.isdecimal() or not value.isascii() or len(value) > DIGITS_MAX:
            raise InvalidInput(name, "is a number")
    return {name: int(form[name]) for name in FIELDS}


def _chosen(offer: Offer, method_id: str) -> str | None:
    """A method that the page offers. Raises `InvalidInput` for any other."""
    if offer.needs_no_method and method_id == USUAL:
        return None
    if method_id in {method.id for method in offer.methods}:
        return method_id
    raise InvalidInput("method", "is not one of those offered")
