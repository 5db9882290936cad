"""What texts hold of people: what must be found, what must not, and how many false alarms there are on real texts."""

from __future__ import annotations

import json
import time

import pytest
from helpers import ROOT
from hypothesis import given, strategies as st

from gisttools.data import Leaving, count_personal
from gisttools.data.personal import CARD, EMAIL, IBAN, IP, KINDS, LONG, PHONE, WEB, personal_in

FOUND = [
    ("write to anna.b+x@mail.example.co.uk, please", EMAIL, "anna.b+x@mail.example.co.uk"),
    ("jürgen@müller.de hat es", EMAIL, "jürgen@müller.de"),
    ("see https://acme.example/x?y=1 first", WEB, "https://acme.example/x?y=1"),
    ("WWW.ACME.EXAMPLE is down", WEB, "WWW.ACME.EXAMPLE"),
    ("host 192.168.0.14 fails", IP, "192.168.0.14"),
    ("at fe80::1ff:fe23:4567:890a now", IP, "fe80::1ff:fe23:4567:890a"),
    ("DE89 3704 0044 0532 0130 00", IBAN, "DE89 3704 0044 0532 0130 00"),
    ("to GB82 WEST 1234 5698 7654 32 PLEASE", IBAN, "GB82 WEST 1234 5698 7654 32"),
    ("nl91abna0417164300", IBAN, "nl91abna0417164300"),
    ("4111 1111 1111 1111 expired", CARD, "4111 1111 1111 1111"),
    ("5500-0000-0000-0004", CARD, "5500-0000-0000-0004"),
    ("378282246310005", CARD, "378282246310005"),
    ("call +44 20 7946 0958 now", PHONE, "+44 20 7946 0958"),
    ("+49 (0)171 1234567", PHONE, "+49 (0)171 1234567"),
    ("+4915112345678", PHONE, "+4915112345678"),
    ("0044 20 7946 0958", PHONE, "0044 20 7946 0958"),
    ("ring 0171/1234567.", PHONE, "0171/1234567"),
    ("(030) 123456", PHONE, "(030) 123456"),
    ("06 12 34 56 78", PHONE, "06 12 34 56 78"),
    ("(555) 123-4567", PHONE, "(555) 123-4567"),
    ("555.123.4567 after six", PHONE, "555.123.4567"),
    ("Telefon: 12 34 56", PHONE, "12 34 56"),
    ("my phone number is 555 123 456", PHONE, "555 123 456"),
    ("customer 123456789", LONG, "123456789"),
    ("my account is 9876543210123", LONG, "9876543210123"),
    ("order no. 0301234567", LONG, "0301234567"),  # an order's, whatever it looks like
    ("DE89 3704 0044 0532 0130 01", LONG, "89 3704 0044 0532 0130 01"),  # a wrong checksum: a number still
]  # fmt: skip
NOT_FOUND = [
    "it costs 1.234.567,89 euros", "1,234,567 people", "12 345 678 inhabitants", "€1200000", "1200000 USD",
    "on 01.02.2023 12:30", "2023-01-02 and 02/03/1999", "call me on 12.03.2024", "from 1990-2000", "at 10:30:00",
    "version 1.2.3.4 of it", "v1.2.3.4", "section 1.2.3.4.5", "999.999.999.999", "std::vector<a::b>",
    "pi is 3.14159265", "12345.67", "1000000 steps", "room 301-2", "order 4711", "#12345", "me @home", "a@b",
    "5 x 20 mm",
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "value"), FOUND)
def test_it_is_found_as_what_it_is_and_as_nothing_else(text, kind, value):
    assert list(personal_in(text)) == [(kind, value)]


@pytest.mark.parametrize("text", NOT_FOUND)
def test_prices_dates_versions_and_short_numbers_are_none(text):
    assert list(personal_in(text)) == []


def test_several_in_one_text_are_all_found_and_equal_ones_count_once():
    texts = ["a@b.org, A@B.ORG and c@d.org", "from 10.0.0.1: c@d.org, +44 20 7946 0958", "+442079460958"]
    assert count_personal(texts) == {EMAIL: 2, IP: 1, PHONE: 1}


def test_on_the_sample_texts_the_only_find_is_the_one_that_is_there():
    """False alarms: none in 756 messages and 9 pages of a handbook."""
    lines = (ROOT / "data/support_intents").glob("t[er]*[nt].jsonl")
    messages = {json.loads(line)["text"] for path in lines for line in path.read_text().splitlines()}
    pages = [path.read_text() for path in (ROOT / "data/handbook").rglob("*") if path.is_file()]
    assert len(messages) == 756
    assert count_personal(messages) == {EMAIL: 1}
    assert count_personal(pages) == {}


@given(st.lists(st.sampled_from([*"0123456789", " ", "-", ".", "+", "(", ")", "/", ":", "@", "a", "DE", "tel ", "é"])))
def test_whatever_stands_there_is_found_where_it_stands(parts):
    text = "".join(parts)
    for kind, value in personal_in(text):
        assert kind in KINDS
        assert value in text


@pytest.mark.parametrize("part", ["1", "1-", "a@", "a.", ":", "(0", "0 ", "DE89 ", "+1 ", "1,234", "tel ", "1.2.", " "])
def test_a_long_text_takes_no_time_that_grows_with_its_square(part):
    start = time.process_time()
    list(personal_in(f"{part * 20_000}1@"))
    assert time.process_time() - start < 10


def test_what_leaves_is_told_in_a_sentence():
    assert Leaving.of(["a.org"], ["x@y.org", "x@y.org", " "]).words() == (
        "1 text goes to a.org. In them: 1 e-mail address (names are not looked for)."
    )
    told = Leaving.of(["a.org", "b.org"], ["one", "two"], "A dry run sends a few of them.").words("would go")
    assert told == (
        "2 different texts would go to a.org and b.org. In them: no addresses, no long numbers (names are not looked "
        "for). A dry run sends a few of them."
    )
