"""A phone switch for tests: a real HTTP server that writes down what it is asked, and answers as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any


class FakeSwitch:
    """`answer`: the status it gives, or `drop` to close the connection without one."""

    def __init__(self) -> None:
        self.answer: int | str = 202
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.splitlines()[1:] if line)
        }
        self.asked.append(json.loads(await reader.readexactly(int(headers["content-length"]))))
        self.keys.append(headers["idempotency-key"])
        if self.answer != "drop":
            writer.write(f"HTTP/1.1 {self.answer} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def fake_switch() -> AsyncGenerator[FakeSwitch]:
    switch = FakeSwitch()
    server = await asyncio.start_server(switch.handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    switch.url = f"http://127.0.0.1:{port}/ring"
    async with server:
        yield switch
