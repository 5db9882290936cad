"""Errors in a notebook: one message by hand, all of it where a runner keeps the notebook."""

from __future__ import annotations

import pytest

from gisttools.common.errors import MissingError
from gisttools.common.progress import STATUS_FILE


def caught():
    with pytest.raises(MissingError) as found:
        raise MissingError("No run. Run 4_evaluate first.")
    return found.value


def test_by_hand_it_is_the_message_alone(monkeypatch):
    monkeypatch.delenv(STATUS_FILE, raising=False)
    assert caught()._render_traceback_() == ["MissingError: No run. Run 4_evaluate first."]


def test_by_hand_long_lines_break_between_words(monkeypatch):
    monkeypatch.delenv(STATUS_FILE, raising=False)
    told = MissingError("2 are missing:\n  - " + "words " * 30 + "\n\n" + "x" * 120)._render_traceback_()
    assert told[0] == "MissingError: 2 are missing:"
    assert [line for line in told if len(line) > 100] == ["x" * 120]
    assert " ".join(told).split() == ["MissingError:", "2", "are", "missing:", "-", *["words"] * 30, "x" * 120]


def test_in_a_kept_notebook_it_is_all_of_it(monkeypatch):
    monkeypatch.setenv(STATUS_FILE, "status.txt")
    assert "raise MissingError" in "".join(caught()._render_traceback_())


@pytest.mark.parametrize(
    ("verb", "first"),
    [("report", "4_evaluate"), ("cost_to_gain", "gisttools run cost_to_gain"), ("compare", "4_evaluate")],
)
def test_a_notebook_opened_cold_says_in_one_line_what_to_run_first(verb, first):
    from gisttools.workflow import start

    with pytest.raises(MissingError) as found:
        start(verb, {})
    assert first in str(found.value)
    assert "first" in str(found.value).lower()
    assert "\n" not in str(found.value)
