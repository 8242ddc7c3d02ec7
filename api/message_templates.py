"""Templates of letters: which events there are, the words of each by language, every version, and how they look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, OnceDep, ServicesDep
from api.fields import Body, Code, Email, Identifier, Instant, Language, View
from api.messages import MessageDetail
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import add_once, found, known
from domain.errors import InvalidInput, NotFound, Refused
from domain.letters import BUILT_IN, EVENTS, Event, LetterSet, Reader, Template
from domain.links import LinkMaker
from models import LetterTemplate, Message
from models.queries_billing import message
from models.queries_customers import customer
from models.queries_letter_facts import (
    facts_of_message,
    facts_of_subscription,
    link_of_message,
    newest_subscription,
    reader_of,
)
from models.queries_letters import VERSIONS, last_version, letter_set, lock_templates, versions
from models.session import database_now
from providers.letters.desk import BUILT_IN_TEMPLATES, Letter, accept, chosen, compose, sample_reader

TEXT_CHARS_MAX: Final = 20_000
HTML_CHARS_MAX: Final = 100_000

router = noun("message-templates")
EventName = Annotated[Code, Path(description="Name of the event, such as `receipt`")]
LanguageTag = Annotated[Language, Path(description="Language tag, such as `de` or `pt-BR`")]
SubjectWords = Annotated[str, StringConstraints(min_length=1, max_length=500)]
TextWords = Annotated[str, StringConstraints(min_length=1, max_length=TEXT_CHARS_MAX)]
HtmlWords = Annotated[str, StringConstraints(min_length=1, max_length=HTML_CHARS_MAX)]

_WORDS: Final[dict[str, Any]] = {
    "subject": "Receipt: {{ amount }}",
    "text": "Hello {{ name }},\n\nthank you for {{ amount }}.\n",
    "html": "<p>Hello {{ name }},</p>\n<p>thank you for {{ amount }}.</p>\n",
}


class FieldView(View):
    """A field that a template of this event may show."""

    name: str
    shape: str = Field(description="`word`, `text`, `number`, `money`, `date`, `url`, or `lines` to loop over")
    about: str


class EventView(BaseModel):
    """An event that is told. `languages`: the version in force by language; 0 came with Dunlin."""

    event: str
    about: str
    languages: dict[str, int]
    customised: bool
    fields: list[FieldView]


class EventList(BaseModel):
    """All of them."""

    items: list[EventView]


class TemplateView(BaseModel):
    """The words that a reader of the asked language gets. `language`: what they are written in.

    `version` 0 came with Dunlin. `html` null: made from the text.
    """

    event: str
    language: str
    version: int
    subject: str
    text: str
    html: str | None
    fields: list[FieldView]


class VersionView(View):
    """One version: who wrote it and when. Without words: from then on the built-in ones again."""

    version: int
    subject: str | None
    text: str | None
    html: str | None
    actor: str
    at: Instant


class TemplateBody(Body):
    """The words, as they are from now on. What was sent stays as it was sent."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WORDS]})

    subject: SubjectWords
    text: TextWords
    html: HtmlWords | None = Field(default=None, description="Left out, it is made from the text")
    based_on: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="The version that was edited; refused where another was written meanwhile"
    )


class Draft(Body):
    """Words to try, all or none (then those in force), and whose data to fill them with (else sample data)."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WORDS]})

    subject: SubjectWords | None = None
    text: TextWords | None = None
    html: HtmlWords | None = None
    message_id: Identifier | None = Field(default=None, description="What this message told, to whom")
    subscription_id: Identifier | None = Field(default=None, description="What was last told of it, or is known")
    customer_id: Identifier | None = Field(default=None, description="To this customer, of their newest subscription")


class TrialBody(Draft):
    """As a preview, and to which address."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"to": "me@example.com"}]})

    to: Email


class LetterView(View):
    """A letter exactly as it would be sent. `trouble`: why the built-in words stand in for the merchant's own."""

    language: str
    version: int
    subject: str
    text: str
    html: str
    trouble: str | None


@router.get("/message-templates")
async def list_message_templates(services: ServicesDep) -> EventList:
    """All events that are told to customers, in which languages there are words, and which are the merchant's own."""
    own: dict[str, dict[str, int]] = {}
    async with services.database.session() as session:
        for (event, language), template in (await letter_set(session)).templates.items():
            own.setdefault(event, {})[language] = template.version
    built_in: dict[str, dict[str, int]] = {}
    for event, language in BUILT_IN_TEMPLATES:
        built_in.setdefault(event, {})[language] = BUILT_IN
    return EventList(
        items=[
            EventView(
                event=name,
                about=event.about,
                languages=built_in.get(name, {}) | own.get(name, {}),
                customised=name in own,
                fields=_fields(event),
            )
            for name, event in EVENTS.items()
        ]
    )


@router.get("/message-templates/{event}/{language}")
async def get_message_template(event: EventName, language: LanguageTag, services: ServicesDep) -> TemplateView:
    """The words that a reader of this language gets, by themselves or by the nearest language."""
    about = _event(event)
    async with services.database.session() as session:
        written_in, template = chosen(await letter_set(session), event, language)
    return _view(about, written_in, template)


@router.put("/message-templates/{event}/{language}")
async def set_message_template(
    event: EventName, language: LanguageTag, body: TemplateBody, services: ServicesDep, caller: CallerDep
) -> TemplateView:
    """Write a new version. It is refused where it does not work with sample data; the field and line are named."""
    about = _event(event)
    async with services.database.session() as session:
        accept(event, language, Template(body.subject, body.text, body.html), (await letter_set(session)).seller)
        await lock_templates(session)
        last = await last_version(session, event, language)
        version = 0 if last is None else last.version
        in_use = version if last is not None and last.subject is not None else BUILT_IN
        if body.based_on is not None and body.based_on != in_use:
            raise Refused("changed_meanwhile", f"Version {in_use} is in force now; look at it and write again.")
        words = (body.subject, body.text, body.html)
        if last is None or words != (last.subject, last.text, last.html):
            version += 1
            session.add(_version(event, language, version, words, caller.name))
            await session.flush()
    return _view(about, language, Template(body.subject, body.text, body.html, version))


@router.delete("/message-templates/{event}/{language}")
async def reset_message_template(
    event: EventName, language: LanguageTag, services: ServicesDep, caller: CallerDep
) -> TemplateView:
    """Go back to the built-in words, or to those of the nearest language. All versions stay."""
    about = _event(event)
    async with services.database.session() as session:
        await lock_templates(session)
        last = await last_version(session, event, language)
        if last is not None and last.subject is not None:
            session.add(_version(event, language, last.version + 1, (None, None, None), caller.name))
            await session.flush()
        written_in, template = chosen(await letter_set(session), event, language)
    return _view(about, written_in, template)


@router.get("/message-templates/{event}/{language}/versions")
async def list_message_template_versions(
    event: EventName, language: LanguageTag, services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> Listed[VersionView]:
    """Every version, newest first."""
    _event(event)
    async with services.database.session() as session:
        rows = await versions(session, event, language, after=query.after(VERSIONS), limit=query.limit)
        return listed(rows, VERSIONS, VersionView.model_validate)


@router.post("/message-templates/{event}/{language}/preview")
async def preview_message_template(
    event: EventName, language: LanguageTag, body: Draft, services: ServicesDep
) -> LetterView:
    """How the letter would be sent: subject, text and HTML, with real data or with sample data. Nothing is kept."""
    async with services.database.session() as session:
        return LetterView.model_validate(await _composed(session, services.links, event, language, body))


@router.post("/message-templates/{event}/{language}/test", status_code=201)
async def test_message_template(
    event: EventName,
    language: LanguageTag,
    body: TrialBody,
    services: ServicesDep,
    once: OnceDep,
    caller: CallerDep,
) -> MessageDetail:
    """Send it to an address, to see it in a mail program. It is in the log as a message to staff."""
    test_id = once.id("msg")
    async with services.database.session() as session:
        letter = await _composed(session, services.links, event, language, body)
        row = Message(
            id=test_id,
            audience="staff",
            template=event,
            recipient=body.to,
            subject=letter.subject,
            body=letter.text,
            html=letter.html,
            language=letter.language,
            template_version=letter.version,
            status="pending",
            requested_by=caller.name,
            at=(await database_now(session)).replace(microsecond=0),
        )
        await add_once(session, row)
    await services.commands.messages.dispatch(test_id)
    async with services.database.session() as session:
        return MessageDetail.model_validate(found(await message(session, test_id), "message"))


async def _composed(session: AsyncSession, links: LinkMaker, event: str, language: str, draft: Draft) -> Letter:
    _event(event)
    letters = await letter_set(session)
    words = (draft.subject, draft.text)
    if any(words) or draft.html is not None:
        if draft.subject is None or draft.text is None:
            raise InvalidInput("text" if draft.text is None else "subject", "goes with the other words of a draft")
        template = Template(draft.subject, draft.text, draft.html)
        accept(event, language, template, letters.seller)
        letters = LetterSet({**letters.templates, (event, language): template}, letters.seller)
    facts, reader = await _filling(session, links, event, language, draft)
    return compose(letters, event, facts, reader)


async def _filling(
    session: AsyncSession, links: LinkMaker, event: str, language: str, draft: Draft
) -> tuple[Mapping[str, object], Reader]:
    """Whose data, and to whom. What is not known of a real one is as in the sample."""
    sample = EVENTS[event].sample
    if draft.message_id is not None:
        sent = known(await message(session, draft.message_id), "message_id", "message")
        if sent.template != event or sent.customer_id is None:
            raise InvalidInput("message_id", f"is a message `{sent.template}`, not `{event}` to a customer")
        facts, link = await facts_of_message(session, sent), await link_of_message(session, sent)
        if link is not None:
            facts["payment_link"] = links.url(link.link)
        return facts, await _reader(session, sent.customer_id, language)
    subscription_id, customer_id = draft.subscription_id, draft.customer_id
    if subscription_id is None and customer_id is not None:
        known(await customer(session, customer_id), "customer_id", "customer")
        subscription_id = await newest_subscription(session, customer_id)
    if subscription_id is not None:
        facts = await facts_of_subscription(session, subscription_id, event)
        if facts is None:
            raise InvalidInput("subscription_id", "there is no such subscription", code="unknown_reference")
        customer_id = customer_id or str(facts["customer_id"])
        return sample | facts, await _reader(session, customer_id, language)
    if customer_id is not None:
        return sample, await _reader(session, customer_id, language)
    return sample, sample_reader(language)


async def _reader(session: AsyncSession, customer_id: str, language: str) -> Reader:
    return reader_of(known(await customer(session, customer_id), "customer_id", "customer"), language)


def _event(name: str) -> Event:
    if name not in EVENTS:
        raise NotFound(f"There is no such event; there are {', '.join(EVENTS)}.")
    return EVENTS[name]


def _version(
    event: str, language: str, version: int, words: tuple[str | None, str | None, str | None], actor: str
) -> LetterTemplate:
    subject, text, html = words
    return LetterTemplate(
        event=event, language=language, version=version, subject=subject, text=text, html=html, actor=actor
    )


def _fields(event: Event) -> list[FieldView]:
    return [FieldView(name=name, shape=each.shape.value, about=each.about) for name, each in event.all_fields.items()]


def _view(event: Event, language: str, template: Template) -> TemplateView:
    words: dict[str, Any] = {"subject": template.subject, "text": template.text, "html": template.html}
    return TemplateView(event=event.name, language=language, version=template.version, fields=_fields(event), **words)
