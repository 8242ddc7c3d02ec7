"""The words on documents, by language. What is in none of them is written in English."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Words:
    """One language's words on an invoice."""

    invoice: str
    number: str
    date: str
    due: str
    bill_to: str
    subscription: str
    order: str
    tax_id: str
    description: str
    quantity: str
    unit_price: str
    amount: str
    net: str
    tax: str
    reverse_charge: str
    exempt: str
    total: str
    credit: str
    paid: str
    balance: str
    note: str
    test: str
    page: str


ENGLISH: Final = Words(
    invoice="Invoice",
    number="Invoice number",
    date="Invoice date",
    due="Due",
    bill_to="Bill to",
    subscription="Subscription",
    order="Order",
    tax_id="Tax number",
    description="Description",
    quantity="Quantity",
    unit_price="Unit price",
    amount="Amount",
    net="Net",
    tax="Tax {rate} on {net}",
    reverse_charge="Reverse charge: the customer owes the tax.",
    exempt="Exempt from tax.",
    total="Total",
    credit="Credit used",
    paid="Paid on {date}",
    balance="Left to pay",
    note="Credit note {number} of {date}",
    test="Test: not a real invoice",
    page="Page",
)
WORDS: Final[Mapping[str, Words]] = MappingProxyType(
    {
        "en": ENGLISH,
        "de": Words(
            invoice="Rechnung",
            number="Rechnungsnummer",
            date="Rechnungsdatum",
            due="Fällig",
            bill_to="Rechnung an",
            subscription="Abonnement",
            order="Bestellung",
            tax_id="USt-IdNr.",
            description="Beschreibung",
            quantity="Menge",
            unit_price="Einzelpreis",
            amount="Betrag",
            net="Netto",
            tax="USt. {rate} auf {net}",
            reverse_charge="Steuerschuldnerschaft des Leistungsempfängers (Reverse-Charge-Verfahren).",
            exempt="Von der Umsatzsteuer befreit.",
            total="Gesamtbetrag",
            credit="Verrechnetes Guthaben",
            paid="Bezahlt am {date}",
            balance="Offener Betrag",
            note="Gutschrift {number} vom {date}",
            test="Test: keine echte Rechnung",
            page="Seite",
        ),
        "fr": Words(
            invoice="Facture",
            number="Numéro de facture",
            date="Date de facture",
            due="Échéance",
            bill_to="Facturé à",
            subscription="Abonnement",
            order="Commande",
            tax_id="Numéro de TVA",
            description="Description",
            quantity="Quantité",
            unit_price="Prix unitaire",
            amount="Montant",
            net="Total HT",
            tax="TVA {rate} sur {net}",
            reverse_charge="Autoliquidation : la TVA est due par le preneur.",
            exempt="Exonéré de TVA.",
            total="Total",
            credit="Avoir utilisé",
            paid="Payé le {date}",
            balance="Reste à payer",
            note="Avoir {number} du {date}",
            test="Test : facture fictive",
            page="Page",
        ),
        "es": Words(
            invoice="Factura",
            number="Número de factura",
            date="Fecha de factura",
            due="Vencimiento",
            bill_to="Facturar a",
            subscription="Suscripción",
            order="Pedido",
            tax_id="NIF/IVA",
            description="Descripción",
            quantity="Cantidad",
            unit_price="Precio unitario",
            amount="Importe",
            net="Base imponible",
            tax="IVA {rate} sobre {net}",
            reverse_charge="Inversión del sujeto pasivo: el destinatario debe el impuesto.",
            exempt="Exento de impuestos.",
            total="Total",
            credit="Saldo aplicado",
            paid="Pagado el {date}",
            balance="Pendiente de pago",
            note="Nota de crédito {number} del {date}",
            test="Prueba: no es una factura real",
            page="Página",
        ),
    }
)
