"""What every fulfilment provider is to us: handed a parcel under our own id, asked for it back, heard by its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


class ParcelRefused(Exception):
    """The provider will not take this parcel, and says why."""


class ProviderUnreachable(Exception):
    """The provider was not reached: it surely has not heard of this."""


class ProviderUnknown(Exception):
    """The provider was asked and its answer is lost, or it says to ask again. The same id again is the same parcel."""


class TooLate(Exception):
    """The parcel cannot be taken back any more."""


class NobodyToAsk(Exception):
    """There is no machine that could take it back: a person has to."""


class BadNotice(Exception):
    """An event that was not signed by the provider, was changed on its way, is too old, or is none."""


@dataclass(frozen=True, slots=True)
class Item:
    """What is in the parcel. `code` is the product's own; `option` its variant, such as a size."""

    code: str
    name: str
    option: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Parcel:
    """One delivery. `id` is the key: the same one again is never sent twice. `reference` is for people."""

    id: str
    reference: str
    recipient: str
    address: Mapping[str, str]
    items: tuple[Item, ...]
    replaces: str | None
    test_mode: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """What a provider tells: `kind` is shipment.shipped, shipment.delivered or shipment.returned; others are ignored.

    For these `data` holds fulfilment_id, and carrier and tracking where it is known.
    """

    event_id: str
    kind: str
    at: datetime
    data: Mapping[str, Any]


class FulfilmentProvider(Protocol):
    """Every call is safe to repeat with the same id."""

    @property
    def name(self) -> str: ...

    @property
    def by_batch(self) -> bool:
        """People fetch what is to be shipped as files; nothing is called."""
        ...

    async def hand_off(self, parcel: Parcel) -> str | None:
        """Hand a parcel off; the answer is the provider's own name of it, if it has one.

        Raises `ParcelRefused`, `ProviderUnreachable` or `ProviderUnknown`.
        """
        ...

    async def withdraw(self, parcel_id: str, reason: str) -> None:
        """Ask that it is not shipped, and that its id is never taken again.

        Raises `TooLate`, `NobodyToAsk`, `ProviderUnreachable` or `ProviderUnknown`.
        """
        ...

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> Notice:
        """Check an event's signature (Standard Webhooks) and read it. Raises `BadNotice`."""
        ...

    async def aclose(self) -> None: ...
