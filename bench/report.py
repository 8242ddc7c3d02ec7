"""What the benchmark says: a table for people, and `bench/latest.json` for programs."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import asyncpg
import temporalio.api.workflowservice.v1 as service
from rich.console import Console
from rich.table import Table

from bench.fleets import WORKER_NAME, Yard
from bench.meters import SERVERS
from bench.rounds import Measured, Plan

# What is wanted of the cold figures: name → (least, most).
WANTED: Final[Mapping[str, tuple[float | None, float | None]]] = {
    "ratio": (0.6, None),
    "events_per_renewal": (None, 12),
    "sql_per_renewal": (None, 12),
    "gateway_calls_per_renewal": (1, 1),
    "growth_with_age": (None, 1.05),
}
_PROCESSES: Final = (WORKER_NAME, *SERVERS, "all")
_DIGITS: Final = 4

Summary = dict[str, float]


def summary(values: Sequence[float]) -> Summary:
    """Median, least and most."""
    return {
        "median": _round(statistics.median(values)),
        "min": _round(min(values)),
        "max": _round(max(values)),
    }


def _round(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


async def machine(yard: Yard) -> dict[str, Any]:
    """Where it was measured."""
    connection = await asyncpg.connect(yard.stack.database_url.replace("+asyncpg", ""))
    try:
        postgres = await connection.fetchval("SHOW server_version")
    finally:
        await connection.close()
    info = await yard.client.workflow_service.get_system_info(service.GetSystemInfoRequest())
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "temporal": info.server_version,
        "temporalio": version("temporalio"),
        "postgresql": postgres.split()[0],
        "sqlalchemy": version("sqlalchemy"),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def compose(measured: Measured, plan: Plan, where: Mapping[str, Any], took_s: float) -> dict[str, Any]:
    """The whole result. The cold figures stand at the top."""
    cold, alone, age = (measured.sections[name] for name in ("cold", "alone", "age"))
    return {
        "renewals_per_s": summary(cold["ours_per_s"]),
        "floor_per_s": summary(cold["floor_per_s"]),
        "ratio": summary(cold["ratio"]),
        "events_per_renewal": summary(alone["events_per_renewal"]),
        "sql_per_renewal": summary(alone["sql_per_renewal"]),
        "gateway_calls_per_renewal": summary(alone["gateway_calls_per_renewal"]),
        "growth_with_age": summary(age["growth_with_age"]),
        "sql_begin_commit_per_renewal": summary(alone["sql_begin_commit_per_renewal"]),
        "events_per_renewal_mean": _round(statistics.mean(alone["events_per_renewal"])),
        "sections": {
            name: {figure: summary(values) for figure, values in sorted(samples.items())}
            for name, samples in measured.sections.items()
        },
        "machine": dict(where),
        "plan": {name: getattr(plan, name) for name in plan.__dataclass_fields__},
        "took_s": round(took_s),
    }


def show(result: Mapping[str, Any], console: Console) -> None:
    """Print it all, each figure as `median (least to most)`."""
    where, plan, parts = result["machine"], result["plan"], result["sections"]
    console.print(
        f"\n{where['cores']} cores, {where['processor']}, Python {where['python']}, Temporal {where['temporal']}, "
        f"PostgreSQL {where['postgresql']}; {plan['rounds']} rounds of {plan['fleet']}; median (least to most)\n"
    )
    speed = Table(title="A second")
    heads = ("renewals", "floor: timer + activity", "ratio", "ratio by CPU", "floor: timer + local activity", "ratio")
    for head in ("", *heads):
        speed.add_column(head, justify="left" if not head else "right")
    for name in ("cold", "warm"):
        figures = ("ours_per_s", "floor_per_s", "ratio", "ratio_by_cpu", "floor_local_per_s", "ratio_local")
        speed.add_row(name, *(_said(parts[name][figure]) for figure in figures))
    console.print(speed)

    cpu = Table(title="CPU seconds per 1,000")
    for head in ("", *_PROCESSES):
        cpu.add_column(head, justify="left" if not head else "right")
    kinds = [(f"{name}, {kind}", name, f"{kind}_") for name in ("cold", "warm") for kind in ("ours", "floor")]
    kinds += [("cold, ours, after 1 cycle", "young", ""), (f"cold, ours, after {plan['old_cycles']} cycles", "old", "")]
    for title, name, prefix in kinds:
        cells = (parts[name].get(f"{prefix}cpu_s_per_1000_{process}") for process in _PROCESSES)
        cpu.add_row(title, *(_said(cell) for cell in cells))
    console.print(cpu)

    counts = Table(title="For one renewal")
    for head in ("", "cold, alone", "after 1 cycle", f"after {plan['old_cycles']} cycles"):
        counts.add_column(head, justify="left" if not head else "right")
    for title, figure in (
        ("history events", "events_per_renewal"),
        ("SQL statements", "sql_per_renewal"),
        ("  and BEGIN, COMMIT", "sql_begin_commit_per_renewal"),
        ("gateway calls", "gateway_calls_per_renewal"),
    ):
        counts.add_row(title, *(_said(parts[name].get(figure)) for name in ("alone", "young", "old")))
    rates = (_said(parts[name].get("per_s")) for name in ("young", "old"))
    counts.add_row("a second", _said(parts["cold"]["ours_per_s"]), *rates)
    console.print(counts)

    wanted = Table(title="Wanted, cold")
    for head in ("", "measured", "wanted", ""):
        wanted.add_column(head, justify="left" if not head else "right")
    for name, (least, most) in WANTED.items():
        median = result[name]["median"]
        met = (least is None or median >= least) and (most is None or median <= most)
        rule = f"{least:g}" if least == most else f"at least {least:g}" if least is not None else f"at most {most:g}"
        wanted.add_row(name.replace("_", " "), _said(result[name]), rule, "yes" if met else "[red]no[/]")
    console.print(wanted)


def _said(figure: Summary | None) -> str:
    if figure is None:
        return ""
    if figure["min"] == figure["max"]:
        return f"{figure['median']:.3g}"
    return f"{figure['median']:.3g} ({figure['min']:.3g} to {figure['max']:.3g})"


def write(result: Mapping[str, Any], path: Path) -> None:
    """Record it."""
    path.write_text(json.dumps(result, indent=2) + "\n")
