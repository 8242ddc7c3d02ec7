"""Everybody's own password and second factor. Each command shows the password again: an open screen is not enough."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, Services, ServicesDep
from api.errors import TooManyTries
from api.fields import Body
from api.keys import Caller
from api.routing import TOO_MANY_TRIES, SecretRoute, ShownOnceRoute, noun
from api.rows import found
from api.second_factor import accepts, new_recovery_codes, new_secret, seal, step_of, unseal, uri
from api.sign_in import Password, SecondFactor, gone, own_session
from api.staff import forget_second_factor, set_password
from api.tries import Try, count, succeeded
from domain.errors import InvalidInput, Refused
from domain.passwords import accept_password, normal
from models import Person
from models.queries_people import person
from models.session import database_now

router = noun("own account", route_class=SecretRoute)
shown_once = noun("own account", route_class=ShownOnceRoute)
GUARDED: Final[dict[int | str, dict[str, Any]]] = {429: TOO_MANY_TRIES}


class PasswordChange(Body):
    """The password of now and the one from now on: 12 to 200 characters, nothing that everybody would try."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"current": "f7kpx-m2wqe-9rtab-hjz4c", "new": "quiet river 47"}]}
    )

    current: Password
    new: Password


class Proof(Body):
    """Your password, again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"password": "quiet river 47"}]})

    password: Password


class FullProof(Proof):
    """Your password and a code, again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"password": "quiet river 47", "code": "492039"}]})

    code: SecondFactor


class Confirmation(Body):
    """A code that the authenticator shows now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "492039"}]})

    code: SecondFactor


class SecretView(BaseModel):
    """For the authenticator: as text, and as what a QR code holds. Shown once."""

    secret: str
    uri: str


class RecoveryView(BaseModel):
    """Codes that stand in for the authenticator, once each. Shown once."""

    recovery_codes: list[str]


@router.post("/me/password", status_code=204, responses=GUARDED)
async def change_own_password(body: PasswordChange, services: ServicesDep, caller: CallerDep) -> Response:
    """Change your own password. Every session of yours ends, this one too: sign in with the new one."""
    who = await _proven(services, caller, body.current, field="current")
    new = accept_password(body.new, login=who.email, names=(who.name,), field="new")
    if new == normal(body.current):
        raise InvalidInput("new", "is the password of now", code="password_same")
    hashed = await services.passwords.hash(new)
    async with services.database.session() as session:
        await set_password(session, await _unchanged(session, who), hashed)
    return gone()


@shown_once.post("/me/second-factor", status_code=201, responses=GUARDED)
async def set_up_second_factor(body: Proof, services: ServicesDep, caller: CallerDep) -> SecretView:
    """Begin with an authenticator (TOTP). It counts once a code of it was confirmed."""
    who = await _proven(services, caller, body.password)
    async with services.database.session() as session:
        row = await _unchanged(session, who)
        if row.totp_secret is not None:
            raise Refused("second_factor_set", "You have a second factor: remove it first.")
        secret = new_secret()
        row.totp_pending = seal(services.vault, row, secret)
        return SecretView(secret=secret, uri=uri(secret, row.email))


@shown_once.post("/me/second-factor/confirm")
async def confirm_second_factor(body: Confirmation, services: ServicesDep, caller: CallerDep) -> RecoveryView:
    """Show that the authenticator works. From now on each sign-in needs a code."""
    own_session(caller)
    async with services.database.session() as session:
        row = found(await person(session, caller.key_id, lock=True), "person")
        if row.totp_pending is None:
            raise Refused("nothing_to_confirm", "No second factor is being set up.")
        step = step_of(unseal(services.vault, row, row.totp_pending), body.code, await database_now(session))
        if step is None:
            raise InvalidInput("code", "is not what the authenticator shows now", code="code_wrong")
        row.totp_secret, row.totp_pending, row.totp_step = row.totp_pending, None, step
        return RecoveryView(recovery_codes=await new_recovery_codes(session, row))


@router.post("/me/second-factor/remove", status_code=204, responses=GUARDED)
async def remove_second_factor(body: FullProof, services: ServicesDep, caller: CallerDep) -> Response:
    """Sign in without a second factor from now on."""
    who = await _proven(services, caller, body.password, code=body.code)
    async with services.database.session() as session:
        await forget_second_factor(session, await _unchanged(session, who))
    return Response(status_code=204)


@shown_once.post("/me/recovery-codes", status_code=201, responses=GUARDED)
async def renew_recovery_codes(body: FullProof, services: ServicesDep, caller: CallerDep) -> RecoveryView:
    """Make new recovery codes; the older ones are void."""
    who = await _proven(services, caller, body.password, code=body.code)
    async with services.database.session() as session:
        return RecoveryView(recovery_codes=await new_recovery_codes(session, await _unchanged(session, who)))


async def _proven(
    services: Services, caller: Caller, password: str, *, field: str = "password", code: str | None = None
) -> Person:
    """Whoever has signed in, if this is their password, and their code where one is asked for.

    Raises `TooManyTries`: whoever found an open session guesses as slowly as at the door, and keeps nobody out.
    """
    place = f"session:{own_session(caller)}"
    async with services.database.session() as session:
        who = found(await person(session, caller.key_id), "person")
        tried = Try(who.email, place, known=True)
        held = await count(session, tried)
    if held is not None:
        raise TooManyTries(held.wait_s)
    if not await services.passwords.matches(who.password_hash, password):
        raise InvalidInput(field, "is not your password", code="wrong_password")
    async with services.database.session() as session:
        if code is not None:
            row = found(await person(session, who.id, lock=True), "person")
            if row.totp_secret is None:
                raise Refused("no_second_factor", "You have no second factor.")
            if not await accepts(session, services.vault, row, code):
                raise InvalidInput("code", "is wrong, or was used before", code="code_wrong")
        await succeeded(session, tried)
    return who


async def _unchanged(session: AsyncSession, who: Person) -> Person:
    """The row, locked. Raises `Refused` where the password was changed while it was being checked."""
    row = found(await person(session, who.id, lock=True), "person")
    if row.password_hash != who.password_hash or row.disabled_at is not None:
        raise Refused("changed_meanwhile", "Your account was changed meanwhile: sign in again.")
    return row
