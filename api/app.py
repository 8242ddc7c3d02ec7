"""The API as one ASGI application: which nouns it serves, and what its description says."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api import (
    account_credit,
    addresses,
    api_keys,
    baskets,
    billing_runs,
    blacklist,
    charge_now,
    charges,
    contact,
    coupons,
    credit_notes,
    custom_fields,
    customer_logins,
    customers,
    differences,
    discounts,
    disputes,
    dunning_policies,
    errors,
    exports,
    forgetting,
    fulfilment_batches,
    fulfilment_events,
    fulfilments,
    gateway_events,
    imports,
    inbound_mail,
    invoices,
    ledger,
    links,
    logs,
    me,
    membership,
    merges,
    message_templates,
    messages,
    notes,
    operations,
    order_fields,
    order_holds,
    orders,
    overview,
    payment_methods,
    people,
    points,
    price_moves,
    products,
    refunds,
    removal,
    reports,
    reviews,
    rules,
    search,
    segments,
    settlement,
    sign_in,
    subscription_commands,
    subscriptions,
    tasks,
    tax,
    ties,
    transactions,
    vouchers,
)
from api.context import Services
from api.idempotency import HEADER, KEY_LENGTH_MAX, REPLAYED

VERSION: Final = "0.1.0"
ROUTERS: Final = (
    customers.router,
    removal.router,
    forgetting.router,
    search.router,
    segments.router,
    custom_fields.router,
    overview.router,
    ties.router,
    merges.router,
    notes.router,
    contact.router,
    points.router,
    reviews.router,
    customer_logins.router,
    membership.router,
    addresses.router,
    payment_methods.router,
    products.router,
    price_moves.router,
    coupons.router,
    discounts.router,
    tax.router,
    dunning_policies.router,
    subscriptions.router,
    subscription_commands.router,
    charge_now.router,
    orders.router,
    order_holds.router,
    baskets.router,
    order_fields.router,
    invoices.router,
    links.router,
    credit_notes.router,
    account_credit.router,
    vouchers.router,
    charges.router,
    transactions.router,
    refunds.router,
    disputes.router,
    blacklist.router,
    gateway_events.router,
    fulfilments.router,
    fulfilment_batches.router,
    fulfilment_events.router,
    messages.router,
    message_templates.router,
    inbound_mail.router,
    ledger.router,
    settlement.router,
    differences.router,
    billing_runs.router,
    imports.router,
    exports.router,
    tasks.router,
    rules.router,
    logs.router,
    reports.router,
    sign_in.public,
    sign_in.router,
    me.router,
    me.shown_once,
    people.router,
    people.shown_once,
    api_keys.router,
    api_keys.shown_once,
    operations.router,
    operations.public,
)
DESCRIPTION: Final = """\
Subscriptions billed by one durable workflow each.

* Amounts are whole minor units (cents) beside their `currency` (ISO 4217).
* Times are RFC 3339 with an offset; answers are in UTC.
* Every `POST` takes an `Idempotency-Key`: the same request again gets the same answer and is not done twice.
* Errors are problem documents (RFC 9457) with a stable `code`.
* Lists are pages: pass `next_cursor` as `cursor`.
"""


def create_app(services: Services) -> FastAPI:
    """The application on these services; nothing is opened or closed here."""
    app = FastAPI(
        title="Dunlin",
        version=VERSION,
        description=DESCRIPTION,
        openapi_url="/v1/openapi.json",
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router, prefix="/v1")
    app.openapi = lambda: _described(app)
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """FastAPI's description, with the header every POST needs and our problem document in place of FastAPI's own."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        for methods in schema["paths"].values():
            # A route without a key (a gateway's events) takes none of its names for requests either.
            if "security" in methods.get("post", {}):
                _describe_post(methods["post"])
        for unused in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(unused, None)
        app.openapi_schema = schema
    return app.openapi_schema


def _describe_post(operation: dict[str, Any]) -> None:
    operation.setdefault("parameters", []).append(
        {
            "name": HEADER,
            "in": "header",
            "required": True,
            "description": "Your name for this one request, such as an order number or a UUID",
            "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH_MAX, "pattern": "^[!-~]+$"},
            "example": "order-1001",
        }
    )
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            response.setdefault("headers", {})[REPLAYED] = {
                "description": "`true` where this is the kept answer of an earlier request",
                "schema": {"type": "string", "enum": ["true"]},
            }
