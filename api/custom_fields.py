"""Custom fields: defined by an admin, their values typed and logged; a changed definition loses no value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from api.context import CallerDep, OnceDep, ServicesDep
from api.customers import CustomerId
from api.fields import Body, Identifier, Instant, Name, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import add_once, found, replace_fields
from domain.custom_fields import CHOICES_MAX, FIELDS_MAX, Definition, FieldType, Value, broken_rule, changed_values
from domain.custom_fields import check_definition as check
from domain.errors import Refused
from models import CustomerChange, CustomField, CustomValue, OrderCustomValue
from models.queries_custom import FIELDS, count_fields, definition_of, field, fields, fields_of, values_of
from models.queries_customers import customer
from models.session import database_now

router = noun("custom fields")
FieldId = Annotated[Identifier, Path(description="Id of the custom field")]
Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Subject = Literal["customer", "order"]
TypeName = Literal["text", "number", "date", "choice", "yes_no"]
Choices = Annotated[list[Name], Field(max_length=CHOICES_MAX)]
Values = Annotated[dict[str, Any], Field(max_length=FIELDS_MAX)]

CUSTOMER: Final = "customer"


class CustomFieldNew(Body):
    """A field to be. `key` names it for programs and never changes; `choices` are for the type choice."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"key": "shoe_size", "label": "Shoe size", "type": "number"},
                {"key": "plan", "label": "Wanted plan", "type": "choice", "choices": ["small", "large"]},
            ]
        }
    )

    subject: Subject = "customer"
    key: Key
    label: Name
    type: TypeName
    choices: Choices = Field(default_factory=list)
    required: bool = False


class CustomFieldPatch(Body):
    """What to change. Values that do not fit any more stay, and are shown as such."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"choices": ["small", "large", "huge"]}]})

    label: Name | None = None
    type: TypeName | None = None
    choices: Choices | None = None
    required: bool | None = None


class CustomFieldView(View):
    """A custom field as it is defined."""

    id: str
    subject: str
    key: str
    label: str
    type: str
    choices: list[str]
    required: bool
    created_at: Instant
    updated_at: Instant
    archived_at: Instant | None


class CustomFieldQuery(PageQuery):
    """Which fields: those in use unless `archived`."""

    subject: Subject | None = None
    archived: bool = False


class CustomValuesPatch(Body):
    """Key → value; null removes it. What is not named stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"values": {"shoe_size": 43, "plan": "large"}}]})

    values: Values


class CustomValueView(BaseModel):
    """A field and what this customer has in it; null is nothing. `rule` is what a value breaks that no longer fits."""

    field_id: str
    key: str
    label: str
    type: str
    value: str | int | float | bool | None
    fits: bool
    rule: str | None
    archived: bool


class CustomValuesView(BaseModel):
    """All custom fields of customers with this one's values."""

    customer_id: str
    items: list[CustomValueView]


@router.post("/custom-fields", status_code=201)
async def create_custom_field(body: CustomFieldNew, services: ServicesDep, once: OnceDep) -> CustomFieldView:
    """Define a custom field. A key is taken for good, also when its field is archived."""
    check(Definition(body.key, FieldType(body.type), tuple(body.choices)))
    async with services.database.session() as session:
        if await count_fields(session, body.subject) >= FIELDS_MAX:
            raise Refused(
                "too_many_custom_fields", f"There are {FIELDS_MAX} custom fields already, the most there may be."
            )
        row = await add_once(session, CustomField(id=once.id("cf"), **body.model_dump()))
        return CustomFieldView.model_validate(row)


@router.get("/custom-fields")
async def list_custom_fields(
    services: ServicesDep, query: Annotated[CustomFieldQuery, Query()]
) -> Listed[CustomFieldView]:
    """List custom fields, oldest first."""
    async with services.database.session() as session:
        rows = await fields(
            session, subject=query.subject, archived=query.archived, after=query.after(FIELDS), limit=query.limit
        )
        return listed(rows, FIELDS, CustomFieldView.model_validate)


@router.get("/custom-fields/{field_id}")
async def get_custom_field(field_id: FieldId, services: ServicesDep) -> CustomFieldView:
    """Read one custom field."""
    async with services.database.session() as session:
        return CustomFieldView.model_validate(found(await field(session, field_id), "custom field"))


@router.patch("/custom-fields/{field_id}")
async def change_custom_field(field_id: FieldId, body: CustomFieldPatch, services: ServicesDep) -> CustomFieldView:
    """Change a definition. No value is lost: one that does not fit any more is kept and shown as such."""
    async with services.database.session() as session:
        row = found(await field(session, field_id, lock=True), "custom field")
        wanted = {name: value for name, value in body.model_dump(exclude_unset=True).items() if value is not None}
        if wanted.get("type", row.type) != FieldType.CHOICE and "choices" not in wanted:
            wanted["choices"] = []
        after = {"type": row.type, "choices": row.choices} | wanted
        check(Definition(row.key, FieldType(after["type"]), tuple(after["choices"])))
        if replace_fields(row, wanted):
            await session.flush()
            await session.refresh(row)
        return CustomFieldView.model_validate(row)


@router.delete("/custom-fields/{field_id}", status_code=204)
async def archive_custom_field(field_id: FieldId, services: ServicesDep) -> Response:
    """Take a field out of use. It takes no new values; those that are there stay, and `restore` brings it back."""
    async with services.database.session() as session:
        row = found(await field(session, field_id, lock=True), "custom field")
        if row.archived_at is None:
            row.archived_at = await database_now(session)
    return Response(status_code=204)


@router.post("/custom-fields/{field_id}/restore")
async def restore_custom_field(field_id: FieldId, services: ServicesDep) -> CustomFieldView:
    """Take an archived field into use again, with all its values."""
    async with services.database.session() as session:
        row = found(await field(session, field_id, lock=True), "custom field")
        if replace_fields(row, {"archived_at": None}):
            await session.flush()
            await session.refresh(row)
        return CustomFieldView.model_validate(row)


@router.get("/customers/{customer_id}/custom-fields")
async def get_custom_values(customer_id: CustomerId, services: ServicesDep) -> CustomValuesView:
    """All custom fields of a customer with their values, also of archived fields that have one."""
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        return await _shown(session, customer_id)


@router.patch("/customers/{customer_id}/custom-fields")
async def change_custom_values(
    customer_id: CustomerId, body: CustomValuesPatch, services: ServicesDep, caller: CallerDep
) -> CustomValuesView:
    """Set or remove values of custom fields. Each change is logged with old and new value."""
    async with services.database.session() as session:
        row = found(await customer(session, customer_id, lock=True), "customer")
        defined = {each.key: each for each in await fields_of(session, CUSTOMER)}
        held = {own.key: value.value for own, value in await values_of(session, row.id) if value is not None}
        definitions = {key: definition_of(each) for key, each in defined.items()}
        changed = changed_values(definitions, held, body.values)
        by_id = {defined[key].id: value for key, value in changed.items()}
        await put_values(session, CustomValue, CustomValue.customer_id, row.id, by_id)
        session.add_all(
            CustomerChange(
                customer_id=row.id,
                actor=caller.name,
                field=f"custom.{key}",
                old=logged(held.get(key)),
                new=logged(value),
            )
            for key, value in changed.items()
        )
        await session.flush()
        return await _shown(session, row.id)


async def put_values(
    session: AsyncSession,
    table: type[CustomValue | OrderCustomValue],
    owner: InstrumentedAttribute[str],
    owner_id: str,
    changed: Mapping[str, Value | None],
) -> None:
    """Field id → value, None to remove it; one statement each way, so that the search is brought up to date once.

    `owner` is the column of `table` that says whose value it is.
    """
    kept = {field_id: value for field_id, value in changed.items() if value is not None}
    if gone := changed.keys() - kept.keys():
        await session.execute(delete(table).where(owner == owner_id, table.field_id.in_(sorted(gone))))
    if kept:
        new = insert(table).values([{owner.key: owner_id, "field_id": each, "value": kept[each]} for each in kept])
        await session.execute(
            new.on_conflict_do_update(
                index_elements=[owner.key, "field_id"],
                set_={"value": new.excluded.value, "updated_at": await database_now(session)},
            )
        )


async def _shown(session: AsyncSession, customer_id: str) -> CustomValuesView:
    return CustomValuesView(customer_id=customer_id, items=_items(await values_of(session, customer_id)))


def _items(values: Sequence[tuple[CustomField, CustomValue | None]]) -> list[CustomValueView]:
    return [item_of(own, None if value is None else value.value) for own, value in values]


def item_of(own: CustomField, value: Value | None) -> CustomValueView:
    """A field with a value of it, and whether the value fits it still."""
    rule = None if value is None else broken_rule(definition_of(own), value)
    return CustomValueView(
        field_id=own.id,
        key=own.key,
        label=own.label,
        type=own.type,
        value=value,
        fits=rule is None,
        rule=rule,
        archived=own.archived_at is not None,
    )


def logged(value: Value | None) -> str | None:
    """A value as a line of the log has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return None if value is None else str(value)
