"""`gisttools clean`: what may go, what must stay, and that nothing goes without a yes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from filelock import FileLock
from helpers import ROOT, files_under

from gisttools.cli.main import main
from gisttools.common.errors import GistError, ParameterError
from gisttools.common.runs import read_run
from gisttools.workflow import cleaning
from gisttools.workflow.cleaning import removable, removable_by_name, remove
from gisttools.workflow.folders import find_finished
from gisttools.workflow.session import new_folder

HOUR_AGO = datetime.now().timestamp() - 3600


def command(*arguments: str, answer: str = "", status: int = 0) -> str:
    done = CliRunner().invoke(main, ["clean", *arguments], input=answer)
    assert done.exit_code == status, done.output
    return done.output


def age(folder: Path) -> Path:
    """A folder that looks as if nothing had happened in it for an hour."""
    os.utime(folder, (HOUR_AGO, HOUR_AGO))
    return folder


@pytest.fixture
def killed(results) -> Path:
    """A folder that a killed run left an hour ago."""
    folder = new_folder("convert", "f" * 64)
    (folder / "half").write_bytes(b"1" * 1500)
    (folder / ".lock").touch()
    return age(folder)


@pytest.fixture
def twice(make_run) -> tuple[Path, Path]:
    """One spec run twice: the older and the newer."""
    older, newer = (make_run("convert", started=f"2026-01-01T00:00:0{n}+00:00", files={"a": b"1"}) for n in (1, 2))
    return older, newer


def going(**options) -> dict[str, str]:
    return {removal.folder.name: removal.why for removal in removable(**options)}


def test_killed_failed_and_superseded_runs_may_go_and_no_others(killed, twice, make_run):
    older, newer = twice
    failed = make_run("finetune", status="failed")
    make_run("report", evaluation="x")
    assert going() == {
        killed.name: "unfinished",
        failed.name: "failed",
        older.name: f"superseded by {newer.name}",
    }
    for kind, folder in (("unfinished", killed), ("failed", failed), ("superseded", older)):
        assert list(going(kinds=[kind])) == [folder.name]


def test_a_run_that_lacks_something_supersedes_none_that_is_whole(make_run):
    whole = make_run("convert", started="2026-01-01T00:00:01+00:00")
    lacking = [make_run("convert", started=f"2026-01-01T00:00:0{n}+00:00", missing="2 rows") for n in (2, 3)]
    assert going() == {folder.name: f"superseded by {whole.name}" for folder in lacking}
    assert find_finished(read_run(whole).spec_hash, "convert").id == whole.name


def test_a_run_that_is_a_link_is_left_whole(twice, tmp_path):
    older, _ = twice
    moved = older.rename(tmp_path / older.name)
    older.symlink_to(moved)
    (removal,) = removable_by_name([older])
    with pytest.raises(GistError, match=r"is a link to .* Remove both by hand"):
        remove(removal)
    assert (moved / "a").exists()


def test_a_failed_run_supersedes_none(make_run):
    make_run("convert", started="2026-01-01T00:00:01+00:00")
    failed = make_run("convert", started="2026-01-01T00:00:02+00:00", status="failed")
    assert list(going()) == [failed.name]


def test_what_a_finished_run_came_from_stays_near_and_far(twice, make_run):
    older, _ = twice
    trained = make_run("finetune", parents=[older.name])
    evaluated = make_run("evaluate", model=trained.name, parents=[trained.name])
    assert going() == {}
    shutil.rmtree(evaluated)
    shutil.rmtree(trained)
    assert list(going()) == [older.name]


def test_a_run_whose_files_are_named_by_path_stays(twice, make_run):
    older, _ = twice
    make_run("finetune", triplets=[f"{older}/a"])
    assert going() == {}


def test_what_only_a_run_that_goes_as_well_came_from_goes(twice, make_run):
    older, _ = twice
    failed = make_run("finetune", parents=[older.name], status="failed")
    assert set(going()) == {older.name, failed.name}
    assert going(kinds=["superseded"]) == {}


def test_what_a_run_under_way_reads_stays(twice, results):
    """It has no manifest yet, but its log and notebook name what it reads."""
    older, _ = twice
    running = new_folder("finetune", "e" * 64)
    (running / "log.txt").write_text(f'starts, parameters {{"triplets": ["{older.name}"]}}')
    with FileLock(running / ".lock"):
        age(running)
        assert going() == {}
        with pytest.raises(ParameterError) as error:
            removable_by_name([older, running])
    assert f"{running.name} is under way" in str(error.value)
    assert set(going()) == {older.name, running.name}


def test_a_run_that_has_just_made_its_folder_stays(results):
    new_folder("convert", "f" * 64)
    assert going() == {}


def test_named_runs_go_unless_others_depend_on_them(twice, make_run, results):
    older, newer = twice
    child = make_run("finetune", parents=[newer.name])
    said = command(newer.name, "--yes", status=1)
    assert f"{child.name} (ok) depends on {newer.name}" in said
    assert newer.is_dir()
    command(newer.name, child.name, "--yes")
    assert [p.name for p in results.iterdir()] == [older.name]


def test_what_lies_elsewhere_is_never_removed(make_run, tmp_path, results):
    copy = tmp_path / make_run("convert").name
    shutil.copytree(next(results.iterdir()), copy)
    renamed = (results / copy.name).rename(results / "mine")
    for folder, said in ((copy, "does not lie in"), (renamed, "is no run's id")):
        assert said in command(str(folder), "--yes", status=1)
        assert (folder / "manifest.json").is_file()


@pytest.mark.parametrize(("answer", "status", "left"), [("y\n", 0, 1), ("n\n", 0, 2), ("", 1, 2)])
def test_nothing_goes_without_a_yes(killed, make_run, results, answer, status, left):
    kept = make_run("convert")
    said = command(answer=answer, status=status)
    assert f"{killed.name}  1.5 kB  unfinished" in said
    assert "Remove 1 folder, 1.5 kB?" in said
    assert ("Removed 1, 1.5 kB." in said) == (left == 1)
    assert len(list(results.iterdir())) == left
    assert kept.is_dir()


def test_what_became_needed_while_the_question_stood_is_kept(twice, make_run, monkeypatch):
    older, _ = twice

    def answer(_text: str) -> bool:
        make_run("finetune", parents=[older.name])
        return True

    monkeypatch.setattr("click.confirm", answer)
    assert "Removed 0, 0 B." in command()
    assert older.is_dir()


def test_checkpoints_stay_unless_asked_for_and_those_in_use_always_stay(results):
    for spec in ("a" * 16, "b" * 16):
        folder = results / ".checkpoints" / f"finetune-{spec}"
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"1" * 2000)
        age(folder)
    said = command("--yes")
    assert "There is nothing to remove." in said
    assert "Kept: checkpoints of stopped trainings (4.0 kB)" in said
    running = new_folder("finetune", "b" * 64)
    with FileLock(running / ".lock"):
        assert "Removed 1, 2.0 kB." in command("--yes", "--checkpoints")
    assert files_under(results / ".checkpoints") == [f"finetune-{'b' * 16}", f"finetune-{'b' * 16}/weights"]


def test_a_removal_that_is_stopped_leaves_an_unfinished_run(twice, monkeypatch):
    """Never a finished one without its files."""
    older, _ = twice
    (older / "a").unlink()
    (older / "a").mkdir()

    def stop(_path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cleaning.shutil, "rmtree", stop)
    with pytest.raises(KeyboardInterrupt):
        remove(removable()[0])
    assert (older.is_dir(), (older / "manifest.json").exists()) == (True, False)


def test_a_run_that_someone_works_in_is_not_removed(killed):
    (removal,) = removable()
    with FileLock(killed / ".lock"), pytest.raises(GistError, match="is under way"):
        remove(removal)
    assert (killed / "half").is_file()


def test_a_folder_that_a_run_names_outside_itself_is_not_followed(killed, tmp_path):
    (tmp_path / "precious").write_text("")
    (killed / "link").symlink_to(tmp_path)
    remove(removable_by_name([killed])[0])
    assert not killed.exists()
    assert (tmp_path / "precious").exists()


def test_two_processes_that_clean_at_once_do_no_harm(make_run, results):
    kept = make_run("convert")
    for i in range(60):
        folder = new_folder("finetune", f"{i:08x}" * 8)
        (folder / "half").touch()
        age(folder)
    line = [sys.executable, "-m", "gisttools.cli.main", "clean", "--yes"]
    both = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) for _ in "12"]
    said = [process.communicate()[1] for process in both]
    assert "Traceback" not in "".join(said)
    assert "see where" not in "".join(said)
    assert [p.name for p in results.iterdir()] == [kept.name]
