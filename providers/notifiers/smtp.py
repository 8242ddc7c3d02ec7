"""Mail by SMTP: how a message of ours becomes a standard one (RFC 5322), and what the server's answers mean."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import getaddresses
from typing import Final

import aiosmtplib

from providers.notifiers.base import AddressRefused, Email, NotifierUnavailable

_PERMANENT_FROM: Final = 500
_SUBJECT_LENGTH_MAX: Final = 300
# Control characters and separators of lines and paragraphs. Other spaces, as in "19,00 EUR", are what people write.
_BREAKS_A_LINE: Final = frozenset({"Cc", "Zl", "Zp"})
# What RFC 5322 allows in the left part of a Message-ID without quoting.
_NOT_IN_MESSAGE_ID: Final = re.compile(r"[^A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]")


class SmtpNotifier:
    """Mail over one connection for each session: meeting a server costs more than handing it a letter."""

    def __init__(self, host: str, port: int, *, timeout_s: float) -> None:
        self._host = host
        self._port = port
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[SmtpSession]:
        session = SmtpSession(self._host, self._port, timeout_s=self._timeout_s)
        try:
            yield session
        finally:
            await session.close()


class SmtpSession:
    """Connects at the first letter, and anew where the server hung up or did not answer."""

    def __init__(self, host: str, port: int, *, timeout_s: float) -> None:
        self._where = f"{host}:{port}"
        self._client = aiosmtplib.SMTP(hostname=host, port=port, timeout=timeout_s, start_tls=None)

    async def send(self, message: Email) -> None:
        mail = compose(message)
        try:
            if not self._client.is_connected:
                await self._client.connect()
            await self._client.send_message(mail)
        except aiosmtplib.SMTPRecipientsRefused as error:
            if all(refused.code >= _PERMANENT_FROM for refused in error.recipients):
                raise AddressRefused(f"the mail server refuses {message.to}: {_first(error)}") from error
            raise NotifierUnavailable(_first(error)) from error
        except aiosmtplib.SMTPResponseException as error:
            if error.code >= _PERMANENT_FROM:
                raise AddressRefused(f"the mail server refuses the message: {error.code} {error.message}") from error
            raise NotifierUnavailable(f"{error.code} {error.message}") from error
        except (aiosmtplib.SMTPException, OSError) as error:
            self._client.close()
            raise NotifierUnavailable(f"mail server {self._where}: {error}") from error
        except BaseException:
            self._client.close()  # half a letter is under way; nothing may follow it
            raise

    async def close(self) -> None:
        """Take leave, where somebody is there to take it."""
        if self._client.is_connected:
            with suppress(aiosmtplib.SMTPException, OSError):
                await self._client.quit()
        self._client.close()


def compose(message: Email) -> EmailMessage:
    """The standard form. Raises `AddressRefused` where an address or header could not be sent as one line.

    A line break in a header would let whoever chose the value add headers of their own.
    """
    mail = EmailMessage(policy=SMTP_POLICY)
    try:
        sender = _address(message.sender)
        mail["From"] = sender
        mail["To"] = _address(message.to)
        mail["Subject"] = _one_line("subject", message.subject)
        mail["Message-ID"] = f"<{_NOT_IN_MESSAGE_ID.sub('.', message.message_id)}@{sender.domain}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answering machine shall answer
    except (ValueError, IndexError, MessageError) as error:
        raise AddressRefused(f"cannot be sent as mail: {error}") from error
    mail.set_content(message.text)
    if message.html is not None:
        mail.add_alternative(message.html, subtype="html")
    for each in message.attachments:
        mail.add_attachment(each.content, maintype=each.maintype, subtype=each.subtype, filename=each.name)
    return mail


def _address(value: str) -> Address:
    found = getaddresses([_one_line("address", value)])
    if len(found) != 1 or "@" not in found[0][1]:
        raise ValueError(f"{value!r} is not one mail address")
    name, address = found[0]
    return Address(display_name=name, addr_spec=address)


def _one_line(what: str, value: str) -> str:
    if any(unicodedata.category(character) in _BREAKS_A_LINE for character in value):
        raise ValueError(f"the {what} must be one line without control characters")
    return value[:_SUBJECT_LENGTH_MAX] if what == "subject" else value


def _first(error: aiosmtplib.SMTPRecipientsRefused) -> str:
    refused = error.recipients[0]
    return f"{refused.code} {refused.message}"
