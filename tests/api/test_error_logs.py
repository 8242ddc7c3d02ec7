"""What the log tells of a bug: where it is, and nothing of whom it met."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import structlog
from fastapi import FastAPI, Request

from api import errors
from server import configure_logs


@pytest.fixture
def logs() -> Iterator[None]:
    configure_logs("info")
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("logs")
async def test_a_traceback_in_the_log_shows_no_value(capsys: pytest.CaptureFixture[str]) -> None:
    app = FastAPI()
    errors.install(app)

    @app.post("/broken")
    async def broken(request: Request) -> None:
        body = await request.body()
        raise RuntimeError(f"cannot go on after {len(body)} bytes")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        answer = await client.post(
            "/broken", json={"email": "ada@example.com"}, headers={"Authorization": "Bearer dk_secret"}
        )
    told = capsys.readouterr().out
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "unexpected_error" in told
    assert "in broken" in told
    for secret in ("ada@example.com", "dk_secret"):
        assert secret not in told
        assert secret not in answer.text
