"""The demo's stack and its story: everything embedded, data fresh each time, the story a program of its own."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Final

from local import postgres
from local.ports import HeldPort, PortTaken
from local.stack import ROOT, Stack
from local.supervisor import die_with
from settings import Settings

_PORTS: Final = (
    "api_port",
    "postgres_port",
    "temporal_port",
    "temporal_ui_port",
    "gateway_port",
    "mailsink_http_port",
    "mailsink_smtp_port",
)
# The story writes nothing that would have to be finished.
_STOP_S_MAX: Final = 5.0


def demo_settings(given: Settings) -> Settings:
    """Settings for a stack that touches nothing set up elsewhere, in a folder of its own that is now empty.

    A port that is taken becomes a free one: the addresses are printed anyway.
    """
    folder = given.data_dir / "demo"
    _clear(folder)
    ports = {name: port for name in _PORTS if (port := _free(getattr(given, name))) is not None}
    nothing_outside = dict.fromkeys(
        ("database_url", "temporal_address", "temporal_ui_url", "gateway_url", "smtp_host", "smtp_port")
    )
    return given.model_copy(update={"data_dir": folder, **nothing_outside, **ports})


async def tell_story(stack: Stack) -> int:
    """Run the story against a started stack, on our own terminal; gives its status. It ends when we do."""
    parent = os.getpid()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.demo", "--api", stack.api_url, "--gateway", stack.gateway_url),
        *("--mail", stack.mailsink_url or "", "--key-file", str(stack.folder / "api-key")),
        *("--papers", str(stack.folder / "invoices")),
        cwd=ROOT,
        env=stack.settings.environment(),
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us, who stop it in order
        preexec_fn=lambda: die_with(parent, signal.SIGTERM),
    )
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP_S_MAX):
                    await process.wait()
            except TimeoutError:
                process.kill()


def _clear(folder: Path) -> None:
    """Remove what an earlier demo left. One that still runs holds the lock, keeps its data, and the start says so."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        postgres.stop_orphan(folder / "postgres")
        for child in folder.iterdir():
            if child.is_dir():
                shutil.rmtree(child)
            elif child.name != "lock":
                child.unlink()


def _free(port: int) -> int | None:
    """None where the port can be had, else 0, which asks for a free one."""
    with contextlib.suppress(PortTaken), HeldPort(port):
        return None
    return 0
