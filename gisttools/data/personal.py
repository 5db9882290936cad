"""Counts what texts hold of people: addresses and numbers by which somebody may be found.

E-mail and web addresses, IP addresses, IBANs and card numbers (both by their checksum), phone numbers, and other long
numbers, such as those of customers or accounts. It is a look, not a proof: streets are not looked for, names by another
module (`names`), and what is written in words is not found.

Dates, prices and numbers with a decimal point are none of these; a number that stands behind a word such as "order" is
long at most, and no phone number.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator

EMAIL, WEB, IP, IBAN, CARD, PHONE, LONG = KINDS = (
    "e-mail address", "web address", "IP address", "IBAN", "card number", "phone number", "other long number",
)  # fmt: skip

_MAY_HOLD = re.compile(r"[@\d]|://|www\.", re.IGNORECASE)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}\b")
_WEB = re.compile(r"(?:\b(?:https?|ftp)://|\bwww\.(?=\w))[^\s<>\"']+", re.IGNORECASE)
_IP4 = re.compile(r"(?<![\w.])(?<!\bv )(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)(?!\w)")
_VERSION_BEFORE = re.compile(r"(?:\bversion|\bver\.?|\bv|\brelease)\s*$", re.IGNORECASE)
_IP6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?![\w:])")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){10,30}", re.IGNORECASE)
_DIGITS = re.compile(r"(?<![\w.,+])(?<!\+ )\d(?:[ -]?\d){11,18}(?![\w-])")
_CARDS = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}|35\d{14}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|62\d{14,17}"
)
_DATE = (
    r"(?:(?:19|20)\d\d[-./](?:0?[1-9]|1[0-2])[-./](?:[0-2]?\d|3[01])"
    r"|(?:[0-2]?\d|3[01])[-./](?:[0-2]?\d|3[01])[-./](?:(?:19|20)\d\d|\d\d))"
)
_TIME = r"\d{1,2}:\d\d(?::\d\d)?"
_AMOUNT = (
    r"[1-9]\d{0,2}(?:[.,'’\u00a0\u202f ]\d{3})+(?:[.,]\d{1,2})?"  # 1.234.567,89
    r"|\d+[.,]\d{1,2}"  # 1234567.50
    r"|\d+(?=\s?(?:[$€£¥%]|(?:EUR|USD|GBP|CHF|euros?|dollars?|pounds?)\b))|(?<=[$€£¥])\s?\d+"
)
_YEARS = r"(?:19|20)\d\d\s?[-–/]\s?(?:19|20)\d\d"
_WHOLE = r"(?<![\d.,/+-])(?:{})(?![\d/-])(?![.,:]\d)"
_DATES = re.compile(_WHOLE.format(f"{_DATE}|{_TIME}|{_YEARS}"))
_AMOUNTS = re.compile(_WHOLE.format(_AMOUNT), re.IGNORECASE)
_SEPARATED = r"(?:[ \u00a0\u2011./-]{0,3}\(?\d\)?)"
_PHONE = re.compile(
    rf"(?<![\w.,+#/-])(?<!\d )(?:"
    rf"\+\s?\(?[1-9]{_SEPARATED}{{6,15}}"  # +44 20 7946 0958
    rf"|00[1-9]{_SEPARATED}{{8,13}}"
    rf"|\(0[1-9]\d{{0,4}}\){_SEPARATED}{{4,9}}|0[1-9]{_SEPARATED}{{6,10}}"  # (030) 123456, 0171/1234567
    r"|\([2-9]\d\d\)[ ]?\d{3}[ .-]?\d{4}|(?:1[ .-])?[2-9]\d\d[.-]\d{3}[.-]\d{4}"  # 555-123-4567
    rf")(?![\w-])(?![.,]\d)"
)
_CALLED = re.compile(
    r"\b(?:tele?fono?|telephone|tel|phone|mobile|mobil|cell|handy|fax|whatsapp|hotline|call me (?:at|on)|rufnummer)"
    r"(?:\s?(?:no|nr|number|nummer))?[.:]?\s{0,3}(?:is |at |ist |on )?"
    rf"(?P<number>\+?\(?\d{_SEPARATED}{{4,14}})(?!\w)",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"(?:#|\b(?:order|invoice|ticket|case|ref|reference|article|item|serial|contract|customer|account|tracking|isbn|ean"
    r"|bestellung|bestellnummer|rechnung|rechnungsnummer|auftrag|kunde|kundennummer|vertrag|artikel|id|no|nr|number"
    r"|nummer)\b)[\s.:#-]{0,4}(?:(?:no|nr|number|nummer|is)\b[\s.:#]{0,3})*$",
    re.IGNORECASE,
)
_LONG = re.compile(r"(?<![\d.,])\d(?:[ -]?\d){6,33}(?![.,]\d)")
_ROUND = re.compile(r"[1-9]\d{0,2}0{4,}")  # a million
_BEFORE = 40  # characters before a number that say what it is of
_LENGTHS = {  # of IBANs, by country; the registry of SWIFT
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU", 31: "LC MT SC", 32: "HN", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def personal_in(text: str) -> Iterator[tuple[str, str]]:
    """What a text holds of these, as (one of `KINDS`, how it stands there); nothing is two of them."""
    if not _MAY_HOLD.search(text):
        return
    for kind, finds in _LOOKS:
        parts: list[str] = []
        rest = 0
        for start, end in finds(text):
            yield kind, text[start:end]
            parts.append(text[rest:start])
            rest = end
        text = " ¦ ".join([*parts, text[rest:]])
        if kind == CARD:  # what follows are plain numbers
            text = _DATES.sub(" ¦ ", text)
            yield from ((PHONE, called["number"]) for called in _CALLED.finditer(text))
            text = _AMOUNTS.sub(" ¦ ", _CALLED.sub(" ¦ ", text))


def count_personal(texts: Iterable[str]) -> dict[str, int]:
    """How many different things of each kind texts hold, in the order of `KINDS`; kinds of which there are none are
    left out."""
    found: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for text in texts:
        for kind, value in personal_in(text):
            found[kind].add("".join(value.split()).casefold())
    return {kind: len(values) for kind, values in found.items() if values}


def _emails(text: str) -> Iterator[tuple[int, int]]:
    return (found.span() for found in _EMAIL.finditer(text))


def _webs(text: str) -> Iterator[tuple[int, int]]:
    return (found.span() for found in _WEB.finditer(text))


def _ips(text: str) -> Iterator[tuple[int, int]]:
    for pattern in (_IP4, _IP6):
        for found in pattern.finditer(text):
            word = found[0].rstrip(":") if pattern is _IP6 and not found[0].endswith("::") else found[0]
            if pattern is _IP6 and (word.count(":") < 2 or not any(map(str.isdigit, word)) or len(word) < 4):
                continue
            try:
                ipaddress.ip_address(word)
            except ValueError:
                continue
            if not _VERSION_BEFORE.search(text, max(0, found.start() - _BEFORE), found.start()):
                yield found.start(), found.start() + len(word)


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for found in _IBAN.finditer(text):
        length = _LENGTHS.get(found[0][:2].upper(), 0)
        places = [i for i, letter in enumerate(found[0]) if letter.isalnum()]
        if not length or len(places) < length:
            continue
        end = places[length - 1] + 1
        word = "".join(found[0][i] for i in places[:length]).upper()
        whole = end == len(found[0]) or not found[0][end].isalnum()
        if whole and int("".join(str(int(letter, 36)) for letter in word[4:] + word[:4])) % 97 == 1:
            yield found.start(), found.start() + end


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for found in _DIGITS.finditer(text):
        digits = [int(letter) for letter in found[0] if letter.isdigit()]
        doubled = [d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(reversed(digits))]  # Luhn
        if sum(doubled) % 10 == 0 and _CARDS.fullmatch("".join(map(str, digits))) and len(set(digits)) > 1:
            yield found.span()


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for found in _PHONE.finditer(text):
        if not _NUMBERED.search(text[max(0, found.start() - _BEFORE) : found.start()]):
            yield found.span()


def _longs(text: str) -> Iterator[tuple[int, int]]:
    return (found.span() for found in _LONG.finditer(text) if not _ROUND.fullmatch(found[0]))


_LOOKS = (
    (EMAIL, _emails), (WEB, _webs), (IBAN, _ibans), (IP, _ips), (CARD, _cards), (PHONE, _phones), (LONG, _longs),
)  # fmt: skip
