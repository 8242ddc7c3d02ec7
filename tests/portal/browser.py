"""A browser without JavaScript, as far as forms go: it opens pages, reads their forms, presses buttons, is redirected.

Each browser comes from an address of its own, as customers do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import count
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit

import httpx

ADDRESSES = count(1)


@dataclass
class Form:
    """A form as it stands on the page."""

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict[str, str])
    choices: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


@dataclass
class Page:
    """What a browser has in its window."""

    url: str
    status: int
    html: str
    text: str = ""
    forms: list[Form] = field(default_factory=list[Form])
    links: dict[str, str] = field(default_factory=dict[str, str])
    headers: httpx.Headers = field(default_factory=httpx.Headers)

    @property
    def form(self) -> Form:
        (only,) = self.forms
        return only


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page
        self.form: Form | None = None
        self.link: str | None = None
        self.words: list[str] = []
        self.hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        match tag:
            case "form":
                self.form = Form(given.get("method", "get"), given.get("action", ""))
                self.page.forms.append(self.form)
            case "input" if self.form is not None and "name" in given:
                name, value = given["name"], given.get("value", "")
                if given.get("type") == "radio":
                    self.form.choices.setdefault(name, []).append(value)
                    if "checked" in given:
                        self.form.fields[name] = value
                else:
                    self.form.fields[name] = value
            case "a":
                self.link = given.get("href", "")
            case "title" | "style":
                self.hidden = True
            case _:
                pass

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.form = None
        if tag in {"title", "style"}:
            self.hidden = False
        if tag == "a":
            self.link = None

    def handle_data(self, data: str) -> None:
        words = " ".join(data.split())
        if not words or self.hidden:
            return
        self.words.append(words)
        if self.link is not None:
            self.page.links[words] = self.link


class Browser:
    """A window of a customer."""

    def __init__(self) -> None:
        self._http = httpx.AsyncClient(timeout=60, trust_env=False)
        number = next(ADDRESSES)
        # The stack's servers trust what a proxy on this machine says of addresses.
        self._address = f"198.51.{number // 250}.{number % 250 + 1}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def open(self, url: str) -> Page:
        return await self._go("GET", url, None, None)

    async def press(self, page: Page, form: Form | None = None, **typed: str) -> Page:
        """Press the button of a form, with what was typed or chosen, and see where it leads."""
        pressed = form or page.form
        where = urljoin(page.url, pressed.action or page.url)
        return await self._go(pressed.method.upper(), where, pressed.fields | typed, page.url)

    async def follow(self, page: Page, words: str) -> Page:
        """Follow the link with these words."""
        return await self._go("GET", urljoin(page.url, page.links[words]), None, page.url)

    async def enter_card(self, form: Page, number: str, month: str = "12", year: str = "2031") -> Page:
        """Fill in the gateway's own card form; it leads back to where the customer came from."""
        return await self.press(form, number=number, exp_month=month, exp_year=year, cvc="123")

    async def send(self, method: str, url: str, form: dict[str, str] | None, headers: dict[str, str]) -> Page:
        """A request that no page of ours makes."""
        sent = {"X-Forwarded-For": self._address} | headers
        return self._read(await self._http.request(method, url, data=form, headers=sent))

    async def _go(self, method: str, url: str, form: dict[str, str] | None, before: str | None) -> Page:
        for _ in range(10):
            headers = {"X-Forwarded-For": self._address, "Sec-Fetch-Site": _site(before, url)}
            if method == "POST":
                headers["Origin"] = _origin(before or url)
            response = await self._http.request(method, url, data=form if method == "POST" else None, headers=headers)
            if not response.is_redirect:
                return self._read(response)
            method, form, before, url = "GET", None, url, urljoin(url, response.headers["location"])
        raise AssertionError("a circle of redirects")

    @staticmethod
    def _read(response: httpx.Response) -> Page:
        page = Page(str(response.url), response.status_code, response.text, headers=response.headers)
        reader = _Reader(page)
        reader.feed(response.text)
        page.text = " ".join(reader.words)
        return page


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _site(before: str | None, url: str) -> str:
    if before is None:
        return "none"
    return "same-origin" if _origin(before) == _origin(url) else "cross-site"
