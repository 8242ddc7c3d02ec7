"""Links in the wrong hands: made up, changed, of another kind, ended, from elsewhere; and what a page gives away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.ids import derive
from domain.links import Link, LinkKind, LinkMaker
from tests.api.conftest import KEYS, Caller
from tests.portal.browser import Browser, Page
from tests.portal.test_pay import link_of, overdue
from tests.stack_fixtures import Shop

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]


def maker(shop: Shop) -> LinkMaker:
    settings = shop.stack.settings
    return LinkMaker.from_setting(settings.secret_key or "", shop.stack.api_url)


async def made(shop: Shop, kind: LinkKind, subject: str, customer: str | None = None, days: int = 1) -> Link:
    """A link straight into the books."""
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    link = Link(derive("lnk", f"attack {next(KEYS)}"), kind, subject, ends)
    await shop.execute(
        "INSERT INTO links (id, kind, subject_id, customer_id, created_by, expires_at)"
        " VALUES (:id, :kind, :subject, :customer, 'test', :ends)",
        id=link.id,
        kind=kind.value,
        subject=subject,
        customer=customer,
        ends=ends,
    )
    return link


def without_headers(page: Page) -> tuple[int, str]:
    return page.status, page.html


async def test_made_up_changed_and_misshapen_are_one_answer(shop: Shop, agent: Caller, browser: Browser) -> None:
    _, _, invoice = await overdue(shop)
    url = await link_of(agent, invoice)
    last = "A" if url[-1] != "A" else "B"
    never = maker(shop).url(
        Link(derive("lnk", "never"), LinkKind.PAY_INVOICE, invoice, datetime(2090, 1, 1, tzinfo=UTC))
    )
    base = url.rpartition("/")[0]
    wrong = [
        f"{url[:-1]}{last}",
        f"{base}/{'A' if url[-40] != 'A' else 'B'}{url[-39:]}",
        never,
        url[:-1],
        f"{url}A",
        f"{base}/x",
        f"{base}/%00",
        f"{base}/{'é' * 40}",
        f"{base}/%2e%2e%2fv1%2fcustomers",
        f"{url}/nothing",
        f"{url}/pay",
        f"{url}/pay/more",
    ]
    pages = [await browser.open(each) for each in wrong]
    assert {without_headers(page) for page in pages} == {without_headers(pages[0])}
    assert pages[0].status == 404
    assert "This link does not work" in pages[0].text
    assert (await browser.open(url)).status == 200


async def test_a_token_is_worth_nothing_once_its_row_says_something_else(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    """Whoever can write to the table alone can send nobody to another invoice, nor prolong a link."""
    _, _, invoice = await overdue(shop)
    _, _, other = await overdue(shop)
    for change in ("subject_id = :other", "kind = 'update_card'", "expires_at = expires_at + interval '1 year'"):
        url = await link_of(agent, invoice)
        row = "id = (SELECT id FROM links WHERE subject_id = :invoice ORDER BY created_at DESC LIMIT 1)"
        await shop.execute(f"UPDATE links SET {change} WHERE {row} AND :other <> ''", invoice=invoice, other=other)  # noqa: S608
        assert (await browser.open(url)).status == 404, change


async def test_a_link_of_one_kind_takes_no_step_of_another(shop: Shop, agent: Caller, browser: Browser) -> None:
    sub, customer, invoice = await overdue(shop)
    pays = await link_of(agent, invoice)
    basket = maker(shop).url(await made(shop, LinkKind.BASKET, invoice))
    before = await shop.attempts(sub)
    (method,) = await shop.rows("SELECT id FROM payment_methods WHERE customer_id = :id", id=customer)
    form = {"method": method["id"], "seen": "1"}
    assert (await browser.send("POST", f"{basket}/pay", form, {})).status == 404
    assert (await browser.send("POST", f"{pays}/keep", form, {})).status == 404
    nothing = maker(shop).url(await made(shop, LinkKind.PAY_INVOICE, customer))
    assert (await browser.open(nothing)).status == 404, "a subject that is no invoice"
    assert await shop.attempts(sub) == before


async def test_another_customers_card_is_not_taken(shop: Shop, agent: Caller, browser: Browser) -> None:
    sub, _, invoice = await overdue(shop)
    other = await shop.customer("tok_ok_visa")
    url = await link_of(agent, invoice)
    before = await shop.attempts(sub)
    (theirs,) = await shop.rows("SELECT id, token FROM payment_methods WHERE customer_id = :id", id=other)
    assert (await browser.send("POST", f"{url}/pay", {"method": theirs["id"], "seen": "1"}, {})).status == 422
    shown = await browser.open(f"{url}/card?token={theirs['token']}")
    assert (shown.status, "ending in" in shown.text) == (409, False)
    taken = await browser.send("POST", f"{url}/card", {"token": theirs["token"], "seen": "1"}, {})
    assert taken.status == 409
    assert await shop.attempts(sub) == before


async def test_expired_and_revoked_are_told_to_who_holds_a_true_link(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    _, customer, invoice = await overdue(shop)
    link = await agent.made(f"/v1/invoices/{invoice}/payment-link", {})
    page = await browser.open(link["url"])
    revoked = await agent.post(f"/v1/links/{link['id']}/revoke")
    assert (revoked.status_code, revoked.json()["standing"]) == (200, "revoked")
    for ended in (await browser.open(link["url"]), await browser.press(page)):
        assert (ended.status, "This link is no longer valid" in ended.text) == (410, True)
        assert "$" not in ended.text
    old = maker(shop).url(await made(shop, LinkKind.PAY_INVOICE, invoice, customer, days=-1))
    expired = await browser.open(old)
    assert (expired.status, "This link has expired" in expired.text) == (410, True)
    standings = [row["standing"] for row in (await agent.get(f"/v1/customers/{customer}/links")).json()["items"]]
    assert sorted(standings) == ["expired", "open", "revoked"], "and the one of the letter"


async def test_names_are_text_and_never_markup(shop: Shop, agent: Caller, browser: Browser) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    _, customer, invoice = await overdue(shop, product_name=evil)
    seller = {"name": evil[:80], "address": ['"><b>Road</b>'], "email": "billing@example.com"}
    (await agent.put("/v1/rules/seller", seller)).raise_for_status()
    await shop.execute(
        "UPDATE payment_methods SET brand = :evil, last4 = '<b>1' WHERE customer_id = :id", evil=evil, id=customer
    )
    page = await browser.open(await link_of(agent, invoice))
    assert page.status == 200
    assert "&lt;script&gt;alert(1)" in page.html
    assert not any(tag in page.html for tag in ("<script", "<img", "<b>"))
    (await agent.put("/v1/rules/seller", {"name": "Example Boxes"})).raise_for_status()
    assert "Example Boxes" in (await browser.open(page.url)).text


async def test_a_form_from_another_site_does_nothing(shop: Shop, agent: Caller, browser: Browser) -> None:
    sub, _, invoice = await overdue(shop)
    url = await link_of(agent, invoice)
    fields = (await browser.open(url)).form.fields
    before = await shop.attempts(sub)
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ):
        refused = await browser.send("POST", f"{url}/pay", fields, headers)
        assert (refused.status, "Nothing was done." in refused.text) == (403, True)
    for bad in ({"method": "x" * 5000}, {}, {"seen": "1"}, fields | {"seen": "-1"}, fields | {"seen": "a\x07"}):
        assert (await browser.send("POST", f"{url}/pay", bad, {})).status == 422
    assert await shop.attempts(sub) == before


async def test_every_page_has_its_headers_and_loads_nothing_from_elsewhere(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    _, _, invoice = await overdue(shop)
    url = await link_of(agent, invoice)
    for page in (await browser.open(url), await browser.open(f"{url}A"), await browser.open(f"{url}/card")):
        headers = page.headers
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'; form-action 'self'")
        assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "same-origin")
        assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")
        assert "set-cookie" not in headers
        assert "<script" not in page.html
        assert 'href="/link/static/portal.css"' in page.html
    style = await browser.open(f"{shop.stack.api_url}/link/static/portal.css")
    assert style.status == 200
    assert "url(" not in style.html
    assert "@import" not in style.html
    other = await browser.open(f"{shop.stack.api_url}/link/static/../app.py")
    assert other.status == 404


async def test_who_tries_address_after_address_has_to_wait(
    shop: Shop, browser: Browser, other_browser: Browser
) -> None:
    url = f"{shop.stack.api_url}/link/{'A' * 40}"
    pages = [await browser.send("GET", url, None, {}) for _ in range(90)]
    held = [page for page in pages if page.status == 429]
    assert {page.status for page in pages} == {404, 429}
    assert int(held[0].headers["retry-after"]) >= 1
    assert "content-security-policy" in held[0].headers
    assert (await other_browser.open(url)).status == 404, "nobody else waits for it"
