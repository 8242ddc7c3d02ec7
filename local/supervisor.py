"""How child processes live and die: started and probed, logged, brought back when they crash, stopped in reverse.

A child never outlives us: it is told to stop, and the kernel tells it where we cannot (`PR_SET_PDEATHSIG`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

READY_S_MAX: Final = 60.0
STOP_S_MAX: Final = 10.0
PROBE_EVERY_S: Final = 0.05
LOG_TAIL_LINES: Final = 20
LOG_BYTES_MAX: Final = 50_000_000
RESTARTS_MAX: Final = 10
RESTART_DELAY_S_MAX: Final = 30.0
# A child that ran this long had recovered: the next crash starts counting anew.
RECOVERED_S: Final = 60.0
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

Probe = Callable[[], Awaitable[bool]]
Tell = Callable[[str], None]


class StartFailed(Exception):
    """A child ended, or was not ready in time; the message ends with what it wrote last."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What to run and how to know that it is ready: by a probe, or by a line it writes (a text in it).

    `kept_alive`: a crash is followed by a restart. `starts_max`: how often a start that fails is tried.
    """

    name: str
    command: Sequence[str]
    ready: Probe | str
    environment: Mapping[str, str]
    directory: Path
    stop_signal: signal.Signals = signal.SIGTERM
    kept_alive: bool = False
    starts_max: int = 1


@dataclass(slots=True)
class _Child:
    spec: Spec
    process: asyncio.subprocess.Process
    started: float
    log_from: int
    watcher: asyncio.Task[None] | None = None


@dataclass(slots=True)
class Supervisor:
    """Children by name. Not for use from several event loops."""

    logs: Path
    tell: Tell
    _children: dict[str, _Child] = field(default_factory=dict[str, _Child])

    async def start(self, spec: Spec) -> None:
        """Run a child and wait until it is ready. Raises `StartFailed`; nothing is left running then."""
        if self.running(spec.name):
            raise StartFailed(f"{spec.name} is running already")
        for attempt in range(1, spec.starts_max + 1):
            child = await self._spawn(spec)
            try:
                await self._wait_ready(child)
            except StartFailed:
                await self._end(child)
                if attempt == spec.starts_max:
                    raise
                await asyncio.sleep(0.2 * attempt)
            except BaseException:
                await self._end(child)
                raise
            else:
                break
        else:
            raise StartFailed(f"{spec.name}: starts_max must be at least 1")
        # Re-inserted at the end: children are stopped in the reverse of the order they came up.
        self._children.pop(spec.name, None)
        self._children[spec.name] = child
        if spec.kept_alive:
            child.watcher = asyncio.create_task(self._keep_alive(child), name=f"keep {spec.name} alive")

    async def stop(self, name: str) -> None:
        """Ask a child to stop, and kill it where it does not within `STOP_S_MAX`; gone already is fine."""
        child = self._children.get(name)
        if child is not None:
            await self._dismiss(child)
            await self._end(child)

    async def kill(self, name: str) -> None:
        """SIGKILL, as a power cut would; the child stays down until it is restarted."""
        child = self._children[name]
        await self._dismiss(child)
        with contextlib.suppress(ProcessLookupError):
            child.process.kill()
        await child.process.wait()

    async def restart(self, name: str) -> None:
        """Start a child again as it was first started, stopping it before if it runs."""
        spec = self._children[name].spec
        await self.stop(name)
        await self.start(spec)

    async def stop_all(self) -> None:
        """The last one started stops first."""
        for name in reversed(list(self._children)):
            await self.stop(name)
        self._children.clear()

    def running(self, name: str) -> bool:
        child = self._children.get(name)
        return child is not None and child.process.returncode is None

    def pid(self, name: str) -> int:
        """The process id of a child that was started."""
        return self._children[name].process.pid

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    async def _spawn(self, spec: Spec) -> _Child:
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.log(spec.name)
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_suffix(".log.1"))
        parent = os.getpid()
        with path.open("ab") as log:
            log_from = log.tell()
            process = await asyncio.create_subprocess_exec(
                *spec.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(spec.environment),
                cwd=spec.directory,
                # Ctrl-C reaches the whole foreground group; ours are stopped by us, in order.
                start_new_session=True,
                preexec_fn=lambda: die_with(parent, spec.stop_signal),
            )
        return _Child(spec, process, time.monotonic(), log_from)

    async def _wait_ready(self, child: _Child) -> None:
        deadline = time.monotonic() + READY_S_MAX
        while True:
            if child.process.returncode is not None:
                status = child.process.returncode
                raise StartFailed(self._failure(child, f"ended with status {status} before it was ready"))
            if await self._is_ready(child):
                return
            if time.monotonic() > deadline:
                raise StartFailed(self._failure(child, f"was not ready after {READY_S_MAX:.0f} s"))
            await asyncio.sleep(PROBE_EVERY_S)

    async def _is_ready(self, child: _Child) -> bool:
        ready = child.spec.ready
        if not isinstance(ready, str):
            return await ready()
        with self.log(child.spec.name).open("rb") as log:
            log.seek(child.log_from)
            return ready.encode() in log.read()

    async def _end(self, child: _Child) -> None:
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(child.spec.stop_signal)
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await child.process.wait()
        except TimeoutError:
            self.tell(f"{child.spec.name} did not stop in {STOP_S_MAX:.0f} s and is killed")
            with contextlib.suppress(ProcessLookupError):
                child.process.kill()
            await child.process.wait()

    async def _dismiss(self, child: _Child) -> None:
        """From now on a child's end is wanted, and nobody brings it back."""
        if child.watcher is not None:
            child.watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await child.watcher
            child.watcher = None

    async def _keep_alive(self, child: _Child) -> None:
        spec, crashes = child.spec, 0
        while True:
            status = await child.process.wait()
            crashes = 1 if time.monotonic() - child.started > RECOVERED_S else crashes + 1
            if crashes > RESTARTS_MAX:
                self.tell(self._failure(child, f"crashed {crashes} times and is left down"))
                return
            delay = min(0.5 * 2 ** (crashes - 1), RESTART_DELAY_S_MAX)
            self.tell(f"{spec.name} ended with status {status}; starting it again in {delay:g} s")
            await asyncio.sleep(delay)
            again = await self._spawn(spec)
            child.process, child.started, child.log_from = again.process, again.started, again.log_from
            try:
                await self._wait_ready(child)
            except StartFailed as error:
                self.tell(str(error))
                await self._end(child)
            else:
                self.tell(f"{spec.name} runs again")

    def _failure(self, child: _Child, what: str) -> str:
        path = self.log(child.spec.name)
        lines = path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:] if path.exists() else []
        return "\n".join([f"{child.spec.name} {what}; its log is {path}", *(f"  | {line}" for line in lines)])


def die_with(parent: int, stop_signal: signal.Signals) -> None:
    """In the child, before it becomes another program: be told when the parent dies, however it dies."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(stop_signal))
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)
