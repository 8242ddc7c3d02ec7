"""An offer: where it stands, how long it may, and that whatever it becomes has one id."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from domain.baskets import (
    ID_PREFIX,
    LIFE,
    LIFE_MAX,
    BasketStanding,
    expiry,
    order_id_of,
    press_of,
    refuse_unless_open,
    standing,
)
from domain.errors import InvalidInput, Refused
from domain.ids import derive
from tests.domain.stories import at

NOW = at("2026-03-02 10:00")
END = NOW + LIFE


@pytest.mark.parametrize(
    ("now", "withdrawn", "order", "stands"),
    [
        (NOW, None, None, BasketStanding.OPEN),
        (END - timedelta(seconds=1), None, None, BasketStanding.OPEN),
        (END, None, None, BasketStanding.EXPIRED),
        (END + timedelta(seconds=1), None, None, BasketStanding.EXPIRED),
        (NOW, NOW, None, BasketStanding.WITHDRAWN),
        (END, NOW, None, BasketStanding.WITHDRAWN),
        (NOW, None, "ord", BasketStanding.TAKEN),
        (END, NOW, "ord", BasketStanding.TAKEN),
    ],
)
def test_where_it_stands(now: datetime, withdrawn: datetime | None, order: str | None, stands: BasketStanding) -> None:
    assert standing(now, expires_at=END, withdrawn_at=withdrawn, order_id=order) is stands


def test_how_long_it_may_stand() -> None:
    assert expiry(None, NOW.replace(microsecond=5)) == NOW + timedelta(days=7)
    assert expiry(NOW + timedelta(seconds=1, microseconds=9), NOW) == NOW + timedelta(seconds=1)
    assert expiry(NOW + LIFE_MAX, NOW) == NOW + timedelta(days=90)
    for wanted in (
        NOW,
        NOW - timedelta(days=1),
        NOW + timedelta(microseconds=9),
        NOW + LIFE_MAX + timedelta(seconds=1),
    ):
        with pytest.raises(InvalidInput) as refused:
            expiry(wanted, NOW)
        assert refused.value.field == "expires_at"
        assert "90 days" in refused.value.message


def test_all_that_it_becomes_has_an_id_of_its_own() -> None:
    basket, other = derive(ID_PREFIX, "a"), derive(ID_PREFIX, "b")
    assert order_id_of(basket) == derive("ord", "basket", basket) != order_id_of(other)
    assert press_of(basket) == derive("cmd", "basket", basket) != press_of(other)
    assert (basket[:4], order_id_of(basket)[:4], press_of(basket)[:4]) == ("bsk_", "ord_", "cmd_")


def test_only_an_open_one_is_edited() -> None:
    refuse_unless_open(BasketStanding.OPEN)
    said = {}
    for stands in set(BasketStanding) - {BasketStanding.OPEN}:
        with pytest.raises(Refused) as refused:
            refuse_unless_open(stands)
        said[stands] = refused.value.code, refused.value.message
    assert said == {
        BasketStanding.TAKEN: ("basket_taken", "The customer has begun to pay this basket: see its order."),
        BasketStanding.EXPIRED: ("basket_expired", "This basket has expired; make a new one."),
        BasketStanding.WITHDRAWN: ("basket_withdrawn", "This basket was withdrawn; make a new one."),
    }
