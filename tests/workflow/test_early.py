"""What can be said before a kernel starts is said then, all at once, and leaves no run behind."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from gisttools.cli.main import main
from gisttools.common import MissingError
from gisttools.workflow.early import early_error, early_problems
from gisttools.workflow.execute import run_notebook
from gisttools.workflow.params import check_params

WRONG = {
    "a missing file": (
        "convert",
        {"sources": ["tickets.csv"]},
        "there is no file or folder tickets.csv. Did you mean 'ticket.csv'?",
    ),
    "a wrong column": (
        "convert",
        {"sources": ["ticket.csv"], "text_column": "txt"},
        "Columns found: text, label. Which one is the text?",
    ),
    "a name that is nothing": ("convert", {"sources": ["tickets"]}, "tickets is no file, folder or run here"),
    "a folder of nothing": ("convert", {"eval_files": ["empty"]}, "empty holds no file of the kinds"),
    "a missing folder": ("evaluate", {"files": ["gone"]}, "there is no folder gone"),
    "a folder with a kind": ("evaluate", {"files": ["gone#sts"]}, "there is no folder gone#sts"),
    "a missing table": ("finetune", {"triplets": ["a.jsonl"]}, "there is no file or folder a.jsonl"),
    "a missing student": ("finetune", {"student": "./mine"}, "there is no model folder ./mine"),
    "a missing guide": ("finetune", {"guide": "nonesuch"}, "there is no model folder nonesuch"),
    "a missing model": ("evaluate", {"model": ["embedded:wordllama-256", "there/me"]}, "no model folder there/me"),
    "an embedded model that there is not": (
        "evaluate",
        {"model": "embedded:wordlama-256"},
        "no embedded model is called embedded:wordlama-256. Did you mean 'embedded:wordllama-256'?",
    ),
    "missing general texts": ("finetune", {"retain": ["general.txt"]}, "there is no file or folder general.txt"),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "ticket.csv").write_text("text,label\na b,x\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("verb", "given", "told"), WRONG.values(), ids=WRONG)
def test_it_is_said_before_a_kernel_starts_and_no_run_is_left(here, results, verb, given, told) -> None:
    with pytest.raises(MissingError) as caught:
        run_notebook(verb, given)
    assert told in str(caught.value)
    assert not list(results.glob("*"))


def test_columns_that_two_steps_lack_are_told_once(here):
    told = {"text_column": "txt", "label_column": "class"}
    steps = {"convert": {"sources": ["ticket.csv"]}, "evaluate": {"files": ["ticket.csv"], "test_share": 0.5}}
    error = early_error({verb: check_params(verb, told | given) for verb, given in steps.items()})
    assert str(error).startswith("convert, evaluate: 2 problem(s)\n  - ticket.csv has no column 'txt'.")
    assert [str(error).count(name) for name in ("'txt'", "'class'")] == [1, 1]


@pytest.mark.parametrize(("verb", "given", "told"), WRONG.values(), ids=WRONG)
def test_a_dry_run_says_it_too(here, results, verb, given, told) -> None:
    arguments = [x for name, value in given.items() for x in ("-p", name, str(value).replace("'", '"'))]
    found = CliRunner().invoke(main, ["run", verb, *arguments, "--dry-run"])
    assert found.exit_code == 1
    assert told in found.output


def test_all_steps_of_a_recipe_are_looked_at_first(here, results) -> None:
    wrong = ["-p", "convert.sources", "[no.csv]", "-p", "finetune.student", "./no", "-p", "evaluate.files", "[none]"]
    for more in ([], ["--dry-run"]):
        found = CliRunner().invoke(main, ["run", "labelled", *wrong, *more])
        assert found.exit_code == 1
        for part in ("no.csv", "./no", "there is no folder none"):
            assert part in found.output
    assert not list(results.glob("*"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sources", ["Banking77Classification", "org/name@main", "AmazonCounterfactualClassification#en", "$convert"]),
        ("sources", ["mteb_eng_v1_classification", "s3://bucket/runs/x.parquet"]), ("triplets", ["org/name#config"]),
        ("guide", "endpoint:text-embedding-3-small"), ("student", "org/name"),
        ("references", ["bm25", "mteb:org/name"]),
        ("model", "finetune-20260101T000000Z-0123abcd"), ("retain", ["mteb/MLQuestions#corpus@99f1395:corpus"]),
        ("files", ["data/support_intents", "data/support_intents#classification"]),
    ],
)  # fmt: skip
def test_what_only_others_can_know_is_left_to_them(name, value) -> None:
    assert list(early_problems({name: value})) == []


@pytest.mark.parametrize("verb", ["synthesize", "convert", "finetune", "evaluate"])
def test_the_defaults_are_right(verb) -> None:
    assert list(early_problems(check_params(verb, {}).model_dump())) == []


@pytest.mark.slow
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_missing_file_takes_less_than_a_second_of_the_processor(here, results, dry) -> None:
    command = [sys.executable, "-m", "gisttools.cli.main", "run", "convert", "-p", "sources", "[no.csv]", *dry]
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert time.monotonic() - began < 30
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_what_looks_at_parameters_early_loads_nothing_slow():
    """pandas alone takes a third of a second."""
    program = (
        "import sys, gisttools.workflow.early; print(*sorted({'pandas', 'torch', 'mteb', 'scipy'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"
