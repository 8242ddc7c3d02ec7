"""How commands are called by callers: by the last part of their route."""

from __future__ import annotations

from typing import Final

# The kinds of `domain.messages` that people may send → the last part of their route.
ROUTES: Final = {
    "skip": "skip",
    "extend_trial": "extend-trial",
    "restart_trial": "restart-trial",
    "end_trial": "end-trial",
    "stop_trial": "stop-trial",
    "change_terms": "change",
    "change_date": "change-date",
    "force_bill": "force-bill",
    "charge_now": "charge",
    "pause": "pause",
    "resume": "resume",
    "cancel": "cancel",
    "undo_cancel": "undo-cancel",
    "restart": "restart",
    "grant_credit": "credit",
    "place_hold": "hold",
    "release_hold": "release-hold",
    "collect_now": "collect",
}

# The kinds of `domain.refund_messages`, and the modes of asking for one → the last part of their route.
REFUND_ROUTES: Final = {
    "approve": "approve",
    "decline": "decline",
    "try_now": "try-now",
    "use_method": "use-method",
    "take_out": "take-out",
    "void": "void",
    "refund": "refunds",
    "void_first": "give-back",
}

# The actions of `POST /v1/differences/{id}/resolve`.
DIFFERENCE_ACTIONS: Final = {"recheck": "recheck", "adopt": "adopt", "dismiss": "dismiss"}

# The commands of `domain.fulfilment`, and of `domain.price_moves` → the last part of their route.
FULFILMENT_ROUTES: Final = {
    "hand_off": "hand-off",
    "ship": "ship",
    "deliver": "deliver",
    "return": "return",
    "reship": "reship",
    "cancel": "cancel",
}
MOVE_ROUTES: Final = {"pause": "pause", "resume": "resume", "stop": "stop"}


def routes_of(kinds: tuple[str, ...]) -> list[str]:
    """The commands as callers know them."""
    names = ROUTES | REFUND_ROUTES | DIFFERENCE_ACTIONS | FULFILMENT_ROUTES | MOVE_ROUTES
    return [names[kind] for kind in kinds if kind in names]
