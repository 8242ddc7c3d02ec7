"""The one written form of what customers are reached and taxed by: phone numbers (ITU-T E.164) and tax ids."""

from __future__ import annotations

import re
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat
from stdnum.eu import vat as eu_vat
from stdnum.exceptions import ValidationError
from stdnum.util import get_cc_module

from domain.errors import InvalidInput
from domain.places import COUNTRIES

REVERSE_CHARGE: Final = "reverse_charge"

# Prefixes of the European Union's VAT numbers that are no country's code.
_EU_ONLY: Final = frozenset({"EL", "XI"})
_PREFIXED: Final = re.compile(r"([A-Z]{2})[A-Z0-9]*[0-9][A-Z0-9]*", re.ASCII)


def phone_written(phone: str) -> str:
    """`+` and digits, at most 15; empty stays empty. Raises `InvalidInput` for a number without its country code."""
    text = phone.strip()
    if not text:
        return ""
    if text.startswith("00"):
        text = f"+{text[2:]}"
    if not text.startswith("+"):
        raise InvalidInput("phone", "must begin with + and the country code, such as +49 30 901820")
    try:
        number = phonenumbers.parse(text, None)
    except NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        raise InvalidInput("phone", "must be a phone number that can exist in its country")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def tel_link(phone: str) -> str | None:
    """What a telephone can dial (RFC 3966); None for a number that nobody can tell the country of."""
    try:
        number = phone_written(phone)
    except InvalidInput:
        return None
    return f"tel:{number}" if number else None


def tax_id_written(tax_id: str, tax_status: str) -> str | None:
    """A tax id as it is kept: VAT numbers compact and with their country in front, such as `DE136695976`.

    With reverse charge it must be a VAT number whose check digits are right. Else it may be something that no rule is
    known for (a certificate of exemption), kept as it was written. Raises `InvalidInput` naming `tax_id`.
    """
    text = tax_id.strip()
    if not text:
        if tax_status == REVERSE_CHARGE:
            raise InvalidInput("tax_id", "reverse charge needs the customer's VAT number", code="tax_id_required")
        return None
    compact = re.sub(r"[\s./-]", "", text).upper()
    prefixed = _PREFIXED.fullmatch(compact)
    country = prefixed[1] if prefixed else ""
    if country.lower() in eu_vat.MEMBER_STATES or country in _EU_ONLY:
        return _checked(eu_vat, compact, "")
    module = get_cc_module(country, "vat") if country in COUNTRIES else None
    if module is not None:
        return _checked(module, compact, country)
    if tax_status == REVERSE_CHARGE:
        raise InvalidInput("tax_id", "must begin with the code of a country that is known to have VAT numbers")
    return text


def check_other_country(tax_id: str, seller_tax_id: str) -> None:
    """Raises `InvalidInput` where a VAT number is of the seller's own country: there the seller owes the tax.

    A seller whose own number is not set, or names no country, cannot be compared.
    """
    mine = _PREFIXED.fullmatch(re.sub(r"[\s./-]", "", seller_tax_id).upper())
    theirs = _PREFIXED.fullmatch(tax_id)
    if mine is not None and theirs is not None and mine[1] == theirs[1]:
        message = f"reverse charge is for businesses in other countries; this number is of the seller's own, {mine[1]}"
        raise InvalidInput("tax_id", message, code="tax_id_of_own_country")


def _checked(module: object, compact: str, country: str) -> str:
    """The number as the country's rules write it. Some countries' own form has no prefix: then it is put in front."""
    for candidate in (compact, compact.removeprefix(country)):
        try:
            number: str = getattr(module, "validate")(candidate)  # noqa: B009 - one module for each country
        except ValidationError:
            continue
        return number if not country or number.startswith(country) else f"{country}{number}"
    raise InvalidInput("tax_id", "is not a right VAT number of its country: a digit is wrong or missing")
