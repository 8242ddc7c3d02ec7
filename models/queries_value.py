"""What customers were worth so far, from the ledger to the cent: paid, less refunded, less lost in disputes.

`paid` is what gateways took, what was adopted from their books counted; `refunded`, what refunds and voids gave back;
`charged_back`, what lost disputes took. A dispute that is open counts as paid until it is lost; its fee is a cost of
ours, not money given back. So value is the balance of all `cash:` and `disputed:` accounts plus `dispute_fees`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, and_, case, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.ledger import CHARGEBACK_LOSS, CUSTOMER_CREDIT, RECEIVABLE
from models.billing import LedgerEntry, LedgerPosting
from models.customers import Customer
from models.queries_customers import whole

GIVEN_BACK: Final = ("refund", "void")  # kinds of entries
IN_DISPUTE: Final = ("dispute_opened", "dispute_won", "dispute_lost", "dispute_fee")
CASH: Final = "cash:"


@dataclass(frozen=True, slots=True)
class Worth:
    """In minor units of one currency, live or test. `credit` is on account, `owed` on open invoices."""

    currency: str
    test_mode: bool
    paid: int
    refunded: int
    charged_back: int
    credit: int
    owed: int

    @property
    def value(self) -> int:
        """Paid less refunded; what a lost dispute took counts as refunded."""
        return self.paid - self.refunded - self.charged_back


def _sum(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
    return cast(func.coalesce(func.sum(case((and_(*conditions), LedgerPosting.amount), else_=0)), 0), BigInteger)


_IS_CASH: Final = LedgerPosting.account.startswith(CASH, autoescape=True)
PAID: Final = _sum(_IS_CASH, LedgerEntry.kind.not_in([*GIVEN_BACK, *IN_DISPUTE]))
REFUNDED: Final = -_sum(_IS_CASH, LedgerEntry.kind.in_(GIVEN_BACK))
CHARGED_BACK: Final = _sum(LedgerPosting.account == CHARGEBACK_LOSS)
CREDIT: Final = -_sum(LedgerPosting.account == CUSTOMER_CREDIT)
OWED: Final = _sum(LedgerPosting.account == RECEIVABLE)


async def worth(session: AsyncSession, customer_id: str) -> tuple[Sequence[Worth], Sequence[Worth]]:
    """A customer's own, and with that of their children; one statement. In order of currency, live before test.

    What was booked for a customer who was merged counts for the one that goes on.
    """
    own: ColumnElement[Any] = LedgerEntry.customer_id.in_(whole(customer_id)).label("own")
    children = select(Customer.id).where(Customer.parent_id == customer_id)
    family = select(Customer.id).where(
        or_(
            Customer.id == customer_id,
            Customer.parent_id == customer_id,
            Customer.merged_into == customer_id,
            Customer.merged_into.in_(children),
        )
    )
    statement = (
        select(
            own,
            LedgerPosting.currency,
            LedgerEntry.test_mode,
            PAID.label("paid"),
            REFUNDED.label("refunded"),
            CHARGED_BACK.label("charged_back"),
            CREDIT.label("credit"),
            OWED.label("owed"),
        )
        .join(LedgerPosting, LedgerPosting.entry_id == LedgerEntry.id)
        .where(LedgerEntry.customer_id.in_(family))
        .group_by(own, LedgerPosting.currency, LedgerEntry.test_mode)
        .order_by(LedgerPosting.currency, LedgerEntry.test_mode)
    )
    rows = (await session.execute(statement)).all()
    mine = [Worth(*row[1:]) for row in rows if row[0]]
    theirs = [Worth(*row[1:]) for row in rows if not row[0]]
    return mine, _added(mine, theirs)


def _added(some: Sequence[Worth], more: Sequence[Worth]) -> list[Worth]:
    sums: dict[tuple[str, bool], Worth] = {}
    for each in (*some, *more):
        before = sums.get((each.currency, each.test_mode), Worth(each.currency, each.test_mode, 0, 0, 0, 0, 0))
        sums[each.currency, each.test_mode] = Worth(
            each.currency,
            each.test_mode,
            before.paid + each.paid,
            before.refunded + each.refunded,
            before.charged_back + each.charged_back,
            before.credit + each.credit,
            before.owed + each.owed,
        )
    return [sums[key] for key in sorted(sums)]
