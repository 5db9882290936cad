"""Recipes: what they refer to is checked before anything runs."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import mteb
import pytest
from helpers import ROOT, files_under

from gisttools.common.errors import MissingError, ParameterError
from gisttools.common.runs import FinishedRun
from gisttools.data.hub import is_hub_name, parse_hub_name
from gisttools.data.labelled import read_labelled
from gisttools.data.options import ReadOptions
from gisttools.data.overlap import table_texts
from gisttools.data.triplet_sets import read_hub_triplets
from gisttools.workflow.params import check_params
from gisttools.workflow.recipes import fill, read_recipe, references
from gisttools.workflow.schedule import run_recipe

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
MATRIX = """
name: several
profiles:
  smoke: {finetune.limit: [9], finetune.seed: 0}
steps:
  - {name: convert, verb: convert, parameters: {sources: [a.csv]}}
  - name: finetune
    verb: finetune
    parameters: {triplets: [$convert], epochs: 3}
    matrix: {limit: [100, 250], seed: [0, 1]}
  - {name: evaluate, verb: evaluate, parameters: {model: $finetune}}
  - {name: cost_to_gain, verb: cost_to_gain, parameters: {evaluations: [$evaluate]}}
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


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*/recipe.yaml")), ids=lambda p: p.parent.name)
def test_the_recipes_of_the_examples_are_valid(path):
    recipe = read_recipe(path)
    assert recipe.name == path.parent.name
    assert [type(check_params(s.verb, fill(s, {s.name: f"${s.name}" for s in recipe.steps}))) for s in recipe.steps]


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


@pytest.mark.slow
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
    test = set(read_labelled(ROOT / "data" / "support_intents", ReadOptions(split="test")).texts)
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
        ("epochs", 1, r"epochs: recipe two has no input of that name; it has none\. Or say -p <step>"),
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


def steps_of(read) -> dict:
    return {s.name: s.parameters for s in read.steps}


def test_a_matrix_gives_every_combination_in_order(recipe):
    names = [s.name for s in read_recipe(recipe(MATRIX)).steps]
    assert names[1:5] == [f"finetune[limit={n},seed={s}]" for n in (100, 250) for s in (0, 1)]
    assert names[0] == "convert"


def test_a_combination_has_the_steps_parameters_and_its_own_values(recipe):
    steps = steps_of(read_recipe(recipe(MATRIX)))
    assert steps["finetune[limit=250,seed=1]"] == {"triplets": ["$convert"], "epochs": 3, "limit": 250, "seed": 1}


def test_a_step_that_names_an_expanded_one_follows_it_and_a_list_gets_all_of_them(recipe):
    steps = steps_of(read_recipe(recipe(MATRIX)))
    evaluations = [name for name in steps if name.startswith("evaluate")]
    assert evaluations == [f"evaluate[limit={n},seed={s}]" for n in (100, 250) for s in (0, 1)]
    assert [steps[name]["model"] for name in evaluations] == [f"$finetune{name[8:]}" for name in evaluations]
    assert steps["cost_to_gain"] == {"evaluations": [f"${name}" for name in evaluations]}


def test_lists_take_all_of_a_step_between_what_else_they_hold(recipe):
    text = MATRIX.replace("evaluations: [$evaluate]", "evaluations: [first, $evaluate, last]")
    (last,) = [s for s in read_recipe(recipe(text)).steps if s.name == "cost_to_gain"]
    runs = {name: name.upper() for name in references(last)}
    assert fill(last, runs)["evaluations"] == ["first", *runs.values(), "last"]
    assert len(runs) == 4


def test_a_step_that_names_two_expanded_ones_gets_those_that_belong_together(recipe):
    text = MATRIX.replace("model: $finetune", "model: $finetune, baseline: $finetune")
    text = text.replace("evaluations: [$evaluate]", "evaluations: [], task: $evaluate, other: $finetune")
    steps = [s for s in read_recipe(recipe(text)).steps if s.name.startswith("cost")]
    assert [s.parameters["task"][9:] for s in steps] == [s.parameters["other"][9:] for s in steps]
    assert len(steps) == 4


def test_a_step_that_follows_may_have_a_matrix_of_its_own(recipe):
    text = MATRIX.replace("{model: $finetune}", "{model: $finetune}, matrix: {seed: [5, 6]}")
    names = [s.name for s in read_recipe(recipe(text)).steps if s.name.startswith("evaluate")]
    assert len(set(names)) == 8
    assert "evaluate[limit=250,finetune.seed=1,evaluate.seed=5]" in names


def test_a_matrix_may_be_over_steps(recipe):
    text = GOOD.replace("{triplets: [$first, c.parquet], epochs: 2}", "{}, matrix: {triplets: [[$first], [c, $first]]}")
    found = [s.parameters["triplets"] for s in read_recipe(recipe(text)).steps[1:]]
    assert found == [["$first"], ["c", "$first"]]


def test_overrides_hold_for_all_combinations_and_replace_an_axis(recipe):
    given = {"finetune.epochs": 5, "finetune.seed": [7], "finetune.limit": 30}
    steps = steps_of(read_recipe(recipe(MATRIX), given))
    assert [name for name in steps if "finetune" in name] == ["finetune[limit=30,seed=7]"]
    assert steps["finetune[limit=30,seed=7]"] == {"triplets": ["$convert"], "epochs": 5, "limit": 30, "seed": 7}


def test_a_profile_replaces_an_axis_too(recipe):
    names = [s.name for s in read_recipe(recipe(MATRIX), profile="smoke").steps]
    assert names == ["convert", "finetune[limit=9,seed=0]", "evaluate[limit=9,seed=0]", "cost_to_gain"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MATRIX.replace("seed: [0, 1]", "seed: 3"), r"not a recipe.*steps\.1\.matrix\.seed: .*valid list"),
        (MATRIX.replace("seed: [0, 1]", "seed: []"), "'finetune': matrix seed has no values"),
        (MATRIX.replace("seed: [0, 1]", "seed: [0, 1, 0]"), "'finetune': matrix seed names 0 more than once"),
        (MATRIX.replace("epochs: 3", "seed: 3"), "'finetune': seed stands in parameters and in matrix"),
        (MATRIX.replace("seed: [0, 1]", "student: [$evaluate]"), r"'finetune' refers to \$evaluate, but no step"),
    ],
)
def test_a_bad_matrix_is_refused(recipe, text, expected):
    with pytest.raises(ParameterError, match=f"(?s)mine.yaml.*{expected}"):
        read_recipe(recipe(text))


def test_a_recipe_with_a_matrix_runs_each_combination_on_its_own_runs(recipe, monkeypatch):
    ran = []

    def run(verb, parameters, *, rerun, title, wait):
        ran.append((title, verb, dict(parameters)))
        return FinishedRun(folder=Path(f"{verb}-{len(ran)}"), manifest={"verb": verb})

    monkeypatch.setattr("gisttools.workflow.schedule.run_notebook", run)
    monkeypatch.setattr("gisttools.workflow.schedule.early_error", lambda *_: None)  # its sources are names alone
    assert len(run_recipe(recipe(MATRIX))) == len(ran) == 10
    assert ran[1][0] == "[2/10] finetune[limit=100,seed=0]"
    assert [p["model"] for _, verb, p in ran if verb == "evaluate"] == [f"finetune-{n}" for n in (2, 3, 4, 5)]
    assert ran[-1][2] == {"evaluations": [f"evaluate-{n}" for n in (6, 7, 8, 9)]}
