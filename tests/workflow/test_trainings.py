"""Trainings of several sizes, read from evaluate and finetune runs; by default those that differ in size alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import parquet

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.workflow.evaluations import read_trainings
from gisttools.workflow.params import check_params
from gisttools.workflow.spec import evaluations_of, parents_of

COMPARISON = {
    "task": ["caretaker", "sts"], "subset": ["default", "en"], "metric": ["accuracy", "spearman"], "base": [0.5, 0.7],
    "tuned": [0.625, 0.72], "standard_error": [0.01, 0.02], "freedom": [99.0, np.nan], "is_target": [True, False],
}  # fmt: skip
ITEMS = {
    "task": ["caretaker"] * 4, "subset": ["default"] * 4, "item": [3, 2, 1, 0],
    "base_draws": [[True, True], [False, False], [False, True], [True, False]],
    "tuned_draws": [[True, True], [True, False], [False, True], [True, False]],
}  # fmt: skip


@pytest.fixture
def evaluated(make_run):
    """A function that leaves a finetune run and its evaluate run, and answers with the name of the latter."""
    count = iter(range(60))

    def make(limit: int | None, seed: int = 0, *, base="student", items=ITEMS, tasks=("a",), **given) -> str:
        summary = {"triplets": limit or 476, "rows": limit or 476, "rows_cost_usd": 0.5, "rows_priced": 7}
        training = make_run(
            "finetune", limit=limit, seed=seed, files={"summary.json": json.dumps(summary).encode()}, **given
        )
        artefacts = {
            "summary.json": json.dumps({"base": base, "revisions": {"base": None}}).encode(),
            "comparison.parquet": parquet(COMPARISON),
            "items.parquet": parquet(items),
        }
        when = f"2026-01-01T00:00:{next(count):02d}+00:00"
        run = make_run(
            "evaluate", model=training.name, baseline=None, files=artefacts, started=when, parents=[training.name],
            tasks=list(tasks),
        )  # fmt: skip
        return run.name

    return make


def test_a_trial_holds_rows_dollars_seeds_and_what_both_models_did(evaluated):
    (trial,) = read_trainings([evaluated(60, 4, limit_seed=2)])
    assert (trial.rows, trial.priced, trial.cost, trial.training_seeds) == (60, 7, 0.5, (4, 2))
    part = ("caretaker", "default")
    assert trial.base[part].values.tolist() == [[1, 0, 0, 1], [0, 1, 0, 1]]  # draws by items, in the order of items
    assert trial.tuned[part].values.mean() == trial.tuned[part].score == 0.625
    assert trial.targets == {part}
    sts = trial.tuned["sts", "en"]
    assert (sts.score, sts.values, sts.variance, sts.freedom) == (0.72, None, pytest.approx(0.0004), np.inf)


def test_a_training_without_a_limit_is_a_trial_of_all_rows(evaluated):
    assert read_trainings([evaluated(None)])[0].rows == 476


def test_items_of_an_older_run_are_done_without(evaluated):
    old = {name: values for name, values in ITEMS.items() if not name.endswith("_draws")}
    assert read_trainings([evaluated(60, items=old)])[0].tuned["caretaker", "default"].values is None


def test_all_that_is_no_trial_is_named_at_once(evaluated, make_run):
    good, other = evaluated(60), evaluated(120, base="another")
    convert, loose = make_run("convert"), make_run("evaluate", model="embedded:all-MiniLM-L6-v2")
    with pytest.raises(ParameterError) as caught:
        read_trainings([good, other, convert.name, loose.name, "nothing"])
    for part in (
        "4 problem(s)",
        f"{convert.name} is no evaluate run but one of convert",
        f"{loose.name} is of embedded:all-MiniLM-L6-v2, which is no finetune run",
        "nothing is no evaluate run",
        f"baselines differ: {good} against student, {other} against another",
    ):
        assert part in str(caught.value)


def test_a_changed_artefact_is_refused(evaluated, results):
    run = evaluated(60)
    (results / run / "items.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"items\.parquet changed since the run"):
        read_trainings([run])


def test_by_default_runs_of_one_kind_are_taken_that_differ_in_size_and_seed(evaluated):
    evaluated(60, epochs=3.0)
    evaluated(None)
    alike = [evaluated(60), evaluated(120), evaluated(120, 1), evaluated(120, 1, limit_seed=3)]
    assert evaluations_of([]) == alike
    assert evaluations_of(["mine"]) == ["mine"]
    assert parents_of(check_params("cost_to_gain", {})) == alike


def test_of_two_equal_ones_the_newest_is_taken_and_other_tasks_are_another_kind(evaluated):
    evaluated(60)
    again = evaluated(60)
    assert evaluations_of([]) == [again]
    newest = evaluated(60, tasks=("b",))
    assert evaluations_of([]) == [newest]


def test_without_any_the_recipe_is_named(evaluated):
    evaluated(None)
    with pytest.raises(MissingError, match=r"of a finetune run with a limit.*gisttools run cost_to_gain\.yaml"):
        parents_of(check_params("cost_to_gain", {}))
