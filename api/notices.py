"""What a changed customer means for its subscriptions: commands through the one door, each with its own identity."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from api.context import Services
from api.idempotency import Once
from domain.errors import NotFound
from domain.ids import derive
from domain.messages import CollectNow, Envelope, SetNotice
from domain.price_commands import set_tax_envelope
from models.queries_customers import last_change
from models.queries_subscriptions import living_of, with_open_invoice
from models.queries_tax import tax_terms

CARD_UPDATE: Final = "card_update"


async def tell_subscriptions(services: Services, customer_id: str, days: int, actor: str) -> None:
    """A new `notice_days` for every subscription that lives.

    Safe to repeat after an outage in the middle: the commands' ids come from the logged change.
    """
    async with services.database.session() as session:
        change = await last_change(session, customer_id, "notice_days")
        subscriptions = await living_of(session, customer_id)
    if change is None:  # as it always was: the subscriptions started with it
        return
    for subscription in subscriptions:
        envelope = Envelope(derive("cmd", subscription, str(change)), SetNotice(days), actor)
        await services.commands.send_if_taken(subscription, envelope)


async def collect_open(services: Services, customer_id: str, method_id: str, once: Once, actor: str) -> None:
    """Try the open invoices at once with a method that was just added or made the default (policy `card_update`)."""
    async with services.database.session() as session:
        subscriptions = await with_open_invoice(session, customer_id)
    for subscription in subscriptions:
        command = CollectNow(method_id, CARD_UPDATE)
        await services.commands.send_if_taken(
            subscription, Envelope(derive(once.id("cmd"), subscription), command, actor)
        )


async def tell_tax(services: Services, customer_id: str, actor: str) -> None:
    """How the customer is taxed by now, for every subscription that is taxed otherwise.

    Safe to repeat: the command's id comes from what it changes, and to what.
    """
    async with services.database.session() as session:
        terms = await tax_terms(session, customer_id)
        subscriptions = await living_of(session, customer_id)
    for subscription in subscriptions:
        with suppress(NotFound):
            state = await services.commands.state(subscription)
            if state.tax != terms:
                await services.commands.send_if_taken(subscription, set_tax_envelope(state, terms, actor))
