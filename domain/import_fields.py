"""Which kinds of files can be imported, which fields a row of each has, and how a file of our own is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final


class Kind(StrEnum):
    """What the rows of a file are."""

    SUBSCRIBERS = "subscribers"
    CUSTOMERS = "customers"
    ADDRESSES = "addresses"
    PAYMENT_METHODS = "payment-methods"
    NOTES = "notes"
    VOUCHERS = "vouchers"


@dataclass(frozen=True, slots=True)
class Fields:
    """What a mapping of one kind may name.

    `of`: field → whether its section (what stands before the point) cannot do without it. `sections_optional` may be
    left out as a whole. `either`: of each pair exactly one is named. `settings` hold for the whole file. `own`: the
    mapping of a file that was exported here.
    """

    of: Mapping[str, bool]
    sections_optional: frozenset[str] = frozenset()
    either: tuple[tuple[str, str], ...] = ()
    settings: frozenset[str] = frozenset({"delimiter"})
    own: Mapping[str, Any] = field(default_factory=dict[str, Any])


def _named(*must: str, may: tuple[str, ...] = ()) -> dict[str, bool]:
    return dict.fromkeys(must, True) | dict.fromkeys(may, False)


def _same(*names: str) -> dict[str, Any]:
    """Each field from the column of its name."""
    return {name: f"{{{name}}}" for name in names}


# Of a customer who has no external id, the id stands for it: what is theirs finds them by it.
_OWNER: Final = {"customer": ["{customer_external_id}", "{customer_id}"]}

_CUSTOMER: Final = (
    *("title", "first_name", "last_name", "company", "phone", "gender", "language", "time_zone", "tax_status"),
    *("tax_id", "agent", "notice_days", "tags"),
)
_PLACE: Final = ("is_default", "line2", "region", "postal_code")

FIELDS: Final[Mapping[Kind, Fields]] = MappingProxyType(
    {
        Kind.SUBSCRIBERS: Fields(
            of=_named(
                *("external_id", "currency", "zone", "interval", "customer.email", "billing_address.city"),
                *("billing_address.country", "product.code", "product.name", "amount.value"),
                *("payment_method.gateway", "payment_method.token"),
                may=(
                    *("customer.external_id", "customer.title", "customer.first_name", "customer.last_name"),
                    *("customer.company", "customer.phone", "customer.gender", "customer.language"),
                    *("customer.notice_days", "billing_address.line1", "billing_address.line2"),
                    *("billing_address.region", "billing_address.postal_code", "amount.times"),
                    *("start.months_before_cut_over", "start.date"),
                ),
            ),
            sections_optional=frozenset({"billing_address", "payment_method"}),
            either=(("start.months_before_cut_over", "start.date"),),
            settings=frozenset({"cut_over", "delimiter", "test_mode", "trigger"}),
        ),
        Kind.CUSTOMERS: Fields(
            of=_named("external_id", "email", "currency", may=_CUSTOMER),
            own={"external_id": ["{external_id}", "{id}"]} | _same("email", "currency", *_CUSTOMER),
        ),
        Kind.ADDRESSES: Fields(
            of=_named("external_id", "customer", "kind", "line1", "city", "country", may=_PLACE),
            own={"external_id": "{id}"} | _OWNER | _same("kind", "line1", "city", "country", *_PLACE),
        ),
        Kind.PAYMENT_METHODS: Fields(
            of=_named("external_id", "customer", "gateway", "token"),
            own={"external_id": "{id}"} | _OWNER | _same("gateway", "token"),
        ),
        Kind.NOTES: Fields(
            of=_named("external_id", "customer", "text", may=("visibility", "author", "created_at")),
            own={"external_id": "{id}"} | _OWNER | _same("text", "visibility", "author", "created_at"),
        ),
        Kind.VOUCHERS: Fields(
            of=_named(
                *("external_id", "currency"),
                may=("customer", "code", "amount.value", "amount.minor", "expires_at", "reason", "test_mode"),
            ),
            either=(("amount.value", "amount.minor"),),
            own={"external_id": "{id}", "amount": {"minor": "{balance}"}}
            | _OWNER
            | _same("currency", "code", "expires_at", "reason", "test_mode"),
        ),
    }
)
