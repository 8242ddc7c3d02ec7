"""Product reviews by customers: one for each product that they have or had, shown or hidden by staff."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import ConfigDict, Field, StringConstraints

from api.context import CallerDep, OnceDep, ServicesDep
from api.customers import CustomerId
from api.fields import Body, Identifier, Instant, Paragraph, Reason, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import add_once, found, known
from domain.errors import Refused
from models import Review
from models.queries_catalogue import product
from models.queries_customers import customer
from models.queries_relations import REVIEWS, has_had, review, reviews

router = noun("reviews")
ReviewId = Annotated[Identifier, Path(description="Id of the review")]
Status = Literal["shown", "hidden"]


class ReviewNew(Body):
    """What a customer says of a product. It is shown until somebody hides it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"product_id": "prod_k3jq5xw2m4", "rating": 5, "text": "The best box of the month."}]
        }
    )

    product_id: Identifier
    rating: Annotated[int, Field(ge=1, le=5, description="5 is best")]
    text: Paragraph = ""


class ReviewStatus(Body):
    """Whether the review is shown, and why not."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "hidden", "reason": "names an employee"}]})

    status: Status
    reason: Annotated[Reason, StringConstraints(min_length=1, pattern=r"\S")]


class ReviewView(View):
    """A review as it stands. `recorded_by`: who handed it in for the customer."""

    id: str
    customer_id: str
    product_id: str
    rating: int
    text: str
    status: str
    status_reason: str
    status_by: str | None
    recorded_by: str
    created_at: Instant


class ReviewQuery(PageQuery):
    """Which reviews."""

    customer_id: Identifier | None = None
    product_id: Identifier | None = None
    status: Status | None = None


@router.post("/customers/{customer_id}/reviews", status_code=201)
async def add_review(
    customer_id: CustomerId, body: ReviewNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> ReviewView:
    """Hand in a customer's review of a product that they have or had. There is one for each product."""
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        known(await product(session, body.product_id), "product_id", "product")
        if not await has_had(session, customer_id, body.product_id):
            raise Refused("never_had", "This customer has no subscription to that product, and never had one.")
        row = await add_once(
            session,
            Review(id=once.id("rev"), customer_id=customer_id, recorded_by=caller.name, **body.model_dump()),
        )
        return ReviewView.model_validate(row)


@router.get("/reviews")
async def list_reviews(services: ServicesDep, query: Annotated[ReviewQuery, Query()]) -> Listed[ReviewView]:
    """List reviews, newest first: of a customer, of a product, shown or hidden."""
    async with services.database.session() as session:
        rows = await reviews(
            session,
            customer_id=query.customer_id,
            product_id=query.product_id,
            status=query.status,
            after=query.after(REVIEWS),
            limit=query.limit,
        )
        return listed(rows, REVIEWS, ReviewView.model_validate)


@router.put("/reviews/{review_id}/status")
async def show_review(review_id: ReviewId, body: ReviewStatus, services: ServicesDep, caller: CallerDep) -> ReviewView:
    """Hide a review, or show it again."""
    async with services.database.session() as session:
        row = found(await review(session, review_id, lock=True), "review")
        if (row.status, row.status_reason) != (body.status, body.reason):
            row.status, row.status_reason, row.status_by = body.status, body.reason, caller.name
            await session.flush()
        return ReviewView.model_validate(row)
