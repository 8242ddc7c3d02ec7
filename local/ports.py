"""How many stacks share one machine: a port is held from the moment it is chosen until its stack is gone."""

from __future__ import annotations

import socket
from typing import Final, Self

LOOPBACK: Final = "127.0.0.1"


class PortTaken(Exception):
    """Something else listens on a port that was asked for by number."""


class HeldPort:
    """A port on loopback that a child process will listen on.

    The socket here never listens. A free port is bound first and made shareable afterwards: so nobody else is
    given it, while our child, which sets SO_REUSEADDR as every server does, can listen, stop and listen again.
    """

    def __init__(self, wanted: int = 0, *, setting: str = "") -> None:
        self._socket = socket.socket()
        if wanted:  # a server that just stopped leaves connections in TIME_WAIT, which are no hindrance
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((LOOPBACK, wanted))
        except OSError as error:
            self._socket.close()
            told = f"port {wanted} is taken" + (
                f"; set {setting} to another, or to 0 for a free one" if setting else ""
            )
            raise PortTaken(told) from error
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.number: int = self._socket.getsockname()[1]

    def release(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
