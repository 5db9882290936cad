"""The list of runs: each with its true status, found by filters and by names, and nothing is written by looking."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import ROOT, files_under

from gisttools.cli.main import main
from gisttools.common.errors import MissingError, ParameterError
from gisttools.workflow import folders
from gisttools.workflow.cleaning import removable
from gisttools.workflow.folders import all_runs, find_run, find_runs, finished_runs
from gisttools.workflow.session import new_folder

HOUR_AGO = datetime.now().timestamp() - 3600


def command(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(main, list(arguments))
    assert done.exit_code == status, done.output
    return done.output


def shown(*arguments: str) -> list[str]:
    """Ids that `gisttools runs` lists, in order."""
    return [run["run_id"] for run in json.loads(command("runs", "--json", *arguments))]


@pytest.fixture(scope="module")
def four_runs(tmp_path_factory):
    """Four runs by name, written once for all tests that only look."""
    folder = tmp_path_factory.mktemp("four")
    now = datetime.now(UTC)
    told = {
        "old": ("convert", "ok", now - timedelta(days=9), 50.0, {"seed": 1, "sources": ["a", "b"]}),
        "plain": ("finetune", "ok", now - timedelta(days=2), 30.0, {"learning_rate": 1e-5, "mask_same_label": True}),
        "broken": ("finetune", "failed", now - timedelta(hours=5), 20.0, {"learning_rate": 0.1, "seed": 1}),
        "new": ("report", "ok", now - timedelta(minutes=5), 40.0, {"latex": True}),
    }
    ids = {}
    for i, (name, (verb, status, started, seconds, parameters)) in enumerate(told.items()):
        ids[name] = f"{verb}-{started:%Y%m%dT%H%M%SZ}-{i:08x}"
        manifest = {
            "run_id": ids[name], "verb": verb, "status": status, "headline": f"the {name} one",
            "spec_hash": f"{i:064x}", "started": started.isoformat(timespec="milliseconds"), "seconds": seconds,
            "parameters": parameters, "parents": [], "artefacts": {},
            "error": {"message": "No Such Column"} if status == "failed" else None,
        }  # fmt: skip
        (folder / ids[name]).mkdir()
        (folder / ids[name] / "manifest.json").write_text(json.dumps(manifest))
    return folder, ids


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["old", "plain", "broken", "new"]),
        (["finetune"], ["plain", "broken"]),
        (["--status", "failed"], ["broken"]),
        (["--status", "failed", "--status", "ok", "finetune"], ["plain", "broken"]),
        (["--text", "PLAIN"], ["plain"]),
        (["--text", "no such column"], ["broken"]),
        (["--since", "3d"], ["plain", "broken", "new"]),
        (["--since", "90m"], ["new"]),
        (["--since", "2020-01-31"], ["old", "plain", "broken", "new"]),
        (["-p", "seed", "1"], ["old", "broken"]),
        (["-p", "seed", "1", "-p", "learning_rate", "0.1"], ["broken"]),
        (["-p", "learning_rate", "1e-5"], ["plain"]),
        (["-p", "sources", "b"], ["old"]),
        (["-p", "sources", "[a, b]"], ["old"]),
        (["-p", "mask_same_label", "1"], []),
        (["-p", "mask_same_label", "true"], ["plain"]),
        (["--sort", "seconds"], ["broken", "plain", "new", "old"]),
        (["--sort", "verb", "--reverse"], ["new", "broken", "plain", "old"]),
        (["-n", "2"], ["broken", "new"]),
        (["-n", "2", "--reverse"], ["new", "broken"]),
    ],
)
def test_filters_and_order(four_runs, monkeypatch, arguments, expected):
    folder, ids = four_runs
    monkeypatch.setenv("GISTTOOLS_RESULTS", str(folder))
    assert shown(*arguments) == [ids[name] for name in expected]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-p", "sed", "1"], "'sed' is no parameter of any notebook. Did you mean 'seed'?"),
        (["report", "-p", "epochs", "1"], "'epochs' is no parameter of report."),
        (["--since", "yesterday"], "'yesterday' is neither a date (2026-01-31) nor a time ago"),
        (["--status", "good"], "'good' is not one of"),
    ],
)
def test_a_wrong_filter_is_named(arguments, said):
    assert said in command("runs", *arguments, status=2)


def test_a_filter_that_nothing_fits_is_told_from_no_runs_at_all(four_runs, monkeypatch):
    monkeypatch.setenv("GISTTOOLS_RESULTS", str(four_runs[0]))
    assert command("runs", "--text", "nowhere") == "None of 4 runs is like that.\n"


def test_a_changed_or_removed_manifest_is_noticed(make_run):
    one, other = make_run("convert"), make_run("report", evaluation="x")
    assert [run.status for run in all_runs()] == ["ok", "ok"]
    manifest = json.loads((one / "manifest.json").read_text())
    (one / "manifest.json").write_text(json.dumps(manifest | {"headline": "said anew"}))
    (other / "manifest.json").unlink()
    assert {run.run_id: (run.status, run.headline) for run in all_runs()} == {
        one.name: ("ok", "said anew"),
        other.name: ("unfinished", "was stopped before its end"),
    }
    shutil.rmtree(one)
    assert [run.run_id for run in all_runs()] == [other.name]


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b'{"verb": "convert"}'])
def test_a_damaged_manifest_is_shown_and_hides_no_other(make_run, content):
    good, bad = make_run("convert"), make_run("convert", seed=1)
    manifest = json.loads((bad / "manifest.json").read_text())
    (bad / "manifest.json").write_bytes(content)
    assert {run.run_id: run.status for run in all_runs()} == {good.name: "ok", bad.name: "damaged"}
    if content != b"[]" and b"verb" not in content:
        assert [run.id for run in finished_runs()] == [good.name]
    (bad / "manifest.json").write_text(json.dumps(manifest | {"started": "once"}))
    assert [run.status for run in all_runs() if run.run_id == bad.name] == ["damaged"]


def test_a_run_is_running_until_its_process_is_killed_and_only_then_unfinished(results):
    """And only then may it be removed, however old its folder looks."""
    folder = new_folder("convert", "f" * 64)
    script = "import filelock, sys; l = filelock.FileLock(sys.argv[1]); l.acquire(); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, folder / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        (folder / "status.txt").write_text("3 of 9 texts")
        os.utime(folder, (HOUR_AGO, HOUR_AGO))
        (run,) = all_runs()
        assert (run.status, run.headline, removable()) == ("running", "3 of 9 texts", [])
        process.kill()
    (run,) = all_runs()
    assert (run.status, [r.folder for r in removable()]) == ("unfinished", [folder])


def test_looking_writes_nothing(make_run, results):
    make_run("convert")
    killed = new_folder("convert", "f" * 64)
    (killed / ".lock").touch()  # as a killed process leaves it
    before = {p: p.stat().st_mtime_ns for p in [results, *results.rglob("*")]}
    command("runs")
    command("show", "latest")
    assert {p: p.stat().st_mtime_ns for p in [results, *results.rglob("*")]} == before


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no such permissions on Windows")
def test_a_results_folder_that_may_only_be_read_is_listed():
    script = """
import os, sys
from gisttools.cli.main import main
from gisttools.workflow import folders
folders.all_runs()  # what is imported on the way may be out of that user's reach
if os.geteuid() == 0:  # to whom nothing is forbidden
    os.seteuid(65534)
try:
    open(os.environ["GISTTOOLS_RESULTS"] + "/new", "w")
except PermissionError:
    main(["runs", "--json"])
"""
    folder = Path(tempfile.mkdtemp(prefix="gisttools-"))
    try:
        run = folder / "convert-20260101T000000Z-00000000"
        run.mkdir()
        (run / ".lock").touch()
        (run / "log.txt").touch()
        for path, mode in ((run / ".lock", 0o444), (run, 0o555), (folder, 0o555)):
            path.chmod(mode)
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT,
            env=os.environ | {"GISTTOOLS_RESULTS": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        assert done.stdout, done.stderr
        assert [(m["run_id"], m["status"]) for m in json.loads(done.stdout)] == [(run.name, "unfinished")]
    finally:
        for path in (folder, run):
            path.chmod(0o755)
        shutil.rmtree(folder)


def test_a_run_goes_by_id_folder_beginning_and_latest(make_run, results, monkeypatch):
    first = make_run("convert", started="2026-01-01T00:00:01+00:00")
    second = make_run("report", evaluation="x", started="2026-01-01T00:00:02+00:00", status="failed")
    monkeypatch.chdir(results)
    for name in (first.name, str(first), f"./{first.name}/", "convert", first.name[:-1]):
        assert find_run(name) == first
    assert find_run("latest") == second
    assert find_runs((first.name, "conv", str(second))) == [first, second]


def test_a_name_that_is_no_run_or_several_is_refused_with_what_there_is(make_run, results):
    with pytest.raises(MissingError, match="Nothing has run yet"):
        find_run("latest")
    ids = [make_run("convert", seed=seed).name for seed in range(2)]
    with pytest.raises(ParameterError, match="2 runs begin with 'conv'") as error:
        find_run("conv")
    assert all(name in str(error.value) for name in ids)
    with pytest.raises(MissingError, match=f"no run '{ids[0]}x'.*Did you mean '{ids[0]}'"):
        find_run(f"{ids[0]}x")
    (results / "mine").mkdir()
    for name in ("mine", "", "*", ".."):
        with pytest.raises(MissingError):
            find_run(name)
    with pytest.raises(MissingError, match="2 of 3 runs were not found"):
        find_runs(("a", ids[0], "b"))


def test_show_says_what_came_out_what_was_set_and_where_it_belongs(make_run):
    parent = make_run("convert", files={"triplets.parquet": b"1" * 1500})
    folder = make_run(
        "finetune", seed=7, triplets=[parent.name], parents=[parent.name, "convert-20200101T000000Z-00000000"],
        files={f"model/{i}": b"12" for i in range(20)},
    )  # fmt: skip
    child = make_run(
        "evaluate", model=folder.name, parents=[folder.name], status="failed", message="No disk.\nFree it."
    )
    cells = [{"id": "train", "metadata": {"papermill": {"duration": 75.04}}, "source": ""}, {"id": "x", "metadata": {}}]
    (folder / "notebook.ipynb").write_text(json.dumps({"cells": cells}))
    said = " ".join(command("show", folder.name).split())
    for part in (
        f"{folder.name} ok: finetune is ok",
        "cells: train 1 min 15 s",
        "seed 7 (default 42)",
        f"{parent.name} ok convert is ok",
        "convert-20200101T000000Z-00000000 gone no longer there",
        f"children {child.name} failed evaluate is failed",
        "files (20, 40 B) model/ 40 B (20 files)",
    ):
        assert part in said
    assert "epochs" not in said
    assert "triplets.parquet 1.5 kB" in " ".join(command("show", parent.name).split())
    assert "error No disk. Free it. in cell 'start'" in " ".join(command("show", child.name).split())


def test_show_as_json_holds_the_manifest_and_more(make_run):
    folder = make_run("convert", seed=2, files={"triplets.parquet": b"123"})
    facts = json.loads(command("show", "--json"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {name: facts[name] for name in manifest} == manifest
    assert facts["changed"] == {"seed": {"value": 2, "default": 1029}}
    assert (facts["files"], facts["parents"], facts["children"]) == ({"triplets.parquet": 3}, [], [])


def test_show_tells_what_a_killed_run_left(results):
    folder = new_folder("convert", "f" * 64)
    (folder / "log.txt").write_text("half")
    said = command("show", "latest")
    assert "unfinished: was stopped before its end" in said
    assert "log.txt  4 B" in said


def test_verify_lists_what_changed_and_what_is_missing(make_run, results):
    make_run("convert", files={"triplets.parquet": b"1", "a/b": b"2"})
    assert "1 run, 2 files, 2 B: all as written" in command("verify")
    bad = make_run("finetune", status="failed", files={"model/weights": b"1", "model/config": b"1", "rest": b"1"})
    (bad / "model" / "weights").write_bytes(b"2")
    (bad / "model" / "config").unlink()
    said = command("verify", status=3)
    assert [line.strip() for line in said.splitlines() if ": " in line] == [
        "changed: model/weights",
        "missing: model/config",
        "2 runs, 5 files, 4 B: 1 not as written",
    ]
    assert "all as written" in command("verify", "convert")
    assert command("verify", "latest", status=3)
    (bad / "manifest.json").write_text("{")
    assert "manifest.json cannot be read" in command("verify", status=3)
    assert files_under(results / bad.name) == ["manifest.json", "model", "model/weights", "rest"]


def test_an_unfinished_run_cannot_be_verified(results):
    folder = new_folder("convert", "f" * 64)
    assert f"Run {folder.name} is unfinished" in command("verify", folder.name, status=1)
    assert "0 runs" in command("verify")


def test_a_folder_that_is_removed_while_it_is_looked_at_does_not_come_back(results, monkeypatch):
    folder = new_folder("convert", "a" * 64)
    for name in (".lock", "log.txt"):
        (folder / name).touch()

    class Slow(folders.FileLock):
        def __enter__(self):
            shutil.rmtree(folder)
            return super().__enter__()

    monkeypatch.setattr(folders, "FileLock", Slow)
    assert not folders.under_way(folder)
    assert not folder.exists()


def test_a_folder_that_holds_a_new_lock_and_nothing_else_is_left_alone(results):
    folder = new_folder("convert", "a" * 64)
    (folder / ".lock").touch()
    assert folders.under_way(folder)
    os.utime(folder, (0, 0))
    assert not folders.under_way(folder)
    assert folder.exists()
