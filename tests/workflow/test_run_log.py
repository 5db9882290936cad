"""Where warnings of a run are seen."""

from __future__ import annotations

import logging

import pytest

from gisttools.common import NOTICES
from gisttools.workflow.run_log import log_to, warnings_in


@pytest.mark.parametrize("notebook", [True, False])
def test_warnings_are_seen_once_below_the_cell_of_a_notebook_run_by_hand(tmp_path, monkeypatch, capsys, notebook):
    monkeypatch.setattr("gisttools.workflow.run_log.in_notebook", lambda: notebook)
    monkeypatch.setattr(logging.getLogger("gisttools"), "handlers", [])  # tests that follow see no such lines
    log_to(tmp_path / "before.txt", [], under_runner=False)  # an earlier run in this kernel
    log_to(tmp_path / "log.txt", [], under_runner=False)
    logging.getLogger("gisttools.models").warning("the guide does not know 40 % of the tokens")
    logging.getLogger("gisttools.models").info("embeds 3 texts")
    shown = "! the guide does not know 40 % of the tokens\n" if notebook else ""
    assert capsys.readouterr().out == shown
    assert warnings_in(tmp_path / "log.txt") == ["the guide does not know 40 % of the tokens"]
    assert not (tmp_path / "before.txt").exists()


def test_a_warning_that_comes_again_is_shown_once(tmp_path, monkeypatch):
    monkeypatch.setattr(logging.getLogger("gisttools"), "handlers", [])
    log_to(tmp_path / "log.txt", [], under_runner=True)
    for texts in (3, 3, 4, 3):  # a folder is read by one after the other
        logging.getLogger("gisttools.data").warning("%s: zero-width characters in %d", "sections", texts)
    shown = (tmp_path / NOTICES).read_text(encoding="utf-8").splitlines()
    assert shown == [f"! sections: zero-width characters in {texts}" for texts in (3, 4)]
