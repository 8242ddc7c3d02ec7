"""Settings are documented, checked, and told clearly when wrong."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import server
import settings
from settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
ROW = re.compile(r"^\| `(DUNLIN_\w+)` \| (?:`([^`]*)`)?", re.MULTILINE)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DUNLIN_") or name == "DATABASE_URL":
            monkeypatch.delenv(name)


def _as_written(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {name: default or None for name, default in ROW.findall(PAGE.read_text())}
    actual = {
        f"DUNLIN_{name.upper()}": None if field.default is None else _as_written(field.default)
        for name, field in Settings.model_fields.items()
    }
    assert documented == actual


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("DUNLIN_API_PORT", "80O0", "valid integer"),
        ("DUNLIN_API_PORT", "65536", "less than or equal to 65535"),
        ("DUNLIN_GATEWAY_TIMEOUT_S", "0", "greater than 0"),
        ("DUNLIN_GATEWAY_URL", "localhost", "must start with http:// or https://"),
        ("DUNLIN_GATEWAY_WEBHOOK_SECRET", "c2VjcmV0", "must be whsec_ and base64 of 24 to 64 bytes"),
        ("DUNLIN_GATEWAY_WEBHOOK_SECRET", "whsec_c2VjcmV0", "must be whsec_ and base64 of 24 to 64 bytes"),
        ("DUNLIN_GATEWAY_WEBHOOK_SECRET", "whsec_?", "must be whsec_ and base64 of 24 to 64 bytes"),
        ("DUNLIN_SECRET_KEY", "hunter2?", "must be base64 of 32 random bytes"),
        ("DUNLIN_SECRET_KEY", "c2VjcmV0", "must be base64 of 32 random bytes"),
        ("DUNLIN_TEMPORAL_ADDRESS", "localhost", "must look like host:port"),
        ("DUNLIN_SMTP_FROM", "a@b.example\nBcc: c@d.example", "must be one line"),
        ("DUNLIN_SMTP_HOST", "mail.example", "must be set together"),
        ("DUNLIN_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("DUNLIN_API_PROT", "8000", "did you mean DUNLIN_API_PORT?"),
    ],
)
def test_a_bad_value_is_named_with_its_rule_and_ends_with_status_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    rule: str,
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as stopped:
        settings.load()
    told = capsys.readouterr().err
    assert stopped.value.code == 2
    assert rule in told
    assert variable.removesuffix("_HOST") in told


def test_a_bad_database_url_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://me:hunter2@host/db")
    with pytest.raises(SystemExit):
        settings.load()
    told = capsys.readouterr().err
    assert "DATABASE_URL: must look like postgresql://" in told
    assert "hunter2" not in told


@pytest.mark.parametrize("name", ["DUNLIN_GATEWAY_WEBHOOK_SECRET", "DUNLIN_SECRET_KEY"])
def test_a_bad_secret_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setenv(name, "whsec_hunter2")
    with pytest.raises(SystemExit):
        settings.load()
    assert "hunter2" not in capsys.readouterr().err


def test_the_database_url_may_be_the_customary_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://me:pw@db.example/billing")
    assert settings.load().database_url == "postgresql+asyncpg://me:pw@db.example/billing"
    assert "pw" not in repr(settings.load())


def test_a_child_process_sees_exactly_the_settings_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://other.example/x")
    parent = Settings(database_url="postgresql://db.example/billing", api_port=0, workflow_cache_max=7)
    for name, value in parent.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DATABASE_URL")
    assert settings.load() == parent


async def test_the_api_does_not_start_without_a_key_to_seal_with(capsys: pytest.CaptureFixture[str]) -> None:
    """And says how one is made; nothing was connected to."""
    elsewhere = settings.Settings(
        database_url="postgresql+asyncpg://me:pw@127.0.0.1:9/billing",
        temporal_address="127.0.0.1:9",
        gateway_url="http://127.0.0.1:9",
    )
    assert await server.run(elsewhere) == settings.EXIT_BAD_SETTINGS
    assert "openssl rand -base64 32" in capsys.readouterr().err
