"""Which candidates an evaluation has, by the runs behind its models: guide, labels, dollars, heads, smoke runs."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from helpers import MINILM, WORDLLAMA

from gisttools.data.triplets import write_triplets
from gisttools.evaluation.tasks import task_sources
from gisttools.workflow.candidates import _guide, _heads, _models, _references, _trainings, candidates_of, is_smoke
from gisttools.workflow.folders import open_run
from gisttools.workflow.inputs import open_entries, tasks_of
from gisttools.workflow.params import check_params


@pytest.fixture(scope="module")
def model_files(wordllama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    wordllama.save(str(folder))
    return {f"model/{p.name}": p.read_bytes() for p in folder.iterdir()}


ROWS = [
    {"anchor": "a one", "positive": "a two", "negatives": ["b one"], "anchor_label": "a", "positive_label": "a",
     "negative_labels": ["b"], "source": "labelled"},
    {"anchor": "a one", "positive": "a three", "anchor_label": "a", "positive_label": "a", "source": "labelled"},
    {"anchor": "written", "positive": "too", "anchor_label": "a", "positive_label": "a", "source": "llm"},
    {"anchor": "no label", "positive": "none", "source": "hub"},
]  # fmt: skip


@pytest.fixture
def trained(make_run, model_files, tmp_path):
    table = write_triplets(ROWS, tmp_path / "t.parquet")

    def train(parents=(), **given):
        files = {**model_files, "summary.json": json.dumps({"steps": 6}).encode()}
        told = {"student": WORDLLAMA, "guide": MINILM, "batch_size": 4, **given}
        return make_run("finetune", triplets=[str(table)], parents=parents, files=files, **told).name

    return train


def opened(models, **given):
    params = check_params("evaluate", {"model": models, "baseline": None, **given})
    return params, open_entries(params)


def test_student_tuned_model_and_guide_are_known_by_their_run(trained):
    params, entries = opened(trained())
    trainings = _trainings(entries)
    base, tuned = _models(entries, trainings)
    assert (base.name, base.kind, base.labels) == ("wordllama-256", "base", 0)
    assert (tuned.name, tuned.kind) == ("tuned wordllama-256", "tuned")
    assert tuned.labels == 4  # a one, a two, a three, b one: not what an LLM wrote, nor what has no label
    assert tuned.dollars == 0.0
    (guide,) = _guide(params, entries, trainings, [])
    assert (guide.name, guide.kind) == ("all-MiniLM-L6-v2", "guide")


def test_what_the_llm_cost_is_that_of_all_syntheses_up_the_chain(trained, make_run):
    def synthesis(seed, **summary):
        return make_run("synthesize", seed=seed, files={"summary.json": json.dumps(summary).encode()}).name

    paid = [synthesis(1, cost_usd=1.25, idea_cost_usd=0.5), synthesis(2, cost_usd=2.0)]
    _, entries = opened(trained(parents=paid))
    assert _models(entries, _trainings(entries))[1].dollars == 3.75
    unknown = synthesis(3, cost_usd=None)
    _, entries = opened(trained(parents=[*paid, unknown], seed=7))
    assert _models(entries, _trainings(entries))[1].dollars is None


def test_models_of_unknown_training_are_one_against_the_other(trained):
    _, entries = opened(MINILM, baseline=WORDLLAMA)
    found = _models(entries, _trainings(entries))
    assert [encoder.kind for encoder in found] == ["reference", "reference"]
    assert not any("tuned" in encoder.name or "train" in encoder.what for encoder in found)
    assert [encoder.labels for encoder in found] == [None, None]


def test_a_baseline_that_is_not_the_student_is_no_base(trained):
    _, entries = opened(trained(), baseline=MINILM)
    assert _models(entries, _trainings(entries))[0].kind == "reference"


def test_seeds_are_one_candidate(trained):
    _, entries = opened([trained(seed=1), trained(seed=2)])
    _, tuned = _models(entries, _trainings(entries))
    assert len(tuned.models) == 2


def test_a_guide_that_is_a_file_of_vectors_is_told_of(trained, tmp_path):
    notes = []
    params, entries = opened(trained(guide=str(tmp_path / "vectors.parquet")))
    assert _guide(params, entries, _trainings(entries), notes) == []
    assert "file of vectors" in notes[0]


def test_a_guide_that_cannot_be_opened_stops_nothing(trained, tmp_path):
    notes = []
    params, entries = opened(trained(guide=str(tmp_path / "gone")))
    assert _guide(params, entries, _trainings(entries), notes) == []
    assert "could not be opened" in notes[0]


def test_references_are_candidates_and_chance_is_a_floor():
    _, entries = opened(WORDLLAMA, baseline=WORDLLAMA, references=["random", "bm25", MINILM])
    assert [(e.name, e.kind) for e in _references(entries)] == [
        ("random", "floor"), ("BM25", "classic"), ("all-MiniLM-L6-v2", "reference"),
    ]  # fmt: skip


def test_another_training_is_shown_beside_and_is_no_candidate(trained):
    run = trained()
    _, entries = opened(WORDLLAMA, baseline=WORDLLAMA, references=[MINILM])
    beside = SimpleNamespace(references={run: entries.references[MINILM], MINILM: entries.references[MINILM]})
    assert [e.name for e in _references(beside)] == ["all-MiniLM-L6-v2"]
    (note,) = tasks_of(
        check_params("evaluate", {"references": [run], "guards": [], "files": ["data/support_intents"]})
    )[1]
    assert note == f"Shown beside: wordllama-256 trained on its own rows ({run})."


@pytest.mark.parametrize(("most", "smoke"), [(20, True), (24, True), (25, False), (None, False)])
def test_a_training_of_few_steps_is_a_smoke_run_where_it_was_told_so(trained, results, most, smoke):
    assert is_smoke(open_run(results / trained(max_steps=most))) is smoke


def test_heads_take_as_many_steps_as_the_training(trained, monkeypatch):
    from gisttools.workflow import candidates as module

    seen = []
    monkeypatch.setattr(module, "train_head", lambda student, texts, labels, options: seen.append(options))
    params, entries = opened([trained(seed=1), trained(seed=2)], cross_entropy=True)
    _heads(params, entries, _trainings(entries), [])(["a", "b"], ["x", "y"])
    assert [(o.steps, o.batch_size, o.seed) for o in seen] == [(6, 4, 1), (6, 4, 2)]
    without = params.model_copy(update={"cross_entropy": False})
    assert _heads(without, entries, _trainings(entries), []) is None
    notes = []
    assert _heads(params, entries, {}, notes) is None
    assert "finetune runs only" in notes[0]


@pytest.mark.parametrize("told", [{"candidates": False}, {"cross_entropy": True}])
def test_candidates_change_no_score_that_evaluations_are_compared_by(make_run, told):
    from gisttools.workflow.evaluations import _scored_on

    plain, other = (open_run(make_run("evaluate", **given)) for given in ({}, told))
    assert _scored_on(plain) == _scored_on(other)


def test_all_of_it_can_be_left_out(trained):
    params, entries = opened(trained(), candidates=False)
    assert candidates_of(params, entries, []) is None


@pytest.mark.slow
def test_all_candidates_stand_in_the_table(trained, caretaker):
    params, entries = opened(trained(), cross_entropy=True, files=[str(caretaker)])
    found = candidates_of(params, entries, task_sources(files=[str(caretaker)]))
    assert found.notes == ()
    assert {row.kind for row in found.rows} == {"floor", "classic", "base", "guide", "head"}
    # the files of this "tuned" model are the student's own: one model, one candidate
    assert next(row for row in found.rows if row.kind == "base").what.startswith("the student before training; ")
    assert replace(found, smoke=True).smoke
