"""E-vouchers: issued, adjusted, redeemed into a subscription's credit; listed with what is left of them."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path, Query
from pydantic import AfterValidator, ConfigDict, Field

from api.account_credit import TransferView, Why, clock_of, transfer_view
from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.fields import Body, Code, Currency, Identifier, Instant, Name, Reason, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found, known
from domain.calendar import whole_second
from domain.credits import FromVoucher, Transfer
from domain.vouchers import VOUCHER_MINOR_MAX, AdjustVoucher, IssueVoucher
from models import Voucher
from models.queries_credits import VOUCHERS, balances, voucher, voucher_movements, vouchers
from models.queries_customers import customer
from models.session import database_now

MOVEMENTS_SHOWN_MAX: Final = 100

router = noun("vouchers")
VoucherRef = Annotated[Code, Path(description="Id or code of the voucher")]
Amount = Annotated[int, Field(ge=1, le=VOUCHER_MINOR_MAX, description="Minor units of `currency`, such as cents")]


def _not_nothing(amount: int) -> int:
    if amount == 0:
        raise ValueError("must not be 0")
    return amount


Change = Annotated[
    int,
    Field(ge=-VOUCHER_MINOR_MAX, le=VOUCHER_MINOR_MAX, description="Minor units to add; below zero, to take off"),
    AfterValidator(_not_nothing),
]


class _Asked(Body):
    actor: Name | None = Field(default=None, description="Who, where the API key acts for somebody")


class VoucherNew(_Asked):
    """A voucher to be."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"amount": 5000, "currency": "EUR", "expires_at": "2027-12-31T23:00:00Z", "reason": "won in a raffle"}
            ]
        }
    )

    amount: Amount
    currency: Currency
    code: Code | None = Field(default=None, description="Yours; without one it gets a code that cannot be guessed")
    customer_id: Identifier | None = Field(default=None, description="Only this customer may redeem it")
    expires_at: Instant | None = Field(default=None, description="From this time on nothing of it can be redeemed")
    reason: Reason = ""
    test_mode: bool = Field(default=False, description="For test-mode subscriptions, and for no others")


class AdjustBody(_Asked):
    """More or less on a voucher."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"amount": -1000, "reason": "issued too high"}]})

    amount: Change
    reason: Why


class RedeemBody(_Asked):
    """Into the credit of which subscription, and how much; null is all that is left."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"subscription_id": "sub_abc", "amount": 1500}]})

    subscription_id: Identifier
    amount: Amount | None = None
    reason: Reason = ""


class VoucherView(View):
    """A voucher. `issued` is what it was at first; `balance`, what the ledger says is left."""

    id: str
    code: str
    customer_id: str | None
    currency: str
    issued: int
    balance: int
    expires_at: Instant | None
    expired_at: Instant | None = Field(description="When what was left was taken off it")
    reason: str
    actor: str
    test_mode: bool
    issued_at: Instant


class VoucherMovementView(View):
    """One change of its balance: issued, adjusted, redeemed, given_back or expired. `amount` is what it added."""

    id: str
    kind: str
    amount: int
    subscription_id: str | None
    actor: str
    reason: str
    at: Instant


class VoucherDetail(VoucherView):
    """A voucher with its last 100 movements, newest first."""

    movements: list[VoucherMovementView]


class VoucherQuery(PageQuery):
    """Which vouchers."""

    customer_id: Identifier | None = None
    test_mode: bool | None = None


@router.post("/vouchers", status_code=201)
async def issue_voucher(body: VoucherNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> VoucherDetail:
    """Issue a voucher."""
    async with services.database.session() as session:
        if body.customer_id is not None:
            known(await customer(session, body.customer_id), "customer_id", "customer")
        now = whole_second(await database_now(session))
    wanted = body.model_dump(exclude={"actor"})
    request = IssueVoucher(id=once.id("vch"), at=now, actor=caller.acting(body.actor), **wanted)
    await services.commands.credits.issue(request)
    return await _detail(services, request.id)


@router.get("/vouchers")
async def list_vouchers(services: ServicesDep, query: Annotated[VoucherQuery, Query()]) -> Listed[VoucherView]:
    """List vouchers with what is left of them, newest first."""
    async with services.database.session() as session:
        rows = await vouchers(
            session,
            customer_id=query.customer_id,
            test_mode=query.test_mode,
            after=query.after(VOUCHERS),
            limit=query.limit,
        )
        left = await balances(session, [row.id for row in rows.rows])
        return listed(rows, VOUCHERS, lambda row: voucher_view(row, left[row.id]))


@router.get("/vouchers/{voucher_id}")
async def get_voucher(voucher_id: VoucherRef, services: ServicesDep) -> VoucherDetail:
    """Read one voucher, by its id or its code."""
    return await _detail(services, voucher_id)


@router.post("/vouchers/{voucher_id}/adjust")
async def adjust_voucher(
    voucher_id: VoucherRef,
    body: AdjustBody,
    services: ServicesDep,
    once: OnceDep,
    caller: CallerDep,
) -> VoucherDetail:
    """Add to a voucher or take off; never below zero, never after its end."""
    async with services.database.session() as session:
        row = found(await voucher(session, voucher_id), "voucher")
        now = whole_second(await database_now(session))
    request = AdjustVoucher(once.id("led"), row.id, body.amount, now, caller.acting(body.actor), body.reason)
    await services.commands.credits.adjust(request)
    return await _detail(services, row.id)


@router.post("/vouchers/{voucher_id}/redeem", status_code=201)
async def redeem_voucher(
    voucher_id: VoucherRef,
    body: RedeemBody,
    services: ServicesDep,
    once: OnceDep,
    caller: CallerDep,
) -> TransferView:
    """Turn a voucher, or part of it, into a subscription's credit, which its next rebills use up before any card."""
    async with services.database.session() as session:
        row = found(await voucher(session, voucher_id), "voucher")
    at = await clock_of(services, body.subscription_id)
    source = FromVoucher(row.id, body.amount)
    transfer = Transfer(
        once.id("ctr"), body.subscription_id, source, at, caller.acting(body.actor), body.reason or "voucher"
    )
    await services.commands.credits.transfer(transfer)
    return await transfer_view(services, transfer.id)


async def _detail(services: Services, ref: str) -> VoucherDetail:
    async with services.database.session() as session:
        row = found(await voucher(session, ref), "voucher")
        left = await balances(session, [row.id])
        moved = await voucher_movements(session, row.id, MOVEMENTS_SHOWN_MAX)
        shown = [VoucherMovementView.model_validate(each) for each in moved]
        return VoucherDetail(**dict(voucher_view(row, left[row.id])), movements=shown)


def voucher_view(row: Voucher, balance: int) -> VoucherView:
    """A voucher as lists show it; `balance` is what is left of it."""
    shown = {name: getattr(row, name) for name in VoucherView.model_fields if name != "balance"}
    return VoucherView(**shown, balance=balance)
