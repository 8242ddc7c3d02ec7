"""What PostgreSQL remembers: tables by noun, and every read a screen needs."""

from models.access import ApiKey, IdempotencyRecord
from models.base import Base
from models.billing import (
    Attempt,
    BillingRun,
    BillingRunItem,
    Invoice,
    InvoiceLine,
    LedgerEntry,
    LedgerPosting,
    Message,
    Subscription,
    SubscriptionEvent,
)
from models.catalogue import DunningPolicy, Price, Product
from models.customers import Address, Customer, CustomerChange, PaymentMethod
from models.imports import Import, ImportRow

__all__ = [
    "Address",
    "ApiKey",
    "Attempt",
    "Base",
    "BillingRun",
    "BillingRunItem",
    "Customer",
    "CustomerChange",
    "DunningPolicy",
    "IdempotencyRecord",
    "Import",
    "ImportRow",
    "Invoice",
    "InvoiceLine",
    "LedgerEntry",
    "LedgerPosting",
    "Message",
    "PaymentMethod",
    "Price",
    "Product",
    "Subscription",
    "SubscriptionEvent",
]
