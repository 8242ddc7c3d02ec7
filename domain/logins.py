"""Whether a customer may sign in now: what a right password is worth for a login that is disabled or must change it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Answer(StrEnum):
    """What a check of a password comes to. Only `OK` lets anybody in."""

    OK = "ok"
    WRONG = "wrong"
    WAIT = "wait"
    DISABLED = "disabled"
    MUST_CHANGE = "must_change"


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides besides the password. Disabled without `disabled_until` is for good."""

    must_change: bool = False
    disabled: bool = False
    disabled_until: datetime | None = None


def login_key(login: str) -> str:
    """The form in which logins are compared: case, width and accents written in parts make no other login."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", login).strip().casefold())


def is_disabled(standing: Standing, now: datetime) -> bool:
    """A time that is over is over by itself."""
    return standing.disabled and (standing.disabled_until is None or now < standing.disabled_until)


def judge(standing: Standing, now: datetime, *, right: bool) -> Answer:
    """A wrong password learns nothing more. Disabled comes first: a new password would not help."""
    if not right:
        return Answer.WRONG
    if is_disabled(standing, now):
        return Answer.DISABLED
    return Answer.MUST_CHANGE if standing.must_change else Answer.OK
