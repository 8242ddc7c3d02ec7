"""The sandbox gateway's routes for people's browsers: the card form and the 3-D Secure question."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError

from local.gateway import pages
from local.gateway.bank import Refusal
from local.gateway.books import Call
from local.gateway.edge import TheBank, base_url
from local.gateway.merchant import card_token
from local.gateway.schemas import NewCard

router = APIRouter(include_in_schema=False)


@router.get("/form")
async def form(bank: TheBank, return_url: str) -> HTMLResponse:
    bank.check_up("form")
    _check_return_url(return_url)
    return HTMLResponse(pages.card_form(return_url))


@router.post("/form")
async def save_card(
    bank: TheBank,
    return_url: Annotated[str, Form()],
    number: Annotated[str, Form()],
    exp_month: Annotated[str, Form()],
    exp_year: Annotated[str, Form()],
    cvc: Annotated[str, Form()] = "",
) -> Response:
    bank.check_up("form")
    _check_return_url(return_url)
    try:
        digits = number.replace(" ", "").replace("-", "")
        card = {"number": digits, "exp_month": exp_month, "exp_year": exp_year, "cvc": cvc or None}
        token = card_token(NewCard.model_validate(card, strict=False))
    except (ValidationError, Refusal) as error:
        field = error.field if isinstance(error, Refusal) else error.errors()[0]["loc"][0]
        told = f"Please check: {str(field).replace('_', ' ')}."
        return HTMLResponse(pages.card_form(return_url, told), status_code=422)
    bank.books.add_token(token)
    bank.books.log(Call("form", "created", token.token))
    parts = urlsplit(return_url)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), ("token", token.token)])
    return RedirectResponse(parts._replace(query=query).geturl(), status_code=303)


@router.get("/actions/{action_id}")
async def ask(bank: TheBank, action_id: str, return_url: str | None = None) -> HTMLResponse:
    bank.check_up("action")
    if return_url is not None:
        _check_return_url(return_url)
    return HTMLResponse(pages.action(bank.action(action_id), return_url))


@router.post("/actions/{action_id}")
async def answer(
    bank: TheBank,
    request: Request,
    action_id: str,
    outcome: Annotated[str, Form()],
    return_url: str | None = None,
) -> Response:
    """The form is sent to the address it was asked at, `return_url` included."""
    bank.check_up("action")
    if return_url is not None:
        _check_return_url(return_url)
    if outcome not in {"approve", "decline"}:
        raise Refusal(422, "invalid_request", "must be approve or decline", field="outcome")
    bank.complete(action_id, outcome, base_url(request))
    if return_url is not None:
        return RedirectResponse(return_url, status_code=303)
    return HTMLResponse(pages.action(bank.action(action_id)))


def _check_return_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise Refusal(422, "invalid_request", "must be an http or https address", field="return_url")
