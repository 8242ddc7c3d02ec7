"""A mail that came in: what it is, what it answers, and whose it may be. Nothing is guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

RAW_BYTES_MAX: Final = 10 * 1024 * 1024
TEXT_CHARS_MAX: Final = 100_000


class MailKind(StrEnum):
    """MAIL: written by somebody. AUTO_REPLY: by a machine for them. BOUNCE: a mail of ours did not arrive."""

    MAIL = "mail"
    AUTO_REPLY = "auto_reply"
    BOUNCE = "bounce"


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    """A mail as it was read. `answers`: ids that may be of messages of ours, the likeliest first.

    `bounced`: of a bounce, what the other mail server says.
    """

    identity: str
    rfc_message_id: str | None
    kind: MailKind
    sender: str
    recipient: str
    subject: str
    text: str
    answers: tuple[str, ...]
    bounced: str = ""


@dataclass(frozen=True, slots=True)
class OurMessage:
    """A message of ours that a mail names. `customer_id` None: it was to nobody's page."""

    id: str
    customer_id: str | None
    subscription_id: str | None
    to_customer: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mail belongs. Without a customer it waits for a person; `why` says why it is where it is."""

    customer_id: str | None
    matched_by: str | None
    why: str
    reply_to: OurMessage | None = None


def place(mail: ReceivedMail, named: Sequence[OurMessage], customers: Sequence[str]) -> Place:
    """By the message that it answers; else by its sender's address, where exactly one customer has it.

    `named`: those of `mail.answers` that are there, in that order. `customers`: who has the sender's address. Whoever
    names a message of ours has had it before them: the customer, or somebody they gave it to. An address that several
    have decides nothing, and a machine that reports a bounce speaks for nobody.
    """
    answered = next(iter(named), None)
    if answered is not None and answered.to_customer and answered.customer_id is not None:
        return Place(answered.customer_id, "message", f"answers message {answered.id}", answered)
    if answered is not None:
        return Place(None, None, f"answers message {answered.id}, which is no customer's", answered)
    if mail.kind is MailKind.BOUNCE:
        return Place(None, None, "a bounce that names no message of ours")
    match customers:
        case [customer]:
            return Place(customer, "address", f"{mail.sender} is the address of this customer alone")
        case []:
            return Place(None, None, f"no customer has the address {mail.sender}")
        case _:
            return Place(None, None, f"{len(customers)} customers have the address {mail.sender}")
