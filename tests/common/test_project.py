"""Where the project is: by its marker, never by the names of folders; else the checkout; else a clear error."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import ROOT

from gisttools.common import project
from gisttools.common.errors import MissingError
from gisttools.common.project import MARKER, project_root, prompts_folder, recipes_folder, results_folder


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A folder that somebody else's work lies in, and the current one."""
    for name in ("notebooks", "prompts", "results"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_this_checkout_has_a_marker():
    assert (ROOT / MARKER).is_file()


def test_a_folder_that_merely_has_notebooks_and_prompts_is_no_project(stranger):
    assert project_root() == ROOT


def test_a_marker_makes_a_project_of_the_folder_and_of_all_below(stranger, monkeypatch):
    (stranger / MARKER).touch()
    below = stranger / "deep" / "er"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    monkeypatch.delenv("GISTTOOLS_RESULTS")
    assert project_root() == stranger
    assert (prompts_folder(), recipes_folder()) == (stranger / "prompts", stranger / "notebooks" / "recipes")
    assert results_folder() == stranger / "results"


def test_the_nearest_marker_counts(stranger, monkeypatch):
    (stranger / MARKER).touch()
    (stranger / "notebooks" / MARKER).touch()
    monkeypatch.chdir(stranger / "notebooks")
    assert project_root() == stranger / "notebooks"


def test_a_folder_of_the_markers_name_is_none(stranger):
    (stranger / MARKER).mkdir()
    assert project_root() == ROOT


def test_without_a_project_the_error_says_what_to_do(stranger, monkeypatch):
    monkeypatch.setattr(project, "PACKAGE", Path(stranger, "site-packages", "gisttools"))
    with pytest.raises(MissingError, match=rf"{stranger} is in no gisttools project.*put an empty {MARKER}"):
        project_root()
    assert results_folder()  # is told by the environment, and needs none
