"""Prices as feeds write them: with currencies, thousands and either decimal mark."""

import re

_PLAIN_NUMBER = re.compile(r"\d+(?:\.\d+)?[eE][+-]?\d+")
_AMOUNT = re.compile(r"\d[\d.,'’ ]*|[.,]\d+")
# The codes of ISO 4217 in use, of money that things are priced in.
_ISO_4217 = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF
CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD
HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD
MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN
PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY
TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG
"""
_CODES = frozenset(_ISO_4217.split())
_WORD = re.compile(r"[A-Za-z]+")
_SYMBOLS = {"€": "EUR", "£": "GBP", "₹": "INR", "zł": "PLN"}  # $, ¥ and kr are of several
_OTHER_SYMBOLS = "$¥₩₽₺₴฿₫₪"
_THOUSANDS_DIGITS = 3


def decimal_mark(price: str) -> str:
    """The decimal mark that a price uses beyond doubt; '' where it uses none, or could mean either."""
    digits = _amount(price)[0]
    grouped = [mark for mark in ".," if digits.count(mark) > 1]  # as only thousands do
    once = [mark for mark in ".," if digits.count(mark) == 1]
    if grouped:
        return {".": ",", ",": "."}[grouped[0]]
    if len(once) == len(".,"):
        return max(once, key=digits.rfind)
    return "" if not once or _may_be_thousands(digits, once[0]) else once[0]


def _may_be_thousands(digits: str, mark: str) -> bool:
    """1,299 may be a thousand and some, or one and some."""
    before, _, after = digits.partition(mark)
    return len(after) == _THOUSANDS_DIGITS and 0 < len(before) <= _THOUSANDS_DIGITS and before != "0"


def read_price(text: str, decimal: str) -> tuple[str, str]:
    """The digits of a price as Python writes them, and its currency (ISO 4217, '' where none is stated).

    decimal: the mark before cents that the column bears out, '' where it bears out neither.

    Raises ValueError: for words, and for what could mean two numbers.
    """
    if _PLAIN_NUMBER.fullmatch(text):
        return text, ""
    digits, currency = _amount(text)
    if not digits:
        raise ValueError(f"price must be a number of at least 0, got {text[:40]!r}")
    mark = decimal_mark(digits)
    if not mark and any(_may_be_thousands(digits, one) for one in ".," if one in digits):
        mark = decimal
        if not mark:
            raise ValueError(f"price must tell thousands from cents, got {text[:40]!r} in a column that shows neither")
    whole, _, cents = digits.rpartition(mark) if mark and mark in digits else (digits, "", "")
    if cents and not cents.isdecimal():
        raise ValueError(f"price must be a number, got {text[:40]!r}")
    return _without_thousands(whole, text) + (f".{cents}" if cents else ""), currency


def _amount(text: str) -> tuple[str, str]:
    """The digits with their marks, and the currency; no digits where anything else is written."""
    numbers = _AMOUNT.findall(text)
    if len(numbers) != 1:
        return "", ""
    before, after = text.split(numbers[0], 1)
    around = f"{before} {after}"
    currency = next((code for symbol, code in _SYMBOLS.items() if symbol in around), "")
    for symbol in (*_SYMBOLS, *_OTHER_SYMBOLS):
        around = around.replace(symbol, " ")
    if (stated := _WORD.search(around)) and stated[0].upper() in _CODES:
        currency, around = stated[0].upper(), around.replace(stated[0], " ", 1)
    if around.strip(" .-–—") or any(sign in before for sign in "-–—"):
        return "", ""
    return numbers[0].rstrip(" .,'’"), currency


def _without_thousands(whole: str, text: str) -> str:
    first, *groups = re.split("[.,'’ ]", whole)
    if any(len(group) != _THOUSANDS_DIGITS for group in groups) or (groups and not 0 < len(first) <= _THOUSANDS_DIGITS):
        raise ValueError(f"price must be a number, got {text[:40]!r}")
    return first + "".join(groups) or "0"
