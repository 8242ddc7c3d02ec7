"""Which passwords are taken: long enough, not the login, not among those that everybody tries first."""

from __future__ import annotations

import unicodedata
from typing import Final

from domain.errors import InvalidInput

PASSWORD_LENGTH_MIN: Final = 12
PASSWORD_LENGTH_MAX: Final = 200
DISTINCT_MIN: Final = 5

# Of the lists of leaked passwords, the commonest that are long enough for the rule above.
COMMONEST: Final = frozenset(
    {
        "123456789012",
        "1234567890123",
        "12345678901234",
        "123456789abc",
        "123456789qwe",
        "1q2w3e4r5t6y",
        "1qaz2wsx3edc",
        "abcdefghijkl",
        "administrator",
        "administrator1",
        "adminadmin123",
        "changeme1234",
        "changemeplease",
        "correcthorsebatterystaple",
        "iloveyou1234",
        "iloveyouforever",
        "letmein12345",
        "letmeinplease",
        "password1234",
        "password12345",
        "password123456",
        "passwordpassword",
        "p@ssw0rd1234",
        "qazwsxedcrfv",
        "qwerty123456",
        "qwertyqwerty",
        "qwertyuiop12",
        "qwertyuiop123",
        "qwertyuiopas",
        "qwertyuiopasdf",
        "q1w2e3r4t5y6",
        "superman1234",
        "trustno1trustno1",
        "unbelievable",
        "welcome12345",
        "welcome123456",
        "zaq12wsxcde3",
        "zxcvbnm12345",
    }
)


def normal(password: str) -> str:
    """One written form (NFKC, as NIST SP 800-63B asks): the same password typed on two keyboards is the same."""
    return unicodedata.normalize("NFKC", password)


def accept_password(password: str, *, login: str, names: tuple[str, ...] = (), field: str = "password") -> str:
    """The password in the form that is hashed. Raises `InvalidInput` naming `field` and the rule it breaks.

    `login` and `names` are what everybody knows of the person; neither, nor the part before an @, is a password.
    """
    password = normal(password)
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        raise InvalidInput(
            field, f"has {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters", code="password_length"
        )
    folded = password.casefold()
    known = {normal(each).casefold() for each in (login, login.partition("@")[0], *names)}
    if folded in known:
        raise InvalidInput(field, "must not be the login or the name", code="password_is_login")
    if folded in COMMONEST or len(set(folded)) < DISTINCT_MIN:
        raise InvalidInput(field, "is among the first that anybody would try", code="password_common")
    return password
