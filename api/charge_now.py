"""Charging by hand: what it would be, shown first; and what became of it, with the ways on where it was declined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.blacklist import refuse_blacklisted_command
from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.fields import Currency, Identifier, Minor, Name
from api.idempotency import Once
from api.keys import Caller
from api.links import make_link
from api.payment_methods import MethodView
from api.routing import noun
from api.rows import found
from api.subscription_commands import CommandBody
from api.subscription_views import SubscriptionDetail, clock, detail
from api.subscriptions import SubscriptionId
from domain.commands import handle
from domain.declines import in_words
from domain.links import LinkKind
from domain.messages import ChargeNow, Envelope
from domain.state import State
from models import Attempt, Invoice, PaymentMethod
from models.queries_billing import charges_of, one_off_invoice
from models.queries_customers import any_method, customer
from models.wallet import chargeable

router = noun("subscription commands")
Outcome = Literal["paid", "declined", "no_method", "confirm", "checking", "parked"]
_OUTCOMES: dict[str, Outcome] = {
    "approved": "paid",
    "declined": "declined",
    "action_required": "confirm",
    "pending": "checking",
    "unknown": "checking",
    "parked": "parked",
}


class ChargeBody(CommandBody):
    """Charge an amount now, besides the cycles. Declined, it is void at once: nobody is dunned for it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"amount": 750, "currency": "EUR", "description": "Express delivery"}]}
    )

    amount: Annotated[Minor, Field(ge=1)]
    currency: Currency
    description: Name = Field(description="Stands on the invoice")
    payment_method_id: Identifier | None = None

    def command(self) -> ChargeNow:
        return ChargeNow(self.amount, self.currency, self.description, self.payment_method_id)


class ChargePreviewView(BaseModel):
    """What would be charged, and to what; nothing is done. `method` is null where there is none."""

    amount: int
    currency: str
    description: str
    method: MethodView | None
    other_methods: list[MethodView] = Field(description="In their order of use")


class ChargeOutcomeView(BaseModel):
    """What became of the charge. `confirm`: the customer's bank asks first, at `action_url`; `checking`: the answer was
    lost and is asked for; `parked`: the gateway is down, it is sent later.
    """

    outcome: Outcome
    invoice_id: str | None
    charge_id: str | None
    amount: int
    currency: str
    method: MethodView | None
    code: str | None = Field(description="The gateway's word for a decline")
    reason: str | None = Field(description="The same in words for the customer")
    action_url: str | None
    other_methods: list[MethodView] = Field(description="What else can be tried, in the order of use")
    card_update_link: str | None = Field(description="For the customer, where the charge was declined")


class ChargedSubscription(SubscriptionDetail):
    """The subscription after a charge by hand, and what became of the charge."""

    charge: ChargeOutcomeView


@router.post("/subscriptions/{subscription_id}/charge")
async def charge(
    subscription_id: SubscriptionId, body: ChargeBody, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> ChargedSubscription:
    """Charge an amount now, besides the cycles. Declined, it is void at once, and the answer has the ways on."""
    command = body.command()
    async with services.database.session() as session:
        await refuse_blacklisted_command(session, subscription_id, command)
    envelope = Envelope(once.id("cmd"), command, caller.acting(body.actor), body.reason, body.expected_cycle)
    state = await services.commands.send(subscription_id, envelope)
    shown = await detail(services, subscription_id, state)
    return ChargedSubscription(**dict(shown), charge=await _outcome(services, state, body, once, caller))


@router.post("/subscriptions/{subscription_id}/charge/preview")
async def preview_charge(
    subscription_id: SubscriptionId, body: ChargeBody, services: ServicesDep, caller: CallerDep
) -> ChargePreviewView:
    """What that charge would be, to be confirmed; nothing is done. Refused where the charge would be."""
    command, state = body.command(), await services.commands.state(subscription_id)
    async with services.database.session() as session:
        await refuse_blacklisted_command(session, subscription_id, command)
    envelope = Envelope("preview", command, caller.acting(body.actor), body.reason, body.expected_cycle)
    handle(state, envelope, await clock(services, state))
    async with services.database.session() as session:
        methods = await _methods(services, session, state)
        chosen = next((each for each in methods if body.payment_method_id in {None, each.id}), None)
    return ChargePreviewView(
        amount=body.amount,
        currency=body.currency,
        description=body.description,
        method=MethodView.model_validate(chosen) if chosen is not None else None,
        other_methods=[MethodView.model_validate(each) for each in methods if each is not chosen],
    )


async def _outcome(services: Services, state: State, body: ChargeBody, once: Once, caller: Caller) -> ChargeOutcomeView:
    async with services.database.session() as session:
        owner = found(await customer(session, state.customer_id), "customer")
        invoice: Invoice | None = await one_off_invoice(
            session, state.id, upto=state.changes, amount=body.amount, description=body.description
        )
        tries: Sequence[Attempt] = await charges_of(session, invoice.id) if invoice is not None else ()
        last = tries[-1] if tries else None
        tried = await any_method(session, last.payment_method_id or "") if last is not None else None
        methods = await _methods(services, session, state)
    outcome = _OUTCOMES.get(last.status, "checking") if last is not None else "no_method"
    link = None
    if outcome in {"declined", "no_method"}:
        link = (await make_link(services, once, LinkKind.UPDATE_CARD, owner.payer_id, owner.payer_id, caller)).url
    return ChargeOutcomeView(
        outcome=outcome,
        invoice_id=invoice.id if invoice is not None else None,
        charge_id=last.id if last is not None else None,
        amount=body.amount,
        currency=body.currency,
        method=MethodView.model_validate(tried) if tried is not None else None,
        code=last.code if last is not None else None,
        reason=in_words(last.code) if last is not None and outcome == "declined" else None,
        action_url=last.action_url if last is not None and outcome == "confirm" else None,
        other_methods=[MethodView.model_validate(each) for each in methods if tried is None or each.id != tried.id],
        card_update_link=link,
    )


async def _methods(services: Services, session: AsyncSession, state: State) -> list[PaymentMethod]:
    """What may be charged for this subscription, in the order of use: what is a test never reaches a real gateway."""
    owner = found(await customer(session, state.customer_id), "customer")
    return [
        each
        for each in await chargeable(session, owner.payer_id)
        if not state.test_mode or services.gateway(each.gateway).is_sandbox
    ]
