"""Runs side by side on this machine: order, failures, killed processes, cores and GPUs."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from click.testing import CliRunner
from helpers import files_under
from helpers.small_project import CALLS, FAILS_AT_13, make_recipe

from gisttools.cli.main import main
from gisttools.common.errors import GistError, ParameterError
from gisttools.workflow import machine, workers
from gisttools.workflow.execute import RunFailed, UnderWay
from gisttools.workflow.folders import finished_runs
from gisttools.workflow.machine import at_once, share_of_cores
from gisttools.workflow.schedule import run_recipe, sweep
from gisttools.workflow.workers import LocalWorkers


@pytest.fixture
def roomy(monkeypatch):
    """As if this machine had three cores and memory enough."""
    monkeypatch.setattr(machine, "cores", lambda: 3)
    monkeypatch.setattr(machine, "memory_gb", lambda: 100.0)
    monkeypatch.setattr(machine, "gpus", list)


def meanwhile(function, *args, **options):
    """The future of a call in a thread of its own."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(function, *args, **options)
    pool.shutdown(wait=False)
    return future


def _where(path: str | None = None) -> tuple[int, str | None, str | None]:
    if path:  # says that it is here, and waits for the other
        with socket.create_connection(("127.0.0.1", int(Path(path).read_text()))) as line:
            line.sendall(f"0 {os.getpid()} {os.getppid()}\n".encode())
            line.recv(1)
    return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("OMP_NUM_THREADS")


def _fail() -> None:
    raise ParameterError("no")


# --- recipes -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_steps_run_side_by_side_and_a_failure_stops_only_what_needs_it(project, roomy, calls, results):
    indented = "\n".join(f"    {line}" for line in CALLS.splitlines())
    folder = project(f"{FAILS_AT_13}\nif seed in (1, 2):\n{indented}")
    board = calls(folder)
    steps = {
        "one": (1, ["x"]), "bad": (13, ["x"]), "after_bad": (5, ["$bad"]), "last": (6, ["$after_bad"]),
        "two": (2, ["x"]), "both": (7, ["$one", "$two"]),
    }  # fmt: skip
    command = ["run", str(make_recipe(folder, steps)), "--workers", "3"]
    done = meanwhile(CliRunner().invoke, main, command)
    for line in [board.take()[3] for _ in range(2)]:  # both are here at once
        line.sendall(b"!")
    done = done.result(200)
    assert done.exit_code == 1
    for told in ("1 of 6 failed", "bad: 13 is unlucky", "after_bad was not run: it needs bad", "it needs after_bad"):
        assert told in done.output
    assert {m.parameters["seed"]: m.status for m in finished_runs()} == {1: "ok", 2: "ok", 7: "ok", 13: "failed"}
    assert len(next(m for m in finished_runs() if m.parameters["seed"] == 7).parents) == 2
    said = done.stdout.splitlines()[:4]
    assert all(re.fullmatch(r"\[\d/6\] \w+ \.\.\. \d+ s, (seed \d|FAILED)", line) for line in said), done.output
    assert {p.name.split("-")[0] for p in results.iterdir()} == {"convert"}  # nothing else is left


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="killed otherwise there")
def test_a_run_whose_process_is_killed_is_done_again_and_its_kernel_dies(project, roomy, calls, results):
    board = calls(project(CALLS))
    done = meanwhile(sweep, [("convert", {"seed": 3})], workers=2)
    _, kernel, worker, orphan = board.take()
    watched = psutil.Process(kernel)
    os.kill(worker, signal.SIGKILL)
    orphan.sendall(b"!")  # even if its work is done now, its run must not count
    _, other, _, line = board.take()
    watched.wait(60)
    line.sendall(b"!")
    (run,) = done.result(200)
    assert other != kernel
    assert (run.status, finished_runs()) == ("ok", [run])
    assert [p.name for p in results.iterdir()] == [run.id]
    assert "half.partial" not in files_under(results / run.id)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="killed otherwise there")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_when_the_command_is_stopped_its_processes_and_kernels_end(project, calls, how, results):
    folder = project(CALLS)
    board = calls(folder)
    recipe = make_recipe(folder, {"one": (1, ["x"])})
    code = (
        "from gisttools.workflow import machine; machine.cores = lambda: 2; machine.memory_gb = lambda: 9; "
        f"from gisttools.cli.main import main; main(['run', {str(recipe)!r}, '--workers', '2'])"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        _, kernel, worker, _ = board.take()
        family = psutil.Process(p.pid).children(recursive=True)
        assert {kernel, worker} <= {f.pid for f in family}
        p.send_signal(how)
        _, told = p.communicate(timeout=60)
    assert psutil.wait_procs(family, timeout=60)[1] == []
    assert "Traceback" not in told
    assert p.returncode == (-9 if how == signal.SIGKILL else 130)
    assert finished_runs() == []


def test_without_workers_a_failure_stops_only_what_needs_it(project, monkeypatch):
    def run(verb, parameters, *, rerun, title, wait):
        ran.append(parameters["seed"])
        if parameters["seed"] == 13:
            raise RunFailed("13 is unlucky")
        return {"run_id": f"{verb}-{parameters['seed']}"}

    ran = []
    monkeypatch.setattr("gisttools.workflow.schedule.run_notebook", run)
    recipe = make_recipe(project(""), {"bad": (13, ["x"]), "next": (1, ["$bad"]), "other": (2, ["x"])})
    with pytest.raises(RunFailed, match=r"(?s)1 of 3 failed:.*bad: 13 is unlucky.*next was not run: it needs bad"):
        run_recipe(recipe)
    assert ran == [13, 2]


def test_a_step_that_another_process_is_at_is_waited_for_only_when_nothing_else_can_be_done(project, monkeypatch):
    def run(verb, parameters, *, rerun, title, wait):
        ran.append((parameters["seed"], wait))
        if parameters["seed"] in (1, 2) and not wait:
            raise UnderWay("by another")
        return SimpleNamespace(id=f"{verb}-{parameters['seed']}")

    ran = []
    monkeypatch.setattr("gisttools.workflow.schedule.run_notebook", run)
    steps = {"one": (1, ["x"]), "two": (2, ["x"]), "three": (3, ["x"]), "last": (4, ["$one", "$three"])}
    done = run_recipe(make_recipe(project(""), steps))
    assert ran == [(1, False), (2, False), (3, False), (1, True), (4, False), (2, True)]
    assert [run.id for run in done] == ["convert-1", "convert-2", "convert-3", "convert-4"]


@pytest.mark.slow
def test_what_was_done_is_found_without_starting_a_process(project, monkeypatch):
    recipe = make_recipe(project(""), {"one": (1, ["x"])})
    first = run_recipe(recipe)

    def submit(*_, **__):
        raise AssertionError("nothing is to be done")

    monkeypatch.setattr(LocalWorkers, "submit", submit)
    assert run_recipe(recipe, workers=2) == first


def test_resources_of_a_step_are_numbers_above_nothing(project):
    recipe = make_recipe(project(""), {"one": (1, ["x"])}, one={"resources": {"GPU": 0}})
    with pytest.raises(ParameterError, match=r"resources\.GPU: .*greater than 0"):
        run_recipe(recipe)


# --- the executor --------------------------------------------------------------------------------------------------


def test_no_more_processes_than_cores_and_memory_allow(monkeypatch):
    for cores, gb, asked, given in [(8, 64, None, 8), (8, 5, None, 2), (8, 64, 3, 3), (2, 64, 16, 2), (4, 0.5, 4, 1)]:
        monkeypatch.setattr(machine, "cores", lambda cores=cores: cores)
        monkeypatch.setattr(machine, "memory_gb", lambda gb=gb: gb)
        assert at_once(asked) == given


def test_each_run_gets_its_share_of_threads_and_no_more_than_the_user_said(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 9)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    share = share_of_cores(2)
    assert (share["OMP_NUM_THREADS"], share["MKL_NUM_THREADS"]) == ("2", "4")
    assert share_of_cores(2, told=False)["OMP_NUM_THREADS"] == "4"


@pytest.mark.slow
def test_calls_that_need_a_gpu_have_one_each_and_wait_for_it(roomy, monkeypatch, calls, tmp_path):
    monkeypatch.setattr(workers, "gpus", lambda: ["4", "5"])
    board = calls(tmp_path)
    with LocalWorkers(3) as pool:
        first = [pool.submit(_where, str(tmp_path / "port"), resources={"GPU": 1}) for _ in range(2)]
        third = pool.submit(_where, resources={"GPU": 1})
        free = pool.submit(_where)
        lines = [board.take()[3] for _ in range(2)]
        free.result(60)  # a process is free for it, and was for the third: there was no GPU
        assert not third.done()
        for line in lines:
            line.sendall(b"!")
        assert {f.result(60)[1] for f in first} == {"4", "5"}
        assert third.result(60)[1] in ("4", "5")
        both = pool.submit(_where, resources={"GPU": 7}).result(60)  # there are no seven
    assert sorted(both[1].split(",")) == ["4", "5"]
    assert both[2] == "1"


@pytest.mark.slow
def test_errors_come_back_and_a_call_that_kills_its_process_is_given_up(roomy):
    with LocalWorkers(2) as pool:
        with pytest.raises(ParameterError, match="no"):
            pool.submit(_fail).result(60)
        with pytest.raises(GistError, match="killed 3 times"):
            pool.submit(os._exit, 1).result(60)
        other = pool.submit(os.getpid).result(60)  # it goes on
        psutil.Process(other).kill()
        assert pool.submit(os.getpid).result(60) not in (other, os.getpid())
    with pytest.raises(GistError, match="have ended"):
        pool.submit(os.getpid)
    with pytest.raises(ParameterError, match="workers is 0"):
        LocalWorkers(0)


def test_what_is_still_to_come_is_told_with_its_time_once_a_step_of_its_kind_was_run(project, monkeypatch):
    from gisttools.workflow import schedule
    from gisttools.workflow.terminal import LATER

    def run(verb, parameters, *, rerun, title, wait):
        told.append(LATER.get())
        time.sleep(0.2)
        return SimpleNamespace(id=f"{verb}-{parameters['seed']}")

    told = []
    monkeypatch.setattr(schedule, "run_notebook", run)
    monkeypatch.setattr(schedule, "_RAN", 0.1)
    schedule.run_recipe(make_recipe(project(""), {name: (i, ["x"]) for i, name in enumerate("abcde")}))
    assert told[0] == "then b, c, d and 1 more (time not known yet)"
    assert re.fullmatch(r"then c, d, e \(about 0\.[6-9] s\)", told[1])
    assert told[-1] == ""
