"""Runs as forks of a process that has loaded the libraries: the same records, and each on its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys

import nbformat
import psutil
import pytest
from helpers import WORDLLAMA
from helpers.small_project import CALLS, make_recipe

from gisttools.workflow import forks, warm
from gisttools.workflow.execute import RunFailed, run_notebook
from gisttools.workflow.folders import finished_runs

pytestmark = pytest.mark.skipif(not warm.can_be(), reason="runs are no forks here")
WHO = "import os\nprint('of', os.getppid())"
DIES_AT_13 = WHO + "\nif seed == 13:\n    os.kill(os.getpid(), __import__('signal').SIGKILL)"
PASSING = {"run_id", "started", "seconds", "spec_hash", "parents", "git"}


def starter(run) -> str:
    """What a run whose work begins with `WHO` said of the process that started its own."""
    return "".join(
        output.text
        for cell in nbformat.read(run.folder / "notebook.ipynb", as_version=4).cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream"
    )


def record(run) -> dict:
    """What a run left, but for times and names that no two runs have alike."""
    told = {key: value for key, value in run.manifest.items() if key not in PASSING}
    timed = ("summary.json", "model/README.md")  # tell seconds
    told["artefacts"] = {name: digest for name, digest in told["artefacts"].items() if name not in timed}
    told["headline"] = re.sub(r"\d+ s", "… s", told["headline"])
    cells = nbformat.read(run.folder / "notebook.ipynb", as_version=4).cells
    outputs = [cell.get("outputs") for cell in cells if cell.id not in ("injected-parameters", "injected")]
    return told | {"outputs": json.loads(json.dumps(outputs)), "files": sorted(p.name for p in run.folder.iterdir())}


@pytest.mark.slow
def test_records_are_those_of_runs_that_load_everything_themselves(monkeypatch, results):
    rows = run_notebook("convert", {"guide": WORDLLAMA, "eval_files": []})
    told = {"triplets": [rows.id], "student": WORDLLAMA, "guide": WORDLLAMA, "max_steps": 3}
    both = [("convert", {"guide": WORDLLAMA, "eval_files": []}), ("finetune", told)]
    alone = [rows, run_notebook(*both[1])]
    with warm.kept():
        forked = [run_notebook(verb, parameters, rerun="always") for verb, parameters in both]
    for one, other in zip(alone, forked, strict=True):
        assert record(one) == record(other)


@pytest.mark.slow
def test_a_killed_run_takes_only_itself(project):
    project(DIES_AT_13)
    with warm.kept():
        before = run_notebook("convert", {"seed": 1})
        with pytest.raises(RunFailed, match="killed or crashed"):
            run_notebook("convert", {"seed": 13})
        after = run_notebook("convert", {"seed": 2})
    assert starter(before) == starter(after) != f"of {os.getpid()}\n"  # of one server
    assert {run.parameters["seed"]: run.status for run in finished_runs()} == {1: "ok", 13: "failed", 2: "ok"}


@pytest.mark.slow
def test_runs_go_on_when_the_server_is_killed_and_with_another_environment_have_another(project, monkeypatch):
    project(WHO)
    others = psutil.Process().children()
    with warm.kept():
        first = run_notebook("convert", {"seed": 1})
        os.kill(int(starter(first).split()[1]), signal.SIGKILL)
        second = run_notebook("convert", {"seed": 2})
        monkeypatch.setenv("OMP_NUM_THREADS", "3")  # read when a library is loaded
        third = run_notebook("convert", {"seed": 3})
        servers = [process for process in psutil.Process().children() if process not in others]
    assert len({starter(run) for run in (first, second, third)}) == 3
    assert psutil.wait_procs(servers, timeout=10)[1] == []
    monkeypatch.setenv(warm.SWITCH, "0")
    with warm.kept():
        assert starter(run_notebook("convert", {"seed": 4})) == f"of {os.getpid()}\n"


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_all_end_with_the_process_that_asked(project, calls, how):
    folder = project(CALLS)
    board = calls(folder)
    recipe = make_recipe(folder, {"one": (1, ["x"]), "two": (2, ["x"])})
    with subprocess.Popen(
        [sys.executable, "-m", "gisttools.cli.main", "run", str(recipe)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as command:  # fmt: skip
        _, kernel, runner, line = board.take()
        family = psutil.Process(command.pid).children(recursive=True)
        assert (runner, [process.pid for process in family][1:]) == (command.pid, [kernel])  # the first is the server
        command.send_signal(how)
        line.sendall(b"!")  # even if its work is done now, its run must not count
        said, _ = command.communicate(timeout=60)
    assert psutil.wait_procs(family, timeout=30)[1] == []
    assert "Traceback" not in said
    assert finished_runs() == []


def test_a_fork_knows_when_the_process_that_asked_is_gone(monkeypatch):
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(forks, "CONTROL", [theirs])
    monkeypatch.setenv("JPY_PARENT_PID", str(os.getppid()))
    assert not forks.parent_gone()
    ours.sendall(b"another request")
    assert not forks.parent_gone()
    monkeypatch.setenv("JPY_PARENT_PID", "1234567")
    assert forks.parent_gone()
    monkeypatch.setenv("JPY_PARENT_PID", str(os.getppid()))
    theirs.recv(100)
    ours.close()
    assert forks.parent_gone()
    theirs.close()


def test_what_cannot_be_is_not_tried_again(monkeypatch):
    begun = []

    class Unfit:
        unfit = None

        def __init__(self, environment):
            begun.append(self)

        def serves(self, environment):
            self.unfit = warm._shared(environment)
            return False

        def end(self):
            pass

    monkeypatch.setattr(warm, "Server", Unfit)
    monkeypatch.setattr(warm, "_STATE", warm._State())
    with warm.kept():
        for _ in range(3):
            warm.begin("convert")
            assert warm.server() is None
        assert len(begun) == 1
        monkeypatch.setenv("OMP_NUM_THREADS", "7")  # there it may be
        warm.begin("convert")
        assert len(begun) == 2


def test_without_handles_of_processes_there_are_no_forks(monkeypatch):
    def refused(pid):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refused)
    warm._has_handles.cache_clear()
    assert not warm.can_be()
    warm._has_handles.cache_clear()
