"""What was agreed: the price, interval and policies pinned to a subscription when it starts or changes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from domain.calendar import Alignment, Interval, MonthEnd
from domain.errors import InvalidInput
from domain.money import Money, minor_digits
from domain.proration import Basis

QUANTITY_MAX = 1_000_000
TRIAL_DAYS_MAX = 730
RETRIES_MAX = 12
RETRY_GAP_DAYS_MAX = 90
GRACE_DAYS_MAX = 365
AMOUNT_MINOR_MAX = 10**12


class CatchUp(StrEnum):
    """What happens to cycles that came due while the system was down or the subscription was held."""

    BILL_EACH = "bill_each"
    BILL_ONCE = "bill_once"
    SKIP = "skip"


class Trigger(StrEnum):
    """What makes a due cycle bill: its own timer, or a billing run called from outside."""

    TIMER = "timer"
    EXTERNAL = "external"


class EndAction(StrEnum):
    """What happens when dunning has used its last attempt."""

    CANCEL = "cancel"
    PAUSE = "pause"
    STAY_OVERDUE = "stay_overdue"


class RetryMessage(StrEnum):
    """What the customer is sent when a retry is planned."""

    REMINDER = "reminder"
    FINAL_NOTICE = "final_notice"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Retry:
    """One dunning retry: so many local days after the previous attempt, at this local hour.

    `message` goes to the customer when the payment before it has failed.
    """

    after_days: int
    hour: int
    message: RetryMessage = RetryMessage.REMINDER

    def __post_init__(self) -> None:
        if not 0 <= self.after_days <= RETRY_GAP_DAYS_MAX:
            raise InvalidInput("after_days", f"must be 0 to {RETRY_GAP_DAYS_MAX} days")
        if not 0 <= self.hour <= 23:  # noqa: PLR2004 - the hours of a day
            raise InvalidInput("hour", "must be a local hour, 0 to 23")


@dataclass(frozen=True, slots=True)
class DunningTerms:
    """A dunning policy as it stood when dunning started. `grace_days`: access lasts so long after the decline."""

    id: str
    name: str
    retries: tuple[Retry, ...]
    grace_days: int
    end_action: EndAction

    def __post_init__(self) -> None:
        if len(self.retries) > RETRIES_MAX:
            raise InvalidInput("retries", f"at most {RETRIES_MAX} retries")
        if not 0 <= self.grace_days <= GRACE_DAYS_MAX:
            raise InvalidInput("grace_days", f"must be 0 to {GRACE_DAYS_MAX} days")


DEFAULT_DUNNING = DunningTerms(
    id="default",
    name="default",
    retries=(Retry(1, 9), Retry(3, 9), Retry(5, 9), Retry(7, 9, RetryMessage.FINAL_NOTICE)),
    grace_days=7,
    end_action=EndAction.CANCEL,
)


@dataclass(frozen=True, slots=True)
class Terms:
    """A price point as agreed. Amounts are minor units of `currency`; `unit_amount` is for one of `quantity`.

    `physical`: each paid cycle ships something.
    """

    price_id: str
    product_id: str
    product_name: str
    unit_amount: int
    currency: str
    quantity: int
    interval: Interval
    trial_days: int = 0
    trial_amount: int = 0
    setup_fee: int = 0
    tax_category: str = "standard"
    month_end: MonthEnd = MonthEnd.CLAMP_RESTORE
    basis: Basis = Basis.LOCAL_DAY
    catch_up: CatchUp = CatchUp.BILL_EACH
    alignment: Alignment | None = None
    physical: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.quantity <= QUANTITY_MAX:
            raise InvalidInput("quantity", f"must be 1 to {QUANTITY_MAX}")
        if self.unit_amount < 0 or self.trial_amount < 0 or self.setup_fee < 0:
            raise InvalidInput("unit_amount", "amounts must not be negative")
        if max(self.unit_amount * self.quantity, self.trial_amount, self.setup_fee) > AMOUNT_MINOR_MAX:
            raise InvalidInput("unit_amount", f"a price is at most {AMOUNT_MINOR_MAX} minor units")
        minor_digits(self.currency)  # an unknown currency is refused here, before anything is billed in it
        if not 0 <= self.trial_days <= TRIAL_DAYS_MAX:
            raise InvalidInput("trial_days", f"must be 0 to {TRIAL_DAYS_MAX}")

    def same_calendar(self, other: Terms) -> bool:
        """Whether periods begin on the same days under both."""
        return self.interval == other.interval and self.alignment == other.alignment

    @property
    def unit(self) -> Money:
        return Money(self.unit_amount, self.currency)

    @property
    def price(self) -> Money:
        """Quantity times unit price, always."""
        return self.unit * self.quantity
