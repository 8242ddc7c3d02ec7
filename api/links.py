"""Links that customers follow without signing in: made for one purpose, listed, revoked."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path, Query
from pydantic import ConfigDict, Field

from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.customers import CustomerId
from api.fields import Body, Identifier, Instant, View
from api.idempotency import Once
from api.invoices import InvoiceId
from api.keys import Caller
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from domain.errors import Refused
from domain.links import ID_PREFIX, LinkKind, new_link, standing
from models import CustomerLink, Invoice
from models.queries_billing import invoice
from models.queries_customers import customer, method
from models.queries_links import LINKS, keep_link, link, links
from models.session import database_now

router = noun("links")
LinkId = Annotated[Identifier, Path(description="Id of the link")]


class CardLinkBody(Body):
    """Which card the new one takes the place of; without it the new one goes first and no other leaves."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"payment_method_id": "pm_aaaaaaaaaaaaaaaaaaaaaaaa"}]})

    payment_method_id: Identifier | None = None


class LinkView(View):
    """A link, without its address."""

    id: str
    kind: str
    subject_id: str = Field(description="The invoice, card, customer or basket that it is for")
    customer_id: str | None
    standing: str = Field(description="`open`, `used`, `expired` or `revoked`")
    created_by: str
    created_at: Instant
    expires_at: Instant
    used_at: Instant | None
    revoked_at: Instant | None
    revoked_by: str | None


class LinkMade(LinkView):
    """A link with its address. Whoever has that may do what the link is for: give it to the customer alone."""

    url: str


@router.post("/invoices/{invoice_id}/payment-link", status_code=201)
async def create_payment_link(
    invoice_id: InvoiceId, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> LinkMade:
    """A link by which the customer pays this open invoice, with a card that is saved or another one."""
    async with services.database.session() as session:
        row: Invoice = found(await invoice(session, invoice_id), "invoice")
        if row.status != "open":
            raise Refused("not_open", f"This invoice is {row.status}.")
    return await make_link(services, once, LinkKind.PAY_INVOICE, row.id, row.customer_id, caller)


@router.post("/customers/{customer_id}/card-update-link", status_code=201)
async def create_card_update_link(
    customer_id: CustomerId, services: ServicesDep, once: OnceDep, caller: CallerDep, body: CardLinkBody | None = None
) -> LinkMade:
    """A link by which the customer enters another card, once. Their open invoices are tried with it at once."""
    subject = customer_id
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        if body is not None and body.payment_method_id is not None:
            subject = found(await method(session, customer_id, body.payment_method_id), "payment method").id
    return await make_link(services, once, LinkKind.UPDATE_CARD, subject, customer_id, caller)


@router.get("/customers/{customer_id}/links")
async def list_links(
    customer_id: CustomerId, services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> Listed[LinkView]:
    """The links that were made for a customer, by people and in letters, newest first."""
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        rows = await links(session, customer_id, after=query.after(LINKS), limit=query.limit)
        now = await database_now(session)
        return listed(rows, LINKS, lambda row: _view(row, now))


@router.post("/links/{link_id}/revoke")
async def revoke_link(link_id: LinkId, services: ServicesDep, caller: CallerDep) -> LinkView:
    """Let a link work no more. Revoked again it stays as it was revoked first."""
    async with services.database.session() as session:
        row = found(await link(session, link_id, lock=True), "link")
        now = await database_now(session)
        if row.revoked_at is None:
            row.revoked_at, row.revoked_by = now, caller.name
            await session.flush()
        return _view(row, now)


async def make_link(
    services: Services, once: Once, kind: LinkKind, subject_id: str, customer_id: str | None, caller: Caller
) -> LinkMade:
    """The link of this request, made once."""
    async with services.database.session() as session:
        now = await database_now(session)
        fresh = new_link(once.id(ID_PREFIX), kind, subject_id, now)
        await keep_link(session, fresh, customer_id=customer_id, actor=caller.name)
        row = found(await link(session, fresh.id), "link")
        return LinkMade(**dict(_view(row, now)), url=services.links.url(row.link))


def _view(row: CustomerLink, now: datetime) -> LinkView:
    stands = standing(row.link, now, used_at=row.used_at, revoked_at=row.revoked_at)
    return LinkView(
        id=row.id,
        kind=row.kind,
        subject_id=row.subject_id,
        customer_id=row.customer_id,
        standing=stands.value,
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
    )
