"""The sandbox gateway as one web application: its calls, its pages for people, and what runs by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError

from local.gateway import control, control_returns, merchant, people
from local.gateway.bank import Bank, Refusal
from local.gateway.books import Books
from local.gateway.card_life import CardLife
from local.gateway.disputes import DisputeBooks, Disputes
from local.gateway.edge import BodyLimit, invalid, refused
from local.gateway.events import Events, Target
from local.gateway.refund_books import RefundBooks
from local.gateway.returns import Returns
from local.gateway.settlement import Settlements, Timetable


def create_app(books: Books, target: Target, settle_every_s: float | None) -> FastAPI:
    """The whole gateway over one set of books. It sends events and closes batches while it is served."""
    app = FastAPI(title="Sandbox gateway", version="1", lifespan=_runs_by_itself)
    state = app.state
    state.bank = Bank(books)
    state.events = Events(books, target)
    state.settlements = Settlements(books)
    state.timetable = Timetable(state.settlements, settle_every_s)
    refunds, disputes = RefundBooks(books), DisputeBooks(books)
    state.disputes = Disputes(books, disputes, state.events)
    state.returns = Returns(state.bank, refunds, disputes, state.settlements)
    state.card_life = CardLife(books, state.bank)
    # The charge is a bare route: it is on the path of every renewal, and checks its body itself.
    app.add_route("/v1/charges", merchant.charge_route(state.bank), methods=["POST"])
    for router in (merchant.router, people.router, control.router, control_returns.router):
        app.include_router(router)
    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_middleware(BodyLimit)
    return app


@asynccontextmanager
async def _runs_by_itself(app: FastAPI) -> AsyncGenerator[None]:
    running = [asyncio.create_task(part.run()) for part in (app.state.events, app.state.timetable)]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
