"""Reads the tables of a page in docs/, so that a test can recompute every row: the page cannot lie."""

from pathlib import Path

_DOCS = Path(__file__).parents[2] / "docs"


def rows(page: str, heading: str) -> list[dict[str, str]]:
    """The rows of the first table below `## heading`, each as column → cell text, without back-ticks."""
    section = (_DOCS / page).read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    assert len(cells) > 2, f"{page}: no table below {heading!r}"
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]
