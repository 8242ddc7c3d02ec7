"""What every page may reach: the database, the one door to the workflows, the gateways, the maker of links."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request

from domain.links import PATH, LinkMaker
from models.session import Database
from providers.gateways.base import Gateway
from workflows.commands import Commands


@dataclass(frozen=True, slots=True)
class Portal:
    """Built once by `server.py`. `clock` gives seconds that only grow; only requests are counted by it."""

    database: Database
    commands: Commands
    gateways: Mapping[str, Gateway]
    links: LinkMaker
    clock: Callable[[], float]

    @property
    def base(self) -> str:
        """What addresses of pages start with, as browsers see them: a proxy may add a path of its own."""
        return f"{urlsplit(self.links.address).path}{PATH}"

    @property
    def is_https(self) -> bool:
        return self.links.address.startswith("https://")


def portal_of(request: Request) -> Portal:
    return request.app.state.portal
