"""The second factor: whether a code is the one of this moment (TOTP, RFC 6238) or an unused recovery code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Final

from pyotp.totp import TOTP
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from api.vault import Vault
from models import Person, RecoveryCode
from models.queries_people import unused_recovery_code
from models.session import database_now

ISSUER: Final = "Dunlin"
STEP_S: Final = 30
STEPS_AROUND: Final = 1  # clocks differ: one step before and one after count too (RFC 6238, section 5.2)
RECOVERY_CODES: Final = 10
_SECRET_BYTES: Final = 20
_RECOVERY_BYTES: Final = 10
_GROUP: Final = 4


def new_secret() -> str:
    """160 random bits in base32, as authenticator apps take them."""
    return base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def uri(secret: str, email: str) -> str:
    """What the QR code for an authenticator app holds."""
    return TOTP(secret).provisioning_uri(name=email, issuer_name=ISSUER)


def step_of(secret: str, code: str, now: datetime) -> int | None:
    """The time step whose code this is; None where it is of none around now."""
    generator, here = TOTP(secret, interval=STEP_S), int(now.timestamp()) // STEP_S
    for step in range(here - STEPS_AROUND, here + STEPS_AROUND + 1):
        if hmac.compare_digest(generator.generate_otp(step).encode(), _typed(code).encode()):
            return step
    return None


def seal(vault: Vault, person: Person, secret: str) -> str:
    return vault.seal(secret, purpose=_purpose(person))


def unseal(vault: Vault, person: Person, sealed: str) -> str:
    return vault.open(sealed, purpose=_purpose(person))


async def accepts(session: AsyncSession, vault: Vault, person: Person, code: str) -> bool:
    """Whether the code is right and was not used before; it is used then. The person's row is locked."""
    if person.totp_secret is None:
        return False
    now = await database_now(session)
    step = step_of(unseal(vault, person, person.totp_secret), code, now)
    if step is not None:
        if person.totp_step is not None and step <= person.totp_step:
            return False
        person.totp_step = step
        return True
    found = await unused_recovery_code(session, person.id, _digest(code))
    if found is None:
        return False
    found.used_at = now
    return True


async def new_recovery_codes(session: AsyncSession, person: Person) -> list[str]:
    """Codes that stand in for the authenticator, once each; the only moment they can be seen. Older ones are void."""
    await session.execute(delete(RecoveryCode).where(RecoveryCode.person_id == person.id))
    plain = [base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower() for _ in range(RECOVERY_CODES)]
    session.add_all(RecoveryCode(person_id=person.id, digest=_digest(code)) for code in plain)
    await session.flush()
    return ["-".join(code[at : at + _GROUP] for at in range(0, len(code), _GROUP)) for code in plain]


def _digest(code: str) -> str:
    """80 random bits: nobody tries them all, so a plain digest does."""
    return hashlib.sha256(_typed(code).encode()).hexdigest()


def _typed(code: str) -> str:
    return code.replace(" ", "").replace("-", "").lower()


def _purpose(person: Person) -> str:
    return f"totp:{person.id}"
