"""Runs: the manifest comes last, checksums hold, ancestors are found, and killed runs are told from live ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.common.files import sha256
from gisttools.common.runs import ancestors, read_run
from gisttools.workflow.execute import run_notebook
from gisttools.workflow.folders import (
    artefact,
    as_run,
    find_finished,
    finished_runs,
    latest,
    open_run,
    remove_unfinished,
    run_folder,
)
from gisttools.workflow.manifest import key_variables, write_manifest
from gisttools.workflow.params import check_params
from gisttools.workflow.recipes import Step
from gisttools.workflow.schedule import preview
from gisttools.workflow.session import new_folder, start
from gisttools.workflow.spec import parents_of, spec_hash


def spec_of(verb: str, **given) -> str:
    return spec_hash(verb, check_params(verb, given))


def test_a_run_by_hand_leaves_summary_manifest_and_checksums(results):
    run = start("convert", {"negatives": 2, "pd": json, "_private": 1})
    run.path("model").mkdir()
    (run.path("model") / "weights.bin").write_bytes(b"123")
    run.finish({"triplets": 3}, headline="three triplets")
    manifest = read_run(run.folder).manifest
    assert (manifest["verb"], manifest["status"], manifest["headline"]) == ("convert", "ok", "three triplets")
    assert manifest["parameters"]["negatives"] == 2
    assert manifest["seeds"] == {"seed": 1029}
    assert set(manifest["artefacts"]) == {"summary.json", "model/weights.bin"}
    assert manifest["artefacts"]["model/weights.bin"] == sha256(run.path("model") / "weights.bin")
    assert json.loads(run.path("summary.json").read_text())["triplets"] == 3
    assert {"git", "versions", "hardware", "started", "seconds", "spec_hash", "parents", "error"} <= set(manifest)
    assert sorted(p.name for p in run.folder.iterdir()) == ["log.txt", "manifest.json", "model", "summary.json"]


ENDPOINTS = [{"base_url": "http://127.0.0.1:1/v1", "model": "m", "key_variable": "GPU_ACCESS", "weight": 2}]


def test_parameters_that_are_mappings_reach_a_run(results):
    run = start("synthesize", {"llm_endpoints": ENDPOINTS, "task": "prompts/tasks/support_intents.yaml"})
    (told,) = run.params.llm_options().each
    assert (told.base_url, told.model, told.key_variable) == ("http://127.0.0.1:1/v1", "m", "GPU_ACCESS")
    assert "GPU_ACCESS" in key_variables(run.params.model_dump())


def test_what_looks_like_a_secret_in_a_mapping_is_refused():
    for told in (
        {"key_variable": "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"},
        {"base_url": "http://u:pw@h/v1"},
    ):
        with pytest.raises(ParameterError, match="llm_endpoints looks like"):
            check_params("synthesize", {"llm_endpoints": [{**ENDPOINTS[0], **told}]})


def test_the_manifest_is_the_last_file_written(results, monkeypatch):
    run = start("convert", {})
    monkeypatch.setattr(os, "replace", None)
    seen = []
    monkeypatch.setattr(type(run.folder), "replace", lambda self, target: seen.extend(run.folder.iterdir()))
    run.finish({}, headline="done")
    names = {p.name for p in seen}
    assert "summary.json" in names
    assert any(name.startswith(".manifest.json.") for name in names)
    assert run.path("manifest.json") not in seen


def test_a_run_without_manifest_is_unfinished_and_ignored(results):
    run = start("convert", {})
    assert finished_runs() == []
    with pytest.raises(MissingError, match="is unfinished: it has no manifest"):
        open_run(run.folder.name)
    with pytest.raises(MissingError, match="No finished convert run"):
        latest("convert")


def test_finished_runs_come_oldest_first_whatever_their_ids(make_run):
    for second in (30, 10, 20):
        make_run("convert", started=f"2026-01-01T00:00:{second}+00:00", seed=second)
    assert [run.parameters["seed"] for run in finished_runs("convert")] == [10, 20, 30]
    assert finished_runs("finetune") == []


def test_the_latest_run_is_the_newest_that_ended_well(make_run, results):
    good = make_run("evaluate", started="2026-01-01T00:00:01+00:00")
    make_run("evaluate", started="2026-01-01T00:00:02+00:00", status="failed", seed=1)
    assert latest("evaluate") == good.name
    assert run_folder(latest("evaluate")) == run_folder(good.name) == good


def test_starts_within_one_second_keep_their_order(results):
    ids = []
    for seed in range(5):
        run = start("convert", {"seed": seed})
        run.finish({}, headline="")
        ids.append(run.folder.name)
    assert [run.id for run in finished_runs()] == ids


def test_two_runs_of_one_spec_in_one_second_get_two_folders(results):
    assert len({new_folder("convert", "0" * 64).name for _ in range(3)}) == 3


def test_results_that_cannot_be_written_are_named_with_the_variable_to_set(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GISTTOOLS_RESULTS", str(tmp_path / "file"))
    with pytest.raises(ParameterError, match=r"cannot be written to .*file.*Set GISTTOOLS_RESULTS"):
        start("convert", {})


def test_an_artefact_is_found_by_run_id_and_by_path(make_run):
    folder = make_run("convert", files={"triplets.parquet": b"rows"})
    assert artefact(folder.name, "triplets.parquet") == folder / "triplets.parquet"
    assert artefact(str(folder), "triplets.parquet") == folder / "triplets.parquet"


def test_a_plain_path_is_its_own_artefact(caretaker):
    assert artefact(str(caretaker / "train.jsonl"), "triplets.parquet") == caretaker / "train.jsonl"


@pytest.mark.parametrize("change", ["edit", "remove"])
def test_a_changed_artefact_is_refused(make_run, change):
    folder = make_run("finetune", files={"model/config.json": b"{}", "model/weights": b"1"})
    if change == "edit":
        (folder / "model" / "weights").write_bytes(b"2")
    else:
        (folder / "model" / "weights").unlink()
    with pytest.raises(DataError, match=rf"Run {folder.name}: model/weights changed since the run. Run it again"):
        artefact(folder.name, "model")


def test_a_failed_run_is_no_input(make_run):
    folder = make_run("convert", status="failed", files={"triplets.parquet": b"half"}, message="no such column")
    with pytest.raises(DataError, match=rf"Run {folder.name} failed \(no such column\)\. Run it again"):
        artefact(folder.name, "triplets.parquet")


@pytest.mark.parametrize("kind", ["missing", "unfinished", "failed"])
def test_a_run_that_cannot_be_an_input_is_refused_before_anything_is_made(make_run, results, kind):
    name = "convert-20260101T000000Z-0123abcd"
    if kind == "failed":
        name = make_run("convert", status="failed", message="no such column.\nat all").name
    elif kind == "unfinished":
        (results / name).mkdir()
    before = sorted(results.rglob("*"))
    message = {"missing": f"no run '{name}'", "unfinished": "is unfinished", "failed": r"failed \(no such column\)\."}
    for begin in (run_notebook, start):
        with pytest.raises((MissingError, DataError), match=message[kind]):
            begin("finetune", {"triplets": [name]})
    assert sorted(results.rglob("*")) == before


def test_an_artefact_that_a_run_does_not_have_is_named_with_those_it_has(make_run):
    folder = make_run("evaluate", files={"scores.parquet": b"1"})
    with pytest.raises(MissingError, match=r"has no artefact triplets\.parquet; it has scores\.parquet"):
        artefact(folder.name, "triplets.parquet")


def test_a_run_that_does_not_exist_has_a_suggestion(make_run):
    folder = make_run("evaluate")
    wrong = folder.name[:-1] + ("0" if folder.name[-1] != "0" else "1")
    with pytest.raises(MissingError, match=rf"no run '{wrong}'.*Did you mean '{folder.name}'.*gisttools runs"):
        run_folder(wrong)


def test_parents_and_ancestors_follow_the_parameters(make_run, results):
    convert = make_run("convert", files={"triplets.parquet": b"1"})
    finetune = make_run("finetune", triplets=[convert.name, "other.jsonl"], parents=[convert.name])
    params = check_params("evaluate", {"model": finetune.name, "baseline": None})
    assert parents_of(params) == [finetune.name]
    evaluate = make_run("evaluate", model=finetune.name, baseline=None, parents=[finetune.name])
    found, missing = ancestors(read_run(evaluate), results)
    assert ([run.id for run in found], missing) == ([finetune.name, convert.name], [])
    shutil.rmtree(convert)
    found, missing = ancestors(read_run(evaluate), results)
    assert [run.id for run in found] == [finetune.name]
    assert [text.split(":")[0] for text in missing] == [convert.name]


def test_only_names_of_run_folders_are_runs(make_run, results):
    assert as_run(make_run("convert").name)
    (results / "convert-mine").mkdir()
    (results / "other-20260101T000000Z-00000000").mkdir()
    for name in ("convert-mine", "other-20260101T000000Z-00000000", "convert-20260101T000000Z-00000000", "embedded:x"):
        assert as_run(name) is None


def test_only_runs_that_ended_well_are_reused(make_run):
    spec = spec_of("convert")
    make_run("convert", status="failed")
    assert find_finished(spec, "convert") is None
    folder = make_run("convert")
    assert find_finished(spec, "convert").id == folder.name
    assert find_finished(spec_of("convert", seed=1), "convert") is None


def test_a_run_that_lacks_something_is_gone_on_with_unless_one_is_whole(make_run, capsys, monkeypatch):
    missing = "2 rows are missing. Run again."
    folder = make_run("convert", missing=missing)
    monkeypatch.setattr("gisttools.workflow.execute._run", lambda *_: read_run(make_run("convert")))
    (planned,) = preview([Step(name="convert", verb="convert")])
    assert (planned.state, missing in planned.note) == ("to run", True)
    assert run_notebook("convert", {}).id != folder.name
    assert "is not finished, it goes on" in capsys.readouterr().out
    assert not find_finished(spec_of("convert"), "convert").missing
    make_run("convert", missing=missing)
    assert not find_finished(spec_of("convert"), "convert").missing


def test_a_finished_run_is_answered_without_running(make_run, capsys):
    folder = make_run("convert")
    assert run_notebook("convert", {}).id == folder.name
    assert "already done, convert is ok" in capsys.readouterr().out
    assert run_notebook("convert", {}, rerun="only-cache").id == folder.name


def test_never_refuses_what_has_run_before(make_run):
    folder = make_run("convert")
    with pytest.raises(MissingError, match=rf"has run before, as {folder.name}, and rerun is 'never'"):
        run_notebook("convert", {}, rerun="never")


def test_only_cache_refuses_to_run_and_leaves_nothing(results):
    with pytest.raises(MissingError, match="no finished run of these parameters, and rerun is 'only-cache'"):
        run_notebook("convert", {}, rerun="only-cache")
    assert list(results.iterdir()) == []


def test_what_a_killed_run_left_is_removed_but_nothing_else(make_run, results):
    spec = spec_of("convert")
    finished, other = make_run("convert"), new_folder("convert", "f" * 64)
    killed = new_folder("convert", spec)
    (killed / "triplets.partial").write_text("half")
    (results / f".removed-convert-20260101T000000Z-{'a' * 8}" / "half").mkdir(parents=True)
    remove_unfinished(spec, "convert")
    assert sorted(results.iterdir()) == sorted([finished, other])
    assert not (finished / ".lock").exists()


@pytest.mark.slow
def test_a_run_under_way_in_another_process_is_not_removed(results):
    script = "from gisttools.workflow import start; run = start('convert', {}); print(run.folder, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        folder = other.stdout.readline().strip()
        remove_unfinished(spec_of("convert"), "convert")
        assert os.path.isdir(folder)
        other.kill()
        other.wait()
    remove_unfinished(spec_of("convert"), "convert")
    assert not os.path.isdir(folder)


def test_a_folder_into_which_an_orphan_still_writes_is_gone_too(results):
    spec = spec_of("convert")
    script = """
import sys
for number in range(20_000):
    try:
        open(f"{sys.argv[1]}/{number}.txt", "w").close()
    except OSError:
        print(number, flush=True)
        break
"""
    for _ in range(5):
        folder = new_folder("convert", spec)
        with subprocess.Popen([sys.executable, "-c", script, folder], stdout=subprocess.PIPE, text=True) as orphan:
            while not (folder / "100.txt").exists():
                assert orphan.poll() is None
            remove_unfinished(spec, "convert")
            assert int(orphan.stdout.readline()) > 100
        assert list(results.iterdir()) == []


def test_a_file_that_comes_in_between_the_last_one_removed_and_the_folder_is_removed_too(results, monkeypatch):
    folder, spec, rmdir = new_folder("convert", spec_of("convert")), spec_of("convert"), os.rmdir
    late = iter(("a.txt", "b.txt"))

    def with_a_late_file(path, *args, **kwargs):
        if name := next(late, None):
            (results / f".removed-{folder.name}" / name).write_text("begun before the folder was moved")
        rmdir(path, *args, **kwargs)

    monkeypatch.setattr(os, "rmdir", with_a_late_file)
    remove_unfinished(spec, "convert")
    assert (list(results.iterdir()), next(late, None)) == ([], None)


def test_a_manifest_that_cannot_be_written_whole_is_not_there(results, monkeypatch):
    folder = new_folder("convert", "0" * 64)
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_manifest(folder, {"verb": "convert", "status": object()})
    assert not (folder / "manifest.json").exists()
