"""How values travel through Temporal: as JSON, by the types that are written in the code.

Pydantic reads the standard-library dataclasses of `domain`, unions told apart by their literal `kind`. Adapters are
built once for each type: building one costs more than a whole renewal.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import to_json
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
)

TYPES_KNOWN_MAX = 512


@lru_cache(maxsize=TYPES_KNOWN_MAX)
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


class TypedJsonConverter(EncodingPayloadConverter):
    """JSON in Temporal's own encoding name, so that its UI and command line show it."""

    @property
    def encoding(self) -> str:
        return "json/plain"

    def to_payload(self, value: Any) -> Payload | None:
        return Payload(metadata={"encoding": b"json/plain"}, data=to_json(value))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        return _adapter(Any if type_hint is None else type_hint).validate_json(payload.data)


_CONVERTERS: Final = tuple(
    TypedJsonConverter() if isinstance(theirs, JSONPlainPayloadConverter) else theirs
    for theirs in DefaultPayloadConverter().converters.values()
)


class DunlinPayloadConverter(CompositePayloadConverter):
    """Temporal's converters, with ours in place of its JSON. One is made for each wake-up; they hold no state."""

    def __init__(self) -> None:
        super().__init__(*_CONVERTERS)


data_converter = DataConverter(payload_converter_class=DunlinPayloadConverter)
