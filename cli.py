"""One door for people at a terminal: `python cli.py --help` lists what there is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from alembic import command
from rich.console import Console
from sqlalchemy import make_url

import cli_import
import cli_inbox
import settings
from api import keys, staff
from bench.customers import generate
from bench.fleets import Late
from bench.main import LATEST, measure
from bench.report import write
from bench.search import LATEST as SEARCH_LATEST
from bench.search import SearchPlan, measure_search
from domain.errors import DunlinError
from domain.import_fields import Kind
from domain.roles import Role
from local import gateway as sandbox
from local import lifetime, mailsink
from local.demo import demo_settings, tell_story
from local.gateway.events import Target
from local.keys import api_key
from local.ports import PortTaken
from local.stack import FolderInUse, Stack
from local.supervisor import StartFailed
from models.session import NO_DATABASE, Database, alembic_config, answers

EXIT_FAILED: Final = 1

T = TypeVar("T")

app = typer.Typer(
    help="Dunlin: an open subscription-billing platform.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # locals hold addresses with passwords
)
api_key_commands = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)
app.add_typer(api_key_commands, name="api-key")
person_commands = typer.Typer(help="People who sign in: create, list, let in again.", no_args_is_help=True)
app.add_typer(person_commands, name="person")
generate_commands = typer.Typer(help="Made-up data, to try things on.", no_args_is_help=True)
app.add_typer(generate_commands, name="generate")
out = Console()
err = Console(stderr=True)


@app.command()
def up() -> None:
    """Start everything on this machine and serve until Ctrl-C; data stay in one folder."""
    raise typer.Exit(lifetime.run(_on_stack(settings.load(), _serve)))


@app.command()
def demo(
    *,
    leave: Annotated[
        bool, typer.Option("--exit", envvar="DEMO_EXIT", help="End with the verdict: status 0, or 1.")
    ] = False,
) -> None:
    """Start everything afresh, play a year of subscribers, check it, and serve until Ctrl-C."""
    chosen = demo_settings(settings.load())
    raise typer.Exit(lifetime.run(_on_stack(chosen, tell_story if leave else _tell_and_serve)))


@app.command()
def bench(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="A few of everything: its times mean little.")] = False,
    output: Annotated[Path, typer.Option(help="Where the result goes.")] = LATEST,
) -> None:
    """Measure what a renewal costs, beside bare workflows on the same machine."""
    raise typer.Exit(lifetime.run(_bench(quick=quick, output=output)))


@app.command("bench-search")
def bench_search(
    *,
    count: Annotated[int, typer.Option(min=100, help="Made-up customers, in a database of its own.")] = 1_000_000,
    here: Annotated[bool, typer.Option("--here", help="In DATABASE_URL instead, with the customers it has.")] = False,
    output: Annotated[Path, typer.Option(help="Where the result goes.")] = SEARCH_LATEST,
) -> None:
    """Measure the search box beside the same request that only does SELECT 1."""
    plan = SearchPlan(count, url=_database_url() if here else None)
    raise typer.Exit(lifetime.run(_bench_search(plan, output)))


@generate_commands.command("customers")
def generate_customers(
    *,
    count: Annotated[int, typer.Option(min=1, max=10_000_000, help="How many.")] = 1_000_000,
    seed: Annotated[int, typer.Option(min=0, max=9_999, help="Another seed, other people; one seed goes in once.")] = 1,
) -> None:
    """Fill DATABASE_URL with made-up customers, each with a card, every fifth with an invoice."""
    asyncio.run(generate(_database_url(), count=count, seed=seed, tell=_tell))


@app.command()
def migrate() -> None:
    """Bring the tables of DATABASE_URL to what this code expects."""
    url = settings.load().database_url
    if url is None:
        err.print("DATABASE_URL is not set; the embedded database is migrated by `up` itself.")
        raise typer.Exit(settings.EXIT_BAD_SETTINGS)
    _expect_database(url)
    command.upgrade(alembic_config(url), "head")
    out.print("The database is up to date.")


@app.command()
def gateway(
    port: Annotated[int | None, typer.Option(help="Port on loopback, 0 for a free one.")] = None,
    db: Annotated[Path | None, typer.Option(help="The gateway's own database.")] = None,
) -> None:
    """Run the sandbox gateway alone."""
    chosen = settings.load()
    nobody = Target(None, None)  # alone: its events wait
    sandbox.serve(chosen.gateway_port if port is None else port, db or chosen.data_dir / "gateway.db", nobody, None)


@app.command(name="mailsink")
def mail_sink() -> None:
    """Run the mail sink alone."""
    chosen = settings.load()
    mailsink.serve(chosen.mailsink_smtp_port, chosen.mailsink_http_port, chosen.data_dir / "mail.db")


@api_key_commands.command("create")
def create_api_key(
    name: Annotated[str, typer.Option(help="Stands as actor on what is done with the key.")],
    role: Annotated[Role, typer.Option(help="What may be done with it; docs/roles.md has the table.")] = Role.ADMIN,
) -> None:
    """Make an API key for DATABASE_URL and print it: the only time it can be seen."""
    out.print(_with_database(lambda database: keys.create_key(database, name, role)), highlight=False, soft_wrap=True)


@api_key_commands.command("list")
def list_api_keys() -> None:
    """Show all keys, working and revoked."""
    for key in _with_database(keys.list_keys):
        state = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else "working"
        row = f"{key.id}  {key.prefix}…  {key.created_at:%Y-%m-%d}  {state}  {key.role:<5}  {key.name}"
        out.print(row, markup=False, highlight=False, soft_wrap=True)


@api_key_commands.command("revoke")
def revoke_api_key(key: Annotated[str, typer.Argument(help="Id or prefix, as `list` shows it.")]) -> None:
    """End a key at once."""
    revoked = _with_database(lambda database: keys.revoke_key(database, key.rstrip("…")))
    out.print(f"{revoked.name} ({revoked.id}) is revoked.", markup=False, highlight=False)


@person_commands.command("create")
def create_person(
    email: Annotated[str, typer.Option(help="The login.")],
    name: Annotated[str, typer.Option(help="Stands as actor on what they do; nobody else has it.")],
    role: Annotated[Role, typer.Option(help="What they may do; docs/roles.md has the table.")],
) -> None:
    """Add somebody to DATABASE_URL and print a one-time password: the only time it can be seen."""
    password = _with_database(lambda database: staff.invite(database, email=email, name=name, role=role))
    out.print(password, highlight=False, soft_wrap=True)


@person_commands.command("list")
def list_people() -> None:
    """Show who may sign in, and who no longer."""
    for person in _with_database(staff.everybody):
        state = f"disabled {person.disabled_at:%Y-%m-%d}" if person.disabled_at else "active"
        row = f"{person.id}  {person.created_at:%Y-%m-%d}  {state}  {person.role:<5}  {person.email}  {person.name}"
        out.print(row, markup=False, highlight=False, soft_wrap=True)


@person_commands.command("let-in")
def let_person_in(email: Annotated[str, typer.Argument(help="Their login.")]) -> None:
    """Print a one-time password for somebody who is shut out; their second factor is taken off, sessions end."""
    password = _with_database(lambda database: staff.let_in_again(database, email))
    out.print(password, highlight=False, soft_wrap=True)


@app.command("import")
def import_file(
    kind: Annotated[Kind, typer.Argument(help="What the rows are.")],
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8, with a header.")],
    mapping: Annotated[
        Path | None, typer.Option(help="YAML: which column is what; without one, a file exported here.")
    ] = None,
    cut_over: Annotated[str | None, typer.Option(help="Of subscribers: in place of the mapping's own.")] = None,
    refused: Annotated[Path | None, typer.Option(help="Where refused rows go; else FILE.refused.csv.")] = None,
    api_key: Annotated[str | None, typer.Option(help="In place of DUNLIN_API_KEY.")] = None,
) -> None:
    """Bring a file through the API; docs/imports.md has the mapping. Rows that are there already stay as they are.

    Status 1: some were refused. Status 2: nothing was done.
    """
    wanted = cli_import.Wanted(file, mapping, cut_over, api_key, refused, kind)
    raise typer.Exit(cli_import.import_file(wanted, settings.load()))


@app.command("inbox")
def inbox(
    source: Annotated[Path, typer.Argument(help="An mbox, a maildir, one mail, or - for a mail server's pipe.")],
    api_key: Annotated[str | None, typer.Option(help="In place of DUNLIN_API_KEY.")] = None,
) -> None:
    """Hand received mail to the API; what was handed in before is known. docs/messages.md says where it lands.

    Status 1: some was refused. Status 2: nothing could be done.
    """
    raise typer.Exit(cli_inbox.hand_in(source, api_key, settings.load()))


async def _bench_search(plan: SearchPlan, output: Path) -> int:
    try:
        result = await measure_search(plan, console=out, tell=_tell)
    except StartFailed as error:
        _tell(str(error))
        return EXIT_FAILED
    write(result, output)
    _tell(f"Written to {output}.")
    return lifetime.EXIT_OK


async def _bench(*, quick: bool, output: Path) -> int:
    try:
        await measure(quick=quick, output=output, console=out, tell=_tell)
    except (StartFailed, Late) as error:
        _tell(str(error))
        return EXIT_FAILED
    return lifetime.EXIT_OK


def _database_url() -> str:
    url = settings.load().database_url
    if url is None:
        err.print("DATABASE_URL is not set.")
        raise typer.Exit(settings.EXIT_BAD_SETTINGS)
    _expect_database(url)
    return url


def _expect_database(url: str) -> None:
    if not asyncio.run(answers(url)):
        _tell(NO_DATABASE)
        raise typer.Exit(EXIT_FAILED)


def _with_database(work: Callable[[Database], Awaitable[T]]) -> T:
    """Run `work` on DATABASE_URL; a refusal is told in one line and ends with status 1."""
    url = _database_url()

    async def opened() -> T:
        database = Database.connect(url, application_name="dunlin-cli", pool_max=1)
        try:
            return await work(database)
        finally:
            await database.close()

    try:
        return asyncio.run(opened())
    except DunlinError as error:
        _tell(error.message)
        raise typer.Exit(EXIT_FAILED) from None


async def _on_stack(chosen: settings.Settings, work: Callable[[Stack], Awaitable[int]]) -> int:
    out.print("Starting PostgreSQL, Temporal, the gateway and the mail sink …")
    try:
        async with Stack(chosen, ephemeral=False, tell=_tell) as stack:
            await stack.migrate()
            out.print("Starting the worker and the API …")
            await stack.start_worker()
            await stack.start_api()
            await api_key(stack)
            return await work(stack)
    except (StartFailed, PortTaken, FolderInUse) as error:
        err.print("[bold red]Not started[/]")
        _tell(str(error))
        return EXIT_FAILED


async def _serve(stack: Stack) -> int:
    _print_addresses(stack, await api_key(stack))
    out.print("Ctrl-C stops everything.")
    await asyncio.Event().wait()
    return lifetime.EXIT_OK


async def _tell_and_serve(stack: Stack) -> int:
    await tell_story(stack)
    out.print("\nAll of it goes on running:")
    return await _serve(stack)


def _tell(text: str) -> None:
    err.print(text, markup=False, highlight=False, soft_wrap=True)


def _print_addresses(stack: Stack, key: str) -> None:
    rows = {
        "API": f"{stack.api_url}/v1",
        "API documentation": f"{stack.api_url}/docs",
        "API key": key,
        "Temporal UI": stack.temporal_ui_url,
        "Temporal": stack.temporal_address,
        "Gateway": stack.gateway_url,
        "Test cards": f"{stack.gateway_url}/control/cards" if stack.embeds_gateway else None,
        "Mail sink": f"{stack.mailsink_url}/messages" if stack.mailsink_url else None,
        "Database": make_url(stack.database_url).render_as_string(hide_password=True),
        "Data": str(stack.folder),
        "Logs": str(stack.processes.logs),
        "Try": f"curl -H 'Authorization: Bearer {key}' {stack.api_url}/v1/charges?limit=3",
    }
    for name, address in rows.items():
        if address is not None:
            out.print(f"  [bold]{name:<18}[/] {address}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    app()
