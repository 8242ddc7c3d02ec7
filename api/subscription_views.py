"""How a subscription is shown: its row in the books, and the live state of its workflow beside it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, Field

from api.context import Services
from api.fields import Instant, View
from api.names import routes_of
from api.percents import percent_of
from domain.commands import allowed
from domain.discounts import Discount, in_order
from domain.errors import NotFound, Unavailable
from domain.explain import next_in_words
from domain.state import Collecting, State
from domain.tax import TaxTerms
from domain.terms import Terms
from models import Subscription
from models.queries_subscriptions import subscription
from models.session import database_now
from workflows.commands import workflow_id


class SubscriptionView(View):
    """A subscription as the books have it. Times are of its own clock; `cycle` is the next one to be billed."""

    id: str
    external_id: str | None
    customer_id: str
    product_id: str
    price_id: str
    status: str
    access: str
    currency: str
    amount: int = Field(description="Price of one cycle: quantity times unit amount, in minor units")
    quantity: int
    cycle: int
    next_due_at: Instant | None
    period_start: Instant | None
    period_end: Instant | None
    trial_end: Instant | None
    held: bool
    attention: str | None
    test_mode: bool
    trigger: str
    virtual_now: Instant
    created_at: Instant
    updated_at: Instant


class TermsView(BaseModel):
    """The terms the subscription is pinned to."""

    price_id: str
    product_id: str
    product_name: str
    unit_amount: int
    currency: str
    quantity: int
    interval: dict[str, int | str]
    month_end: str
    basis: str
    catch_up: str
    aligned: bool


class NextView(BaseModel):
    """What happens next, when (null: when a command comes), and why."""

    what: str
    at: Instant | None


class DunningView(BaseModel):
    """Dunning under way, by the policy pinned at its start."""

    policy_id: str
    policy_name: str
    started_at: Instant
    retries_used: int
    retries: int
    retry_at: Instant | None


class OpenInvoiceView(BaseModel):
    """The invoice being collected."""

    id: str
    cycle: int
    reason: str
    amount_due: int
    issued_at: Instant
    phase: str
    attempt: int
    not_before: Instant | None
    action_deadline: Instant | None
    dunning: DunningView | None


class PlannedView(BaseModel):
    """A pause, cancellation, change or hold that stands."""

    kind: str
    at: Instant | None = None
    until: Instant | None = None
    by: str = ""
    reason: str = ""
    price_id: str | None = None


class DiscountView(BaseModel):
    """A discount that the next bills have; they are taken off in this order."""

    id: str
    name: str
    source: str
    percent: str | None
    amount: int | None
    cycles_left: int | None
    until: Instant | None
    coupon_id: str | None


class TaxView(BaseModel):
    """How the next bills are taxed: the customer's status and place, and the rates known for it."""

    status: str
    place: str
    rates: list[TaxRateKnown]


class TaxRateKnown(BaseModel):
    """A rate, valid from a day, until a day on which it no longer holds."""

    place: str
    category: str
    percent: str
    inclusive: bool
    valid_from: date
    valid_until: date | None


class LiveView(BaseModel):
    """The live state, asked of the workflow itself."""

    now: Instant
    status: str
    access: str
    next: NextView
    allowed: list[str] = Field(description="Commands it would take now, as named in their routes")
    terms: TermsView
    open_invoice: OpenInvoiceView | None
    planned: list[PlannedView]
    discounts: list[DiscountView]
    tax: TaxView
    credit: int = Field(description="Credit that the next rebills use up first, in minor units")
    skip_cycles: int
    notice_days: int
    grace_until: Instant | None
    started_at: Instant
    ended_at: Instant | None
    workflow_id: str = Field(description="To be found in Temporal's own UI under this id")


class WorkflowView(BaseModel):
    """The subscription's workflow, and where Temporal's own UI shows it; null where no UI is set."""

    id: str
    url: str | None


class SubscriptionDetail(SubscriptionView):
    """A subscription with its live state; `live` is null where it ended for good or Temporal does not answer."""

    live: LiveView | None = None
    workflow: WorkflowView


async def detail(services: Services, subscription_id: str, state: State | None = None) -> SubscriptionDetail:
    """The whole subscription; `state` where a command has just answered with it. Raises `NotFound`."""
    live: LiveView | None = None
    try:
        state = state or await services.commands.state(subscription_id)
        live = live_view(state, await clock(services, state))
    except (NotFound, Unavailable):
        live = None
    async with services.database.session() as session:
        row = await subscription(session, subscription_id)
    if row is None:
        raise NotFound("There is no such subscription.")
    return SubscriptionDetail(**_columns(row), live=live, workflow=_workflow(services, subscription_id))


def _workflow(services: Services, subscription_id: str) -> WorkflowView:
    name, pages = workflow_id(subscription_id), services.workflow_pages
    return WorkflowView(id=name, url=None if pages is None else f"{pages}/{quote(name, safe='')}")


async def clock(services: Services, state: State) -> datetime:
    """The subscription's own time in whole seconds, as its workflow counts: in test mode ahead of the wall."""
    if state.test_mode:
        return (await services.commands.virtual_now(state.id)).replace(microsecond=0)
    async with services.database.session() as session:
        return (await database_now(session)).replace(microsecond=0)


def live_view(state: State, now: datetime) -> LiveView:
    what, at = next_in_words(state, now)
    return LiveView(
        now=now,
        status=state.status.value,
        access=state.access.value,
        next=NextView(what=what, at=at),
        allowed=routes_of(allowed(state, now)),
        terms=_terms(state.terms),
        open_invoice=None if state.collecting is None else _open_invoice(state.collecting),
        planned=_planned(state),
        discounts=[_discount(each) for each in in_order(state.discounts)],
        tax=_tax(state.tax),
        credit=state.credit,
        skip_cycles=state.skip_cycles,
        notice_days=state.notice_days,
        grace_until=state.grace_until,
        started_at=state.started_at,
        ended_at=state.ended_at,
        workflow_id=f"subscription:{state.id}",
    )


def _columns(row: Subscription) -> dict[str, Any]:
    return {name: getattr(row, name) for name in SubscriptionView.model_fields}


def _terms(terms: Terms) -> TermsView:
    return TermsView(
        price_id=terms.price_id,
        product_id=terms.product_id,
        product_name=terms.product_name,
        unit_amount=terms.unit_amount,
        currency=terms.currency,
        quantity=terms.quantity,
        interval={"count": terms.interval.count, "unit": terms.interval.unit.value},
        month_end=terms.month_end.value,
        basis=terms.basis.value,
        catch_up=terms.catch_up.value,
        aligned=terms.alignment is not None,
    )


def _discount(discount: Discount) -> DiscountView:
    return DiscountView(
        id=discount.id,
        name=discount.name,
        source=discount.source.value,
        percent=percent_of(discount.rate) if discount.rate else None,
        amount=discount.amount or None,
        cycles_left=discount.cycles_left,
        until=discount.until,
        coupon_id=discount.coupon_id,
    )


def _tax(tax: TaxTerms) -> TaxView:
    rates = [
        TaxRateKnown(
            place=rate.place,
            category=rate.category,
            percent=percent_of(rate.rate),
            inclusive=rate.inclusive,
            valid_from=rate.valid_from,
            valid_until=rate.valid_until,
        )
        for rate in tax.rates
    ]
    return TaxView(status=tax.status.value, place=tax.place, rates=rates)


def _open_invoice(collecting: Collecting) -> OpenInvoiceView:
    dunning = collecting.dunning
    return OpenInvoiceView(
        id=collecting.invoice_id,
        cycle=collecting.cycle,
        reason=collecting.reason.value,
        amount_due=collecting.amount_due,
        issued_at=collecting.issued_at,
        phase=collecting.phase.value,
        attempt=collecting.attempt,
        not_before=collecting.not_before,
        action_deadline=collecting.action_deadline,
        dunning=dunning
        and DunningView(
            policy_id=dunning.policy.id,
            policy_name=dunning.policy.name,
            started_at=dunning.started_at,
            retries_used=dunning.used,
            retries=len(dunning.policy.retries),
            retry_at=dunning.retry_at,
        ),
    )


def _planned(state: State) -> list[PlannedView]:
    planned: list[PlannedView] = []
    if state.pause is not None:
        planned.append(PlannedView(kind="pause", at=state.pause.begins_at, until=state.pause.resumes_at))
    if state.cancel is not None:
        cancel = state.cancel
        planned.append(PlannedView(kind="cancel", at=cancel.at, by=cancel.actor, reason=cancel.reason))
    if state.change is not None:
        planned.append(PlannedView(kind="change", price_id=state.change.terms.price_id))
    if state.hold is not None:
        hold = state.hold
        planned.append(PlannedView(kind="hold", until=hold.expires_at, by=hold.owner, reason=hold.reason))
    return planned
