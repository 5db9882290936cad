"""`gisttools new task`: what it writes is refused until it is filled in, and then is a task of its kind."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import yaml
from click.testing import CliRunner
from helpers import ROOT

from gisttools.cli.main import main
from gisttools.cli.new import _KINDS
from gisttools.common.errors import DataError
from gisttools.synthesis.plan import CallPlan, Requests, needs_ideas
from gisttools.synthesis.prompts import load_prompt
from gisttools.synthesis.task import KINDS, Task, read_task
from gisttools.workflow.recipes import read_recipe


@pytest.fixture(params=KINDS)
def written(request, tmp_path, monkeypatch):
    """The file that the command writes for a kind."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["new", "task", "plants", "--kind", request.param])
    assert done.exit_code == 0, done.output
    assert "gisttools run synthesize -p task plants.yaml" in done.output
    return tmp_path / "plants.yaml"


def fill(node, empty: list[str], where: str = ""):
    """All that is empty, filled in; `empty` gets the places."""
    if isinstance(node, dict):
        return {key: fill(value, empty, f"{where}.{key}".lstrip(".")) for key, value in node.items()}
    if isinstance(node, list):
        return [fill(value, empty, f"{where}.{i}") for i, value in enumerate(node)]
    if node is None:
        empty.append(where)
        return f"Text number {len(empty)}."
    return node


def test_it_is_refused_until_filled_in_and_every_empty_place_is_named(written):
    empty: list[str] = []
    fill(yaml.safe_load(written.read_text()), empty)
    assert {"description", "domain"} < set(empty)
    with pytest.raises(DataError) as error:
        read_task(written)
    refused = re.findall(r"^  - ([\w.]+): ", str(error.value), re.MULTILINE)
    assert sorted(refused) == sorted(empty)


def test_filled_in_it_is_a_task_that_can_be_asked_for(written, request):
    written.write_text(yaml.safe_dump(fill(yaml.safe_load(written.read_text()), [])))
    task = read_task(written)
    assert (task.name, task.kind) == ("plants", request.node.callspec.params["written"])
    prompt = load_prompt(task.prompt_for(small=False))
    ideas = {group: ["One.", "Two."] for group in task.groups} if needs_ideas(task, prompt) else None
    plan = CallPlan(task, 2 * len(task.groups), 0, ideas)
    assert len(Requests(task, prompt).of(plan.take(plan.quotas))) == 2 * len(task.groups)


def test_what_stands_in_comments_is_right_as_well(written):
    """Every key that a comment shows is a key of a task, with a value that it takes."""
    keys = [line[2:] for line in written.read_text().splitlines() if re.match(r"# [a-z_]+:( |$)", line)]
    found = {k: v for key in keys for k, v in yaml.safe_load(key).items()}
    assert set(found) <= set(Task.model_fields)
    told = {k: v for k, v in found.items() if v is not None and k not in ("search_terms", "texts", "topics")}
    task = yaml.safe_dump(fill(yaml.safe_load(written.read_text()), []) | told)
    written.write_text(task)
    assert read_task(written).registers


def test_the_kinds_are_those_of_the_synthesis():
    assert tuple(KINDS) == _KINDS


@pytest.mark.parametrize(("name", "there"), [("plants", "plants.yaml"), ("plants.yml", "plants.yml")])
def test_it_never_overwrites(tmp_path, monkeypatch, name, there):
    monkeypatch.chdir(tmp_path)
    (tmp_path / there).write_text("mine")
    done = CliRunner().invoke(main, ["new", "task", name])
    assert (done.exit_code, f"There is a file {there} already" in done.output) == (1, True)
    assert (tmp_path / there).read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    done = CliRunner().invoke(main, ["new", "task", str(tmp_path / "nowhere" / "plants")])
    assert (done.exit_code, "nowhere/plants.yaml cannot be written" in done.output) == (1, True)


def test_a_recipe_to_start_from_is_right_and_stands_in_the_docs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["new", "recipe", "ablation"])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "ablation.yaml").read_text()
    assert text.count("\n") == 15
    assert text.replace('"ablation"', "ablation") in (ROOT / "docs" / "ablation.md").read_text()
    whole, smoke = (read_recipe(tmp_path / "ablation.yaml", profile=profile) for profile in (None, "smoke"))
    count = {name: Counter(step.verb for step in r.steps)["finetune"] for name, r in (("all", whole), ("smoke", smoke))}
    assert count == {"all": 9, "smoke": 3}  # guided with and without a margin, unguided
    assert "margin needs a guide" in whole.notes[0]
    again = CliRunner().invoke(main, ["new", "recipe", "ablation"])
    assert (again.exit_code, "There is a file ablation.yaml already" in again.output) == (1, True)
