"""The end of the story: are the books zero, is every charge in both books, was every message really delivered?"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.console import Console
from rich.table import Table

from examples.demo import shown
from examples.demo.chapters import wait_for
from examples.demo.scene import World
from examples.demo.servers import Json

DELIVERY_S_MAX: Final = 60.0
_CHAPTER: Final = "The books"


async def audit(world: World, out: Console) -> None:
    """Print the books side by side; whatever does not add up becomes a failed check."""
    await _books(world, out)
    await _reconciled(world, out)
    await _mail(world, out)


async def _books(world: World, out: Console) -> None:
    balance = await world.api.get("/v1/ledger/trial-balance", mode="test")
    charges = [
        charge
        for charge in await world.api.all("/v1/charges")
        if charge["status"] == "approved" and charge["settlement"] != "voided"
    ]
    books = await world.gateway.books()
    theirs, held = books["captured"], books["cash"]
    ours: dict[str, int] = defaultdict(int)
    for charge in charges:
        ours[charge["currency"]] += charge["amount"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    headings = ("currency", "debit", "credit", "balance", "captured by us", "by the gateway", "our cash", "theirs", "")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in {"currency", ""} else "right")
    for currency in sorted({*ours, *theirs, *balance["sums"]}):
        sides = [row["amount"] for row in balance["accounts"] if row["currency"] == currency]
        cash = sum(
            row["amount"]
            for row in balance["accounts"]
            if row["currency"] == currency and row["account"].startswith("cash:")
        )
        zero = world.expect(_CHAPTER, f"the trial balance in {currency}", 0, balance["sums"].get(currency))
        what = f"captured {currency}: our charges and the gateway's books"
        equal = world.expect(_CHAPTER, what, ours[currency], theirs.get(currency, 0))
        net = held.get(currency, {}).get("net", 0)
        booked = world.expect(
            _CHAPTER, f"cash {currency} less what went back: our ledger and the gateway's books", cash, net
        )
        debit = sum(side for side in sides if side > 0)
        figures = (debit, debit - sum(sides), sum(sides), ours[currency], theirs.get(currency, 0), cash, net)
        cells = [shown.amount(figure, currency, code=False) for figure in figures]
        table.add_row(currency, *cells, "[green]equal[/]" if zero and equal and booked else "[red]differs[/]")
    out.print(table)
    await _charge_by_charge(world, out, {charge["reference"]: charge["amount"] for charge in charges})


async def _charge_by_charge(world: World, out: Console, ours: dict[str, int]) -> None:
    theirs = {
        row["reference"]: row["amount"]
        for row in await world.gateway.report()
        if row["kind"] == "sale" and row["state"] in {"captured", "settled"}
    }
    if world.expect(_CHAPTER, "every captured charge, by reference and amount", theirs, ours):
        out.print(f"Each of the {len(ours)} captured charges is in both books, once, with the same amount.")


async def _reconciled(world: World, out: Console) -> None:
    """Dunlin compares the books itself as well: every transaction, both ways."""
    since = datetime.now(UTC) - timedelta(days=1)
    begun = await world.api.post("/v1/reconciliation-runs", {"since": since.isoformat(), "in_flight_s": 0})

    async def ended() -> Json | None:
        run = await world.api.get(f"/v1/reconciliation-runs/{begun['id']}")
        return None if run["status"] == "running" else run

    run = await wait_for(ended)
    if world.expect(_CHAPTER, "differences found by the reconciliation", 0, run["differences"]):
        out.print(f"The reconciliation compared {run['seen']} transactions with the gateway's report: no difference.")


async def _mail(world: World, out: Console) -> None:
    """A message is on its way for a moment after what it tells: wait, then compare one by one."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DELIVERY_S_MAX
    while True:
        written = await world.api.all("/v1/messages")
        waiting = [message for message in written if message["status"] == "pending"]
        if not waiting or loop.time() > deadline:
            break
        await asyncio.sleep(0.2)
    delivered = await world.mail.messages()
    sent = Counter((message["recipient"], message["subject"]) for message in written)
    arrived = Counter((message["to"][0], message["subject"]) for message in delivered)
    lost = world.expect(_CHAPTER, "messages written that did not arrive", [], list((sent - arrived).elements()))
    twice = world.expect(_CHAPTER, "messages that arrived and were not written", [], list((arrived - sent).elements()))
    if lost and twice:
        kinds = Counter(str(message["template"]).replace("_", " ") for message in written).most_common()
        out.print(f"All {len(written)} messages arrived at the mail sink, each once: ", end="")
        out.print(", ".join(f"{count} {kind}" for kind, count in kinds) + ".")
