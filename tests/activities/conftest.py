"""The shop on the whole stack."""

from __future__ import annotations

from tests.stack_fixtures import shop as shop  # noqa: PLC0414 - a fixture is found where it is re-exported
