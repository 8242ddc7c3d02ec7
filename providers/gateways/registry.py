"""Which gateway a name in the settings stands for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from domain.errors import InvalidInput
from providers.gateways.base import Gateway
from providers.gateways.sandbox import SandboxGateway


class OpenGateway(Gateway, Protocol):
    """A gateway with connections to close."""

    async def aclose(self) -> None: ...


class _Opens(Protocol):
    def __call__(
        self, url: str, *, timeout_s: float, calls_per_second_max: float, webhook_secret: str | None
    ) -> OpenGateway: ...


GATEWAYS: Final[Mapping[str, _Opens]] = MappingProxyType({SandboxGateway.name: SandboxGateway})


def open_gateway(
    name: str, url: str, *, timeout_s: float, calls_per_second_max: float, webhook_secret: str | None = None
) -> OpenGateway:
    """The named gateway at `url`. Raises `InvalidInput` for a name that nobody has written an adapter for.

    Without `webhook_secret` every event is a `BadSignature`: a process that reads none needs none.
    """
    opens = GATEWAYS.get(name)
    if opens is None:
        raise InvalidInput("gateway", f"{name!r} is not one of: {', '.join(GATEWAYS)}")
    return opens(url, timeout_s=timeout_s, calls_per_second_max=calls_per_second_max, webhook_secret=webhook_secret)
