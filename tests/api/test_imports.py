"""Imports over HTTP: a file that cannot be read is refused whole, refused rows come back as they were."""

from __future__ import annotations

from typing import Any

import pytest

from api.imports import ImportNew
from domain.imports import Subscriber, check_file, page
from domain.mapping import read_mapping
from models import Import, ImportRow
from models.session import Database
from tests.api.conftest import Caller


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"mapping": {}}, "mapping"),
        ({"mapping": {"surprise": 1}}, "mapping"),
        ({"content": ""}, "content"),
        ({"content": 5}, "content"),
        ({"kind": "orders"}, "kind"),
        ({"file_name": "a\nb"}, "file_name"),
    ],
)
async def test_a_bad_import_is_refused(api: Caller, wrong: dict[str, Any], field: str) -> None:
    body = {"file_name": "a.csv", "content": "id\n1\n", "mapping": {"surprise": 1}} | wrong
    response = await api.post("/v1/imports", body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith(field)


async def test_refused_rows_come_back_as_they_were_and_harmless(api: Caller, database: Database) -> None:
    async with database.session() as session:
        session.add(
            Import(
                id="imp_1",
                kind="subscribers",
                file_name="a.csv",
                mapping={"delimiter": ";"},
                status="done",
                content=b"id;=name\n1;=cmd\n",
            )
        )
        await session.flush()
        session.add(ImportRow(import_id="imp_1", row=2, field="email", reason="is missing", source=["1", "=cmd()"]))
    response = await api.get("/v1/imports/imp_1/refused")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.text.splitlines() == ["row,field,reason,id,'=name", "2,email,is missing,1,'=cmd()"]


def test_the_example_is_a_file_with_its_mapping() -> None:
    (example,) = ImportNew.model_json_schema()["examples"]
    plan = read_mapping(example["mapping"] | {"cut_over": "2026-12-01"})
    assert check_file(example["content"], plan) == 1
    (subscriber,) = page(example["content"], plan, 2, 10)
    assert isinstance(subscriber, Subscriber), subscriber
