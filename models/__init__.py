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
from models.card_life import CardChange, CardFeed, CardNotice
from models.catalogue import DunningPolicy, Price, Product
from models.contact import PhoneCall, StaffLetter
from models.credits import CreditTransfer, Voucher, VoucherMovement
from models.customers import Address, Customer, CustomerChange, PaymentMethod
from models.discounts import Coupon, CustomerDiscount, PromotionCode, Redemption, TaxRateRow, TaxRun
from models.disputes import BlacklistEntry, Dispute, GatewayEvent
from models.documents import Document
from models.fulfilment import Fulfilment, FulfilmentBatch, FulfilmentEvent
from models.imports import Import, ImportRow
from models.letters import LetterTemplate, ReceivedMail
from models.links import CustomerLink
from models.logins import CustomerLogin, LoginPlace
from models.logs import AccessLine, ActivityLine
from models.merges import Merge, MergeMove
from models.orders import Basket, Order, OrderCustomValue, OrderEvent, OrderLine
from models.people import Person, PersonSession, RecoveryCode, SignInPlace, SignInThrottle
from models.price_moves import PriceMove, PriceMoveItem
from models.refunds import CreditNote, Refund, RefundEvent, RefundTry
from models.relations import Note, NoteVersion, PointMovement, Review
from models.search import CustomerSearch, CustomField, CustomValue, Segment, search_words
from models.settlement import Difference, ReportedTransaction, SettlementLine, SettlementRun
from models.tasks import BusinessPolicy, BusinessPolicyChange, Task

__all__ = [
    "AccessLine",
    "ActivityLine",
    "Address",
    "ApiKey",
    "Attempt",
    "Base",
    "Basket",
    "BillingRun",
    "BillingRunItem",
    "BlacklistEntry",
    "BusinessPolicy",
    "BusinessPolicyChange",
    "CardChange",
    "CardFeed",
    "CardNotice",
    "Coupon",
    "CreditNote",
    "CreditTransfer",
    "CustomField",
    "CustomValue",
    "Customer",
    "CustomerChange",
    "CustomerDiscount",
    "CustomerLink",
    "CustomerLogin",
    "CustomerSearch",
    "Difference",
    "Dispute",
    "Document",
    "DunningPolicy",
    "Fulfilment",
    "FulfilmentBatch",
    "FulfilmentEvent",
    "GatewayEvent",
    "IdempotencyRecord",
    "Import",
    "ImportRow",
    "Invoice",
    "InvoiceLine",
    "LedgerEntry",
    "LedgerPosting",
    "LetterTemplate",
    "LoginPlace",
    "Merge",
    "MergeMove",
    "Message",
    "Note",
    "NoteVersion",
    "Order",
    "OrderCustomValue",
    "OrderEvent",
    "OrderLine",
    "PaymentMethod",
    "Person",
    "PersonSession",
    "PhoneCall",
    "PointMovement",
    "Price",
    "PriceMove",
    "PriceMoveItem",
    "Product",
    "PromotionCode",
    "ReceivedMail",
    "RecoveryCode",
    "Redemption",
    "Refund",
    "RefundEvent",
    "RefundTry",
    "ReportedTransaction",
    "Review",
    "Segment",
    "SettlementLine",
    "SettlementRun",
    "SignInPlace",
    "SignInThrottle",
    "StaffLetter",
    "Subscription",
    "SubscriptionEvent",
    "Task",
    "TaxRateRow",
    "TaxRun",
    "Voucher",
    "VoucherMovement",
    "search_words",
]
