"""docs/messages.md names every event and every field that a template may show."""

from __future__ import annotations

from pathlib import Path

from domain.letters import COMMON, EVENTS

TOLD = (Path(__file__).parents[2] / "docs" / "messages.md").read_text()


def test_the_tables_of_events_and_fields_are_true() -> None:
    for name, event in EVENTS.items():
        fields = ", ".join(f"`{field}`" for field in event.fields)
        assert f"| `{name}` | {event.about} | {fields} |\n" in TOLD
    for name, field in COMMON.items():
        assert f"| `{name}` | {field.shape.value} | {field.about} |\n" in TOLD
    statuses = 6
    assert TOLD.count("\n| `") == len(EVENTS) + len(COMMON) + statuses
