"""Every kind of input that the documentation names goes through every notebook."""

from __future__ import annotations

import json
import re
from itertools import cycle

import pandas as pd
import pytest
from helpers import ROOT, WORDLLAMA
from helpers.input_kinds import TESTS, TRAINING
from helpers.notebook_cells import run_cells

from gisttools.data.files import FILE_ENDINGS
from gisttools.data.folders import KINDS

# each kind of either at least once; where a kind of test comes first, it is the development data as well
CASES = [
    pytest.param(training, tests, i < len(TESTS), id=f"{training.name}-{tests.name}".replace(" ", "-"))
    for i, (training, tests) in enumerate(zip(TRAINING, cycle(TESTS), strict=False))
]
TRAIN = {"student": WORDLLAMA, "guide": WORDLLAMA, "max_steps": 2, "batch_size": 16, "learning_rate": 1e-3}


def document(name: str) -> str:
    return " ".join((ROOT / "docs" / name).read_text(encoding="utf-8").split())


def test_each_kind_of_test_that_the_documentation_names_is_tried():
    table = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8").partition("| type | files |")[2]
    rows = re.findall(r"^\| ([^|-][^|]*?) \|", table.partition("\n\n")[0], re.MULTILINE)
    assert {kind.type for kind in TESTS} == set(rows)
    assert {kind.kind for kind in TESTS} == set(KINDS)
    assert len(TRAINING) >= len(TESTS)


def test_each_kind_of_file_that_the_documentation_names_is_tried():
    tried = {ending for kind in TRAINING for file in kind.files for ending in re.findall(r"\.[a-z]+", file)}
    assert {part for ending in FILE_ENDINGS for part in re.findall(r"\.[a-z]+", ending)} <= tried
    assert set(re.findall(r"`(\.[a-z]+)`", document("data.md"))) <= tried


def test_the_documentation_names_each_kind_that_is_tried():
    assert [kind.name for kind in TRAINING if kind.said not in document("data.md")] == []


@pytest.mark.slow
@pytest.mark.parametrize(("training", "tests", "first"), CASES)
def test_a_kind_of_input_goes_through_every_notebook(training, tests, first, tmp_path, caretaker, results):
    sources, files = training.make(tmp_path / "train", caretaker), tests.make(tmp_path / "tests", caretaker)
    shown: list[object] = []
    told = {"sources": sources, "guide": WORDLLAMA, "eval_files": [files] if first else [], **training.more}
    converted = run_cells("convert", told, shown)
    tuned = run_cells("finetune", {"triplets": [converted], "dev": [files] if first else [], **TRAIN}, shown)
    told = {"model": tuned, "baseline": None, "files": [files], "guards": [], "allow_overlap": not first}
    scored = run_cells("evaluate", told | {"references": ["guide", "random"] if first else []}, shown)
    pages = run_cells("report", {"evaluation": scored, "latex": True}, shown)
    compared = run_cells("compare", {"evaluations": [scored]}, shown)
    curve = run_cells("cost_to_gain", {"evaluations": [scored]}, shown)

    assert len(pd.read_parquet(results / converted / "triplets.parquet")) > 20
    assert pd.read_parquet(results / tuned / "history.parquet")["loss"].notna().all()
    comparison = pd.read_parquet(results / scored / "comparison.parquet")
    assert comparison[["base", "tuned"]].notna().all(axis=None)
    assert "</html>" in (results / pages / "report.html").read_text(encoding="utf-8")
    manifests = [json.loads((results / run / "manifest.json").read_text()) for run in (compared, curve)]
    assert [m["status"] for m in manifests] == ["ok", "ok"]
    assert sum(isinstance(one, bytes) for one in shown) >= 9  # pictures


@pytest.mark.slow
def test_pairs_and_triplets_of_every_kind_are_trained_on_as_they_are(tmp_path, caretaker, results):
    kinds = [kind for kind in TRAINING if kind.triplets]
    sets = [name for kind in kinds for name in kind.make(tmp_path / kind.name, caretaker)]
    run = run_cells("finetune", {"triplets": sets, **TRAIN}, [])
    summary = json.loads((results / run / "summary.json").read_text())
    assert summary["triplets"] == 48 * len(sets)
