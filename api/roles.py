"""Whether a caller may give a command or read something; asked in one place, by every route (`api.routing`)."""

from __future__ import annotations

from api.errors import Forbidden
from api.keys import Caller
from domain.roles import BEFORE_CHANGE, READ, Role, who_may, who_may_read


def admit(caller: Caller, name: str, *, reading: bool) -> None:
    """Raises `Forbidden`: the password must be changed first, the role may not (it names those that may), or the key
    was not made for it. `name` is that of the route's function.
    """
    if caller.must_change and name not in BEFORE_CHANGE:
        raise Forbidden("Change the one-time password first; until then nothing else.", code="password_change_required")
    roles = who_may_read(name) if reading else who_may(name)
    what = name.replace("_", " ")
    if caller.role not in roles:
        said = tuple(role.value for role in Role if role in roles)
        raise Forbidden(f"{what} is for the roles {', '.join(said)}; you have the role {caller.role}", roles=said)
    if caller.scopes and (READ if reading else name) not in caller.scopes:
        raise Forbidden(f"{what} is not among the scopes of this key", code="forbidden_scope")
