"""How a page is made: a template in the one frame, with the merchant's name; what it shows is text, never markup."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from domain.papers import Seller

FOLDER: Final = Path(__file__).parent
STYLE: Final = "/static/portal.css"

_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


@dataclass(frozen=True, slots=True)
class Frame:
    """What is around every page. `base` is what addresses start with."""

    base: str
    seller: Seller
    language: str = "en"


def page(frame: Frame, template: str, status: int = 200, *, refresh_s: int | None = None, **shown: Any) -> HTMLResponse:
    """The page. With `refresh_s` the browser asks for it again after so long."""
    text = _TEMPLATES.get_template(template).render(
        frame=frame, style=f"{frame.base}{STYLE}", refresh_s=refresh_s, **shown
    )
    return HTMLResponse(text, status)


def message(frame: Frame, title: str, text: str, status: int = 200) -> HTMLResponse:
    """A page that says one thing."""
    return page(frame, "message.html", status, title=title, text=text)
