"""What may be asked of a subscription: one table of commands, each a POST under its own name."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.blacklist import refuse_blacklisted_command
from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.fields import Body, Currency, Identifier, Instant, Minor, Name, Quantity, Reason
from api.keys import Caller
from api.routing import noun
from api.rows import known
from api.subscription_views import SubscriptionDetail, clock, detail
from api.subscriptions import SubscriptionId
from domain.commands import SKIP_CYCLES_MAX
from domain.errors import InvalidInput, Refused
from domain.messages import (
    Cancel,
    ChangeDate,
    ChangeTerms,
    CollectNow,
    Command,
    EndTrial,
    Envelope,
    ExtendTrial,
    ForceBill,
    GrantCredit,
    Pause,
    PlaceHold,
    RefundChoice,
    ReleaseHold,
    Restart,
    RestartTrial,
    Resume,
    Skip,
    StopTrial,
    UndoCancel,
    When,
)
from domain.preview import preview_change
from domain.state import State
from domain.terms import TRIAL_DAYS_MAX
from models.agreement import terms_of
from models.queries_catalogue import price, product

router = noun("subscription commands")
WhenName = Literal["now", "period_end"]


class CommandBody(Body):
    """What every command takes."""

    reason: Reason = Field(default="", description="Why; kept on the timeline")
    actor: Name | None = Field(
        default=None, description="Who, where the API key acts for somebody; kept on the timeline"
    )
    expected_cycle: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Refuses the command where another cycle is next by now"
    )


class SkipBody(CommandBody):
    """Leave out the next cycles; 0 takes earlier skips back."""

    cycles: Annotated[int, Field(ge=0, le=SKIP_CYCLES_MAX)] = 1

    def command(self) -> Command:
        return Skip(self.cycles)


class ExtendTrialBody(CommandBody):
    """Move the trial's end."""

    days: Annotated[int, Field(ge=1, le=TRIAL_DAYS_MAX)]

    def command(self) -> Command:
        return ExtendTrial(self.days)


class RestartTrialBody(CommandBody):
    """Begin the trial again, now, at full length or for `days`."""

    days: Annotated[int, Field(ge=1, le=TRIAL_DAYS_MAX)] | None = None

    def command(self) -> Command:
        return RestartTrial(self.days)


class EndTrialBody(CommandBody):
    """End the trial now and bill."""

    def command(self) -> Command:
        return EndTrial()


class StopTrialBody(CommandBody):
    """End the trial now without billing: cancelled."""

    def command(self) -> Command:
        return StopTrial()


class ChangeDateBody(CommandBody):
    """Move the next billing date; its local day is the anchor from then on."""

    next_due_at: Instant
    prorate: bool = False

    def command(self) -> Command:
        return ChangeDate(self.next_due_at, self.prorate)


class ForceBillBody(CommandBody):
    """Bill the next cycle now; in dunning, try the open invoice now."""

    def command(self) -> Command:
        return ForceBill()


class PauseBody(CommandBody):
    """Stop billing and access."""

    when: WhenName = "period_end"
    resume_at: Instant | None = None

    def command(self) -> Command:
        return Pause(When(self.when), self.resume_at)


class ResumeBody(CommandBody):
    """End a pause: a new period starts today. A pause not yet begun is taken back."""

    def command(self) -> Command:
        return Resume()


class CancelBody(CommandBody):
    """End the subscription. `refund`: what the unused part gives back."""

    when: WhenName = "period_end"
    refund: Literal["none", "credit"] = "none"

    def command(self) -> Command:
        return Cancel(When(self.when), RefundChoice(self.refund))


class UndoCancelBody(CommandBody):
    """Take a cancellation back before it takes effect."""

    def command(self) -> Command:
        return UndoCancel()


class RestartBody(CommandBody):
    """Begin a cancelled subscription again, as the same one."""

    def command(self) -> Command:
        return Restart()


class CreditBody(CommandBody):
    """An amount that the next rebills use up before any card."""

    amount: Annotated[Minor, Field(ge=1)]
    currency: Currency

    def command(self) -> Command:
        return GrantCredit(self.amount, self.currency)


class HoldBody(CommandBody):
    """Bill nothing until released or expired. A hold needs an owner, a reason and an end."""

    owner: Name
    expires_at: Instant

    def command(self) -> Command:
        return PlaceHold(self.owner, self.expires_at)


class ReleaseHoldBody(CommandBody):
    """End a hold; what came due meanwhile is caught up by the policy."""

    def command(self) -> Command:
        return ReleaseHold()


class CollectBody(CommandBody):
    """Try the open invoice now, with this method or the customer's order of use. Not counted as a retry."""

    payment_method_id: Identifier | None = None

    def command(self) -> Command:
        return CollectNow(self.payment_method_id)


class ChangeBody(CommandBody):
    """Other price or quantity. `when` null: a smaller price waits for the period's end, others are now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"quantity": 3, "reason": "two more seats"}]})

    price_id: Identifier | None = None
    quantity: Quantity | None = None
    when: WhenName | None = None
    prorate: bool = Field(default=True, description="Credit for the unused part, charge for the rest")
    keep_anchor: bool = Field(default=False, description="Another interval keeps the billing day")


class PreviewLine(BaseModel):
    """One line of an invoice to be."""

    kind: str
    description: str
    quantity: int
    unit_amount: int
    amount: int
    discount: int
    tax: int
    gross: int
    period_start: Instant | None
    period_end: Instant | None


class ChangePreviewView(BaseModel):
    """What a change would do now. `net` is charged at once, tax included; below zero it becomes credit."""

    when: str
    currency: str
    lines: list[PreviewLine]
    net: int
    next_due_at: Instant | None


Simple = (
    SkipBody
    | ExtendTrialBody
    | RestartTrialBody
    | EndTrialBody
    | StopTrialBody
    | ChangeDateBody
    | ForceBillBody
    | PauseBody
    | ResumeBody
    | CancelBody
    | UndoCancelBody
    | RestartBody
    | CreditBody
    | HoldBody
    | ReleaseHoldBody
    | CollectBody
)

# Route → body with an example.
COMMANDS: Final[dict[str, tuple[type[Simple], dict[str, Any]]]] = {
    "skip": (SkipBody, {"cycles": 1, "reason": "on holiday"}),
    "extend-trial": (ExtendTrialBody, {"days": 7}),
    "restart-trial": (RestartTrialBody, {}),
    "end-trial": (EndTrialBody, {}),
    "stop-trial": (StopTrialBody, {"reason": "not for me"}),
    "change-date": (ChangeDateBody, {"next_due_at": "2027-03-15T09:00:00+01:00"}),
    "force-bill": (ForceBillBody, {}),
    "pause": (PauseBody, {"when": "period_end", "resume_at": "2027-06-01T00:00:00Z"}),
    "resume": (ResumeBody, {}),
    "cancel": (CancelBody, {"when": "period_end", "reason": "moving away"}),
    "undo-cancel": (UndoCancelBody, {}),
    "restart": (RestartBody, {}),
    "credit": (CreditBody, {"amount": 500, "currency": "EUR", "reason": "late delivery"}),
    "hold": (HoldBody, {"owner": "ops", "reason": "address check", "expires_at": "2027-01-31T12:00:00Z"}),
    "release-hold": (ReleaseHoldBody, {}),
    "collect": (CollectBody, {}),
}


def _add(name: str, body_type: type[Simple], example: dict[str, Any]) -> None:
    async def endpoint(
        subscription_id: SubscriptionId, services: ServicesDep, once: OnceDep, caller: CallerDep, body: Simple
    ) -> SubscriptionDetail:
        return await _send(services, subscription_id, body, body.command(), once.id("cmd"), caller)

    endpoint.__name__ = name.replace("-", "_")
    endpoint.__doc__ = body_type.__doc__
    # FastAPI reads the body's type from here; the table above is what decides it.
    endpoint.__annotations__["body"] = body_type
    if all(not field.is_required() for field in body_type.model_fields.values()):
        endpoint.__defaults__ = (body_type.model_validate({}),)  # the last parameter: the body may be left out
    body_type.model_config["json_schema_extra"] = {"examples": [example]}
    body_type.model_rebuild(force=True)
    router.post(f"/subscriptions/{{subscription_id}}/{name}")(endpoint)


for _name, (_body_type, _example) in COMMANDS.items():
    _add(_name, _body_type, _example)


@router.post("/subscriptions/{subscription_id}/change")
async def change(
    subscription_id: SubscriptionId, body: ChangeBody, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> SubscriptionDetail:
    """Change price or quantity, now with proration or at renewal."""
    command = await _change(services, await services.commands.state(subscription_id), body)
    return await _send(services, subscription_id, body, command, once.id("cmd"), caller)


@router.post("/subscriptions/{subscription_id}/change/preview")
async def preview(subscription_id: SubscriptionId, body: ChangeBody, services: ServicesDep) -> ChangePreviewView:
    """What that change would do now, to the cent; nothing is changed. Refused where the change would be."""
    state = await services.commands.state(subscription_id)
    command, now = await _change(services, state, body), await clock(services, state)
    foreseen = preview_change(state, command, now, expected_cycle=body.expected_cycle)
    return ChangePreviewView(
        when=foreseen.when.value,
        currency=state.currency,
        net=foreseen.net,
        next_due_at=foreseen.next_due,
        lines=[
            PreviewLine(
                kind=line.kind.value,
                description=line.description,
                quantity=line.quantity,
                unit_amount=line.unit_amount,
                amount=line.amount,
                discount=line.discount,
                tax=line.tax,
                gross=line.gross,
                period_start=line.period and line.period.start,
                period_end=line.period and line.period.end,
            )
            for line in foreseen.lines
        ],
    )


async def _send(
    services: Services, subscription_id: str, body: CommandBody, command: Command, command_id: str, caller: Caller
) -> SubscriptionDetail:
    async with services.database.session() as session:
        await refuse_blacklisted_command(session, subscription_id, command)
    envelope = Envelope(command_id, command, caller.acting(body.actor), body.reason, body.expected_cycle)
    return await detail(services, subscription_id, await services.commands.send(subscription_id, envelope))


async def _change(services: Services, state: State, body: ChangeBody) -> ChangeTerms:
    """The command, with the terms as they would be agreed now. The same price keeps the terms it was pinned with."""
    if body.price_id is None and body.quantity is None:
        raise InvalidInput("price_id", "send price_id, quantity or both")
    quantity = body.quantity or state.terms.quantity
    if body.price_id in {None, state.terms.price_id}:
        terms = replace(state.terms, quantity=quantity)
    else:
        async with services.database.session() as session:
            chosen = known(await price(session, body.price_id or ""), "price_id", "price")
            sold = known(await product(session, chosen.product_id), "price_id", "product")
        if chosen.archived_at is not None or sold.archived_at is not None:
            raise Refused("archived", "This price sells no more.")
        terms = terms_of(chosen, sold, quantity)
    return ChangeTerms(terms, None if body.when is None else When(body.when), body.prorate, body.keep_anchor)
