"""Mail as it comes in (RFC 5322): read with suspicion, for it may be anything."""

from __future__ import annotations

import hashlib
import re
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from email.utils import getaddresses
from html import unescape
from typing import Final, cast

from domain.errors import InvalidInput
from domain.ids import derive
from domain.inbound import RAW_BYTES_MAX, TEXT_CHARS_MAX, MailKind, ReceivedMail

SUBJECT_CHARS_MAX: Final = 300
ANSWERS_MAX: Final = 50
_IDS: Final = re.compile(r"<([A-Za-z0-9_.-]{1,64})@[^<>\s]{1,255}>")
_RFC_ID: Final = re.compile(r"<[^<>\s]{1,500}>")
_HIDDEN: Final = re.compile(r"<(script|style|head)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_BREAKS: Final = re.compile(r"<(br|/p|/div|/tr|/li|/h[1-6])\b[^>]*>", re.IGNORECASE)
_MARKUP: Final = re.compile(r"<[^>]*>")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_FAILED: Final = "failed"
_MACHINES: Final = frozenset({"bulk", "junk", "auto_reply", "auto-reply"})


def read(raw: bytes) -> ReceivedMail:
    """The mail. Raises `InvalidInput` for what is none, or is too large to be kept."""
    if len(raw) > RAW_BYTES_MAX:
        raise InvalidInput("body", f"is at most {RAW_BYTES_MAX} bytes", code="body_too_large")
    mail = message_from_bytes(raw, policy=default)
    sender = _address(mail, "From")
    if not sender:
        raise InvalidInput("body", "is no mail: it has no sender in a `From` line", code="not_a_mail")
    named = _RFC_ID.search(_header(mail, "Message-ID"))
    rfc_id = named[0] if named else None
    report = _report(mail)
    kind = MailKind.BOUNCE if report is not None else _kind(mail)
    return ReceivedMail(
        # The same mail handed in again is the same message; one without a name is known by its bytes.
        identity=derive("msg", "received", rfc_id or hashlib.sha256(raw).hexdigest()),
        rfc_message_id=rfc_id,
        kind=kind,
        sender=sender,
        recipient=_address(mail, "Delivered-To") or _address(mail, "To"),
        subject=_clean(" ".join(_header(mail, "Subject").split()))[:SUBJECT_CHARS_MAX],
        text=_clean(_text(mail))[:TEXT_CHARS_MAX],
        answers=_answers(mail),
        bounced=report or "",
    )


def _header(mail: Message, name: str) -> str:
    try:
        return str(mail.get(name, ""))
    except Exception:  # noqa: BLE001 - the standard library fails on some malformed headers; they say nothing then
        return ""


def _address(mail: Message, name: str) -> str:
    found = [address for _, address in getaddresses([_header(mail, name)]) if "@" in address]
    return _clean(found[0]).strip()[:320] if found else ""


def _answers(mail: EmailMessage) -> tuple[str, ...]:
    """Ids that stand in the places of what it answers: the direct one first, then the thread from its end.

    A bounce names what it returns within the part that returns it.
    """
    found = _IDS.findall(_header(mail, "In-Reply-To"))
    found += reversed(_IDS.findall(_header(mail, "References")))
    for part in mail.walk():
        if part.get_content_type() in {"message/rfc822", "message/rfc822-headers", "text/rfc822-headers"}:
            for inner in _parts(part):
                found += _IDS.findall(_header(inner, "Message-ID"))
            if not part.is_multipart():
                found += _IDS.findall(_content(part))
    return tuple(dict.fromkeys(found))[:ANSWERS_MAX]


def _kind(mail: Message) -> MailKind:
    """RFC 3834, and what was in use before it."""
    automatic = _header(mail, "Auto-Submitted").split(";")[0].strip().lower()
    if automatic and automatic != "no":
        return MailKind.AUTO_REPLY
    if _header(mail, "Precedence").strip().lower() in _MACHINES:
        return MailKind.AUTO_REPLY
    if mail.get("X-Autoreply") is not None or mail.get("X-Autorespond") is not None:
        return MailKind.AUTO_REPLY
    return MailKind.MAIL


def _report(mail: EmailMessage) -> str | None:
    """Of a report that a mail could not be delivered (RFC 3464): what the server says. One that waits is none yet."""
    if mail.get_content_type() != "multipart/report":
        return None
    for part in mail.walk():
        if part.get_content_type() != "message/delivery-status":
            continue
        for fields in _parts(part):
            if _header(fields, "Action").strip().lower() == _FAILED:
                said = (_header(fields, name) for name in ("Status", "Diagnostic-Code", "Final-Recipient"))
                return _clean(" ".join(" ".join(each.split()) for each in said if each))[:500] or _FAILED
    return None


def _text(mail: EmailMessage) -> str:
    """The plain part; where there is none, the words of the HTML, without anything that could run or be fetched."""
    for part in mail.walk():
        if part.get_content_maintype() == "text" and not part.is_attachment():
            words = _content(part)
            if part.get_content_subtype() == "plain":
                return words
    for part in mail.walk():
        if part.get_content_type() == "text/html" and not part.is_attachment():
            bare = _MARKUP.sub("", _BREAKS.sub("\n", _HIDDEN.sub("", _content(part))))
            return re.sub(r"\n{3,}", "\n\n", unescape(bare)).strip()
    return ""


def _parts(part: Message) -> list[Message]:
    payload = part.get_payload()
    return cast("list[Message]", payload) if isinstance(payload, list) else []


def _content(part: Message) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    try:
        return payload.decode(part.get_content_charset("utf-8"), errors="replace")
    except LookupError:  # a character set that nobody knows
        return payload.decode("utf-8", errors="replace")


def _clean(text: str) -> str:
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
