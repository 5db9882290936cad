"""The preview of a recipe: what is done, what would run, and that looking does nothing."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from helpers import files_under
from helpers.small_project import make_recipe

from gisttools.cli.main import main
from gisttools.common.errors import MissingError, ParameterError
from gisttools.workflow.execute import run_notebook
from gisttools.workflow.folders import finished_runs
from gisttools.workflow.recipes import Step
from gisttools.workflow.schedule import checked_recipe, preview, run_recipe

STEPS = {"first": (1, ["a"]), "second": (2, ["$first"]), "third": (3, ["b"])}


@pytest.fixture
def recipe(project):
    return make_recipe(project(""), STEPS)


def states(planned) -> dict[str, str]:
    return {p.step.name: p.state for p in planned}


def planned(recipe, **options):
    return preview(checked_recipe(recipe).steps, **options)


def test_where_nothing_is_done_all_is_to_run_and_nothing_is_written(recipe, results):
    found = planned(recipe)
    assert states(found) == dict.fromkeys(STEPS, "to run")
    assert [p.after for p in found] == [(), ("first",), ()]
    assert found[1].params.sources == ["$first"]
    assert files_under(results) == []


def test_what_has_run_is_done_and_its_run_is_in_the_plan_of_the_next(recipe):
    first = run_notebook("convert", {"seed": 1, "sources": ["a"]})
    found = planned(recipe)
    assert states(found) == {"first": "done", "second": "to run", "third": "to run"}
    assert (found[0].run.id, found[1].params.sources) == (first.id, [first.id])
    assert found[1].after == ()
    assert found[0].lines() == [f"first: done, seed 1 ({first.id})"]


@pytest.mark.slow
def test_a_recipe_that_has_run_is_done(recipe):
    run_recipe(recipe)
    assert states(planned(recipe)) == dict.fromkeys(STEPS, "done")
    assert states(planned(recipe, rerun="always")) == dict.fromkeys(STEPS, "to run")


@pytest.mark.parametrize(
    ("rerun", "expected"),
    [
        ("always", {"first": "to run", "second": "to run"}),
        ("never", {"first": "refused", "second": "to run"}),
        ("only-cache", {"first": "done", "second": "refused"}),
    ],
)
def test_the_plan_follows_the_rerun_policy(project, make_run, rerun, expected):
    project("")
    make_run("convert", seed=1)
    steps = [Step(name=name, verb="convert", parameters={"seed": i}) for i, name in enumerate(expected, 1)]
    assert states(preview(steps, rerun=rerun)) == expected


def test_a_run_that_is_not_here_is_named(project):
    project("")
    with pytest.raises(MissingError, match="No finished evaluate run"):
        preview([Step(name="report", verb="report", parameters={})])


def test_the_command_shows_the_plan_and_runs_nothing(recipe, results):
    done = CliRunner().invoke(main, ["run", str(recipe), "--dry-run", "-p", "third.negatives", "2"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("mine: 3 to run. Nothing was run.\n")
    assert "[2/3] second: to run after first\n" in done.output
    assert '    sources    ["b"]\n    negatives  2\n' in done.output
    assert (
        CliRunner()
        .invoke(main, ["run", "convert", "--dry-run", "-p", "seed", "9"])
        .output.endswith("[1/1] convert: to run\n    seed  9\n")
    )
    assert files_under(results) == []


def test_wrong_parameters_are_told_in_a_dry_run_too(recipe):
    done = CliRunner().invoke(main, ["run", str(recipe), "--dry-run", "-p", "third.negatives", "-1"])
    assert done.exit_code == 1
    assert "negatives" in done.output
    with pytest.raises(ParameterError):
        checked_recipe(recipe, overrides={"third.negatives": -1})


@pytest.mark.slow
def test_a_recipe_says_where_its_runs_are_published_and_the_command_has_the_last_word(project, tmp_path, monkeypatch):
    folder = project("")
    recipe = make_recipe(folder, {"first": (1, ["a"])})
    there, other = tmp_path / "there", tmp_path / "other"
    recipe.write_text(json.dumps(json.loads(recipe.read_text()) | {"publish_to": there.as_uri()}))
    run_recipe(recipe)
    (run,) = finished_runs()
    assert (there / run.id / "manifest.json").exists()
    monkeypatch.setenv("GISTTOOLS_PUBLISH_TO", other.as_uri())
    run_recipe(recipe, rerun="always")
    assert (len(list(there.iterdir())), len(list(other.iterdir()))) == (1, 1)
