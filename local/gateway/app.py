"""The sandbox gateway as one web application: merchant calls, pages for people, and the control."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError

from local.gateway import control, merchant, people
from local.gateway.bank import Bank, Refusal
from local.gateway.books import Books
from local.gateway.edge import BodyLimit, invalid, refused


def create_app(books: Books) -> FastAPI:
    """The whole gateway over one set of books."""
    app = FastAPI(title="Sandbox gateway", version="1")
    app.state.bank = Bank(books)
    # The charge is a bare route: it is on the path of every renewal, and checks its body itself.
    app.add_route("/v1/charges", merchant.charge_route(app.state.bank), methods=["POST"])
    app.include_router(merchant.router)
    app.include_router(people.router)
    app.include_router(control.router)
    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_middleware(BodyLimit)
    return app
