"""How passwords and secrets rest: Argon2id as RFC 9106 wants it, sealed with a key, each for one purpose."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from argon2 import Parameters, PasswordHasher, Type, extract_parameters
from cryptography.exceptions import InvalidTag

from api.passwords import HASHES_AT_ONCE_MAX, HASHES_WAITING_MAX, Passwords
from api.vault import KEY_BYTES, Vault
from domain.errors import Refused, Unavailable

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


async def test_a_password_rests_as_argon2id() -> None:
    kept = await Passwords().hash("älteste Brücke")
    parameters = extract_parameters(kept)
    assert (parameters.type, parameters.time_cost, parameters.memory_cost) == (Type.ID, 3, 64 * 1024)
    assert await Passwords().matches(kept, "a\u0308lteste Brücke")
    assert not await Passwords().matches(kept, "älteste Brucke")
    assert await Passwords().hash("älteste Brücke") != kept


class Counting(PasswordHasher):
    """A hasher that remembers by which parameters it compared."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.compared: list[Parameters] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - the library's name
        self.compared.append(extract_parameters(str(hash)))
        return super().verify(hash, password)


async def test_nobody_takes_the_same_work_as_somebody_and_never_matches() -> None:
    hasher = Counting()
    passwords = Passwords(hasher)
    kept = await passwords.hash("quiet river 47")
    assert not await passwords.matches(kept, "anything")
    assert not await passwords.matches(None, "anything")
    assert hasher.compared[0] == hasher.compared[1]


async def test_too_many_at_once_are_refused_and_later_ones_are_not() -> None:
    passwords = Passwords(CHEAP)
    asked = HASHES_AT_ONCE_MAX + HASHES_WAITING_MAX
    answers = await asyncio.gather(*(passwords.hash("x") for _ in range(asked)), return_exceptions=True)
    assert sum(isinstance(each, Unavailable) for each in answers) == asked - HASHES_WAITING_MAX
    assert await passwords.hash("x")


def test_what_is_sealed_opens_for_its_purpose_alone() -> None:
    vault, other = Vault(bytes(range(KEY_BYTES))), Vault(bytes(KEY_BYTES))
    sealed = vault.seal("secret", purpose="totp:per_1")
    assert vault.open(sealed, purpose="totp:per_1") == "secret"
    assert vault.seal("secret", purpose="totp:per_1") != sealed
    for opener, purpose in ((vault, "totp:per_2"), (other, "totp:per_1")):
        with pytest.raises(InvalidTag):
            opener.open(sealed, purpose=purpose)
    assert vault.fingerprint(b"body") != other.fingerprint(b"body")
    assert "secret" not in repr(vault)


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(Refused, match="DUNLIN_SECRET_KEY"):
        Vault().seal("secret", purpose="x")
