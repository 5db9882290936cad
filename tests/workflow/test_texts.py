"""Texts written elsewhere, from the command to triplets: what is refused before a kernel starts, and the way."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import ROOT, WORDLLAMA
from helpers.notebook_cells import run_cells

from gisttools.cli.main import main
from gisttools.common.errors import DataError, ParameterError
from gisttools.common.runs import read_run
from gisttools.data.triplets import read_triplets
from gisttools.workflow.execute import check_before
from gisttools.workflow.params import check_params
from gisttools.workflow.recipes import read_recipe


@pytest.fixture
def paraphrases(caretaker: Path, tmp_path: Path) -> Path:
    """Two texts of each train text of the caretaker, and one of a test text, with their seeds."""
    rows = []
    for part in ("train", "test"):
        file = next(caretaker.glob(f"{part}.*"))
        content = file.read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in content] if file.suffix == ".jsonl" else list(csv.DictReader(content))
        ways = (
            "Good morning to everybody in the house, a word from my flat: {}",
            "{} Who of you could see to that soon?",
        )
        rows += [
            {"original": r["text"], "generation": way.format(r["text"]), "topic": r["label"]}
            for r in (found if part == "train" else found[:1])
            for way in ways
        ]
    path = tmp_path / "paraphrases.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def told(path: Path, caretaker: Path) -> dict:
    return {
        "texts": [str(path)], "texts_columns": ["label=topic"], "guide": WORDLLAMA, "label_by": "none",
        "eval_files": [str(caretaker)], "labelled_files": [str(caretaker)],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rows": 20}, "rows is 20, which needs an LLM that writes"),
        ({"prompt": "sts"}, "prompt is 'sts', which needs an LLM that writes"),
        ({"temperature": 0.1}, "temperature is 0.1, which needs an LLM that is asked"),
        ({"documents": "run"}, "texts and documents are two things to start from"),
        ({"task": "t.yaml", "domain": "a shop"}, "a task description tells both itself"),
    ],
)
def test_what_would_do_nothing_next_to_texts_is_refused(given, message):
    with pytest.raises(ParameterError, match=message):
        check_params("synthesize", {"texts": ["a.jsonl"], **given})


def test_columns_without_texts_and_no_rows_without_texts_are_refused():
    with pytest.raises(ParameterError, match=r"texts_columns is .*, which needs texts"):
        check_params("synthesize", {"texts_columns": ["text=a"]})
    with pytest.raises(ParameterError, match="rows is None, which needs texts"):
        check_params("synthesize", {"rows": None})
    assert check_params("synthesize", {"texts": ["a"], "rows": None, "blind": True, "temperature": 0.1}).asks


def test_a_file_that_cannot_be_used_is_refused_before_a_kernel_starts(paraphrases, caretaker):
    params = check_params("synthesize", told(paraphrases, caretaker) | {"texts_columns": ["label=intent"]})
    with pytest.raises(DataError, match=r"no column .intent. \(label\)"):
        check_before("synthesize", params)
    done = CliRunner().invoke(main, ["run", "synthesize", "-p", "texts", "[nowhere.jsonl]"])
    assert done.exit_code
    assert "texts: there is no file or folder nowhere.jsonl" in done.output
    check_before("synthesize", check_params("synthesize", told(paraphrases, caretaker)))


def test_the_recipe_on_what_rows_add_takes_texts_in_place_of_an_llm():
    recipe = read_recipe(ROOT / "notebooks" / "recipes" / "llm_rows.yaml", {"texts": "a.jsonl", "data": "b"})
    (step,) = [step for step in recipe.steps if step.verb == "synthesize"]
    assert (step.parameters["texts"], step.parameters["rows"]) == (["a.jsonl"], None)
    assert check_params("synthesize", {k: v for k, v in step.parameters.items() if k != "task"}).described is None


def test_a_file_becomes_triplets_a_card_and_a_page(paraphrases, caretaker, results):
    run = read_run(results / run_cells("synthesize", told(paraphrases, caretaker)))
    assert {"triplets.parquet", "rejected.parquet", "data_card.md", "browse.html"} <= set(run.artefacts)
    assert not any("llm-server" in name for name in run.artefacts)
    table = read_triplets(str(run.folder / "triplets.parquet"))
    rows = [json.loads(line) for line in paraphrases.read_text(encoding="utf-8").splitlines()]
    assert run.summary["asked"] == len(rows)
    assert run.summary["reasons"]["in-evaluation-set"] == 2
    assert set(table["anchor"][:]) <= {r["generation"] for r in rows[:-2]}
    seed_of = {r["generation"]: r["original"] for r in rows} | {r["original"]: r["original"] for r in rows}
    assert len(table) > len(rows) / 2
    assert [r for r in table if seed_of[r["anchor"]] == seed_of[r["positive"]]] == []
    assert "paraphrases.jsonl" in (run.folder / "data_card.md").read_text(encoding="utf-8")
