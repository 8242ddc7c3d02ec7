"""The story: one subscriber a chapter, each with the dates and amounts that have to come true."""

from __future__ import annotations

import asyncio
import calendar
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from examples.demo import shown
from examples.demo.scene import Scene
from examples.demo.servers import Json

RUN_S_MAX: Final = 60.0

Play = Callable[[Scene], Awaitable[None]]
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Chapter:
    """`alone`: it breaks something that the others need, so it waits until they are done."""

    title: str
    who: str
    play: Play
    alone: bool = False


CHAPTERS: Final[list[Chapter]] = []


def chapter(title: str, who: str, *, alone: bool = False) -> Callable[[Play], Play]:
    def add(play: Play) -> Play:
        CHAPTERS.append(Chapter(title, who, play, alone))
        return play

    return add


@chapter("A trial, a set-up fee, notices before each renewal, a skip", "Ada")
async def trial(s: Scene) -> None:
    await s.subscribe("coffee-trial", "10 Jan 09:00")
    await s.until("1 Mar")
    key = s.api.new_key()
    await s.ask("skip", cycles=1, reason="on holiday", key=key)
    before = s.api.replays
    await s.ask("skip", cycles=1, reason="on holiday", key=key)
    s.expect("the same request twice is one skip, and its answer a replay", 1, s.api.replays - before)
    s.expect("a trial that is over cannot be ended", "not_while_active", await s.refused("end-trial"))
    await s.until("25 Apr")
    await s.expect_paid("24 Jan 24.00", "24 Feb 19.00", "24 Apr 19.00")
    hours = {shown.moment(charge["at"], s.who.zone).hour for charge in await s.charges()}
    s.expect("due at nine in the morning, in winter as in summer time", {9}, hours)
    events = await s.events()
    notices = [shown.day(shown.moment(e["at"], s.who.zone)) for e in events if e["kind"] == "renewal_notice"]
    s.expect(
        "a notice three days before each renewal, none for the skipped one", ["21 Jan", "21 Feb", "21 Apr"], notices
    )


@chapter("Month ends, and a forecast that comes true", "Bruno")
async def forecast(s: Scene) -> None:
    await s.subscribe("studio", "31 Jan 09:00")
    foreseen = await s.forecast(12)
    s.tell("The forecast of twelve cycles is read, then the year is played.")
    happened = await s.until("31 Dec", tell=False)
    s.expect("what happened is what was foreseen", _outline(foreseen), _outline(happened))
    february = calendar.monthrange(s.world.year, 2)[1]
    ends = f"31 Jan, {february} Feb, 31 Mar, 30 Apr, 31 May, 30 Jun, 31 Jul, 31 Aug, 30 Sep, 31 Oct, 30 Nov, 31 Dec"
    await s.expect_paid(*(f"{day} 12.00" for day in ends.split(", ")))
    s.tell(f"12.00 USD each, paid on {ends}.")


@chapter("A dearer plan in mid-month, then another billing date", "Chioma")
async def change(s: Scene) -> None:
    await s.subscribe("weekend", "1 Apr 08:00")
    await s.until("16 Apr")
    price = s.world.prices["daily"]["id"]
    preview = await s.api.post(f"/v1/subscriptions/{s.subscription}/change/preview", {"price_id": price})
    parts = [line["amount"] for line in preview["lines"]]
    s.expect("15 of 30 days: credit of 20.00, charge of 30.00", [-1000, 1500], parts)
    s.tell(f"Previewed: {' + '.join(shown.amount(part, 'GBP') for part in parts)}.")
    await s.ask("change", price_id=price, reason="the daily, please")
    await s.until("5 May")
    await s.ask("change-date", next_due_at=s.at("15 Jun 08:00"), prorate=True, reason="after payday")
    await s.until("16 Jul")
    # 1 to 15 June are 14 of the 31 days from 15 May: 30.00 times 14/31 is 13.55, beside the cycle's 30.00.
    await s.expect_paid("1 Apr 20.00", "16 Apr 5.00", "1 May 30.00", "15 Jun 43.55", "15 Jul 30.00")


@chapter("More seats, then a whole year at once", "Priya")
async def seats(s: Scene) -> None:
    await s.subscribe("studio", "1 Jun 09:00", quantity=3)
    await s.until("16 Jun")
    await s.ask("change", quantity=5, reason="two more join")
    await s.until("16 Sep")
    await s.ask("change", price_id=s.world.prices["studio-yearly"]["id"], quantity=5, reason="a year is cheaper")
    # Half of June: 60.00 less 36.00. Then a year of five seats, less the unused half of September.
    await s.expect_paid("1 Jun 36.00", "16 Jun 12.00", "1 Jul 60.00", "1 Aug 60.00", "1 Sep 60.00", "16 Sep 570.00")
    due = shown.moment((await s.detail())["next_due_at"], s.who.zone)
    s.expect("the new year begins on the day of the switch", (s.world.year + 1, 9, 16), (due.year, due.month, due.day))


@chapter("No money on the account: dunning, and recovery", "Tomas")
async def soft_decline(s: Scene) -> None:
    await s.subscribe("coffee", "5 Feb 08:00")
    await s.until("20 Feb")
    feared = [item for item in await s.forecast(1, **{"if": "card_fails"}) if item["kind"] == "retry_planned"]
    await s.card_will("soft:insufficient_funds", "soft:insufficient_funds")
    happened = await s.until("8 Mar")
    planned = [event for event in happened if event["kind"] == "retry_planned"]
    s.expect("retries as the forecast said for a failing card", _outline(feared[:2]), _outline(planned))
    detail = await s.expect_status("overdue")
    s.expect("access goes on meanwhile", "grace", detail["access"])
    await s.until("6 Apr")
    await s.expect_paid("5 Feb 19.00", "9 Mar 19.00", "5 Apr 19.00")
    await s.expect_status("active")


@chapter("The first card declines, the second pays at once", "Elif")
async def backup(s: Scene) -> None:
    await s.subscribe("coffee", "12 Mar 10:00")
    await s.until("1 Apr")
    await s.card_will("soft:do_not_honor")
    await s.until("13 May")
    await s.expect_paid("12 Mar 19.00", "12 Apr 19.00", "12 May 19.00")
    used = [s.who.methods.index(charge["payment_method_id"]) + 1 for charge in await s.charges()]
    s.expect("cards tried, in order", [1, 1, 2, 1], used)


@chapter("A stolen card is not tried again; a new one ends dunning", "Farid")
async def hard_decline(s: Scene) -> None:
    await s.subscribe("studio", "20 Jan 09:00")
    await s.until("1 Feb")
    await s.card_will("hard:stolen_card")
    await s.until("22 Feb")
    s.tell("Farid opens the card form; his new card is tried at once.")
    await s.new_card("5555555555554444", make_default=True)
    await s.catch_up()
    await s.until("21 Mar")
    await s.expect_paid("20 Jan 12.00", "22 Feb 12.00", "20 Mar 12.00")
    stolen = [call["outcome"] for call in await s.gateway.calls(token=s.who.tokens[0]) if call["call"] == "charge"]
    s.expect("the gateway saw the stolen card once after it was stolen", ["approve", "hard:stolen_card"], stolen)


@chapter("A pause, and a new period on the day of coming back", "Greta")
async def pause(s: Scene) -> None:
    await s.subscribe("coffee", "10 Mar 09:00")
    await s.until("20 Apr")
    await s.ask("pause", when="period_end", reason="travelling")
    await s.until("24 Jun")
    await s.expect_status("paused")
    await s.ask("resume")
    await s.until("25 Jul")
    await s.expect_paid("10 Mar 19.00", "10 Apr 19.00", "24 Jun 19.00", "24 Jul 19.00")


@chapter("Billed by force, and not again when due", "Hiro")
async def force(s: Scene) -> None:
    await s.subscribe("tea", "3 May 09:00")
    await s.until("20 May")
    await s.ask("force-bill", by="agent", reason="wants the June letter now")
    await s.until("4 Jul")
    await s.expect_paid("3 May 1500", "20 May 1500", "3 Jul 1500")


@chapter("Lost answers: the gateway is asked, never charged twice", "Ines")
async def unknown(s: Scene) -> None:
    await s.subscribe("coffee", "7 Mar 09:00")
    await s.until("1 Apr")
    await s.card_will("error_after", "hang")
    await s.until("8 Jun")
    await s.expect_paid("7 Mar 19.00", "7 Apr 19.00", "7 May 19.00", "7 Jun 19.00")
    calls = [call["call"] for call in await s.gateway.calls(token=s.who.tokens[0])]
    s.expect("four cycles are four charges at the gateway", 4, calls.count("charge"))


@chapter("Cancelled, undone, cancelled again", "Kemi")
async def cancel(s: Scene) -> None:
    await s.subscribe("studio", "1 Jun 09:00")
    await s.until("10 Jun")
    await s.ask("cancel", when="period_end", reason="too dear")
    await s.until("12 Jun")
    await s.ask("undo-cancel", reason="changed my mind")
    await s.until("15 Jul")
    await s.ask("cancel", when="period_end", reason="moving away")
    await s.until("1 Nov")
    await s.expect_paid("1 Jun 12.00", "1 Jul 12.00")
    await s.expect_status("canceled")


@chapter("A credit is used up before the card", "Lena")
async def credit(s: Scene) -> None:
    await s.subscribe("coffee", "8 Feb 09:00")
    await s.until("15 Feb")
    await s.ask("credit", by="agent", amount=2500, currency="EUR", reason="two boxes came broken")
    await s.until("9 May")
    await s.expect_paid("8 Feb 19.00", "8 Apr 13.00", "8 May 19.00")
    invoices = await s.api.all("/v1/invoices", subscription_id=s.subscription)
    s.expect("credit used by each invoice", [0, 1900, 600, 0], [i["credit_applied"] for i in _oldest_first(invoices)])


@chapter("On hold: nothing is billed, nothing is lost", "Mateo")
async def hold(s: Scene) -> None:
    await s.subscribe("studio", "8 Jun 09:00")
    await s.until("1 Jul")
    await s.ask("hold", by="ops", owner="ops", expires_at=s.at("20 Jul"), reason="address check")
    await s.until("15 Jul")
    s.expect("nothing was billed on hold", 1, len(await s.charges()))
    await s.ask("release-hold", by="ops", reason="address is right")
    await s.until("9 Aug")
    await s.expect_paid("8 Jun 12.00", "15 Jul 12.00", "8 Aug 12.00")


@chapter("The bank asks first: 3-D Secure", "Nadia")
async def confirmation(s: Scene) -> None:
    await s.subscribe("coffee", "5 Sep 09:00")
    await s.card_will("action")
    await s.until("5 Sep 09:01")
    (charge,) = await s.charges()
    s.expect("no money moves before the customer agrees", "action_required", charge["status"])
    s.tell("Nadia follows the link of the message and confirms.")
    await s.gateway.confirm(charge["action_url"])
    await s.until("6 Oct")
    await s.expect_paid("5 Sep 19.00", "5 Oct 19.00")


@chapter("Billed from outside: a billing run, however often it is called", "Oskar")
async def billing_run(s: Scene) -> None:
    await s.subscribe("studio", "1 Sep 09:00", quantity=10, trigger="external")
    await s.until("3 Sep")
    s.expect("nothing is billed without a run", [], await s.charges())
    s.tell("Two runs are called at once for the tag “agency”, and a third after them.")
    await asyncio.gather(_run(s), _run(s))
    await s.catch_up()
    third = await _run(s)
    s.expect("the third finds nothing due", {"not_due": 1}, third["verdicts"])
    await s.until("2 Oct")
    await _run(s)
    await s.catch_up()
    await s.expect_paid("3 Sep 120.00", "2 Oct 120.00")


@chapter("The gateway is down for half an hour: no decline, no attempt used up", "Jonas", alone=True)
async def outage(s: Scene) -> None:
    await s.subscribe("coffee", "2 Oct 09:00")
    await s.until("1 Nov")
    await s.gateway.outage(down=True)
    await s.until("2 Nov 09:30")
    await s.gateway.outage(down=False)
    s.tell("The gateway is back.")
    await s.until("3 Dec")
    await s.expect_paid("2 Oct 19.00", "2 Nov 19.00", "2 Dec 19.00")
    s.expect("one attempt for each cycle", [1, 1, 1], [charge["number"] for charge in await s.charges()])
    dunned = [event["kind"] for event in await s.events() if event["kind"] == "dunning_started"]
    s.expect("dunning never began", [], dunned)


async def wait_for(look: Callable[[], Awaitable[Found | None]]) -> Found:
    """Look again and again until there is something. Raises `TimeoutError`."""
    async with asyncio.timeout(RUN_S_MAX):
        while True:
            found = await look()
            if found is not None:
                return found
            await asyncio.sleep(0.1)


async def _run(s: Scene) -> Json:
    """Call a billing run and wait for its end, as an outside scheduler does."""
    begun = await s.api.post("/v1/billing-runs", {"segment": {"tag": "agency"}})

    async def ended() -> Json | None:
        run = await s.api.get(f"/v1/billing-runs/{begun['id']}")
        return None if run["status"] == "running" else run

    run = await wait_for(ended)
    s.expect("the run saw one subscription", 1, run["seen"])
    return run


def _outline(items: list[Json]) -> list[tuple[str, str, object]]:
    """When, what and how much."""
    return [
        (i["at"], i["kind"], i["data"].get("amount", i["data"].get("total"))) for i in items if i["kind"] != "created"
    ]


def _oldest_first(invoices: list[Json]) -> list[Json]:
    return sorted(invoices, key=lambda invoice: (invoice["issued_at"], invoice["number"]))
