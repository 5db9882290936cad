"""What earlier versions wrote is read, or refused in a sentence that says what to do."""

from __future__ import annotations

import json

import pytest
from helpers import WORDLLAMA, parquet

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.common.files import sha256
from gisttools.workflow.cleaning import removable, verify_run
from gisttools.workflow.evaluations import contenders_to_compare, read_contenders
from gisttools.workflow.folders import all_runs, finished_runs, latest, run_facts
from gisttools.workflow.inputs import origin_of
from gisttools.workflow.schedule import checked_recipe
from gisttools.workflow.spec import evaluations_by_size

# the parameters that the first version of 3_finetune knew
FINETUNE = {
    "student": WORDLLAMA, "student_revision": None, "guide": None, "guide_revision": None, "loss_temperature": 0.05,
    "margin": 0.0, "margin_strategy": "absolute", "contrast_anchors": True, "contrast_positives": True,
    "mask_same_label": True, "epochs": 10.0, "max_steps": None, "batch_size": 64, "learning_rate": 0.01,
    "warmup_ratio": 0.1, "max_length": None, "weight_decay": 0.0, "precision": "auto", "seed": 42,
}  # fmt: skip


@pytest.fixture
def old_run(results):
    """A function that writes a run as the first version did: no `changed`, no parameter that came later."""

    def write(verb: str, parameters: dict, parents=(), files=(), number: int = 0) -> str:
        name = f"{verb}-20251123T16000{number}Z-{number:08x}"
        folder = results / name
        for file, content in {"summary.json": b"{}", **dict(files)}.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
        manifest = {
            "run_id": name, "verb": verb, "status": "ok", "headline": f"an old {verb}", "seconds": 1.0,
            "started": f"2025-11-23T16:00:0{number}.000+00:00", "parameters": parameters, "spec_hash": f"{number:064x}",
            "seeds": {}, "parents": list(parents), "error": None, "git": {"sha": None, "dirty": None}, "versions": {},
            "hardware": {}, "artefacts": {n: sha256(folder / n) for n in ("summary.json", *dict(files))},
        }  # fmt: skip
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return name

    return write


@pytest.fixture
def tuned(old_run, caretaker, tmp_path):
    """An old conversion and the training on it."""
    rows = '{"anchor": "an anchor", "positive": "a positive", "negatives": ["a negative"]}\n'
    (tmp_path / "rows.jsonl").write_text(rows)
    convert = old_run("convert", {"sources": [str(caretaker)], "seed": 1029}, files={"t.txt": b"1"})
    given = FINETUNE | {"triplets": [str(tmp_path / "rows.jsonl")]}
    return convert, old_run("finetune", given, [convert], {"model/config.json": b"{}"}, number=1)


def test_old_runs_are_listed_shown_and_verified(tuned, results):
    assert [(run.run_id, run.status) for run in all_runs()] == [(name, "ok") for name in tuned]
    facts = run_facts(results / tuned[1])
    assert (facts["headline"], [p["run_id"] for p in facts["parents"]]) == ("an old finetune", [tuned[0]])
    assert set(facts["changed"]) == {"triplets", "guide", "learning_rate", "epochs"}  # defaults were 0.01 and 10
    assert verify_run(results / tuned[1]).ok
    assert removable() == []
    assert latest("finetune") == tuned[1]


def test_of_an_old_training_it_is_known_what_it_was_trained_on(tuned, caretaker):
    origin = origin_of(tuned[1])
    assert (origin.student, origin.training_texts) == (WORDLLAMA, ("an anchor", "a positive", "a negative"))
    assert str(caretaker) in origin.trained_on
    assert origin.parameters["instructions"] is False  # came later: as if the default had been told


def test_an_old_evaluation_is_refused_where_it_tells_too_little_and_left_alone_elsewhere(tuned, old_run):
    table = parquet({"task": ["t"], "base": [0.1], "tuned": [0.2]})
    files = {"comparison.parquet": table, "items.parquet": table}
    given = {"model": tuned[1], "baseline": None, "tasks": [], "files": [], "guards": [], "batch_size": 64, "seed": 0}
    name = old_run("evaluate", given, [tuned[1]], files, number=2)
    for read in (contenders_to_compare, lambda: read_contenders([name])):
        with pytest.raises(DataError, match=r"comparison\.parquet lacks subset, metric.*Evaluate again"):
            read()
    with pytest.raises(MissingError, match="is of a finetune run with a limit"):
        evaluations_by_size()


def test_a_manifest_of_next_to_nothing_stops_no_list(results):
    folder = results / "convert-20251123T160000Z-00000000"
    folder.mkdir(parents=True)
    told = {"verb": "convert", "status": "ok", "started": "2025-11-23T16:00:00+00:00"}
    (folder / "manifest.json").write_text(json.dumps(told))
    assert [(run.id, run.headline) for run in finished_runs()] == [(folder.name, "")]
    facts = run_facts(folder)
    assert (facts["status"], facts["files"], facts["changed"], facts["parents"]) == ("ok", {}, {}, [])
    assert removable() == []


def test_a_recipe_with_a_parameter_that_is_gone_is_refused_with_what_to_say_now(tmp_path):
    step = {"name": "write", "verb": "synthesize", "parameters": {"requests": 24}}
    (tmp_path / "old.yaml").write_text(json.dumps({"name": "old", "steps": [step]}))
    with pytest.raises(ParameterError, match=r"unknown parameter 'requests' = 24\. Earlier versions had it; say rows"):
        checked_recipe(tmp_path / "old.yaml")
