"""The command: exit status, one readable message instead of a traceback, and values read as YAML."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from helpers import ROOT, files_under

from gisttools.cli.main import main
from gisttools.cli.run import _places
from gisttools.common import read_run
from gisttools.workflow.folders import finished_runs
from gisttools.workflow.groups import FIRST, grouped
from gisttools.workflow.params import VERBS


@pytest.fixture
def command():
    """A function that runs the command in this process: (exit status, all it said)."""

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, list(arguments))
        assert done.exception is None or isinstance(done.exception, SystemExit), "a traceback reached the user"
        return done.exit_code, done.output

    return run


def test_an_unknown_parameter_is_one_message_and_leaves_nothing(results):
    """As a user starts it: a process of its own."""
    line = [sys.executable, "-m", "gisttools.cli.main", "run", "finetune", "-p", "epocs", "3"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env=None)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("\nParameterError: finetune: 1 parameter problem(s)\n")
    assert "unknown parameter 'epocs' = 3. Did you mean 'epochs'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert files_under(results) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("batch_size", "sixty", "batch_size = 'sixty'"),
        ("batch_size", "[64", "-p batch_size '[64' is not YAML"),
        ("mask_same_label", "maybe", "mask_same_label = 'maybe'"),
        ("learning_rate", "-1e-5", "learning_rate = -1e-05"),
        ("guide", "[a]", "guide = ['a']"),
    ],
)
def test_a_wrong_value_is_named(command, results, name, value, expected):
    status, said = command("run", "3_finetune", "-p", name, value)
    assert status == 1
    assert expected in said
    assert files_under(results) == []


def test_values_are_read_as_yaml_and_small_numbers_are_numbers(command, make_run):
    folder = make_run("finetune", learning_rate=1e-5, mask_same_label=False, max_steps=None, triplets=["a", "b"])
    values = {"learning_rate": "1e-5", "mask_same_label": "no", "max_steps": "null", "triplets": "[a, b]"}
    arguments = [part for name, value in values.items() for part in ("-p", name, value)]
    status, said = command("run", "finetune", *arguments, "--rerun", "only-cache")
    assert (status, folder.name in said) == (0, True)


@pytest.mark.parametrize("what", ["finetune", "3_finetune", "notebooks/3_finetune.ipynb"])
def test_a_notebook_goes_by_several_names(command, make_run, what):
    folder = make_run("finetune")
    assert folder.name in command("run", what, "--rerun", "only-cache")[1]


@pytest.mark.parametrize(
    ("what", "meant"), [("finetun", "finetune"), ("quikstart", "quickstart"), ("my_finetune", "finetune")]
)
def test_something_unknown_to_run_has_a_suggestion(command, what, meant):
    status, said = command("run", what)
    assert status == 1
    assert f"There is no notebook and no recipe '{what}'. Did you mean '{meant}'" in said
    assert "Notebooks: synthesize, convert" in said


def test_a_folder_is_no_recipe(command):
    assert "no notebook and no recipe 'results'" in command("run", "results")[1]


def test_a_recipe_may_be_named_after_a_verb(command, tmp_path, results):
    (tmp_path / "my_report.yaml").write_text("name: x\nsteps: [{name: a, verb: b}]")
    status, said = command("run", str(tmp_path / "my_report.yaml"))
    assert status == 1
    assert "there is no verb 'b'" in said
    assert files_under(results) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("finetun.epochs", "3", "Did you mean 'finetune'?"),
        ("epochs", "3", "say -p <step>.<parameter>; the steps are synthesize, convert"),
        ("finetune.epocs", "3", "unknown parameter 'epocs' = 3. Did you mean 'epochs'?"),
        ("finetune.triplets", "[$convrt]", "refers to $convrt"),
    ],
)
def test_a_wrong_parameter_of_a_recipe_runs_nothing(command, results, name, value, expected):
    status, said = command("run", "quickstart", "-p", name, value)
    assert status == 1
    assert expected in said
    assert files_under(results) == []


@pytest.fixture
def profiled(tmp_path):
    """A recipe of one step with a profile."""
    step = "{name: a, verb: finetune, parameters: {max_steps: 30}}"
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\nprofiles: {{smoke: {{a.max_steps: 20}}}}\nsteps: [{step}]")
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ((), 30),
        (("--smoke",), 20),
        (("--profile", "smoke"), 20),
        (("--smoke", "--profile", "smoke"), 20),
        (("--smoke", "-p", "a.max_steps", "10"), 10),
    ],
)
def test_a_recipe_runs_under_a_profile(command, make_run, profiled, arguments, steps):
    folders = {n: make_run("finetune", max_steps=n) for n in (10, 20, 30)}
    status, said = command("run", profiled, *arguments, "--rerun", "only-cache")
    assert (status, folders[steps].name in said) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--profile", "smok"), "no profile 'smok'; its profiles: smoke. Did you mean 'smoke'"),
        (("--smoke", "--profile", "long"), "--profile says 'long'. Name one of them"),
    ],
)
def test_a_wrong_profile_runs_nothing(command, results, profiled, arguments, expected):
    status, said = command("run", profiled, *arguments)
    assert (status, expected in said) == (1, True)
    assert files_under(results) == []


def test_a_notebook_has_no_profiles(command, results):
    status, said = command("run", "finetune", "--smoke")
    assert (status, "Profiles belong to recipes, and finetune is a notebook" in said) == (1, True)
    assert files_under(results) == []


def test_a_notebook_that_has_a_recipe_of_its_name_points_to_it(command, results):
    status, said = command("run", "cost_to_gain", "--smoke")
    assert (status, "Say cost_to_gain.yaml for the recipe." in said) == (1, True)
    assert files_under(results) == []


@pytest.mark.slow
def test_a_missing_file_fails_with_its_name_and_leaves_no_run(command, results):
    status, said = command("run", "finetune", "-p", "triplets", "[nowhere.csv]")
    assert status == 1
    assert "there is no file or folder nowhere.csv" in said
    assert finished_runs() == []
    assert files_under(results) == []


@pytest.mark.slow
def test_an_endpoint_that_refuses_fails_with_its_address_and_leaves_no_artefact(command, results):
    status, said = command(
        "run", "synthesize", "-p", "llm_base_url", "http://127.0.0.1:1/v1", "-p", "guide", "embedded:wordllama-256"
    )
    assert status == 1
    assert "http://127.0.0.1:1/v1" in said
    assert "In cell 'ask'" in said
    (run,) = finished_runs()
    assert (run.status, run.manifest["error"]["type"]) == ("failed", "EndpointError")
    assert not [p for p in files_under(results) if p.endswith((".parquet", ".partial", "summary.json"))]


def test_runs_are_listed_oldest_first_with_status_and_headline(command, make_run):
    first = make_run("convert", started="2026-01-01T00:00:01+00:00")
    second = make_run("finetune", started="2026-01-01T00:00:02+00:00", status="failed")
    status, said = command("runs")
    assert status == 0
    assert [line.split()[:2] for line in said.splitlines()] == [[first.name, "ok"], [second.name, "failed"]]
    assert command("runs", "convert")[1].count("\n") == 1


@pytest.mark.parametrize("columns", ["80", "60"])
def test_the_list_fits_the_terminal_and_cuts_nothing(command, make_run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    headline = "Use a model (accuracy 61.8 with a classifier fitted on all labels). " * 3 + "HELPED"
    make_run("synthesize", headline=headline)
    make_run("convert", status="failed")
    lines = command("runs")[1].splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert headline in " ".join(line.strip() for line in lines)


def test_a_run_fits_one_line_where_there_is_room(command, make_run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    make_run("convert", headline="476 triplets of 476 texts in 14 classes")
    assert command("runs")[1].count("\n") == 1


@pytest.mark.parametrize("verb", VERBS)
def test_parameters_stand_in_groups_the_few_that_matter_first_and_fit_80_columns(command, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "80")
    status, said = command("parameters", verb)
    assert (status, said.splitlines()[0]) == (0, FIRST)
    assert max(map(len, said.splitlines())) <= 80
    named = re.findall(r"^  ([a-z]\w*)", said, re.MULTILINE)
    assert sorted(named) == sorted(VERBS[verb].model_fields)
    assert [name for _, names in grouped(verb) for name in names] == named


def test_no_parameter_of_the_large_notebooks_is_left_without_a_group():
    left = {verb: dict(grouped(verb)).get("More", []) for verb in VERBS}
    assert {name for names in left.values() for name in names} <= {"trust_remote_code"}


def test_parameters_alone_lists_the_verbs(command):
    status, said = command("parameters")
    assert status == 0
    assert re.findall(r"^  (\w+)", said, re.MULTILINE) == list(VERBS)


def test_no_help_is_cut(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for arguments in ([], ["new"]):
        assert "..." not in command(*arguments, "--help")[1].split("Commands:")[1]


def test_colour_is_for_terminals(make_run, monkeypatch):
    make_run("convert")
    seen = {
        name: CliRunner().invoke(main, ["runs"], color=terminal, env=env).output
        for name, terminal, env in (
            ("terminal", True, {}),
            ("file", False, {}),
            ("NO_COLOR", True, {"NO_COLOR": "1"}),
        )
    }
    assert {name: "\x1b[" in said for name, said in seen.items()} == {
        "terminal": True,
        "file": False,
        "NO_COLOR": False,
    }


def test_model_and_report_are_the_last_lines(make_run, monkeypatch, results):
    monkeypatch.chdir(results.parent)
    trained, other = make_run("finetune"), make_run("finetune", seed=1)
    evaluated, reported = make_run("evaluate", model=trained.name), make_run("report")
    (other / "model").mkdir()
    (trained / "model").mkdir()
    (reported / "report.html").write_text("x")
    runs = [read_run(folder) for folder in (trained, other, evaluated, reported)]
    assert _last_lines(runs) == [
        f"Model:  {results.name}/{trained.name}/model",
        f"Report: {results.name}/{reported.name}/report.html",
    ]
    assert _last_lines(runs[:1]) == [f"Model:  {results.name}/{trained.name}/model"]
    assert _last_lines(runs[2:3]) == [f"Folder: {results.name}/{evaluated.name}"]
    several = read_run(make_run("evaluate", model=[trained.name, other.name]))
    assert _last_lines([*runs[:2], several]) == [f"Folder: {results.name}/{several.id}"]


def test_the_model_that_an_evaluation_left_is_the_one_that_is_named(make_run, monkeypatch, results):
    monkeypatch.chdir(results.parent)
    told = json.dumps({"advice": {"models": [{"folder": "model"}, {"folder": "faster_model"}]}})
    trained, evaluated = make_run("finetune"), make_run("evaluate", files={"summary.json": told.encode()})
    for folder in (trained / "model", evaluated / "faster_model"):
        folder.mkdir()
    runs = [read_run(folder) for folder in (trained, evaluated)]
    assert _last_lines(runs) == [f"Model:  {results.name}/{evaluated.name}/faster_model"]


def _last_lines(runs):
    return click.unstyle("\n".join(_places(runs))).strip().splitlines()


def test_without_runs_the_list_says_what_to_try(command):
    assert "Try: gisttools run quickstart" in command("runs")[1]
    assert "Try: gisttools run convert" in command("runs", "convert")[1]
    status, said = command("runs", "convrt")
    assert (status, "'convrt' is none of synthesize" in said, "Did you mean 'convert'?" in said) == (2, True, True)


def test_the_doctor_fails_where_something_does_not_answer(command):
    status, said = command("doctor", "--llm", "http://127.0.0.1:1/v1", "--key-variable", "NO_SUCH_KEY")
    assert status == 3
    assert re.search(r"no  endpoint +http://127.0.0.1:1/v1: the environment variable NO_SUCH_KEY holds no key", said)


@pytest.fixture
def broken(monkeypatch, tmp_path):
    """A bug in the command `runs`, whose message holds a key; and a folder of its own for tracebacks."""

    def fail():
        raise KeyError("sk-canary-0123456789")

    monkeypatch.setenv("SOME_API_KEY", "sk-canary-0123456789")
    monkeypatch.setattr("gisttools.workflow.all_runs", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_bug_is_one_message_that_says_so_and_where_its_traceback_is(command, broken):
    status, said = command("runs")
    (file,) = broken.iterdir()
    assert status == 1
    assert said.startswith("\nKeyError: '***'\nThis is a bug in gisttools")
    assert f"which is in {file}; --debug shows it here" in said
    assert "Traceback (most recent call last)" in file.read_text()
    assert "canary" not in said + file.read_text()


@pytest.mark.parametrize("arguments", [("--debug", "runs"), ("runs", "--debug")])
def test_debug_shows_the_traceback_wherever_it_stands(command, broken, arguments):
    status, said = command(*arguments)
    assert status == 1
    assert "Traceback (most recent call last)" in said
    assert "in fail" in said
    assert "canary" not in said
    assert files_under(broken) == []


def test_debug_shows_the_traceback_of_a_mistake_too(command):
    status, said = command("show", "nowhere", "--debug")
    assert (status, "Traceback" in said, "MissingError: There is no run 'nowhere'" in said) == (1, True, True)


def test_what_the_system_refuses_is_no_bug(command, broken, monkeypatch):
    def full():
        raise OSError(28, "No space left on device", "results")

    monkeypatch.setattr("gisttools.workflow.all_runs", full)
    status, said = command("runs")
    assert status == 1
    assert "OSError: [Errno 28] No space left on device: 'results'" in said
    assert "a bug" not in said
    assert files_under(broken) == []


def interrupted(arguments: list[str], wait) -> tuple[int, str]:
    """Status and stderr of a command that gets Ctrl-C once `wait(process)` has seen it at work."""
    line = [sys.executable, "-m", "gisttools.cli.main", *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(line, text=True, cwd=ROOT, **pipes) as process:
        wait(process)
        while process.returncode is None:
            process.send_signal(signal.SIGINT)
            # Python does not see a signal that comes between the question and the reading: once more then
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        return process.returncode, process.stderr.read().strip()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has neither pipes with names nor SIGINT")
def test_ctrl_c_ends_the_command_with_one_line_and_130(make_run):
    folder = make_run("convert", files={"a": b"1"})
    (folder / "a").unlink()
    os.mkfifo(folder / "a")
    opened = []
    # opening waits until the command reads it; as long as it is open the command waits for more
    told = interrupted(["verify"], lambda process: opened.append(os.open(folder / "a", os.O_WRONLY)))
    os.close(opened[0])
    assert told == (130, "Stopped.")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT")
def test_ctrl_c_at_a_question_does_the_same(make_run):
    folder = make_run("convert", status="failed")

    def wait(process) -> None:
        said = ""
        while not said.endswith("?"):
            said += process.stdout.read(1) or "?"  # it ended: the test fails below

    assert interrupted(["clean"], wait) == (130, "Stopped.")
    assert folder.is_dir()


def test_help_and_version():
    for argument in ("--help", "--version"):
        assert CliRunner().invoke(main, [argument]).exit_code == 0
