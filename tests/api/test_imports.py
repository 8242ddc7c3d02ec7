"""Imports over HTTP: a file that cannot be read is refused whole, refused rows come back as they were."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from api.imports import ImportNew
from api.keys import create_key
from domain.import_cells import Taken
from domain.import_fields import Kind
from domain.imports import check_file, page
from domain.mapping import read_mapping
from domain.roles import Role
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
                ended_at=datetime.now(UTC),
                content=b"id;=name\n1;=cmd\n",
            )
        )
        await session.flush()
        session.add(ImportRow(import_id="imp_1", row=2, field="email", reason="is missing", source=["1", "=cmd()"]))
    response = await api.get("/v1/imports/imp_1/refused")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.text.splitlines() == ["row;field;reason;id;'=name", "2;email;is missing;1;'=cmd()"]


def test_the_examples_are_files_with_their_mappings() -> None:
    for example in ImportNew.model_json_schema()["examples"]:
        kind = Kind(example["kind"])
        settled = {"cut_over": "2026-12-01"} if kind is Kind.SUBSCRIBERS else {}
        plan = read_mapping(example["mapping"] | settled, kind)
        assert check_file(example["content"], plan) == 1
        (row,) = page(example["content"], plan, 2, 10)
        assert isinstance(row, Taken), row


async def test_only_subscribers_need_a_mapping(api: Caller) -> None:
    body = {"file_name": "a.csv", "content": "id\n1\n"}
    response = await api.post("/v1/imports", body)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "mapping")
    told = (await api.post("/v1/imports", body | {"kind": "notes"})).json()["errors"][0]
    assert told["message"].startswith("the file has no column")
    assert told["message"].endswith("; without a mapping it is a file that was exported here")


@pytest.mark.parametrize("role", [Role.LEAD, Role.OPS])
async def test_vouchers_are_brought_by_who_may_import_and_may_issue_them(
    api: Caller, database: Database, role: Role
) -> None:
    caller = Caller(api.http, await create_key(database, f"a {role}", role))
    body = {"kind": "vouchers", "file_name": "a.csv", "content": "id\n1\n"}
    assert (await caller.post("/v1/imports", body)).status_code == 403
    assert (await api.post("/v1/imports", body)).status_code == 422, "an admin is let through to the file"


async def test_a_file_with_columns_of_our_names_can_be_brought_again(api: Caller, database: Database) -> None:
    async with database.session() as session:
        session.add(
            Import(
                id="imp_2",
                kind="vouchers",
                file_name="a.csv",
                mapping={},
                status="done",
                ended_at=datetime.now(UTC),
                content=b"id,reason\n1,x\n",
            )
        )
        await session.flush()
        session.add(ImportRow(import_id="imp_2", row=2, field="code", reason="is taken", source=["1", "x"]))
    response = await api.get("/v1/imports/imp_2/refused")
    assert response.text.splitlines() == ["row,field,refused_reason,id,reason", "2,code,is taken,1,x"]
