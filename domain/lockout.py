"""When the next try to sign in is heard: guessing becomes slow, and nobody can lock somebody else out.

Two counts of wrong tries are kept, each forgotten after a quiet time:

* of a login from one *place*: a few are free, then each must wait twice as long as the one before, up to
  `PAIR_WAIT_MAX`. A place is a device that has signed in before and shows its token, else the address (an IPv6
  address counts by its /64, which one household has to itself).
* of a login from everywhere: many are free, then one try in `LOGIN_WAIT` is heard. It stops those who guess from
  many addresses, and it is not asked of a *known* place, from which this login has signed in before.

So whoever guesses at somebody's login makes others wait who come from the same address without a token, or for a
minute those on a new device; the owner on a known one, with the right password, is never refused for it. There is
no state in which a login is closed.

A try is counted as wrong before it is looked at and taken off when it was right: a hundred tries at once are not
one try.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

PAIR_FREE: Final = 5
PAIR_WAIT_FIRST: Final = timedelta(seconds=2)
PAIR_WAIT_MAX: Final = timedelta(minutes=15)
PAIR_FORGOTTEN_AFTER: Final = timedelta(hours=24)
LOGIN_FREE: Final = 20
LOGIN_WAIT: Final = timedelta(minutes=1)
LOGIN_FORGOTTEN_AFTER: Final = timedelta(hours=1)
KNOWN_FOR: Final = timedelta(days=90)
IPV6_NETWORK_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class Count:
    """Wrong tries, those under way included, and when the last one that was heard came."""

    tries: int = 0
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """The try is looked at. `pair` and `login` are the counts to keep meanwhile."""

    pair: Count
    login: Count


@dataclass(frozen=True, slots=True)
class Waits:
    """The try is not looked at and not counted; after `wait` one is."""

    wait: timedelta


def place_of(address: str, device: str | None) -> str:
    """Where a try comes from: `device:…` where it showed a token of the login's, else its address.

    What is no IP address (a test's client, a Unix socket) counts as it is written.
    """
    if device is not None:
        return f"device:{device}"
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return f"address:{address}"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return f"address:{found.ipv4_mapped}"
        return f"address:{ipaddress.ip_network((int(found), IPV6_NETWORK_BITS), strict=False)}"
    return f"address:{found}"


def hear(pair: Count, login: Count, *, known: bool, now: datetime) -> Heard | Waits:
    """Whether a try is looked at now. `known`: the login has signed in from this place within `KNOWN_FOR`."""
    pair = _remembered(pair, PAIR_FORGOTTEN_AFTER, now)
    login = _remembered(login, LOGIN_FORGOTTEN_AFTER, now)
    wait = _left(pair, _pair_wait(pair.tries), now)
    if not known:
        wait = max(wait, _left(login, LOGIN_WAIT if login.tries >= LOGIN_FREE else timedelta(0), now))
    if wait > timedelta(0):
        return Waits(wait)
    # What known places get wrong is none of the guessing from everywhere.
    return Heard(Count(pair.tries + 1, now), login if known else Count(login.tries + 1, now))


def was_right(login: Count, *, known: bool) -> Count:
    """The count of the login after a right try: only that try is taken off, for others may be guessing still."""
    return login if known else Count(max(login.tries - 1, 0), login.last_at)


def _remembered(count: Count, after: timedelta, now: datetime) -> Count:
    return Count() if count.last_at is None or now - count.last_at >= after else count


def _pair_wait(tries: int) -> timedelta:
    over = tries - PAIR_FREE
    if over < 0:
        return timedelta(0)
    # A power beyond the maximum says nothing more, and grows without end.
    doublings = min(over, 20)
    return min(PAIR_WAIT_FIRST * 2**doublings, PAIR_WAIT_MAX)


def _left(count: Count, wait: timedelta, now: datetime) -> timedelta:
    """What is left of a wait. Without one there is none, though of two tries at once the later may look earlier."""
    if count.last_at is None or wait == timedelta(0):
        return timedelta(0)
    return count.last_at + wait - now
