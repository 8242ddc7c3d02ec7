"""Paying an invoice by link: its page, a saved card or another one, and what became of it.

The page tells where the invoice stands each time it is opened; a press of the button leads back to it. A press is known
by the invoice and by how many tries the page had seen: a second press, another browser and the back button are the same
press, and charge nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from domain.declines import in_words
from domain.errors import InvalidInput, Refused
from domain.ids import derive
from domain.messages import CollectNow, Envelope
from domain.order_messages import OrderEnvelope, Pay
from domain.papers import InvoicePaper
from domain.paying import ACTOR, TRIES_PER_DAY_MAX, TRIGGER, Stand, Tried, can_pay, refused_for_good, stand
from models import Attempt, Customer, Invoice, PaymentMethod
from models.queries_billing import charges_of, invoice
from models.queries_customers import any_method, customer
from models.queries_links import tries_by_link
from models.queries_papers import invoice_paper
from models.wallet import chargeable
from portal import shown
from portal.context import Portal, portal_of
from portal.edge import form_of
from portal.frame import page
from portal.opened import NoSuchLink, Opened, still_open
from portal.wallet import Brought, brought, card_form, checked_token, keep, token_in, unusable
from providers.gateways.base import HostedPages

REFRESH_S: Final = 5
REASON: Final = "payment link"
A_DAY: Final = timedelta(hours=24)
# Stands for the methods of a parent, which are not shown to the child.
USUAL: Final = "usual"
PARENTS_WORDS: Final = "It is charged to the account that pays for you."


@dataclass(frozen=True, slots=True)
class Due:
    """An invoice with its customer and its tries, read at one moment."""

    row: Invoice
    owner: Customer
    paper: InvoicePaper
    attempts: Sequence[Attempt]
    methods: Sequence[PaymentMethod]
    last_method: PaymentMethod | None
    too_often: bool

    @property
    def tries(self) -> list[Tried]:
        return [Tried(a.status, a.payment_method_id, a.code, a.decline, a.action_url) for a in self.attempts]

    @property
    def stands(self) -> Stand:
        return stand(self.row.status, self.tries)

    @property
    def is_parents(self) -> bool:
        """Somebody else's methods pay: they are not shown, and no other is taken."""
        return self.owner.payer_id != self.owner.id


async def show(request: Request, found: Opened) -> Response:
    """The invoice, where it stands, and what can be done now."""
    portal = portal_of(request)
    async with portal.database.session() as session:
        due = await _due(portal, session, found.subject_id)
    locale, paper = shown.locale_of(due.paper.language), due.paper
    stands = due.stands
    refused = refused_for_good(due.tries)
    waits = stands is Stand.CHECKING or (stands is Stand.CONFIRM and "back" in request.query_params)
    return page(
        found.frame(),
        "pay.html",
        title=f"Invoice {paper.number}",
        due=due,
        paper=paper,
        stands=stands.value,
        refresh_s=REFRESH_S if waits else None,
        amount=shown.money(due.row.amount_due, paper.currency, locale),
        why=in_words(due.tries[-1].code) if stands is Stand.DECLINED else "",
        confirm=_confirm_address(portal, found, due) if stands is Stand.CONFIRM else None,
        last_card=shown.card(due.last_method) if due.last_method is not None else "",
        paid_on=shown.day(due.row.paid_at, paper.zone, locale) if due.row.paid_at is not None else "",
        payable=can_pay(stands) and not due.too_often,
        methods=[each for each in (choice(m) for m in due.methods) if each["id"] not in refused],
        usual_words=PARENTS_WORDS if due.is_parents else "",
        button=f"Pay {shown.money(due.row.amount_due, paper.currency, locale)}",
        hidden={"seen": len(due.attempts)},
        another=None if due.is_parents else card_form(portal, found),
        lines=[_line(due, position, locale) for position in range(len(paper.lines))],
        sums=_sums(due, locale),
        path=found.path,
        usual=USUAL,
    )


async def pay(request: Request, found: Opened) -> Response:
    """Collect it with a saved method, once for each try that the page had seen."""
    return await pay_as_asked(portal_of(request), found, await form_of(request))


async def pay_as_asked(portal: Portal, found: Opened, form: Mapping[str, str]) -> Response:
    """The same, for a form that was read."""
    chosen, seen = form.get("method", ""), _seen(form)
    async with portal.database.session() as session:
        await still_open(session, found)
        due = await _due(portal, session, found.subject_id)
        method_id = None if chosen == USUAL and due.is_parents else _offered(due, chosen)
    return await _collect(portal, found, due, method_id, seen)


async def confirm_card(request: Request, found: Opened) -> Response:
    """Back from the gateway's form: the card is shown, and nothing is done before the customer says so."""
    portal, token = portal_of(request), token_in(request)
    async with portal.database.session() as session:
        due = await _due(portal, session, found.subject_id)
        card = await _card(portal, session, due, token)
    if card is None:
        return unusable(found, portal)
    if not can_pay(due.stands) or due.too_often:
        return RedirectResponse(found.path, 303)
    locale = shown.locale_of(due.paper.language)
    return page(
        found.frame(),
        "confirm_card.html",
        title=f"Pay invoice {due.paper.number}",
        text=f"{shown.money(due.row.amount_due, due.paper.currency, locale)} will be charged to this card. "
        "It is kept for your later payments.",
        card=shown.card_of(card.details.kind, card.details.brand, card.details.last4),
        expiry=shown.expiry(card.details.exp_month, card.details.exp_year),
        button=f"Pay {shown.money(due.row.amount_due, due.paper.currency, locale)}",
        hidden={"token": card.details.token, "seen": len(due.attempts)},
        path=found.path,
    )


async def pay_with_card(request: Request, found: Opened) -> Response:
    """Keep the card and collect the invoice with it. It goes first where the invoice was declined before, else last."""
    return await pay_with_card_as_asked(portal_of(request), found, await form_of(request))


async def pay_with_card_as_asked(portal: Portal, found: Opened, form: Mapping[str, str]) -> Response:
    """The same, for a form that was read."""
    token, seen = checked_token(form.get("token", "")), _seen(form)
    async with portal.database.session() as session:
        await still_open(session, found)
        due = await _due(portal, session, found.subject_id)
        card = await _card(portal, session, due, token)
        if card is None:
            return unusable(found, portal)
        if not can_pay(due.stands) or due.too_often or len(due.attempts) != seen:
            return RedirectResponse(found.path, 303)
        payer = await customer(session, due.owner.id, lock=True)
        if payer is None:
            raise NoSuchLink
        declined = any(each.decline is not None for each in due.attempts)
        try:
            method = await keep(session, payer, card, first=declined, why=REASON)
        except Refused:
            return unusable(found, portal)
    return await _collect(portal, found, due, method.id, seen)


async def _collect(portal: Portal, found: Opened, due: Due, method_id: str | None, seen: int) -> Response:
    if can_pay(due.stands) and not due.too_often:
        press = derive("cmd", TRIGGER, due.row.id, str(seen))
        if due.row.order_id is not None:
            paying = OrderEnvelope(press, Pay(method_id, trigger=TRIGGER), ACTOR, REASON)
            await portal.commands.orders.send_if_taken(due.row.order_id, paying)
        if due.row.subscription_id is not None:
            envelope = Envelope(press, CollectNow(method_id, TRIGGER), ACTOR, REASON)
            await portal.commands.send_if_taken(due.row.subscription_id, envelope)
    return RedirectResponse(found.path, 303)


async def _due(portal: Portal, session: AsyncSession, invoice_id: str) -> Due:
    row, paper = await invoice(session, invoice_id), await invoice_paper(session, invoice_id)
    owner = await customer(session, row.customer_id) if row is not None else None
    if row is None or paper is None or owner is None:
        raise NoSuchLink
    attempts = await charges_of(session, invoice_id)
    last = attempts[-1].payment_method_id if attempts else None
    parents = owner.payer_id != owner.id
    return Due(
        row=row,
        owner=owner,
        paper=paper,
        attempts=attempts,
        methods=[]
        if parents
        else [m for m in await chargeable(session, owner.id) if reaches(portal, m, row.test_mode)],
        last_method=await any_method(session, last) if last is not None and not parents else None,
        too_often=await tries_by_link(session, invoice_id, TRIGGER, within=A_DAY) >= TRIES_PER_DAY_MAX,
    )


def reaches(portal: Portal, method: PaymentMethod, test_mode: bool) -> bool:
    """A gateway that is served here; what is a test never reaches a real one."""
    gateway = portal.gateways.get(method.gateway)
    return gateway is not None and (gateway.is_sandbox or not test_mode)


async def _card(portal: Portal, session: AsyncSession, due: Due, token: str) -> Brought | None:
    """The card that came back from the form; None where it cannot be used here."""
    if due.is_parents:
        return None
    try:
        return await brought(portal, session, due.owner.id, token)
    except Refused:
        return None


def _offered(due: Due, method_id: str) -> str:
    """A method that the page offers. Raises `InvalidInput` for any other."""
    if method_id in {method.id for method in due.methods} - refused_for_good(due.tries):
        return method_id
    raise InvalidInput("method", "is not one of those offered")


def _seen(form: Mapping[str, str]) -> int:
    seen = form.get("seen", "")
    if not seen.isdecimal() or not seen.isascii() or len(seen) > 4:  # noqa: PLR2004 - more tries than there will ever be
        raise InvalidInput("seen", "is a number")
    return int(seen)


def _confirm_address(portal: Portal, found: Opened, due: Due) -> str | None:
    """The bank's page, from which the browser comes back."""
    last = due.attempts[-1]
    gateway = portal.gateways.get(last.gateway or "")
    if last.action_url is None or not last.action_url.startswith(("http://", "https://")):
        return None
    if not isinstance(gateway, HostedPages):
        return last.action_url
    return gateway.confirm_page(last.action_url, f"{portal.links.url(found.row.link)}?back=1")


def choice(method: PaymentMethod) -> dict[str, str]:
    """A method as the page offers it."""
    return {"id": method.id, "name": shown.card(method), "expiry": shown.expiry(method.exp_month, method.exp_year)}


def _line(due: Due, position: int, locale: shown.Locale) -> dict[str, str]:
    line, paper = due.paper.lines[position], due.paper
    return {
        "text": line.description if line.quantity == 1 else f"{line.quantity} \u00d7 {line.description}",
        "period": shown.period(line.period, paper.zone, locale),
        "amount": shown.money(line.amount, paper.currency, locale),
    }


def _sums(due: Due, locale: shown.Locale) -> list[tuple[str, str]]:
    paper = due.paper
    sums = [("Total", shown.money(paper.total, paper.currency, locale))]
    if paper.credit_applied:
        sums.append(("Credit used", shown.money(-paper.credit_applied, paper.currency, locale)))
    sums += [
        (f"Paid on {shown.day(each.at, paper.zone, locale)}", shown.money(-each.amount, paper.currency, locale))
        for each in paper.payments
    ]
    return [*sums, ("Left to pay", shown.money(paper.left_to_pay, paper.currency, locale))]
