"""Which fulfilment provider the settings mean: the one behind a webhook, or files."""

from __future__ import annotations

from providers.fulfilment.base import FulfilmentProvider
from providers.fulfilment.csv import CsvProvider
from providers.fulfilment.webhook import WebhookProvider


def open_provider(url: str | None, secret: str | None, *, timeout_s: float) -> FulfilmentProvider:
    """The provider at that address; without one, what is to be shipped is fetched as files."""
    if url is None or secret is None:
        return CsvProvider()
    return WebhookProvider(url, secret, timeout_s=timeout_s)
