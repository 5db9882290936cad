"""Where the project is: by its marker, never by the names of folders; else the checkout; else a clear error."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import ROOT

from gisttools.common import project
from gisttools.common.errors import MissingError, ParameterError
from gisttools.common.project import MARKER, lay_out, project_root, prompts_folder, recipes_folder, results_folder


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


def test_a_folder_becomes_a_project_with_all_that_a_checkout_has(tmp_path, monkeypatch):
    done = lay_out(tmp_path / "mine")
    there = {p.relative_to(ROOT) for part in ("notebooks", "prompts", "data") for p in (ROOT / part).rglob("*")}
    expected = {path.as_posix() for path in there if (ROOT / path).is_file() and "/." not in path.as_posix()}
    assert set(done.written) == expected | {MARKER}
    assert not done.same
    assert not done.kept
    assert all((tmp_path / "mine" / name).read_bytes() == (ROOT / name).read_bytes() for name in done.written)
    monkeypatch.chdir(tmp_path / "mine" / "notebooks")
    assert project_root() == tmp_path / "mine"
    assert (tmp_path / "mine" / "results" / ".gitignore").read_text() == "*\n"


def test_what_is_there_is_never_written_over(tmp_path):
    lay_out(tmp_path)
    (tmp_path / "prompts" / "judge.yaml").write_text("mine")
    (tmp_path / "prompts" / "ideas.yaml").unlink()
    done = lay_out(tmp_path)
    assert (done.written, done.kept) == (["prompts/ideas.yaml"], ["prompts/judge.yaml"])
    assert (tmp_path / "prompts" / "judge.yaml").read_text() == "mine"


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "mine").write_text("a letter")
    with pytest.raises(ParameterError, match=r"mine cannot become a project: .* Choose another folder"):
        lay_out(tmp_path / "mine")
