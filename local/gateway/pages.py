"""The sandbox gateway's two pages for people: the hosted card form and the 3-D Secure question."""

from __future__ import annotations

from html import escape
from typing import Final

from local.gateway.books import Transaction

_FRAME: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 24rem; margin: 3rem auto; padding: 0 1rem; color: #1c2430 }}
label {{ display: block; margin: .8rem 0 }}
input {{ font: inherit; width: 100%; padding: .4rem; box-sizing: border-box }}
.row {{ display: flex; gap: 1rem }} button {{ font: inherit; padding: .5rem 1.2rem; margin: 1rem .5rem 0 0 }}
.error {{ color: #a4161a }} small {{ color: #5c6675 }}
</style></head><body><h1>{title}</h1>{body}<p><small>Sandbox gateway. No real money moves.</small></p></body></html>
"""


def card_form(return_url: str, error: str = "") -> str:
    """A form that keeps the number here and sends the browser back with a token."""
    told = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    return _FRAME.format(
        title="Your card",
        body=f"""{told}<form method="post" action="/form">
<input type="hidden" name="return_url" value="{escape(return_url)}">
<label>Card number <input name="number" inputmode="numeric" autocomplete="cc-number" required></label>
<div class="row"><label>Month <input name="exp_month" inputmode="numeric" autocomplete="cc-exp-month" required></label>
<label>Year <input name="exp_year" inputmode="numeric" autocomplete="cc-exp-year" required></label>
<label>CVC <input name="cvc" inputmode="numeric" autocomplete="cc-csc"></label></div>
<button>Save card</button></form>""",
    )


def action(transaction: Transaction, return_url: str | None = None) -> str:
    """The bank's question to its customer."""
    if transaction.state != "action_required":
        state = escape(transaction.state)
        back = f'<p><a href="{escape(return_url)}">Back to the shop</a></p>' if return_url else ""
        return _FRAME.format(title="Confirm payment", body=f"<p>Nothing to confirm: it is {state}.</p>{back}")
    return _FRAME.format(
        title="Confirm payment",
        body=f"""<p>{escape(transaction.description) or "A payment"}:
{transaction.amount} {escape(transaction.currency)} in minor units.</p>
<form method="post"><button name="outcome" value="approve">Approve</button>
<button name="outcome" value="decline">Decline</button></form>""",
    )
