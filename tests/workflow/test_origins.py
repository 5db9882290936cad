"""Origins: the student and the training texts of a tuned model are found through its runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import MINILM, ROOT, WORDLLAMA

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.data.triplets import make_triplets, write_triplets
from gisttools.workflow.folders import paths
from gisttools.workflow.inputs import Origin, model_path, open_entries, origin_of
from gisttools.workflow.params import check_params


@pytest.fixture
def tables(tmp_path):
    """A function that writes a triplet table of one row and answers with its path."""

    def write(name: str) -> Path:
        row = {"anchor": f"{name} a", "positive": f"{name} p", "negatives": [f"{name} n"]}
        return write_triplets([row], tmp_path / f"{name}.parquet")

    return write


def tuned(make_run, triplets, *, parents=(), model=(("model/config.json", b"{}"),), **given) -> Path:
    return make_run("finetune", triplets=triplets, parents=parents, files=model, **given)


@pytest.mark.parametrize("name", [WORDLLAMA, "org/name"])
def test_of_a_model_that_no_run_made_nothing_is_known(name):
    assert origin_of(name) == Origin(name)


def test_a_model_folder_is_opened_where_it_is(tmp_path):
    assert origin_of(str(tmp_path)) == Origin(str(tmp_path))


def test_a_finetune_run_tells_student_sources_and_texts(make_run, tables, caretaker):
    files = {"triplets.parquet": tables("mined").read_bytes()}
    convert = make_run("convert", sources=[str(caretaker), "AJGT:train", "mteb_eng_v1_classification"], files=files)
    plain = tables("plain")
    run = tuned(make_run, [convert.name, str(plain)], parents=[convert.name], student=MINILM, student_revision="x")
    origin = origin_of(run.name)
    assert (origin.path, origin.student, origin.student_revision) == (str(run / "model"), MINILM, "x")
    assert {str(plain), str(caretaker), "AJGT", "Banking77Classification"} <= set(origin.trained_on)
    assert len(origin.trained_on) == 3 + 11
    assert sorted(origin.training_texts) == sorted(f"{name} {x}" for name in ("mined", "plain") for x in "apn")
    assert model_path(run.name) == str(run / "model")


def test_what_the_student_was_trained_on_before_counts_as_well(make_run, tables):
    first = tuned(make_run, [str(tables("first"))])
    second = tuned(make_run, [str(tables("second"))], student=first.name, parents=[first.name])
    origin = origin_of(second.name)
    assert origin.student == str(first / "model")
    assert {Path(s).stem for s in origin.trained_on} == {"first", "second"}
    assert {"first a", "second a"} <= set(origin.training_texts)


def test_a_run_of_another_kind_is_refused(make_run):
    run = make_run("evaluate")
    with pytest.raises(ParameterError, match=rf"model = '{run.name}' is a run of evaluate; name a finetune run"):
        origin_of(run.name)


def test_a_failed_or_changed_training_is_refused(make_run, tables):
    failed = tuned(make_run, [str(tables("t"))], status="failed", seed=1)
    with pytest.raises(DataError, match=f"{failed.name} failed"):
        origin_of(failed.name)
    changed = tuned(make_run, [str(tables("t"))])
    (changed / "model" / "config.json").write_text("{ }")
    with pytest.raises(DataError, match=r"model/config\.json changed since the run"):
        origin_of(changed.name)


def test_a_triplet_table_that_is_gone_is_named(make_run, tables):
    table = tables("t")
    run = tuned(make_run, [str(table)])
    table.unlink()
    with pytest.raises(MissingError, match=r"No triplet table at .*t\.parquet"):
        origin_of(run.name)


def test_without_baseline_the_student_is_the_baseline(make_run, tables, wordllama, tmp_path):
    wordllama.save(str(tmp_path / "model"))
    model = {f"model/{p.name}": p.read_bytes() for p in (tmp_path / "model").iterdir()}
    shutil.rmtree(tmp_path / "model")
    run = tuned(make_run, [str(tables("t"))], model=model, student=MINILM)
    entries = open_entries(check_params("evaluate", {"model": run.name, "baseline": None}))
    assert entries.names == {"base": MINILM, "tuned": run.name}
    assert {role: model.dimension for role, model in entries.models.items()} == {"base": 384, "tuned": 256}
    assert np.array_equal(entries.models["tuned"].encoder.encode(["a key"]), wordllama.encode(["a key"]))


def test_a_model_without_history_needs_a_baseline():
    with pytest.raises(ParameterError, match=r"baseline is not set, and 'embedded:wordllama-256' is no finetune run"):
        open_entries(check_params("evaluate", {"model": WORDLLAMA, "baseline": None}))


def test_names_that_are_paths_are_found_from_anywhere_and_others_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("")
    found = paths(["mine.csv", "data/support_intents", "Banking77Classification", "org/name"])
    assert found == ["mine.csv", str(ROOT / "data/support_intents"), "Banking77Classification", "org/name"]


def test_of_a_run_with_a_limit_only_the_rows_it_trained_on_count(make_run, tmp_path):
    rows = [{"anchor": f"a{i}", "positive": f"p{i}"} for i in range(10)]
    table = write_triplets(rows, tmp_path / "ten.parquet")
    whole, part, less = (origin_of(tuned(make_run, [str(table)], limit=n).name).training_texts for n in (None, 6, 3))
    assert (len(whole), len(part), len(less)) == (20, 12, 6)
    assert set(less) < set(part) < set(whole)


def test_of_a_run_without_a_group_of_rows_only_the_others_count(make_run, tmp_path):
    rows = [{"anchor": f"a{i}", "positive": f"p{i}", "source": "llm" if i < 4 else "labelled"} for i in range(10)]
    table = write_triplets(make_triplets(rows), tmp_path / "ten.parquet")
    run = tuned(make_run, [str(table)], leave_out=[{"source": "llm"}], limit=5)  # of what is left
    assert len(origin_of(run.name).training_texts) == 10
    run = tuned(make_run, [str(table)], leave_out=[{"source": "llm"}])
    assert set(origin_of(run.name).training_texts) == {f"{side}{i}" for side in "ap" for i in range(4, 10)}
