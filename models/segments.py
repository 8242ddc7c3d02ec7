"""How a filter of `domain.segments` becomes SQL: one condition on `customers`, every value a bound parameter.

Whatever reads customers may add `condition(filter)` to its `where`: lists, exports, reports, commands on many.
No condition is ever NULL, so that `not` means what it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from operator import eq, ge, gt, le, lt
from types import MappingProxyType
from typing import Any, Final, assert_never

from sqlalchemy import (
    ColumnElement,
    Numeric,
    String,
    Text,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    text,
    true,
)

from domain.segments import CUSTOM, Every, Filter, HasSubscription, Kind, Not, Op, Rule, Some
from models.billing import Invoice, Subscription
from models.customers import Address, Customer
from models.search import CustomField, CustomValue

Condition = ColumnElement[bool]

_COMPARE: Final[Mapping[Op, Any]] = MappingProxyType({Op.EQ: eq, Op.LT: lt, Op.LE: le, Op.GT: gt, Op.GE: ge})
_DATE: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_TEXT: Final[Any] = CustomValue.value.op("#>>", return_type=Text())(text("'{}'"))
_JSON_TYPE: Final[Mapping[Kind, str]] = MappingProxyType(
    {Kind.TEXT: "string", Kind.DATE: "string", Kind.NUMBER: "number", Kind.YES_NO: "boolean"}
)

# What a customer owes now: open invoices in their own currency. An invoice is due when it is issued.
_OVERDUE: Final = (
    select(func.coalesce(func.sum(Invoice.amount_due), 0))
    .where(
        Invoice.customer_id == Customer.id,
        Invoice.status == "open",
        Invoice.test_mode.is_(False),
        Invoice.currency == Customer.currency,
    )
    .correlate(Customer)
    .scalar_subquery()
)


def condition(wanted: Filter) -> Condition:
    """True for the rows of `customers` that the filter means; never for one that was merged."""
    return and_(Customer.merged_into.is_(None), _compiled(wanted, Customer))


def _compiled(wanted: Filter, table: type[Customer | Subscription]) -> Condition:
    match wanted:
        case Every(parts):
            return and_(true(), *(_compiled(each, table) for each in parts))
        case Some(parts):
            return or_(false(), *(_compiled(each, table) for each in parts))
        case Not(part):
            return not_(_compiled(part, table))
        case HasSubscription(part):
            of_customer = Subscription.customer_id == Customer.id
            return _there_is(
                Subscription, of_customer, Subscription.test_mode.is_(False), _compiled(part, Subscription)
            )
        case Rule():
            return _rule(wanted, table)
        case _:
            assert_never(wanted)


def _rule(rule: Rule, table: type[Customer | Subscription]) -> Condition:
    if rule.op is Op.NE:
        return not_(_rule(Rule(rule.field, rule.kind, Op.EQ, rule.value), table))
    if rule.op is Op.IS_SET and rule.value is False:
        return not_(_rule(Rule(rule.field, rule.kind, Op.IS_SET, value=True), table))
    if rule.field.startswith(CUSTOM):
        return _custom(rule)
    if rule.field == "tags":
        return _tags(rule)
    if rule.field == "country":
        return _country(rule)
    column: Any = _OVERDUE if rule.field == "overdue" else getattr(table, rule.field)
    return func.coalesce(_asked(rule, column), false())


def _there_is(table: type[Any], *conditions: Condition) -> Condition:
    """Of the customer alone: a query that reads the same table outside asks for its own rows there."""
    return exists(select(literal(1)).select_from(table).where(*conditions).correlate(Customer))


def _asked(rule: Rule, column: Any) -> Condition:
    """A rule over one value, which may be NULL."""
    if rule.op is Op.IS_SET:
        return and_(column.is_not(None), column != "") if rule.kind is Kind.TEXT else column.is_not(None)
    if rule.field == "email":
        column = func.lower(column)
    values = [_bound(rule, each) for each in (rule.value if isinstance(rule.value, tuple) else (rule.value,))]
    match rule.op:
        case Op.IN:
            return column.in_(values)
        case Op.CONTAINS:
            return func.strpos(func.lower(column), func.lower(values[0])) > 0
        case Op.STARTS_WITH:
            return func.starts_with(func.lower(column), func.lower(values[0]))
        case _:
            return _COMPARE[rule.op](column, values[0])


def _bound(rule: Rule, value: Any) -> Any:
    if rule.kind is Kind.NUMBER:
        return literal(Decimal(str(value)), Numeric())
    if rule.kind is Kind.YES_NO:
        return literal("true" if value else "false", String())
    return func.lower(value) if rule.field == "email" else literal(value)


def _custom(rule: Rule) -> Condition:
    """A value that does not fit its field any more counts as none."""
    value: Any = _TEXT
    fits = func.jsonb_typeof(CustomValue.value) == _JSON_TYPE[rule.kind]
    if rule.kind is Kind.NUMBER:
        value = case((fits, cast(_TEXT, Numeric())))  # the cast must not meet a text that stands there
    elif rule.kind is Kind.DATE:
        fits = and_(fits, _TEXT.regexp_match(_DATE))
        value = _TEXT.collate("C")
    return _there_is(
        CustomValue,
        CustomValue.customer_id == Customer.id,
        CustomValue.field_id == CustomField.id,
        CustomField.subject == "customer",
        CustomField.key == rule.field.removeprefix(CUSTOM),
        fits,
        _asked(rule, value),
    )


def _wanted(rule: Rule) -> tuple[Any, ...]:
    return rule.value if isinstance(rule.value, tuple) else (rule.value,)


def _tags(rule: Rule) -> Condition:
    match rule.op:
        case Op.IS_SET:
            return func.jsonb_array_length(Customer.tags) > 0
        case Op.HAS_ANY:
            return or_(*(Customer.tags.contains([each]) for each in _wanted(rule)))
        case _:
            return Customer.tags.contains(list(_wanted(rule)))


def _country(rule: Rule) -> Condition:
    def lives_in(*countries: Any) -> Condition:
        return _there_is(Address, Address.customer_id == Customer.id, Address.country.in_(countries))

    match rule.op:
        case Op.IS_SET:
            return _there_is(Address, Address.customer_id == Customer.id)
        case Op.HAS_ALL:
            return and_(*(lives_in(each) for each in _wanted(rule)))
        case _:
            return lives_in(*_wanted(rule))
