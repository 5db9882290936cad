"""`--json`: of every command one document on stdout and nothing else, as docs/commands.md lists it, errors too."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from helpers import ROOT, WORDLLAMA
from helpers.evaluation_folders import TOPICS
from helpers.report_runs import comparison_row, evaluate

from gisttools import Classifier
from gisttools.cli.main import main
from gisttools.common import EndpointError, GistError, ModelError, YamlProblem
from gisttools.data.triplets import write_triplets
from gisttools.models.loading import open_model
from gisttools.workflow import using
from gisttools.workflow.execute import RunFailed

DOCS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
MANIFEST = "the manifest"  # what a row of the docs says where a document holds all that a manifest does
# a line that each command can do, of the fixture `things`; and the exit status
LINES = {
    "init": ("init {folder}/mine", 0),
    "run": ("run convert --rerun only-cache", 0),
    "run --dry-run": ("run convert --dry-run", 0),
    "runs": ("runs", 0),
    "show": ("show {run}", 0),
    "clean": ("clean", 0),
    "verify": ("verify", 0),
    "publish": ("publish {run} {url}", 0),
    "share": ("share {run} me/mine", 3),
    "compare": ("compare", 0),
    "predict": ("predict {model} {texts}", 0),
    "predict --out": ("predict {model} {texts} --out {folder}/out.csv", 0),
    "search": ("search {model} {texts} radiator", 0),
    "check": ("check new --against {evaluated}", 3),
    "export": ("export {model} --dimensions 64 --texts {texts} --out {folder}/small", 0),
    "parameters": ("parameters", 0),
    "parameters VERB": ("parameters finetune", 0),
    "new task": ("new task {folder}/plants", 0),
    "new recipe": ("new recipe {folder}/ablation", 0),
    "doctor": ("doctor", 3),
}


def commands(group: click.Group = main, before: str = "") -> set[str]:
    """All commands, those of groups with the group's name before them."""
    found: set[str] = set()
    for name, command in group.commands.items():
        below = isinstance(command, click.Group)
        found |= commands(command, f"{before}{name} ") if below else {f"{before}{name}"}
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model folder with a classifier."""
    place = tmp_path_factory.mktemp("model")
    model = open_model(WORDLLAMA, device="cpu")
    model.save(str(place))
    texts = [(text, label) for label, some in TOPICS.items() for text in some]
    Classifier.fit(model, [t for t, _ in texts], [label for _, label in texts]).save(place)
    return place


@pytest.fixture
def things(model, make_run, results, tmp_path, monkeypatch):
    """What the lines need, by name: runs, files, and stand-ins for what takes long."""

    class Board:
        def summary(self):
            return {"word": "HELPED", "base": float("nan")}

    (tmp_path / "texts.txt").write_text("radiator is cold\nmy key\n")
    table = write_triplets([{"anchor": "a", "positive": "b"}], tmp_path / "triplets.parquet")
    run = make_run("convert", files={"triplets.parquet": table.read_bytes()})
    make_run("finetune", status="failed")
    evaluated = evaluate(results, [comparison_row(low=-0.03, high=-0.01, difference=-0.02)], ["f"], parameters={})
    monkeypatch.setattr(using, "run_notebook", lambda *_: using.open_run(evaluated))
    monkeypatch.setattr("gisttools.workflow.contenders_to_compare", lambda names: names)
    monkeypatch.setattr("gisttools.evaluation.leaderboard", lambda *_, **__: Board())
    monkeypatch.setattr("gisttools.report.leaderboard_text", lambda board: "text")
    monkeypatch.setattr("gisttools.cli.doctor.checks", lambda *_: iter([(True, "torch", "2"), (False, "gpu", "none")]))
    return {
        "run": run.name, "url": (tmp_path / "there").as_uri(), "model": model, "texts": tmp_path / "texts.txt",
        "folder": tmp_path, "evaluated": evaluated.name,
    }  # fmt: skip


def answer(line: str, **things) -> tuple[int, object]:
    done = CliRunner().invoke(main, [*line.format(**things).split(), "--json"])
    assert done.exception is None or isinstance(done.exception, SystemExit), "a traceback reached the user"
    return done.exit_code, json.loads(done.stdout, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def documented(what: str) -> tuple[set[str], bool]:
    """The names that docs/commands.md lists for a document, and whether a manifest's stand there as well."""
    (row,) = [line for line in DOCS.splitlines() if line.startswith(f"| `{what}` |")]
    return set(re.findall(r"`(\w+)`", row.split("|")[2])), MANIFEST in row


@pytest.mark.parametrize("what", LINES)
def test_the_document_is_all_there_is_and_as_the_docs_say(things, what):
    line, status = LINES[what]
    told, data = answer(line, **things)
    assert told == status
    first = dict(data[0] if isinstance(data, list) else data)
    for below in ("runs", "steps") if what.startswith("run") else ():
        first |= first.get(below, [{}])[0]
    names, more = documented(what)
    if what == "predict":
        names.add("text")  # the columns of the file
    if what == "compare":
        return  # a stand-in; tests/report/test_sweep.py has a real one
    assert names <= set(first)
    assert more or names == set(first)


def test_every_command_is_looked_at():
    assert {what for what in LINES if not re.search(r" (--|[A-Z])", what)} == commands()


@pytest.mark.parametrize("what", LINES)
def test_without_it_people_get_no_document(things, what):
    line, status = LINES[what]
    done = CliRunner().invoke(main, line.format(**things).split(), input="n\n")
    assert done.exit_code == status
    assert done.stdout.strip()
    with pytest.raises(ValueError, match=r"."):
        json.loads(done.stdout)


def test_a_document_of_an_evaluation_holds_its_numbers(things, make_run):
    make_run("report", files={"summary.json": b'{"verdict": "HELPED", "p": NaN}'})
    _, data = answer("run report --rerun only-cache")
    assert data["runs"][0]["summary"] == {"verdict": "HELPED", "p": None}


def test_nothing_is_removed_unless_it_is_said(things, results):
    _, data = answer("clean")
    (failed,) = results.glob("finetune-*")
    assert ([row["folder"] for row in data["found"]], data["removed"]) == ([str(failed)], [])
    assert failed.is_dir()
    assert answer("clean --yes")[1]["removed"] == [str(failed)]
    assert not failed.exists()


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ModelError("a"), 1, "ModelError"),
        (EndpointError("a"), 1, "EndpointError"),
        (RunFailed("a"), 1, "RunFailed"),
        (YamlProblem("a"), 1, "DataError"),
        (GistError("a"), 1, "GistError"),
        (PermissionError(13, "a"), 1, "OSError"),
        (KeyError("a sk-canary-0123456789"), 1, "Bug"),
        (KeyboardInterrupt(), 130, "Stopped"),
        (click.BadParameter("a"), 2, "UsageError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_error_is_a_document_too(monkeypatch, tmp_path, error, status, kind):
    def fail():
        raise error

    monkeypatch.setattr("gisttools.workflow.all_runs", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("SOME_API_KEY", "sk-canary-0123456789")
    told, data = answer("runs")
    assert (told, data["error"], set(data)) == (status, kind, {"error", "message"})
    assert "a" in data["message"].casefold() or kind == "Stopped"
    assert "canary" not in data["message"]
    assert f"`{kind}`" in DOCS
    assert re.search(rf"^\| {status} \|", DOCS, re.MULTILINE)


def test_of_a_notebook_that_failed_the_cause_is_told(monkeypatch):
    def fail():
        raise RunFailed.of({"message": "no such model", "type": "ModelError"})

    monkeypatch.setattr("gisttools.workflow.all_runs", fail)
    told = {"error": "RunFailed", "cause": "ModelError", "message": "no such model"}
    assert answer("runs") == (1, told)


@pytest.mark.parametrize("line", ["runs --nope", "--nope runs", "nope", "runs convrt", "run", "--json"])
def test_a_line_that_cannot_be_read_is_a_document(line):
    status, data = answer(line)
    assert (status, data["error"]) == (2, "UsageError")


def test_it_may_stand_anywhere(make_run):
    make_run("convert")
    found = {CliRunner().invoke(main, line).stdout for line in (["--json", "runs"], ["runs", "--json", "convert"])}
    assert len(found) == 1
    assert "--json" in CliRunner().invoke(main, ["new", "task", "--help"]).output


def test_whatever_else_is_printed_goes_to_stderr(monkeypatch, capfd):
    """By Python, by a library that writes to the file descriptor, by a process that is started."""

    def noisy():
        print("python")
        sys.stdout.flush()
        os.write(1, b"library\n")
        subprocess.run([sys.executable, "-c", "print('process')"], check=True)
        return []

    monkeypatch.setattr("gisttools.workflow.all_runs", noisy)
    main(["runs", "--json"], standalone_mode=False)
    told = capfd.readouterr()
    assert (told.out, set(told.err.split())) == ("[]\n", {"python", "library", "process"})
    print("after")
    assert capfd.readouterr().out == "after\n"


def test_letters_that_stdout_cannot_hold_are_escaped(make_run):
    headline = "49.5 → 72.4"
    make_run("convert", headline=headline)
    line = [sys.executable, "-m", "gisttools.cli.main", "runs", "--json"]
    for encoding in ("ascii", "utf-8"):
        done = subprocess.run(line, capture_output=True, cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": encoding})
        assert done.stdout.isascii() == (encoding == "ascii")
        assert json.loads(done.stdout)[0]["headline"] == headline
