"""What may stand side by side; and evaluate runs read as contenders."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from helpers import parquet
from helpers.compared import ABOUT, PART, contender

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.evaluation.contenders import Scored, ScoredOn, check_comparable, differences
from gisttools.workflow.evaluations import contenders_to_compare, read_contenders
from gisttools.workflow.params import check_params
from gisttools.workflow.spec import parents_of

GOOD = [contender(f"evaluate-{i}", {"limit": i}) for i in range(3)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"baseline": "student (2.0)"}, "its baseline is student (2.0), not student (1.0)"),
        ({"base": 0.31}, "the baseline's score on support is 0.3100, not 0.3000"),
        ({"about": {**ABOUT, "split": "dev"}}, "split of support: dev, not test"),
        ({"about": {**ABOUT, "metric": "f1"}}, "metric of support: f1, not accuracy"),
        ({"about": {**ABOUT, "revision": "abd"}}, "revision of the data of support: abd, not abc"),
        ({"about": {**ABOUT, "n_items": 39}}, "items of support: 39, not 40"),
        ({"about": {**ABOUT, "n_draws": 10}}, "draws of support: 10, not 3"),
        ({"about": {**ABOUT, "items": "beef"}}, "texts and labels of support: others"),
        ({"part": ("support", "de")}, "it did not score support; it scored support (de) as well"),
        ({"targets": frozenset()}, "its targets are none, not support"),
    ],
)
def test_what_is_not_comparable_is_refused_with_the_run_and_why(change, why):
    odd = contender("evaluate-odd", {"limit": 9}, **change)
    with pytest.raises(DataError) as caught:
        check_comparable([odd, *GOOD])
    assert str(caught.value).startswith("1 of 4 runs cannot be compared with evaluate-0:\n  - evaluate-odd: ")
    assert why in str(caught.value)


def test_all_runs_that_do_not_fit_are_listed_at_once():
    odd = [contender("evaluate-a", {"limit": 8}, baseline="x"), contender("evaluate-b", {"limit": 9}, base=0.1)]
    with pytest.raises(DataError, match=r"(?s)2 of 5 runs.*evaluate-a: its baseline.*evaluate-b: the baseline's score"):
        check_comparable([*GOOD, *odd])


def test_many_tasks_that_differ_alike_are_one_phrase():
    parts = [(f"task {i}", "default") for i in range(60)]

    def on(split):
        scored = {p: Scored(score=0.5) for p in parts}
        about = {p: ScoredOn(**{**ABOUT, "split": split}) for p in parts}
        return replace(GOOD[0], base=scored, tuned=scored, about=about, targets=frozenset(parts))

    assert differences(on("test"), on("dev")) == ["split of task 0: dev, not test (and of 59 more)"]


def test_what_is_not_known_of_a_run_is_no_difference():
    assert differences(GOOD[0], contender("evaluate-old", {}, about={"metric": "accuracy"})) == []


def test_a_baseline_scored_again_may_differ_in_its_last_bits():
    check_comparable([*GOOD, contender("evaluate-again", {"limit": 7}, base=0.3 + 1e-9)])


def test_equal_parameters_and_seeds_are_refused():
    with pytest.raises(ParameterError, match="evaluate-0 and evaluate-twin are of equal parameters and seeds"):
        check_comparable([*GOOD, contender("evaluate-twin", {"limit": 0})])
    check_comparable([*GOOD, contender("evaluate-other-seed", {"limit": 0}, seed=1)])


def test_nothing_to_compare_is_said():
    with pytest.raises(ParameterError, match="nothing to compare"):
        check_comparable([])


# --- runs ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def evaluated(make_run):
    """A function that leaves a finetune run and its evaluate run, and answers with the name of the latter."""
    count = iter(range(60))

    def make(
        *, base="student", split="test", n_items=4, tasks=("a",), model=None, cost=None, evaluate=None, **given
    ) -> str:
        summary = {"triplets": 476, "rows_cost_usd": cost}
        model = model or make_run("finetune", files={"summary.json": json.dumps(summary).encode()}, **given).name
        texts = [f"text {i}" for i in range(n_items)]
        right = [[True, False]] * n_items
        scores = {
            "role": ["base", "tuned"], "task": ["support"] * 2, "subset": ["default"] * 2, "split": [split] * 2,
            "revision": ["r1"] * 2, "n_items": [n_items] * 2, "n_draws": [2, 2], "metric": ["accuracy"] * 2,
            "is_main": [True, True], "score": [0.5, 0.5],
        }  # fmt: skip
        artefacts = {
            "summary.json": json.dumps({"base": base, "revisions": {"base": "v1"}}).encode(),
            "scores.parquet": parquet(scores),
            "comparison.parquet": parquet(
                {
                    "task": ["support"], "subset": ["default"], "metric": ["accuracy"], "base": [0.5], "tuned": [0.5],
                    "standard_error": [0.01], "freedom": [9.0], "is_target": [True],
                }
            ),
            "items.parquet": parquet(
                {
                    "task": ["support"] * n_items, "subset": ["default"] * n_items, "item": list(range(n_items))[::-1],
                    "text": texts, "gold": ["x"] * n_items, "base_draws": right, "tuned_draws": right,
                }
            ),
        }  # fmt: skip
        when = f"2026-01-01T00:00:{next(count):02d}+00:00"
        return make_run(
            "evaluate", model=model, files=artefacts, started=when, tasks=list(tasks), **(evaluate or {})
        ).name

    return make


def test_a_run_is_read_with_its_parameters_seeds_data_and_cost(evaluated):
    (found,) = read_contenders([evaluated(seed=4, limit_seed=2, limit=60, guide=None, cost=0.25)])
    assert found.seeds == (("seed", 4), ("limit_seed", 2))
    assert (found.parameters["guide"], found.parameters["limit"], found.cost) == (None, 60, 0.25)
    assert not [name for name in found.parameters if name.endswith("seed")]
    assert found.baseline == "student (v1)"
    about = found.about["support", "default"]
    known = ScoredOn(metric="accuracy", split="test", revision="r1", n_items=4, n_draws=2)
    assert replace(about, items=None) == known
    assert found.tuned["support", "default"].values.tolist() == [[1.0] * 4, [0.0] * 4]


def test_the_runs_that_a_training_names_count_by_what_they_are_made_of(evaluated, make_run):
    """Two conversions that differ in their seed alone are the same data with another seed, whatever they are called."""
    made = [make_run("convert", seed=seed, negatives=n).name for seed, n in ((1, 1), (2, 1), (1, 3))]
    found = read_contenders([evaluated(triplets=[name]) for name in made])
    assert [c.parameters["triplets"] for c in found] == [["convert"]] * 3
    assert [c.parameters["convert.negatives"] for c in found] == [1, 1, 3]
    assert found[0].parameters == found[1].parameters
    assert [dict(c.seeds)["convert.seed"] for c in found] == [1, 2, 1]


def test_what_changes_no_model_makes_no_other_recipe(evaluated):
    a, b = read_contenders([evaluated(checkpoint_minutes=1.0), evaluated(checkpoint_minutes=5.0, licence="mit")])
    assert a.parameters == b.parameters


def test_a_model_that_was_not_trained_here_is_named(evaluated):
    (found,) = read_contenders([evaluated(model="org/model")])
    assert (found.parameters, found.seeds, found.seconds) == ({"model": "org/model"}, (), None)


def test_runs_of_other_data_or_split_are_refused(evaluated):
    names = [evaluated(limit=60), evaluated(limit=70), evaluated(split="dev"), evaluated(n_items=5, limit=80)]
    with pytest.raises(DataError) as caught:
        check_comparable(read_contenders(names))
    assert f"{names[2]}: split of support: dev, not test" in str(caught.value)
    assert f"{names[3]}: items of support: 5, not 4; texts and labels of support: others" in str(caught.value)


def test_all_that_is_no_evaluate_run_is_named_at_once(evaluated, make_run):
    convert = make_run("convert").name
    with pytest.raises(ParameterError, match=rf"(?s)2 problem.*{convert} is no .* one of convert.*nothing is no eval"):
        read_contenders([evaluated(), convert, "nothing"])


def test_by_default_the_newest_and_all_that_can_stand_beside_it(evaluated):
    evaluated(limit=60)
    evaluated(limit=70, tasks=("b",))
    evaluated(limit=80, base="another")
    evaluated(limit=90, n_items=9)
    other, again, newest = evaluated(limit=70), evaluated(limit=60), evaluated(limit=60, seed=1)
    assert [c.name for c in contenders_to_compare()] == [other, again, newest]  # of two equal ones the newer
    assert [c.name for c in contenders_to_compare([newest])] == [newest]
    assert set(parents_of(check_params("compare", {}))) == {other, again, newest}


def test_what_a_check_evaluated_is_not_compared_unless_it_is_named(evaluated, make_run):
    before = make_run("finetune", seed=7).name
    training = evaluated(limit=60)
    check = evaluated(limit=70, evaluate={"baseline": before, "candidates": False})
    without = evaluated(limit=80, evaluate={"candidates": False})  # an evaluation that looks at fewer things
    assert [c.name for c in contenders_to_compare()] == [training, without]
    assert [c.name for c in contenders_to_compare([check])] == [check]


def test_without_any_it_is_said_what_to_run(results):
    with pytest.raises(MissingError, match="No finished evaluate run"):
        contenders_to_compare()


def test_the_part_that_is_scored_is_the_target():
    assert GOOD[0].targets == {PART}
