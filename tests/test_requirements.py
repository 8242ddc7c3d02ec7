"""`docs/requirements.md` is true: every promise has its line, every route and every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from api.app import ROUTERS

ROOT: Final = Path(__file__).parent.parent
# Letter → how many promises there are under it.
PROMISES: Final = {
    "A": 19,
    "B": 5,
    "C": 17,
    "D": 5,
    "E": 4,
    "F": 10,
    "G": 5,
    "H": 6,
    "I": 4,
    "J": 4,
    "K": 5,
    "L": 3,
    "M": 6,
}
ROWS: Final = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "requirements.md").read_text().splitlines()
    if re.match(r"\| [A-M]\d+ \|", line)
]
IDS: Final = [row[0] for row in ROWS]
ROUTES: Final = {
    f"{method} /v1{re.sub(r'{[^}]*}', '{id}', getattr(route, 'path', ''))}"
    for router in ROUTERS
    for route in router.routes
    for method in getattr(route, "methods", ())
}


def test_every_promise_has_one_line() -> None:
    assert [f"{letter}{number}" for letter, last in PROMISES.items() for number in range(1, last + 1)] == IDS


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_a_line_is_true(row: list[str]) -> None:
    _, name, routes, tests = row
    assert name
    named, shown = re.findall(r"`([^`]+)`", routes), re.findall(r"`([^`]+)`", tests)
    if not named:
        assert routes.startswith("not there yet")
        assert not shown
        return
    assert set(named) <= ROUTES
    assert shown, "a promise that is kept is shown by a test"
    for test in shown:
        path, _, function = test.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        assert function in {
            node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }, test
