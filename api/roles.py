"""Whether the caller's role may give a command; asked in one place, by every route (`api.routing`)."""

from __future__ import annotations

from api.errors import Forbidden
from api.keys import Caller
from domain.roles import Role, who_may


def require(caller: Caller, command: str) -> None:
    """Raises `Forbidden`, naming the roles that may."""
    roles = who_may(command)
    if caller.role not in roles:
        said = tuple(role.value for role in Role if role in roles)
        raise Forbidden(
            f"{command.replace('_', ' ')} is for the roles {', '.join(said)}; this key has the role {caller.role}",
            roles=said,
        )
