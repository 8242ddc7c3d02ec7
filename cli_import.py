"""The import command: brings a merchant's file to the API, shows how it is applied, and keeps what was refused."""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import httpx
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from settings import Settings

EXIT_OK: Final = 0
EXIT_REFUSED: Final = 1
EXIT_BAD_INPUT: Final = 2
EXIT_INTERRUPTED: Final = 130

MAPPING_BYTES_MAX: Final = 256 * 1024
POLL_EVERY_S: Final = 0.3
TIMEOUT_S: Final = 60.0
# The API may be restarted while an import runs; the import itself goes on without it.
AWAY_S_MAX: Final = 60.0
_STATUS_BUSY: Final = 409
_STATUS_AWAY: Final = 503
_STATUS_UNAUTHORIZED: Final = 401
_NOT_TEXT: Final = re.compile(r"(true|false|null|-?(0|[1-9][0-9]{0,17}))?", re.ASCII)
_ENDED: Final = frozenset({"done", "failed"})

out = Console()
err = Console(stderr=True)


class CannotImport(Exception):
    """The file, the mapping or a setting is wrong, in words for people; nothing was applied."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says."""

    file: Path
    mapping: Path | None
    cut_over: str | None
    api_key: str | None
    refused: Path | None
    kind: str = "subscribers"


def import_file(wanted: Wanted, chosen: Settings) -> int:
    """Import and return the exit status: 0 all rows are applied or known, 1 some were refused, 2 nothing was done."""
    try:
        api = Api(address_of(chosen), wanted.api_key or chosen.api_key or kept_key(chosen))
        with api.http:
            return _import(wanted, api)
    except CannotImport as error:
        _tell(str(error))
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        _tell("Left alone: what the API has taken goes on being applied. The same command again adds nothing twice.")
        return EXIT_INTERRUPTED


def _import(wanted: Wanted, api: Api) -> int:
    mapping = _mapping_of(wanted.mapping) if wanted.mapping else {}
    body = {
        "kind": wanted.kind,
        "file_name": wanted.file.name,
        "content": _text_of(wanted.file),
        "mapping": mapping | ({"cut_over": wanted.cut_over} if wanted.cut_over else {}) or None,
    }
    started = api.post("/v1/imports", body).json()
    ended = _watched(api, started)
    if ended["status"] == "failed":
        raise CannotImport(f"{wanted.file}: {ended['error']}")
    out.print(
        f"[bold]{ended['applied']:,}[/] applied, [bold]{ended['known']:,}[/] already known, "
        f"[bold]{ended['refused']:,}[/] refused of {ended['rows_total']:,} rows."
    )
    if not ended["refused"]:
        return EXIT_OK
    kept = wanted.refused or wanted.file.with_name(f"{wanted.file.name}.refused.csv")
    path = f"/v1/imports/{ended['id']}/refused"
    try:
        kept.write_bytes(api.get(path).content)
    except OSError as error:
        _tell(f"{kept}: {error.strerror}; the refused rows are at GET {path}, or choose --refused FILE.")
    else:
        out.print(f"The refused rows with their reasons: {kept}", markup=False, highlight=False, soft_wrap=True)
    return EXIT_REFUSED


def _watched(api: Api, view: dict[str, Any]) -> dict[str, Any]:
    """The import when it has ended; its progress is shown meanwhile."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
        TextColumn("{task.fields[refused]} refused"),
    )
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(view["file_name"], total=view["rows_total"], refused=0)
        for seen in _polled(api, view):
            done = seen["applied"] + seen["known"] + seen["refused"]
            progress.update(task, completed=done, refused=seen["refused"])
            view = seen
    return view


def _polled(api: Api, view: dict[str, Any]) -> Iterator[dict[str, Any]]:
    while True:
        yield view
        if view["status"] in _ENDED:
            return
        time.sleep(POLL_EVERY_S)
        view = api.get(f"/v1/imports/{view['id']}").json()


class Api:
    """The API of this deployment, asked patiently: a request that got no answer is sent again, as the same one."""

    def __init__(self, address: str, key: str) -> None:
        self.http: Final = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {key}"},
            timeout=TIMEOUT_S,
            mounts={"all://127.0.0.1": None, "all://localhost": None},  # no proxy leads to this machine
        )
        self._met = False

    def get(self, path: str) -> httpx.Response:
        return self._ask(self.http.build_request("GET", path))

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self._ask(
            self.http.build_request("POST", path, json=body, headers={"Idempotency-Key": str(uuid.uuid4())})
        )

    def hand_in(self, path: str, content: bytes, media_type: str) -> httpx.Response:
        """A file as it is, under a key made from it: the same one again is the same request."""
        key = hashlib.sha256(content).hexdigest()
        headers = {"Idempotency-Key": key, "Content-Type": media_type}
        return self._ask(self.http.build_request("POST", path, content=content, headers=headers))

    def _ask(self, request: httpx.Request) -> httpx.Response:
        give_up = time.monotonic() + AWAY_S_MAX
        while True:
            try:
                response = self.http.send(request)
            except httpx.TransportError as error:
                if not self._met or time.monotonic() > give_up:
                    address = self.http.base_url
                    raise CannotImport(
                        f"The API does not answer at {address} ({error}). `python cli.py up` starts it here; "
                        "DUNLIN_PUBLIC_URL says where it is."
                    ) from None
            else:
                self._met = True
                if response.is_success:
                    return response
                if response.status_code not in {_STATUS_BUSY, _STATUS_AWAY} or time.monotonic() > give_up:
                    raise CannotImport(_problem(response))
            time.sleep(1)


def _problem(response: httpx.Response) -> str:
    """What the API says, field by field."""
    if response.status_code == _STATUS_UNAUTHORIZED:
        return "The API does not take this key; --api-key or DUNLIN_API_KEY gives another."
    try:
        told = response.json()
        fields = [f"{each['field']}: {each['message']}" for each in told.get("errors", ())]
        return "\n".join(fields) or str(told["detail"])
    except (ValueError, KeyError, TypeError):
        return f"The API answers {response.status_code}: {response.text[:200]}"


def address_of(chosen: Settings) -> str:
    return chosen.public_url or f"http://{chosen.api_host}:{chosen.api_port}"


def kept_key(chosen: Settings) -> str:
    """The key of the stack on this machine."""
    path = chosen.data_dir / "api-key"
    try:
        return path.read_text().strip()
    except OSError:
        raise CannotImport(f"There is no API key: give --api-key or DUNLIN_API_KEY (and none is in {path}).") from None


def _text_of(file: Path) -> str:
    """The file as text. Only UTF-8 is taken: of other encodings the right one can only be guessed."""
    content = _bytes_of(file)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CannotImport(
            f"{file}: line {line} is not UTF-8 (byte {content[error.start]:#04x}); save it as “CSV UTF-8”."
        ) from None


def _mapping_of(file: Path) -> dict[str, Any]:
    content = _bytes_of(file)
    if len(content) > MAPPING_BYTES_MAX:
        raise CannotImport(f"{file}: a mapping has at most {MAPPING_BYTES_MAX} bytes; this one has {len(content)}.")
    try:
        node = yaml.compose(content, Loader=yaml.BaseLoader)
        data = _plain(node, set())
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise CannotImport(f"{file}: {line}{error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise CannotImport(f"{file}: {error}") from None
    if not isinstance(data, dict):
        raise CannotImport(f"{file}: a mapping is a list of names with their values.")
    return cast("dict[str, Any]", data)


def _plain(node: yaml.Node | None, seen: set[int]) -> Any:
    """YAML without its surprises: `No` and 2026-03-01 are texts, a name stands once, nothing refers elsewhere."""
    if id(node) in seen:
        raise yaml.MarkedYAMLError(None, None, "a reference (*name) is not taken here", node and node.start_mark)
    seen.add(id(node))
    match node:
        case yaml.MappingNode():
            found: dict[str, Any] = {}
            for key, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
                if not isinstance(key, yaml.ScalarNode) or key.value in found:
                    raise yaml.MarkedYAMLError(None, None, "a name is a text and stands there once", key.start_mark)
                found[key.value] = _plain(value, seen)
            return found
        case yaml.SequenceNode():
            return [_plain(value, seen) for value in cast("list[yaml.Node]", node.value)]
        case yaml.ScalarNode() if node.style is None and _NOT_TEXT.fullmatch(node.value):
            return json.loads(node.value or "null")
        case yaml.ScalarNode():
            return node.value
        case _:
            return None


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CannotImport(f"{file}: {error.strerror}.") from None


def _tell(text: str) -> None:
    err.print(text, markup=False, highlight=False, soft_wrap=True)
