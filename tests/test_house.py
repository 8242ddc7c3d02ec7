"""The rules of the house, checked by reading the code: who imports whom, what is pure, how long a module may be."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("api", "portal", "workflows", "activities", "models", "providers", "domain", "local")
DOORS = ("cli", "cli_import", "cli_inbox", "worker", "server", "settings")
MODULE_LINES_MAX = 420

# Room → what of our own it may import. All arrows point down, siblings never see each other.
ARROWS: dict[str, tuple[str, ...]] = {
    "domain": ("domain",),
    "settings": (),
    "providers": ("providers", "domain"),
    "models": ("models", "domain"),
    "activities": ("activities", "models", "providers", "domain"),
    "workflows": ("workflows", "activities", "domain"),
    "api": (
        "api",
        "workflows.commands",
        "models",
        "providers.documents.press",
        "providers.fulfilment.base",
        "providers.inbound.mail",
        "providers.letters.desk",
        "providers.gateways.base",
        "providers.notifiers.base",
        "providers.phones.base",
        "domain",
    ),
    "portal": ("portal", "workflows.commands", "models", "providers.gateways.base", "domain"),
    "worker": ("settings", "workflows", "activities", "models", "providers", "domain"),
    "server": (
        "settings",
        "api",
        "portal",
        "workflows.commands",
        "workflows.converter",
        "models",
        "providers",
        "domain",
    ),
    # The embedded stack starts our processes and makes their key; it decides nothing of billing.
    "local": ("local", "settings", "models", "api.keys", "api.errors", "domain.errors"),
    "cli": (
        "settings",
        "cli_import",
        "cli_inbox",
        "worker",
        "server",
        "local",
        "api.keys",
        "api.staff",
        "models",
        "domain.errors",
        "domain.import_fields",
        "domain.roles",
        "bench",
        "examples",
    ),
    "cli_import": ("settings",),
    "cli_inbox": ("cli_import", "settings"),
}

# What would make the same question have two answers.
IMPURE = {
    "asyncio", "ctypes", "getpass", "glob", "http", "io", "logging", "multiprocessing", "os", "pathlib", "pickle",
    "random", "secrets", "shutil", "signal", "socket", "sqlite3", "subprocess", "sys", "tempfile", "threading", "time",
    "urllib", "uuid",
}  # fmt: skip
CLOCKS = {"now", "utcnow", "today", "time", "monotonic", "time_ns", "perf_counter"}


def modules(*rooms: str) -> list[Path]:
    found = [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]
    return [path for path in found if "node_modules" not in path.parts]


def doors() -> list[Path]:
    return [path for name in DOORS if (path := ROOT / f"{name}.py").exists()]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imported(tree: ast.Module) -> Iterator[str]:
    """Modules imported anywhere in the file, at run time or only for types; `from a import b` is also a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            yield name, node.lineno


OURS = [*modules(*ROOMS), *doors()]


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name in imported(parsed(path)):
        top = name.partition(".")[0]
        if top in ROOMS or top in DOORS:
            allowed = any(name == arrow or name.startswith(f"{arrow}.") for arrow in ARROWS[room])
            assert allowed, f"{name_of(path)} imports {name}: {room} may import {', '.join(ARROWS[room])}"


@pytest.mark.parametrize("path", modules("domain"), ids=name_of)
def test_the_domain_is_pure(path: Path) -> None:
    tree = parsed(path)
    for name in imported(tree):
        top = name.partition(".")[0]
        assert top == "domain" or top in sys.stdlib_module_names, f"{path.name} imports {name}"
        assert top not in IMPURE, f"{path.name} imports {name}: no clock, no chance, no input or output"
    for name, line in called(tree):
        assert name not in (CLOCKS - {"time"}) | {"open", "print", "input"}, f"{path.name}:{line} calls {name}"


@pytest.mark.parametrize("path", modules("api", "portal"), ids=name_of)
def test_the_api_has_no_clock(path: Path) -> None:
    """Time is an argument: the subscription's own, or the database's (`func.now()`, `database_now`)."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
            owner = node.func.value
            assert isinstance(owner, ast.Name), f"{path.name}:{node.lineno}"
            assert owner.id == "func", f"{path.name}:{node.lineno} reads a clock"


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_a_module_is_short_and_says_what_it_decides(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MODULE_LINES_MAX
    assert path.name != "utils.py"
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), f"{path} does not say what it is for"


@pytest.mark.parametrize(
    "path", [path for path in OURS if path.stem not in {"cli", "cli_import", "cli_inbox"}], ids=name_of
)
def test_nothing_prints(path: Path) -> None:
    assert "print" not in {name for name, _ in called(parsed(path))}


@pytest.mark.parametrize("path", [path for path in OURS if path.stem != "settings"], ids=name_of)
def test_only_settings_read_the_environment(path: Path) -> None:
    """A child process may be given one; reading a variable of ours is for settings.py."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}:
            assert path.relative_to(ROOT).parts[0] == "local", f"{path}:{node.lineno}"


def test_every_setting_is_documented() -> None:
    told = (ROOT / "docs" / "settings.md").read_text()
    missing = [name for name in Settings.model_fields if f"{PREFIX}{name.upper()}" not in told]
    assert not missing


def test_every_route_is_documented() -> None:
    from api.app import ROUTERS  # noqa: PLC0415 - the other tests here need no import of the API

    told = (ROOT / "docs" / "api.md").read_text()
    routes = [route for router in ROUTERS for route in router.routes]
    for route in routes:
        path = re.sub(r"\{\w+\}", "{id}", getattr(route, "path", ""))
        for method in sorted(getattr(route, "methods", ())):
            assert f"`{method} {path}`" in told, f"docs/api.md does not tell of {method} {path}"


def test_no_test_patches() -> None:
    for path in sorted((ROOT / "tests").rglob("*.py")):
        assert not any(name.startswith(("unittest.mock", "mock")) for name in imported(parsed(path))), path
