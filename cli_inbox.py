"""The inbox command: hands mail to the API, from a mailbox file, a maildir, a single mail or a mail server's pipe."""

from __future__ import annotations

import mailbox
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.console import Console

from cli_import import EXIT_BAD_INPUT, EXIT_OK, EXIT_REFUSED, Api, CannotImport, address_of, kept_key
from settings import Settings

PIPE: Final = Path("-")
_MBOX: Final = b"From "

out = Console()
err = Console(stderr=True)


def hand_in(source: Path, api_key: str | None, chosen: Settings) -> int:
    """Hand in all of it; returns the exit status: 0 all is there, 1 some was refused, 2 nothing could be done.

    The source is not changed, and what was handed in before is known: the same command may run again and again.
    """
    try:
        api = Api(address_of(chosen), api_key or chosen.api_key or kept_key(chosen))
    except CannotImport as error:
        err.print(str(error), markup=False)
        return EXIT_BAD_INPUT
    new = known = refused = 0
    with api.http:
        try:
            for name, raw in _mails(source):
                try:
                    said = api.hand_in("/v1/inbound-mail", raw, "message/rfc822").json()
                except CannotImport as error:
                    refused += 1
                    err.print(f"{name}: {error}", markup=False)
                else:
                    new += said["new"]
                    known += not said["new"]
        except OSError as error:
            err.print(f"{source}: {error.strerror or error}", markup=False)
            return EXIT_BAD_INPUT
    out.print(f"{new} new, {known} known, {refused} refused")
    return EXIT_REFUSED if refused else EXIT_OK


def _mails(source: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each mail: `-` is one from a pipe, a folder is a maildir, a file an mbox or one mail."""
    if source == PIPE:
        yield "-", sys.stdin.buffer.read()
        return
    if source.is_dir():
        box: mailbox.Mailbox[mailbox.Message] = mailbox.Maildir(source, create=False)  # pyright: ignore[reportAssignmentType] - its messages are of a kind of its own
    else:
        with source.open("rb") as opened:
            first = opened.read(len(_MBOX))
        if first != _MBOX:
            yield source.name, source.read_bytes()
            return
        box = mailbox.mbox(source, create=False)  # pyright: ignore[reportAssignmentType] - as above
    try:
        for key in box.iterkeys():
            yield f"{source.name} {key}", box.get_bytes(key)
    finally:
        box.close()
