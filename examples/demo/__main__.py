"""`python -m examples.demo --key-file FILE`: play, tell and check the story on a fresh Dunlin.

Status 0: everything was as expected. 1: something was not, and is listed. 2: the story could not be played.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import httpx
from rich.console import Console
from rich.text import Text

from examples.demo.audit import audit
from examples.demo.chapters import CHAPTERS, Chapter
from examples.demo.money_back import NOTIFY
from examples.demo.scene import Person, Scene, World
from examples.demo.selling import INVOICES
from examples.demo.servers import Api, Gateway, Json, Mail, Problem

EXIT_DIFFERS: Final = 1
EXIT_NOT_PLAYED: Final = 2
EXIT_STOPPED: Final = 130
# So many subscribers at once: a machine of two cores does no more, however many ask.
AT_ONCE_MAX: Final = 6
CARD: Final = "4242424242424242"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--api", default="http://127.0.0.1:8000", help="address of the API")
    parser.add_argument("--gateway", default="http://127.0.0.1:8001", help="address of the sandbox gateway")
    parser.add_argument("--mail", default="http://127.0.0.1:8025", help="address of the mail sink")
    parser.add_argument("--key-file", type=Path, required=True, help="file that holds an API key")
    parser.add_argument("--papers", type=Path, default=INVOICES, help="folder that invoices are written to")
    options = parser.parse_args()
    out = Console(highlight=False, soft_wrap=True)
    try:
        return asyncio.run(_until_stopped(options, out))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return EXIT_STOPPED
    except (Problem, httpx.TransportError, OSError) as error:
        out.print(Text(f"The story cannot be played: {error!r}", style="red"))
        return EXIT_NOT_PLAYED


async def _until_stopped(options: argparse.Namespace, out: Console) -> int:
    """SIGTERM ends the story as Ctrl-C does: by cancelling it, so that the terminal gets its cursor back."""
    story = asyncio.create_task(_play(options, out))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, story.cancel)
    return await story


async def _play(options: argparse.Namespace, out: Console) -> int:
    began = time.monotonic()
    year = datetime.now(UTC).year + 1
    api = Api(options.api, options.key_file.read_text().strip())
    gateway, mail = Gateway(options.gateway), Mail(options.mail)
    try:
        world = World(api, gateway, mail, year, options.papers)
        if (await api.get("/v1/customers", limit=1))["items"]:
            out.print("The story wants a fresh Dunlin: this one has customers already.")
            return EXIT_NOT_PLAYED
        await _set_the_stage(world, out)
        await _play_all(world, out)
        out.print("\n[bold]The books[/]")
        await audit(world, out)
    finally:
        for server in (api, gateway, mail):
            await server.aclose()
    return verdict(world, out, time.monotonic() - began)


async def _set_the_stage(world: World, out: Console) -> None:
    """Catalogue, dunning policy, customers and their cards, all of it from `cast.json`."""
    cast: Json = json.loads(Path(__file__).with_name("cast.json").read_text())
    await world.api.post("/v1/dunning-policies", cast["dunning_policy"])
    await world.api.put("/v1/rules/refunds", {"notify": [NOTIFY]})
    await world.api.put("/v1/rules/seller", cast["seller"])
    for rate in cast["tax_rates"]:
        await world.api.post("/v1/tax-rates", rate)
    for product in cast["products"]:
        made = await world.api.post(
            "/v1/products", {field: value for field, value in product.items() if field != "prices"}
        )
        for price in product["prices"]:
            wanted = price | {"product_id": made["id"]}
            world.prices[price["code"]] = await world.api.post("/v1/prices", wanted) | {"product_name": made["name"]}
    people = await asyncio.gather(*(_person(world, subscriber) for subscriber in cast["subscribers"]))
    world.people.update({person.first_name: person for person in people})
    cards = sum(len(person.tokens) for person in people)
    currencies = sorted({person.currency for person in people})
    zones = len({person.zone.key for person in people})
    out.print(
        f"[bold]A year of {len(people)} subscribers[/], {world.year}, in virtual time: each has a clock of its own.\n"
        f"Imported: {len(cast['products'])} products with {len(world.prices)} prices in {', '.join(currencies)}; "
        f"{len(people)} customers in {zones} time zones; {cards} cards, as tokens of the gateway's own form."
    )


async def _person(world: World, given: Json) -> Person:
    cards, address = given.pop("cards", [CARD]), given.pop("address", None)
    name = given["first_name"].lower()
    customer = await world.api.post(
        "/v1/customers", given | {"email": f"{name}@example.com", "external_id": f"demo-{name}"}
    )
    if address is not None:
        await world.api.post(f"/v1/customers/{customer['id']}/addresses", address)
    tokens: list[str] = []
    methods: list[str] = []
    for number in cards:
        token = await world.gateway.card(number)
        method = await world.api.post(f"/v1/customers/{customer['id']}/payment-methods", {"token": token})
        tokens.append(token)
        methods.append(method["id"])
    zone, currency = ZoneInfo(customer["time_zone"]), customer["currency"]
    return Person(customer["id"], given["first_name"], customer["email"], zone, currency, tokens, methods)


async def _play_all(world: World, out: Console) -> None:
    """Play the chapters side by side, print them one after the other, each line as soon as its turn has come."""
    gate = asyncio.Semaphore(AT_ONCE_MAX)
    scenes = [(chapter, Scene(world, chapter.title, world.people[chapter.who])) for chapter in CHAPTERS]

    async def one(chapter: Chapter, scene: Scene) -> None:
        async with gate:
            await _play_one(chapter, scene)

    async def everyone() -> None:
        async with asyncio.TaskGroup() as together:
            for chapter, scene in scenes:
                if not chapter.alone:
                    together.create_task(one(chapter, scene))
        for chapter, scene in scenes:
            if chapter.alone:
                await _play_one(chapter, scene)

    async with asyncio.TaskGroup() as group:
        group.create_task(everyone())
        with out.status("") as status:
            for number, (chapter, scene) in enumerate(scenes, 1):
                status.update(f"[dim]chapter {number} of {len(scenes)}[/]")
                out.print(f"\n[bold]{number:>2}  {chapter.title}[/] [dim]· {chapter.who}, {scene.who.zone.key}[/]")
                while (line := await scene.lines.get()) is not None:
                    out.print(line)


async def _play_one(chapter: Chapter, scene: Scene) -> None:
    """A chapter that breaks off is a failed check; the others go on."""
    try:
        await chapter.play(scene)
    except (Problem, httpx.HTTPError, TimeoutError, ValueError, LookupError) as error:
        scene.world.expect(chapter.title, "played to its end", "yes", repr(error))
    finally:
        scene.end()


def verdict(world: World, out: Console, took_s: float) -> int:
    failed = [check for check in world.checks if not check.held]
    for check in failed:
        out.print(Text(f"✗ {check.chapter}: {check}", style="red"))
    held = len(world.checks) - len(failed)
    style = "bold red" if failed else "bold green"
    out.print(f"[{style}]{held} of {len(world.checks)} expectations hold.[/] The year took {took_s:.0f} seconds.")
    return EXIT_DIFFERS if failed else 0


if __name__ == "__main__":
    sys.exit(main())
