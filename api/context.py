"""What every route may reach: the database, the one door to the workflows, the gateways. Nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from api.idempotency import Once
from api.keys import Caller
from api.passwords import Passwords
from api.vault import Vault
from domain.errors import InvalidInput
from domain.links import LinkMaker
from models.session import Database
from providers.documents.press import Press
from providers.fulfilment.base import FulfilmentProvider
from providers.gateways.base import Gateway
from providers.phones.base import PhoneSwitch
from workflows.commands import Commands


@dataclass(frozen=True, slots=True)
class Services:
    """Built once by `server.py`. `gateways` by name; the first is where new tokens come from unless said."""

    database: Database
    commands: Commands
    gateways: Mapping[str, Gateway]
    vault: Vault = field(default_factory=Vault)
    passwords: Passwords = field(default_factory=Passwords)
    phone: PhoneSwitch | None = None
    press: Press = field(default_factory=Press)
    links: LinkMaker = field(default_factory=LinkMaker)
    shipper: FulfilmentProvider | None = None
    workflow_pages: str | None = None  # where Temporal's UI shows the workflows of our namespace

    def gateway(self, name: str | None) -> Gateway:
        """The gateway of that name, or the default one. Raises `InvalidInput` for a name not served."""
        if name is None:
            return next(iter(self.gateways.values()))
        if name not in self.gateways:
            raise InvalidInput("gateway", f"is one of {', '.join(sorted(self.gateways))}")
        return self.gateways[name]


def services(request: Request) -> Services:
    return request.app.state.services


def _caller(request: Request) -> Caller:
    return request.state.caller


def _once(request: Request) -> Once:
    return request.state.once


ServicesDep = Annotated[Services, Depends(services)]
CallerDep = Annotated[Caller, Depends(_caller)]
OnceDep = Annotated[Once, Depends(_once)]
