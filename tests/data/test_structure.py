"""The structure of prose: titles, headings, paragraphs and code are told apart, in time that grows with the length."""

from __future__ import annotations

import time

import pytest
from helpers.prose import HTML, MARKDOWN, RST

from gisttools.data.structure import LONGEST_HEADING, html_blocks, markdown_blocks, plain_blocks, rst_blocks


def shown(blocks):
    return [(b.line, b.headings, b.text) for b in blocks]


def test_markdown_keeps_title_headings_lines_and_code():
    title, blocks = markdown_blocks(MARKDOWN.split("\n"))
    assert title == "House rules"
    assert shown(blocks) == [
        (6, (), "The radiator stays cold:\nopen the valve."),
        (11, ("Keys and locks",), "A second key costs ten euros."),
        (13, ("Keys and locks",), "```sh\n# no heading\n\nmake key\n```"),
        (22, ("Lifts",), "- one\n- two"),
        (28, ("Lifts",), "The end."),
    ]
    assert [b.is_code for b in blocks] == [False, False, True, False, False]


def test_several_headings_of_the_highest_level_are_no_title():
    title, blocks = markdown_blocks(["# One", "a", "# Two", "b", "## Deep", "c"])
    assert (title, [b.headings for b in blocks]) == ("", [("One",), ("Two",), ("Two", "Deep")])


def test_restructured_text_keeps_sections_and_hides_what_shows_nothing():
    title, blocks = rst_blocks(RST.split("\n"))
    assert title == "House rules"
    assert shown(blocks) == [
        (10, ("Keys",), "A second key costs ten euros."),
        (18, ("Keys",), ".. note:: Ask\n   the caretaker."),
        (24, ("Keys", "Lifts"), "Out of order."),
    ]


def test_a_page_is_its_words_under_its_headings():
    title, blocks = html_blocks(HTML)
    assert title == "House rules"
    assert shown(blocks) == [
        (5, (), "The radiator stays cold: open the valve."),
        (7, ("Keys",), "one\ntwo < three"),
        (8, ("Keys",), "key | 10"),
        (9, ("Keys",), "x =\n  1"),
    ]


def test_a_page_all_of_which_stands_in_a_menu_is_read_all_the_same():
    assert html_blocks("<nav>never closed <p>text")[1][0].text == "never closed"
    assert html_blocks("<title>T</title><p>a")[0] == "T"


def test_paragraphs_are_cut_at_empty_lines():
    assert shown(plain_blocks(["", "a", "b", " ", "c"])) == [(2, (), "a\nb"), (5, (), "c")]


HOSTILE = ("<a ", "<", "</", "<!--", "<a href='", '<a href="x" \'', "<div>", "<nav>", "<script>", "&#", "<p>a", "# ",
           "`", "> ", "[a](", "<b> ", "<br> ", "<nav><body>", "<pre> </pre>", "<!-- -->", "<td> ")  # fmt: skip


@pytest.mark.parametrize("mark", HOSTILE)
def test_time_grows_with_the_length_alone(mark):
    """Ten times as long a text takes no more than some thirty times as long: html.parser would take a hundred."""

    def seconds(n: int) -> float:
        begin = time.process_time()
        html_blocks(mark * n)
        markdown_blocks([mark * n])
        rst_blocks([mark * n])
        return time.process_time() - begin

    assert seconds(100_000) < 30 * max(seconds(10_000), 0.02)


def texts(markdown: str) -> list[str]:
    return [block.text for block in markdown_blocks(markdown.split("\n"))[1]]


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("<!-- note --> Important.", [" Important."]),
        ("Before <!-- hidden --> after", ["Before  after"]),
        ("One <!-- hidden\n# no heading\nalso --> two", ["One", " two"]),
        ("```call()``` is code\n\nin a line", ["```call()``` is code", "in a line"]),
        ("\t# no heading\n\nmore", ["\t# no heading", "more"]),
        ("- an item\n---\nmore", ["- an item\n---\nmore"]),
        ("> said\n---", ["> said\n---"]),
        ("```\n<!-- shown\n```\n\nmore", ["```\n<!-- shown\n```", "more"]),
        ("~~~ a`b\nx\n~~~\nmore", ["~~~ a`b\nx\n~~~", "more"]),
    ],
)
def test_markdown_loses_nothing_that_a_reader_sees(markdown, expected):
    assert texts(markdown) == expected


@pytest.mark.parametrize("size", [LONGEST_HEADING, LONGEST_HEADING + 1])
def test_a_heading_that_is_too_long_is_a_paragraph(size):
    """Every chunk below would repeat it."""
    long = "h" * size
    for title, blocks in (
        markdown_blocks(["# Title", "a", f"## {long}", "b"]),
        rst_blocks(["Title", "=====", "a", "", long, "-" * size, "b"]),
        html_blocks(f"<h1>Title</h1><p>a</p><h2>{long}</h2><p>b</p>"),
    ):
        assert title == "Title"
        below = (long,) if size <= LONGEST_HEADING else ()
        assert [b.headings for b in blocks] == [()] * (len(blocks) - 1) + [below]
        assert (long in [b.text for b in blocks]) == (size > LONGEST_HEADING)
    assert len(html_blocks(f"<title>{long}</title><p>a")[0]) == LONGEST_HEADING


def test_a_page_counts_its_lines_behind_blank_marks():
    page = "\n<b>\n</b>\n<i> </i>\n<p>a\nb</p>\n<p>c"
    assert [(b.line, b.text) for b in html_blocks(page)[1]] == [(5, "a b"), (7, "c")]
