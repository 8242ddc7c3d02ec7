"""What may be set from outside, with its default and its rule: the only reader of the environment.

Each field is the environment variable `DUNLIN_<FIELD>`; the database also answers to `DATABASE_URL`. An
address that is not set means the embedded server: a production PostgreSQL, Temporal or gateway is an address,
never another code path. `docs/settings.md` lists them all, and a test keeps it true.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import os
import sys
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, NoReturn, Self

from pydantic import AfterValidator, AliasChoices, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX: Final = "DUNLIN_"
EXIT_BAD_SETTINGS: Final = 2
WEBHOOK_SECRET_BYTES_MIN: Final = 24
WEBHOOK_SECRET_BYTES_MAX: Final = 64
SECRET_KEY_BYTES: Final = 32
SECRET_KEY_RULE: Final = f"must be base64 of {SECRET_KEY_BYTES} random bytes, such as `openssl rand -base64 32` makes"
WEBHOOK_SECRET_RULE: Final = (
    f"must be whsec_ and base64 of {WEBHOOK_SECRET_BYTES_MIN} to {WEBHOOK_SECRET_BYTES_MAX} bytes"
)
# A value of these may hold a password: an error names the setting and keeps the value to itself.
_SECRET: Final = frozenset(
    {
        "database_url",
        "api_key",
        "gateway_webhook_secret",
        "secret_key",
        "phone_hook_url",
        "fulfilment_url",
        "fulfilment_secret",
    }
)


def _postgresql_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgres", "postgresql", "postgresql+asyncpg"} or not rest:
        raise ValueError("must look like postgresql://user:password@host:port/database")
    return f"postgresql+asyncpg://{rest}"


def _address(value: str) -> str:
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isdecimal():
        raise ValueError("must look like host:port")
    return value


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return url.rstrip("/")


def _webhook_secret(value: str) -> str:
    try:
        secret = base64.b64decode(value.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise ValueError(WEBHOOK_SECRET_RULE) from error
    if not WEBHOOK_SECRET_BYTES_MIN <= len(secret) <= WEBHOOK_SECRET_BYTES_MAX or not value.startswith("whsec_"):
        raise ValueError(WEBHOOK_SECRET_RULE)
    return value


def _secret_key(value: str) -> str:
    try:
        key = base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(SECRET_KEY_RULE) from error
    if len(key) != SECRET_KEY_BYTES:
        raise ValueError(SECRET_KEY_RULE)
    return value


def _one_line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be one line of printable characters")
    return value


PostgresqlUrl = Annotated[str, AfterValidator(_postgresql_url)]
Address = Annotated[str, AfterValidator(_address)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
WebhookSecret = Annotated[str, AfterValidator(_webhook_secret)]
SecretKey = Annotated[str, AfterValidator(_secret_key)]
OneLine = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 asks the system for a free one."""


class Settings(BaseSettings):
    """All settings, checked. Times are in seconds, limits end in `_max`."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, populate_by_name=True
    )

    # Where things are. None: the embedded one.
    data_dir: Path = Path(".data")
    database_url: Annotated[
        PostgresqlUrl | None,
        Field(repr=False, validation_alias=AliasChoices("DUNLIN_DATABASE_URL", "DATABASE_URL")),
    ] = None
    temporal_address: Address | None = None
    temporal_namespace: OneLine = "default"
    # Where people look at workflows. None: the API names workflows and gives no address.
    temporal_ui_url: HttpUrl | None = None
    temporal_task_queue: OneLine = "dunlin"
    gateway: Literal["sandbox"] = "sandbox"
    gateway_url: HttpUrl | None = None
    # What the gateway signs its events with. None with an embedded gateway: made once for its folder.
    gateway_webhook_secret: Annotated[WebhookSecret | None, Field(repr=False)] = None
    smtp_host: OneLine | None = None
    smtp_port: Port | None = None
    smtp_from: OneLine = "Dunlin Billing <billing@dunlin.example>"
    public_url: HttpUrl | None = None
    # Asked to ring an agent and put a customer through. None: there is no phone switch.
    phone_hook_url: Annotated[HttpUrl | None, Field(repr=False)] = None
    # Where parcels are handed off, and what that provider and we sign with. None: parcels are fetched as files.
    fulfilment_url: Annotated[HttpUrl | None, Field(repr=False)] = None
    fulfilment_secret: Annotated[WebhookSecret | None, Field(repr=False)] = None
    # Only for a provider that sends nothing: parcels of test-mode subscriptions are handed off, too.
    fulfilment_takes_test_mode: bool = False
    # What second factors are sealed and links are signed with. None with the embedded stack: made once for its folder.
    secret_key: Annotated[SecretKey | None, Field(repr=False)] = None
    # For commands that talk to the API. Not handed on to child processes, which need none.
    api_key: Annotated[OneLine | None, Field(repr=False, exclude=True)] = None

    # What the embedded servers listen on, always on loopback.
    api_host: OneLine = "127.0.0.1"
    api_port: Port = 8000
    postgres_port: Port = 0
    temporal_port: Port = 7233
    temporal_ui_port: Port = 8233
    gateway_port: Port = 8001
    mailsink_http_port: Port = 8025
    mailsink_smtp_port: Port = 1025

    # How much at once, and how long to wait.
    gateway_timeout_s: Annotated[float, Field(gt=0, le=120)] = 8.0
    gateway_calls_per_second_max: Annotated[float, Field(gt=0, le=100_000)] = 200.0
    smtp_timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    phone_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    fulfilment_timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    fulfilment_delay_minutes: Annotated[int, Field(ge=0, le=43_200)] = 0
    db_pool_max: Annotated[int, Field(ge=1, le=1000)] = 20
    workflow_cache_max: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    workflow_tasks_max: Annotated[int, Field(ge=2, le=10_000)] = 50
    workflow_pollers_max: Annotated[int, Field(ge=2, le=1000)] = 8
    activities_max: Annotated[int, Field(ge=1, le=10_000)] = 50
    activity_pollers_max: Annotated[int, Field(ge=1, le=1000)] = 8

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    build_id: OneLine = "dev"
    worker_versioning: bool = False

    @model_validator(mode="after")
    def _smtp_is_whole(self) -> Self:
        if self.smtp_host is not None and not self.smtp_port:
            raise ValueError("DUNLIN_SMTP_PORT: must be set together with DUNLIN_SMTP_HOST")
        return self

    @model_validator(mode="after")
    def _fulfilment_is_whole(self) -> Self:
        if self.fulfilment_url is not None and self.fulfilment_secret is None:
            raise ValueError("DUNLIN_FULFILMENT_SECRET: must be set together with DUNLIN_FULFILMENT_URL")
        return self

    def environment(self) -> dict[str, str]:
        """The environment for a child process that shall see exactly these settings."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX) and k != "DATABASE_URL"}
        ours = self.model_dump(mode="json", exclude_none=True)
        return inherited | {f"{PREFIX}{name.upper()}": str(value) for name, value in ours.items()}


def load() -> Settings:
    """Read and check the environment; a bad value is told with its name and rule, and ends with status 2."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        _refuse([_unknown(name, known) for name in unknown])
    try:
        return Settings()
    except ValidationError as error:
        _refuse(_problems(error))


def _unknown(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"{name}: there is no such setting" + (f"; did you mean {close[0]}?" if close else "")


def _problems(error: ValidationError) -> list[str]:
    lines: list[str] = []
    for problem in error.errors(include_url=False):
        rule = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:  # a rule between settings names them itself
            lines.append(rule)
            continue
        name = str(problem["loc"][0])
        field = name.lower().removeprefix(PREFIX.lower())
        shown = "" if field in _SECRET else f" (given: {problem['input']!r})"
        variable = name if name.isupper() else f"{PREFIX}{field.upper()}"
        lines.append(f"{variable}: {rule[0].lower()}{rule[1:]}{shown}")
    return lines


def _refuse(problems: list[str]) -> NoReturn:
    for problem in problems:
        sys.stderr.write(f"settings: {problem}\n")
    raise SystemExit(EXIT_BAD_SETTINGS)
