"""Recipes: what they refer to is checked before anything runs."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import mteb
import pytest
from conftest import ROOT, files_under

from gisttools.errors import MissingError, ParameterError
from gisttools.hub_sets import is_hub_name, parse_hub_name
from gisttools.hygiene import table_texts
from gisttools.labelled import read_labelled
from gisttools.triplet_sets import read_hub_triplets
from gisttools.workflow.execute import run_recipe
from gisttools.workflow.params import check_params
from gisttools.workflow.recipe import fill, read_recipe, references

GOOD = """
name: two
steps:
  - {name: first, verb: convert, parameters: {sources: [a.csv, b.csv]}}
  - {name: second, verb: finetune, parameters: {triplets: [$first, c.parquet], epochs: 2}}
"""
COMMIT = re.compile("[0-9a-f]{40}")
PROFILED = """
name: two
profiles:
  smoke: {first.negatives: 2, second.epochs: 1, second.max_steps: 20}
  short: {skip: [first], second.triplets: [c.parquet]}
steps:
  - {name: first, verb: convert, parameters: {sources: [a.csv, b.csv]}}
  - {name: second, verb: finetune, parameters: {triplets: [$first, c.parquet], epochs: 2}}
"""
RECIPES = sorted((ROOT / "notebooks" / "recipes").glob("*.yaml"))
PROFILES = [(path, profile) for path in RECIPES for profile in (None, *read_recipe(path).profiles)]


@pytest.fixture
def recipe(tmp_path):
    """A function that writes a recipe."""

    def write(text: str) -> Path:
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        return tmp_path / "mine.yaml"

    return write


@pytest.mark.parametrize(("path", "profile"), PROFILES, ids=lambda p: getattr(p, "stem", str(p)))
def test_the_recipes_of_this_project_are_valid(path, profile):
    recipe = read_recipe(path, profile=profile)
    runs = {s.name: f"${s.name}" for s in recipe.steps}
    assert recipe.name == path.stem
    assert [type(check_params(s.verb, fill(s, runs))) for s in recipe.steps]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_hub_name_in_the_recipes_of_this_project_is_pinned_to_a_commit(path):
    loose = []
    for step in read_recipe(path).steps:
        given = step.parameters
        for role in ("student", "guide", "model", "baseline"):
            if is_hub_name(str(given.get(role))) and not COMMIT.fullmatch(str(given.get(f"{role}_revision"))):
                loose.append(given[role])
        sets = [s for s in given.get("triplets", []) if is_hub_name(s) and not (ROOT / s).exists()]
        loose += [s for s in sets if not COMMIT.fullmatch(str(parse_hub_name(s).revision))]
    assert loose == []


def test_the_paper_recipe_covers_its_benchmark_and_starts_each_student_alike():
    steps = {s.name: s.parameters for s in read_recipe(ROOT / "notebooks" / "recipes" / "gistembed_paper.yaml").steps}
    tasks = [t.metadata.name for t in mteb.get_benchmark("MTEB(eng, v1)").tasks]
    trainings = [p for name, p in steps.items() if name.startswith("finetune")]
    evaluations = [p for name, p in steps.items() if name.startswith("evaluate")]
    assert len(trainings) == len(evaluations) == 4
    assert all(sorted(p["tasks"] + p["guards"]) == sorted(tasks) for p in evaluations)
    own = {"student", "student_revision", "batch_size", "max_steps"}
    assert len({repr(sorted((k, v) for k, v in p.items() if k not in own)) for p in trainings}) == 1
    assert [p["model"] for p in evaluations] == [f"${name}" for name in steps if name.startswith("finetune")]


def test_the_smoke_data_of_the_paper_recipe_is_of_several_tasks_and_holds_no_test_text(tmp_path):
    table = read_hub_triplets(ROOT / "data" / "medi_like.jsonl", folder=tmp_path)
    test = set(read_labelled(ROOT / "data" / "support_intents", split="test").texts)
    assert Counter(table["task_name"]) == {"support_same_request": 168, "support_describe": 140, "support_find": 84}
    assert set(table_texts(table)) & test == set()
    assert not [t for t in table_texts(table) if t.startswith("Represent ")]


def test_references_are_filled_with_run_ids_inside_lists_too(recipe):
    second = read_recipe(recipe(GOOD)).steps[1]
    assert references(second) == ["first"]
    assert fill(second, {"first": "convert-1"}) == {"triplets": ["convert-1", "c.parquet"], "epochs": 2}


def test_overrides_replace_and_add_parameters(recipe):
    read = read_recipe(recipe(GOOD), {"second.epochs": 5, "first.negatives": 2})
    assert read.steps[1].parameters["epochs"] == 5
    assert read.steps[0].parameters == {"sources": ["a.csv", "b.csv"], "negatives": 2}


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"no recipe .*none\.yaml"):
        read_recipe(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not a recipe"),
        ("name: [", "is not a recipe"),
        ("name: x\nsteps: []", "steps: List should have at least 1 item"),
        (GOOD.replace("verb: finetune", "verb: finetun"), "no verb 'finetun'.*Did you mean 'finetune'"),
        (GOOD.replace("$first", "$frist"), r"step 'second' refers to \$frist, but no step of that name stands before"),
        (GOOD.replace("a.csv", "$second"), r"step 'first' refers to \$second"),
        (GOOD.replace("name: second", "name: first"), "two steps are called 'first'"),
        (GOOD.replace("verb: convert,", "verb: convert, colour: red,"), r"steps\.0\.colour"),
    ],
)
def test_a_bad_recipe_is_refused(recipe, text, expected):
    with pytest.raises(ParameterError, match=f"(?s)mine.yaml.*{expected}"):
        read_recipe(recipe(text))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "secnd.epochs",
            1,
            r"-p secnd\.epochs: say <step>\.<parameter>; the steps are first, second\. Did you mean 's",
        ),
        ("epochs", 1, "-p epochs: say <step>"),
        ("second.", 1, r"-p second\.: say <step>"),
        ("second.triplets", ["$third"], r"step 'second' refers to \$third"),
    ],
)
def test_a_bad_override_is_refused(recipe, name, value, expected):
    with pytest.raises(ParameterError, match=expected):
        read_recipe(recipe(GOOD), {name: value})


def test_all_problems_come_in_one_message(recipe):
    with pytest.raises(ParameterError) as caught:
        read_recipe(recipe(GOOD.replace("$first", "$a").replace("verb: convert", "verb: b")), {"c.d": 1})
    assert "3 problem(s)" in str(caught.value)


def test_a_wrong_parameter_of_the_last_step_stops_the_recipe_before_the_first(recipe, results):
    with pytest.raises(ParameterError, match=r"epocs.*Did you mean 'epochs'"):
        run_recipe(recipe(GOOD.replace("epochs", "epocs")))
    assert files_under(results) == []


def test_a_profile_replaces_and_adds_parameters(recipe):
    first, second = read_recipe(recipe(PROFILED), profile="smoke").steps
    assert first.parameters == {"sources": ["a.csv", "b.csv"], "negatives": 2}
    assert second.parameters == {"triplets": ["$first", "c.parquet"], "epochs": 1, "max_steps": 20}


def test_without_a_profile_none_applies(recipe):
    plain, profiled = read_recipe(recipe(GOOD)).steps, read_recipe(recipe(PROFILED)).steps
    assert plain == profiled


def test_a_profile_leaves_out_steps(recipe):
    assert [s.name for s in read_recipe(recipe(PROFILED), profile="short").steps] == ["second"]


def test_overrides_win_over_the_profile(recipe):
    read = read_recipe(recipe(PROFILED), {"second.epochs": 9}, profile="smoke")
    assert (read.steps[1].parameters["epochs"], read.steps[1].parameters["max_steps"]) == (9, 20)


@pytest.mark.parametrize(
    ("text", "profile", "expected"),
    [
        (PROFILED, "smok", r"no profile 'smok'; its profiles: smoke, short\. Did you mean 'smoke'"),
        (GOOD, "smoke", "no profile 'smoke'; it has none"),
        (PROFILED.replace("second.triplets", "second.epochs"), "short", r"refers to \$first, which the profile skips"),
        # a profile that nobody asked for is checked as well
        (PROFILED.replace("second.epochs", "secnd.epochs"), None, r"profile 'smoke': secnd\.epochs: .*Did you mean 's"),
        (PROFILED.replace("second.epochs", "epochs"), None, "profile 'smoke': epochs: say <step>"),
        (PROFILED.replace("skip: [first]", "skip: [frist]"), None, "'short' skips 'frist', which is no step.*'first'"),
        (PROFILED.replace("skip: [first]", "skip: first"), None, "'short': skip = 'first' must be a list of steps"),
        (PROFILED.replace("skip: [first]", "skip: [second]"), None, r"'short' sets second\.triplets and skips"),
        (PROFILED.replace("skip: [first]", "skip: [first, second]"), None, "'short' skips every step"),
        (
            PROFILED.replace("short: {", "short: [").replace("parquet]}\nsteps", "parquet]]\nsteps"),
            None,
            "not a recipe",
        ),
    ],
)
def test_a_bad_profile_is_refused(recipe, text, profile, expected):
    with pytest.raises(ParameterError, match=f"(?s)mine.yaml.*{expected}"):
        read_recipe(recipe(text), profile=profile)


def test_an_override_of_a_skipped_step_is_refused(recipe):
    with pytest.raises(ParameterError, match=r"-p first\.negatives: the profile skips this step"):
        read_recipe(recipe(PROFILED), {"first.negatives": 1}, profile="short")
