"""What a chapter can do with its subscriber: act, let time pass, tell what happened, and check it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from rich.text import Text

from examples.demo import shown
from examples.demo.servers import Api, Gateway, Json, Mail, Problem

# They say what the lines beside them say already, or nothing to a reader.
_UNTOLD: Final = frozenset({"created", "started", "access_started", "trial_ended"})
# What becomes of an invoice at once; the line of its issue is left out then.
_FATES: Final = frozenset(
    {"payment_succeeded", "payment_declined", "invoice_settled", "outcome_unknown", "gateway_down", "action_required",
     "no_payment_method"}
)  # fmt: skip
# After these one call is told and the rest belongs to the next line.
_BEGINNINGS: Final = frozenset({"outcome_unknown", "gateway_down", "action_required"})
_MARGIN: Final = 20
_TEXT_WIDTH: Final = 48
SETTLED_S_MAX: Final = 60.0
_ALLOWED_SHOWN_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation, and whether it held."""

    chapter: str
    what: str
    wanted: object
    got: object

    @property
    def held(self) -> bool:
        return self.wanted == self.got

    def __str__(self) -> str:
        return f"{self.what}: expected {self.wanted}, got {self.got}"


@dataclass(slots=True)
class Person:
    """A subscriber, known to API and gateway."""

    id: str
    first_name: str
    email: str
    zone: ZoneInfo
    currency: str
    tokens: list[str]
    methods: list[str]


@dataclass(slots=True)
class World:
    """All that the chapters share."""

    api: Api
    gateway: Gateway
    mail: Mail
    year: int
    papers: Path
    people: dict[str, Person] = field(default_factory=dict[str, Person])
    prices: dict[str, Json] = field(default_factory=dict[str, Json])
    checks: list[Check] = field(default_factory=list[Check])

    def expect(self, chapter: str, what: str, wanted: object, got: object) -> bool:
        check = Check(chapter, what, wanted, got)
        self.checks.append(check)
        return check.held


class Scene:
    """One subscriber's chapter. Days are written `24 Jan`, times `24 Jan 09:00`, in the subscriber's own zone."""

    def __init__(self, world: World, title: str, who: Person) -> None:
        self.world: Final = world
        self.api: Final = world.api
        self.gateway: Final = world.gateway
        self.title: Final = title
        self.who: Final = who
        self.lines: Final[asyncio.Queue[Text | None]] = asyncio.Queue()
        self.subscription = ""
        self._told_seq = 0
        self._told_calls: set[int] = set()
        self._names: Final = {price["id"]: code for code, price in world.prices.items()}

    # Acting

    async def subscribe(self, price: str, start: str, **options: Any) -> None:
        """Start a test-mode subscription on that day of the story's year."""
        body: Json = {
            "customer_id": self.who.id,
            "price_id": self.world.prices[price]["id"],
            "start_at": self._at(start).isoformat(),
            "external_id": f"{self.who.first_name.lower()}-{price}",
            "test_mode": True,
        }
        self.subscription = (await self.api.post("/v1/subscriptions", body | options))["id"]

    async def until(self, time: str, *, tell: bool = True) -> list[Json]:
        """Move the subscription's clock; tell and give what happened on the way."""
        await self.api.post(f"/v1/subscriptions/{self.subscription}/advance", {"to": self._at(time).isoformat()})
        return await self.catch_up(tell=tell)

    async def ask(self, command: str, *, by: str | None = None, key: str | None = None, **body: Any) -> Json:
        """Send a command and tell what it did."""
        detail = await self.api.post(
            f"/v1/subscriptions/{self.subscription}/{command}", {"actor": by or self.who.first_name, **body}, key=key
        )
        await self.catch_up()
        return detail

    async def refused(self, command: str, **body: Any) -> str:
        """Send a command that has to be refused; tell and give its code."""
        try:
            await self.ask(command, **body)
        except Problem as problem:
            allowed = ", ".join(problem.allowed[:_ALLOWED_SHOWN_MAX])
            self.tell(f"{command} is refused: {problem.status} {problem.code}; allowed now: {allowed}, …")
            return problem.code
        return "taken"

    async def card_will(self, *outcomes: str, card: int = 0) -> None:
        """Script the next charges of one of the subscriber's cards at the gateway."""
        await self.gateway.script(self.who.tokens[card], *outcomes)

    async def new_card(self, number: str, **options: Any) -> None:
        """Give the API a new token, as the customer's card form does."""
        token = await self.gateway.card(number)
        body = {"token": token, **options}
        method = await self.api.post(f"/v1/customers/{self.who.id}/payment-methods", body)
        self.who.tokens.append(token)
        self.who.methods.append(method["id"])

    # Giving back

    async def settle(self, *charges: Json) -> None:
        """The gateway settles these charges, and its report is read."""
        await self.gateway.settle(*(charge["reference"] for charge in charges))
        run = await self.api.post("/v1/settlement-runs", {})
        async with asyncio.timeout(SETTLED_S_MAX):
            while run["status"] == "running":
                await asyncio.sleep(0.1)
                run = await self.api.get(f"/v1/settlement-runs/{run['id']}")
        self.tell("The gateway settles; its report is read.")

    async def give_back(self, path: str, **body: Any) -> Json:
        """Ask for a refund or void, and tell what came of it."""
        refund = await self.api.post(path, body)
        self._tell_tries(refund, told=0)
        return refund

    async def days(self, refund: Json, days: int) -> Json:
        """Move a refund's own clock, and tell what was tried on the way."""
        told = len(refund["tries"])
        refund = await self.api.post(f"/v1/refunds/{refund['id']}/advance", {"days": days})
        self._tell_tries(refund, told)
        return refund

    async def refund_refused(self, charge: Json, what: str, **body: Any) -> str:
        """Ask for what has to be refused; tell and give its code."""
        try:
            await self.give_back(f"/v1/charges/{charge['id']}/{what}", **body)
        except Problem as problem:
            self.tell(f"{what} is refused: {problem.status} {problem.code}.")
            return problem.code
        return "taken"

    def _tell_tries(self, refund: Json, told: int) -> None:
        for each in refund["tries"][told:]:
            at = shown.moment(each["at"], self.who.zone)
            money = shown.amount(refund["amount"], refund["currency"])
            words = f"{each['kind'].capitalize()} of {money}, {each['trigger']}: {each['status']}"
            words += f", {each['code']}." if each["code"] else "."
            self.lines.put_nowait(
                Text.assemble((f"    {at.day:>2} {at:%b}  ", "cyan"), (f"{'Dunlin':<7} ", "bold"), words)
            )
        if refund["status"] != "succeeded":
            self.tell(f"The refund is {refund['status']}.")

    # Reading

    async def detail(self) -> Json:
        return await self.api.get(f"/v1/subscriptions/{self.subscription}")

    async def events(self) -> list[Json]:
        return await self.api.all(f"/v1/subscriptions/{self.subscription}/events")

    async def charges(self) -> list[Json]:
        """Every try to collect, the oldest first."""
        found = await self.api.all("/v1/charges", subscription_id=self.subscription)
        return sorted(found, key=lambda charge: (charge["at"], charge["number"]))

    async def forecast(self, cycles: int, **query: str) -> list[Json]:
        return (await self.api.get(f"/v1/subscriptions/{self.subscription}/forecast", cycles=cycles, **query))["items"]

    # Telling

    def tell(self, text: str) -> None:
        """A line in the teller's own words."""
        self.lines.put_nowait(Text(f"{'':<{_MARGIN}}{text}", style="italic"))

    def end(self) -> None:
        """The last line of the chapter: did all come true?"""
        checks = [check for check in self.world.checks if check.chapter == self.title]
        failed = [check for check in checks if not check.held]
        for check in failed:
            self.lines.put_nowait(Text(f"{'':<{_MARGIN}}✗ {check}", style="red"))
        if not failed:
            self.lines.put_nowait(
                Text(
                    f"{'':<{_MARGIN}}✓ as expected, {len(checks)} {'check' if len(checks) == 1 else 'checks'}",
                    style="green",
                )
            )
        self.lines.put_nowait(None)

    async def catch_up(self, *, tell: bool = True) -> list[Json]:
        """Tell what the timeline has that was not told yet."""
        news = [event for event in await self.events() if event["seq"] > self._told_seq]
        if not news:
            return news
        self._told_seq = news[-1]["seq"]
        if tell:
            settled = {event["data"].get("invoice_id") for event in news if event["kind"] in _FATES}
            for event in news:
                issued = event["kind"] == "invoice_issued" and event["data"]["invoice_id"] in settled
                if event["kind"] not in _UNTOLD and not issued:
                    await self._tell_event(event)
        return news

    async def _tell_event(self, event: Json) -> None:
        at = shown.moment(event["at"], self.who.zone)
        actor = "Dunlin" if event["actor"] == "system" else event["actor"]
        words = shown.sentence(event["text"], self.who.zone, self._names)
        if event["reason"]:
            words += f" “{event['reason']}”"
        line = Text.assemble((f"    {at.day:>2} {at:%b}  ", "cyan"), (f"{actor:<7} ", "bold"), words)
        if event["kind"] in _FATES and (answer := await self._gateway_said(event)):
            line.append(" " * max(2, _TEXT_WIDTH - len(words)))
            line.append(f"gateway: {answer}", "dim")
        self.lines.put_nowait(line)

    async def _gateway_said(self, event: Json) -> str:
        """What the gateway's own log has on this attempt and was not told yet."""
        data = event["data"]
        tries = await self.api.all("/v1/charges", invoice_id=data["invoice_id"])
        reference = next((each["reference"] for each in tries if each["number"] == data.get("attempt", 1)), None)
        if reference is None:
            return ""
        calls = [call for call in await self.gateway.calls(reference=reference) if call["id"] not in self._told_calls]
        calls = calls[:1] if event["kind"] in _BEGINNINGS else calls
        self._told_calls.update(call["id"] for call in calls)
        return shown.said(calls)

    # Checking

    def expect(self, what: str, wanted: object, got: object) -> None:
        self.world.expect(self.title, what, wanted, got)

    async def expect_paid(self, *payments: str) -> None:
        """All that this subscriber ever paid, in order: `24 Jan 24.00` and so on."""
        got = [
            f"{shown.day(shown.moment(charge['at'], self.who.zone))} "
            f"{shown.amount(charge['amount'], self.who.currency, code=False)}"
            for charge in await self.charges()
            if charge["status"] == "approved"
        ]
        self.expect(f"paid, in {self.who.currency}", list(payments), got)

    async def expect_status(self, wanted: str) -> Json:
        detail = await self.detail()
        self.expect("status", wanted, detail["status"])
        return detail

    def _at(self, time: str) -> datetime:
        """`24 Jan` is noon of that day, so that what falls due in the morning is done."""
        time = time if ":" in time else f"{time} 12:00"
        return datetime.strptime(f"{time} {self.world.year}", "%d %b %H:%M %Y").replace(tzinfo=self.who.zone)

    def at(self, time: str) -> str:
        """A time of the story as the API takes it."""
        return self._at(time).isoformat()
