"""A provider that is given files: people fetch a batch and bring tracking back; no machine is called."""

from __future__ import annotations

from collections.abc import Mapping

from providers.fulfilment.base import BadNotice, NobodyToAsk, Notice, Parcel, ParcelRefused


class CsvProvider:
    """What is handed off goes into the next batch (`POST /v1/fulfilment-batches`)."""

    @property
    def name(self) -> str:
        return "csv"

    @property
    def by_batch(self) -> bool:
        return True

    async def hand_off(self, parcel: Parcel) -> str | None:
        raise ParcelRefused(f"{parcel.id} goes with the next batch")

    async def withdraw(self, parcel_id: str, reason: str) -> None:
        raise NobodyToAsk(f"{parcel_id} went out with a file: {reason}")

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> Notice:  # noqa: ARG002 - the protocol's
        raise BadNotice("no fulfilment provider is set that could sign events")

    async def aclose(self) -> None:
        return None
