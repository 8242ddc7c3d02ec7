"""The login of a customer, as staff set it: name, password, disabled for a time or for good."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import ConfigDict, Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, ServicesDep
from api.customers import CustomerId
from api.fields import Body, Instant, Name, Reason, View
from api.routing import SecretRoute, noun
from api.rows import found
from domain.errors import InvalidInput, Refused
from domain.logins import Standing, is_disabled, login_key
from domain.passwords import PASSWORD_LENGTH_MAX, accept_password
from models import Customer, CustomerChange, CustomerLogin
from models.queries_customers import customer
from models.queries_logins import login_of
from models.session import database_now

# Before its rules are asked: NFKC may make a text longer or shorter, so this bound is wider than theirs.
PASSWORD_SENT_MAX: Final = 4 * PASSWORD_LENGTH_MAX

router = noun("customer logins", route_class=SecretRoute)
Password = Annotated[str, StringConstraints(min_length=1, max_length=PASSWORD_SENT_MAX)]


class LoginBody(Body):
    """The name to sign in with. Upper and lower case are one; nobody else has it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"login": "ada.byron"}]})

    login: Name


class PasswordBody(Body):
    """A password made for the customer, who must change it at the next sign-in."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"password": "seven kites over Bergen"}]})

    password: Password


class DisableBody(Body):
    """Until when, or for good without `until`; and why."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"until": "2030-01-31T09:00:00Z", "reason": "shares the account"}]}
    )

    until: Instant | None = None
    reason: Annotated[Reason, StringConstraints(min_length=1, pattern=r"\S")]


class LoginView(View):
    """A login as it stands; of the password only whether there is one.

    A session that carries another `session_version` than this one is over.
    """

    customer_id: str
    login: str | None
    has_password: bool
    password_set_at: Instant | None
    must_change: bool
    disabled: bool
    disabled_until: Instant | None
    disabled_reason: str
    disabled_by: str | None
    session_version: int = Field(description="Grows whenever open sessions end")


@router.get("/customers/{customer_id}/login")
async def get_login(customer_id: CustomerId, services: ServicesDep) -> LoginView:
    """How a customer signs in, and whether they may."""
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        row = await login_of(session, customer_id)
        return await _view(session, row or _new(customer_id))


@router.put("/customers/{customer_id}/login")
async def set_login(customer_id: CustomerId, body: LoginBody, services: ServicesDep, caller: CallerDep) -> LoginView:
    """Give a customer the name to sign in with, or another one."""
    key = login_key(body.login)
    if not key:
        raise InvalidInput("login", "has at least one character that counts")
    async with services.database.session() as session:
        _, row = await _locked(session, customer_id)
        if (row.login, row.login_key) != (body.login, key):
            session.add(
                CustomerChange(customer_id=customer_id, actor=caller.name, field="login", old=row.login, new=body.login)
            )
            row.login, row.login_key = body.login, key
        return await _view(session, row)


@router.post("/customers/{customer_id}/login/password")
async def set_login_password(
    customer_id: CustomerId, body: PasswordBody, services: ServicesDep, caller: CallerDep
) -> LoginView:
    """Set a password for the customer. It must be changed at the next sign-in, and open sessions end now."""
    async with services.database.session() as session:
        owner = found(await customer(session, customer_id), "customer")
        before = await login_of(session, customer_id)
        names = (owner.email, owner.first_name, owner.last_name, owner.company)
        accept_password(body.password, login=(before.login if before is not None else None) or "", names=names)
    kept = await services.passwords.hash(body.password)
    async with services.database.session() as session:
        _, row = await _locked(session, customer_id)
        await give_password(session, row, kept, must_change=True, actor=caller.name)
        return await _view(session, row)


@router.post("/customers/{customer_id}/login/disable")
async def disable_login(
    customer_id: CustomerId, body: DisableBody, services: ServicesDep, caller: CallerDep
) -> LoginView:
    """Let a customer in no more, for a time or for good. Open sessions end now."""
    async with services.database.session() as session:
        now = await database_now(session)
        if body.until is not None and body.until <= now:
            raise InvalidInput("until", "must lie ahead")
        _, row = await _locked(session, customer_id)
        wanted = (body.until, body.reason)
        if row.disabled_at is None or (row.disabled_until, row.disabled_reason) != wanted:
            row.disabled_at, row.disabled_by = now, caller.name
            row.disabled_until, row.disabled_reason = wanted
            row.session_version += 1
            _log(session, row, caller.name, "login_disabled", "for good" if body.until is None else str(body.until))
        return await _view(session, row)


@router.post("/customers/{customer_id}/login/enable")
async def enable_login(customer_id: CustomerId, services: ServicesDep, caller: CallerDep) -> LoginView:
    """Let a customer in again."""
    async with services.database.session() as session:
        _, row = await _locked(session, customer_id)
        if row.disabled_at is not None:
            row.disabled_at = row.disabled_until = row.disabled_by = None
            row.disabled_reason = ""
            _log(session, row, caller.name, "login_disabled", None)
        return await _view(session, row)


@router.post("/customers/{customer_id}/login/force-change")
async def force_password_change(customer_id: CustomerId, services: ServicesDep, caller: CallerDep) -> LoginView:
    """Have the customer change their password at the next sign-in. Open sessions end now."""
    async with services.database.session() as session:
        _, row = await _locked(session, customer_id)
        if row.password_hash is None:
            raise Refused("no_password", "This customer has no password that could be changed.")
        if not row.must_change:
            row.must_change = True
            row.session_version += 1
            _log(session, row, caller.name, "login_must_change", "yes")
        return await _view(session, row)


async def give_password(session: AsyncSession, row: CustomerLogin, kept: str, *, must_change: bool, actor: str) -> None:
    """Keep the hash of a new password; every open session ends. The row is locked."""
    row.password_hash, row.must_change = kept, must_change
    row.password_set_at = await database_now(session)
    row.session_version += 1
    _log(session, row, actor, "password", "changed")


def standing(row: CustomerLogin) -> Standing:
    return Standing(row.must_change, row.disabled_at is not None, row.disabled_until)


async def _locked(session: AsyncSession, customer_id: str) -> tuple[Customer, CustomerLogin]:
    """The customer, locked, and their login, made where there is none yet."""
    owner = found(await customer(session, customer_id, lock=True), "customer")
    row = await login_of(session, customer_id, lock=True)
    if row is None:
        row = _new(customer_id)
        session.add(row)
        await session.flush()
    return owner, row


def _new(customer_id: str) -> CustomerLogin:
    return CustomerLogin(customer_id=customer_id, must_change=False, disabled_reason="", session_version=1)


def _log(session: AsyncSession, row: CustomerLogin, actor: str, field: str, new: str | None) -> None:
    session.add(CustomerChange(customer_id=row.customer_id, actor=actor, field=field, old=None, new=new))


async def _view(session: AsyncSession, row: CustomerLogin) -> LoginView:
    await session.flush()
    disabled = is_disabled(standing(row), await database_now(session))
    return LoginView(
        customer_id=row.customer_id,
        login=row.login,
        has_password=row.password_hash is not None,
        password_set_at=row.password_set_at,
        must_change=row.must_change,
        disabled=disabled,
        disabled_until=row.disabled_until if disabled else None,
        disabled_reason=row.disabled_reason if disabled else "",
        disabled_by=row.disabled_by if disabled else None,
        session_version=row.session_version,
    )
