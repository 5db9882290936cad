"""Combinations of a matrix that can only be the same are done once, and it is said which and why."""

from __future__ import annotations

import pytest
import yaml

from gisttools.workflow.recipes import read_recipe

MINE = "embedded:wordllama-256"


def recipe_of(tmp_path, matrix, more=(), **profiles):
    train = {"name": "finetune", "verb": "finetune", "parameters": {"triplets": ["t.jsonl"]}, "matrix": matrix}
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({"name": "r", "profiles": profiles, "steps": [train, *more]}))
    return read_recipe(path, profile="smoke" if profiles else None)


def names(recipe, verb="finetune"):
    return [step.name.removeprefix(verb) for step in recipe.steps if step.verb == verb]


def test_a_margin_without_a_guide_is_trained_once(tmp_path):
    recipe = recipe_of(tmp_path, {"guide": [None, MINE], "margin": [0.0, 0.1], "seed": [1, 2]})
    assert names(recipe) == [
        "[guide=none,margin=0,seed=1]", "[guide=none,margin=0,seed=2]",
        *(f"[guide={MINE},margin={m:g},seed={s}]" for m in (0.0, 0.1) for s in (1, 2)),
    ]  # fmt: skip
    (note,) = recipe.notes
    assert note.startswith("finetune: 2 combinations are left out, being the same as others. margin needs a guide")


@pytest.mark.parametrize("margins", [[0.05, 0.1], [0.1, 0.0]])
def test_whatever_the_order_of_the_values_and_whether_the_default_is_among_them(tmp_path, margins):
    recipe = recipe_of(tmp_path, {"margin": margins, "guide": [None, MINE]})
    without = [step for step in recipe.steps if step.parameters["guide"] is None]
    assert len(recipe.steps) == 3
    assert [step.parameters.get("margin", 0.0) for step in without] == [0.0]


@pytest.mark.parametrize("none", [None, "none", "null"])
def test_values_are_compared_as_they_are_meant(tmp_path, none):
    assert len(recipe_of(tmp_path, {"guide": [none, MINE], "margin": [0, 0.1]}).steps) == 3


def test_a_list_of_nothing_is_told_where_values_are_checked(tmp_path):
    path = tmp_path / "e.yaml"
    steps = [{"name": "evaluate", "verb": "evaluate", "parameters": {"model": []}}]
    path.write_text(yaml.safe_dump({"name": "e", "steps": steps}))
    assert read_recipe(path).steps


def test_what_needs_what_does_nothing_does_nothing_either(tmp_path):
    recipe = recipe_of(
        tmp_path, {"guide": [None, MINE], "margin": [0.0, 0.1], "margin_strategy": ["absolute", "relative"]}
    )
    assert len(recipe.steps) == 4  # unguided; no margin; two strategies of a margin
    assert "margin_strategy needs" in recipe.notes[0]


def test_later_steps_follow_what_is_left(tmp_path):
    more = [
        {"name": "evaluate", "verb": "evaluate", "parameters": {"model": "$finetune", "baseline": None}},
        {"name": "compare", "verb": "compare", "parameters": {"evaluations": ["$evaluate"]}},
    ]
    recipe = recipe_of(tmp_path, {"guide": [None, MINE], "margin": [0.1, 0.2]}, more)
    assert len(names(recipe)) == len(names(recipe, "evaluate")) == 3
    (compare,) = [step for step in recipe.steps if step.verb == "compare"]
    assert len(compare.parameters["evaluations"]) == 3


def test_where_all_do_something_none_is_left_out(tmp_path):
    recipe = recipe_of(tmp_path, {"guide": [None, MINE], "seed": [1, 2]})
    assert (len(recipe.steps), recipe.notes) == (4, [])


def test_a_wrong_value_is_told_where_values_are_checked(tmp_path):
    assert len(recipe_of(tmp_path, {"margin": ["much", []], "retain": [5, None]}).steps) == 4


@pytest.mark.parametrize(
    ("profile", "marked"), [({"finetune.max_steps": 2}, "smoke"), ({"finetune.seed": [1]}, ""), ({"skip": []}, "")]
)
def test_a_step_that_a_profile_cuts_short_is_marked_and_fewer_seeds_are_no_such_cut(tmp_path, profile, marked):
    recipe = recipe_of(tmp_path, {"seed": [1, 2]}, smoke=profile)
    assert {step.profile for step in recipe.steps} == {marked}
