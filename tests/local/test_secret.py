"""The secrets of an embedded stack: made once for a folder, for its owner alone; given ones count."""

from __future__ import annotations

import stat
from pathlib import Path

from local.gateway.schemas import WebhookTarget
from local.secret import secret_key, webhook_secret
from settings import Settings


def test_a_secret_is_made_once_and_is_one_that_both_sides_take(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    made = webhook_secret(path, None)
    assert webhook_secret(path, None) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Settings(gateway_webhook_secret=made).gateway_webhook_secret == made
    assert WebhookTarget(secret=made).secret == made
    assert webhook_secret(tmp_path / "other", None) != made


def test_a_given_secret_is_kept_for_the_gateway_to_read(tmp_path: Path) -> None:
    path, given = tmp_path / "secret", f"whsec_{'A' * 32}"
    webhook_secret(path, None)
    assert webhook_secret(path, given) == given
    assert path.read_text().strip() == given
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_to_seal_with_is_made_once_and_a_given_one_is_not_written_down(tmp_path: Path) -> None:
    path = tmp_path / "secret-key"
    given = Settings(secret_key="A" * 43 + "=").secret_key
    assert secret_key(path, given) == given
    assert not path.exists()
    made = secret_key(path, None)
    assert secret_key(path, None) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Settings(secret_key=made).secret_key == made
