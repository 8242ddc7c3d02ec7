"""The portal as one application: which page a link opens, and what a customer reads where none opens.

A kind of link has a page (`show`) and the steps that follow from it; a step of another kind is no step. Unknown,
tampered and wrong are one answer, word for word.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from domain.errors import InvalidInput, Refused, Unavailable
from domain.links import LinkKind, Standing
from domain.papers import Seller
from portal import basket, pay, renew
from portal.context import Portal, portal_of
from portal.edge import Edge, ForeignForm
from portal.frame import FOLDER, Frame, message
from portal.opened import LinkOver, NoSuchLink, Opened, opened
from providers.gateways.base import GatewayUnavailable, OutcomeUnknown

_log = structlog.get_logger(__name__)

Handler = Callable[[Request, Opened], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Pages:
    """What a link of one kind opens. `steps`: (method, last part of the address) → what it does."""

    show: Handler
    steps: Mapping[tuple[str, str], Handler] = field(default_factory=dict[tuple[str, str], Handler])


PAGES: Final[Mapping[LinkKind, Pages]] = MappingProxyType(
    {
        LinkKind.PAY_INVOICE: Pages(
            pay.show, {("GET", "card"): pay.confirm_card, ("POST", "pay"): pay.pay, ("POST", "card"): pay.pay_with_card}
        ),
        LinkKind.UPDATE_CARD: Pages(
            renew.show, {("GET", "card"): renew.confirm_card, ("POST", "card"): renew.use_card}
        ),
        LinkKind.BASKET: Pages(
            basket.show,
            {("GET", "card"): basket.confirm_card, ("POST", "pay"): basket.pay, ("POST", "card"): basket.pay_with_card},
        ),
    }
)

_ENDED: Final = {
    Standing.EXPIRED: (
        "This link has expired",
        "For your safety a link works for some time only. Please ask us for a new one; nothing was changed.",
    ),
    Standing.REVOKED: (
        "This link is no longer valid",
        "It was withdrawn, most likely because there is a newer one. Please use the newest message from us, or ask us.",
    ),
}
_NOWHERE: Final = (
    "This link does not work",
    "It may be incomplete: please open it from our message once more, or ask us for a new one.",
)
_AGAIN: Final = (
    "Please open your link again in a few minutes: it shows where things stand. You will not be charged twice."
)


def create_portal(portal: Portal) -> ASGIApp:
    """The application, to be mounted at `domain.links.PATH`; nothing is opened or closed here."""
    app = Starlette(
        routes=[
            Mount("/static", StaticFiles(directory=FOLDER / "static")),
            Route("/{token}", _answered, methods=["GET"]),
            Route("/{token}/{step}", _answered, methods=["GET", "POST"]),
        ],
        exception_handlers={HTTPException: _answer},
    )
    app.router.redirect_slashes = False
    app.state.portal = portal
    return Edge(app, portal)


async def _answered(request: Request) -> Response:
    try:
        return await _page(request)
    except Exception as error:  # noqa: BLE001 - the edge: what is not answered here would be a bare 500
        return await _answer(request, error)


async def _page(request: Request) -> Response:
    found = await opened(request)
    pages, step = PAGES.get(found.kind), request.path_params.get("step")
    if pages is None:
        raise NoSuchLink
    if step is None:
        return await pages.show(request, found)
    method = "GET" if request.method == "HEAD" else request.method
    handler = pages.steps.get((method, str(step)))
    if handler is None:
        raise NoSuchLink
    return await handler(request, found)


async def _answer(request: Request, error: Exception) -> Response:
    """The one place where an error becomes a page."""
    merchant = error.seller if isinstance(error, LinkOver) else Seller()
    status, title, text = _said(error)
    return message(Frame(portal_of(request).base, merchant), title, text, status)


def _said(error: Exception) -> tuple[int, str, str]:
    told: tuple[int, str, str]
    match error:
        case NoSuchLink() | HTTPException():
            told = 404, *_NOWHERE
        case LinkOver():
            told = 410, *_ENDED[error.standing]
        case ForeignForm():
            told = 403, "Please start from your link", "This form did not come from our page. Nothing was done."
        case InvalidInput():
            told = 422, "Please start again", "We could not read what was sent. Open your link again; nothing was done."
        case Refused():
            told = 409, "That is not possible now", "Please open your link again: it shows where things stand."
        case Unavailable() | GatewayUnavailable() | OutcomeUnknown():
            told = 503, "We cannot be reached for a moment", _AGAIN
        case _:
            _log.error("unexpected_error", exc_info=error)
            told = 500, "Something went wrong on our side", f"We have noted it. {_AGAIN}"
    return told
