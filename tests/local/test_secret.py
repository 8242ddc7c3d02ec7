"""The secret of the embedded gateway's events: made once for a folder, for its owner alone; a given one counts."""

from __future__ import annotations

import stat
from pathlib import Path

from local.gateway.schemas import WebhookTarget
from local.secret import webhook_secret
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
