"""The benchmark runs, counts what a renewal does, and records it; no time is asserted."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.main import measure

COLD = (
    "renewals_per_s",
    "floor_per_s",
    "ratio",
    "events_per_renewal",
    "sql_per_renewal",
    "gateway_calls_per_renewal",
    "growth_with_age",
)


def has_its_shape(result: dict[str, Any]) -> None:
    for name in COLD:
        figure = result[name]
        assert set(figure) == {"median", "min", "max"}, name
        assert 0 < figure["min"] <= figure["median"] <= figure["max"], name
    assert {"cores", "date", "python", "postgresql", "temporal"} <= set(result["machine"])


@pytest.mark.stack
@pytest.mark.timeout(600)
async def test_a_quick_run_counts_what_a_renewal_does(tmp_path: Path) -> None:
    table = io.StringIO()

    await measure(quick=True, output=tmp_path / "out.json", console=Console(file=table, width=200), tell=print)

    result = json.loads((tmp_path / "out.json").read_text())
    has_its_shape(result)
    assert result["events_per_renewal"]["median"] <= 12
    assert result["sql_per_renewal"]["median"] <= 12
    assert result["gateway_calls_per_renewal"]["median"] == 1
    for age in ("young", "old"):
        assert result["sections"][age]["gateway_calls_per_renewal"]["median"] == 1
        assert result["sections"][age]["events_per_renewal"]["max"] <= 12
        assert result["sections"][age]["sql_per_renewal"]["median"] <= 12
    assert "growth with age" in table.getvalue()
