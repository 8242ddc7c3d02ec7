"""What every way to reach a customer is to us: one message by our own id, failures told apart by what to do next."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


class NotifierUnavailable(Exception):
    """Nothing is wrong with the message: the server cannot be reached or asks to come back. Send it again later."""


class AddressRefused(Exception):
    """The server refuses this recipient or message for good: sending it again will not help."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a message; its media type is `maintype/subtype`."""

    name: str
    maintype: str
    subtype: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Email:
    """`message_id` is our own id of the message; a repeat carries the same one, so that receivers can tell."""

    message_id: str
    sender: str
    to: str
    subject: str
    text: str
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()


class Outgoing(Protocol):
    """A way out that several messages take, one after the other."""

    async def send(self, message: Email) -> None:
        """Returning means the server took the message.

        Raises `NotifierUnavailable` or `AddressRefused`; the next message has its chance all the same.
        """
        ...


class Notifier(Protocol):
    """Opens ways out. Opening one cannot fail: a server that is away is met at the first message."""

    def session(self) -> AbstractAsyncContextManager[Outgoing]: ...
