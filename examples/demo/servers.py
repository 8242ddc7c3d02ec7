"""The three servers of the story, as any program would speak to them: Dunlin's API, the gateway, the mail sink."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from itertools import count
from typing import Any, Final
from urllib.parse import urljoin, urlsplit
from uuid import uuid4

import httpx

ANSWER_S_MAX: Final = 180.0
TRIES_MAX: Final = 5
PAGE_MAX: Final = 100
_REPEAT: Final = frozenset({502, 503, 504})
_CONFLICT: Final = 409
_FORM: Final = re.compile(r'<form[^>]*action="([^"]*)".*?</form>', re.DOTALL)
_INPUT: Final = re.compile(r"<(?:input|button)[^>]*>")
_ATTRIBUTE: Final = re.compile(r'(\w+)="([^"]*)"')
_TAG: Final = re.compile(r"<[^>]*>")

Json = dict[str, Any]


class Problem(Exception):
    """An answer that was not wanted: the request, and what the problem document says."""

    def __init__(self, request: str, response: httpx.Response) -> None:
        super().__init__(f"{request}: {response.status_code} {response.text[:600]}")
        self.status: Final = response.status_code
        document: Json = response.json() if "json" in response.headers.get("content-type", "") else {}
        self.code: Final = str(document.get("code", ""))
        self.detail: Final = str(document.get("detail", ""))
        self.allowed: Final = tuple(document.get("allowed") or ())


class Api:
    """Dunlin's public API. Every POST has an Idempotency-Key, so one without an answer is simply sent again."""

    def __init__(self, url: str, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._http: Final = httpx.AsyncClient(base_url=url, headers=headers, timeout=ANSWER_S_MAX, trust_env=False)
        self._run: Final = uuid4().hex[:8]
        self._numbers: Final = count(1)
        self.replays = 0

    async def aclose(self) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: Any) -> Json:
        response = await self._send("GET", path, params=query)
        return response.json()

    async def file(self, path: str) -> bytes:
        return (await self._send("GET", path)).content

    async def all(self, path: str, **query: Any) -> list[Json]:
        """Every item of a list, page by page."""
        items: list[Json] = []
        cursor: str | None = None
        while True:
            more = {} if cursor is None else {"cursor": cursor}
            page = await self.get(path, limit=PAGE_MAX, **query, **more)
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return items

    async def post(self, path: str, body: Json | None = None, *, key: str | None = None) -> Json:
        headers = {"Idempotency-Key": key or self.new_key()}
        response = await self._send("POST", path, json=body or {}, headers=headers)
        self.replays += response.headers.get("Idempotent-Replayed") == "true"
        return response.json()

    async def put(self, path: str, body: Json) -> Json:
        response = await self._send("PUT", path, json=body)
        return response.json()

    async def patch(self, path: str, body: Json) -> Json:
        response = await self._send("PATCH", path, json=body)
        return response.json()

    async def delete(self, path: str) -> None:
        await self._send("DELETE", path)

    def new_key(self) -> str:
        return f"demo-{self._run}-{next(self._numbers)}"

    async def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        response = await self._http.request(method, path, **content)
        for tried in range(1, TRIES_MAX):
            if not _is_passing(response):
                break
            await asyncio.sleep(0.5 * tried)
            response = await self._http.request(method, path, **content)
        return _checked(f"{method} {path}", response)


class Gateway:
    """The sandbox gateway: its card form, and the control by which it is scripted and read."""

    def __init__(self, url: str) -> None:
        self._http: Final = httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def card(self, number: str) -> str:
        """A token for a card, as its form in the customer's browser gets it: no other server sees the number."""
        body = {"number": number, "exp_month": 12, "exp_year": 2049, "cvc": "123"}
        return (await self._send("POST", "/v1/tokens", json=body))["token"]

    async def script(self, token: str, *outcomes: str) -> None:
        """What the token's next charges lead to; after these it is an ordinary card again."""
        await self._send("PUT", f"/control/tokens/{token}/script", json={"outcomes": outcomes, "hang_seconds": 60.0})

    async def outage(self, *, down: bool) -> None:
        await self._send("PUT", "/control/outage", json={"down": down})

    async def confirm(self, action_url: str) -> None:
        """The customer says yes to 3-D Secure."""
        action = action_url.rsplit("/", 1)[-1]
        await self._send("POST", f"/v1/actions/{action}/complete", json={"outcome": "approve"})

    async def calls(self, **of: str) -> list[Json]:
        """The gateway's own log of calls, of one `token` or `reference`."""
        return (await self._send("GET", "/control/calls", params=of))["calls"]

    async def script_returns(self, name: str, **script: Any) -> None:
        """What comes of the next refunds and voids of one sale (its reference)."""
        await self._send("PUT", f"/control/returns/{name}/script", json=script)

    async def settle(self, *references: str) -> None:
        """Close a settlement batch of these sales."""
        await self._send("POST", "/control/settle", json={"references": references})

    async def dispute(self, charge: str, **given: Any) -> str:
        """A customer disputes a sale at their bank; gives the gateway's name for it."""
        return (await self._send("POST", "/control/disputes", json={"charge": charge, **given}))["id"]

    async def decide(self, dispute: str, outcome: str) -> None:
        """The bank decides: `won` or `lost`."""
        await self._send("POST", f"/control/disputes/{dispute}/{outcome}")

    async def books(self) -> Json:
        """What it holds, by its own books: `captured` and `cash`, per currency."""
        return await self._send("GET", "/control/books")

    async def report(self) -> list[Json]:
        """Every transaction it ever carried out, as its merchants see them."""
        found: list[Json] = []
        query: dict[str, str] = {}
        while True:
            page = await self._send("GET", "/v1/report", params=query)
            found += page["transactions"]
            if page["next_after"] is None:
                return found
            query = {"after": page["next_after"]}

    async def _send(self, method: str, path: str, **content: Any) -> Json:
        return _checked(f"gateway {method} {path}", await self._http.request(method, path, **content)).json()


class Browser:
    """A customer's browser, as far as a link of ours needs one: it opens a page and presses its first button."""

    def __init__(self) -> None:
        self._http: Final = httpx.AsyncClient(timeout=ANSWER_S_MAX, trust_env=False, follow_redirects=True)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def open(self, url: str) -> httpx.Response:
        return _checked(f"GET {urlsplit(url).path.partition('/link')[1]}", await self._http.get(url))

    async def press(self, page: httpx.Response) -> str:
        """Send the page's form as it stands; gives the text of the page that follows."""
        form = _FORM.search(page.text)
        if form is None:
            raise ValueError("the page has nothing to press")
        fields: dict[str, str] = {}
        for tag in _INPUT.findall(form[0]):
            given = dict(_ATTRIBUTE.findall(tag))
            if "name" in given and (given.get("type") != "radio" or given["name"] not in fields):
                fields[given["name"]] = unescape(given.get("value", ""))
        action = urljoin(str(page.url), unescape(form[1]))
        after = _checked("pressing", await self._http.post(action, data=fields, headers={"Origin": origin(action)}))
        return text_of(after)


def text_of(page: httpx.Response) -> str:
    """What the page says, without its tags."""
    return " ".join(unescape(_TAG.sub(" ", page.text.partition("<main")[2].partition(">")[2])).split())


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class Mail:
    """The mail sink: every message that was really sent by SMTP."""

    def __init__(self, url: str) -> None:
        self._http: Final = httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def messages(self, **of: str) -> list[Json]:
        """All of them, or those `to` one address."""
        found: list[Json] = []
        after = 0
        while True:
            query = {"after": after, "limit": 1_000, **of}
            page = _checked("mail GET /messages", await self._http.get("/messages", params=query)).json()
            found += page["messages"]
            if page["next_after"] is None:
                return found
            after = page["next_after"]


def _is_passing(response: httpx.Response) -> bool:
    """Another answer may come in a moment: a part was down, or the first request of this key is still at work."""
    if response.status_code in _REPEAT:
        return True
    return response.status_code == _CONFLICT and response.json().get("code") == "idempotency_in_progress"


def _checked(request: str, response: httpx.Response) -> httpx.Response:
    if not response.is_success:
        raise Problem(request, response)
    return response
