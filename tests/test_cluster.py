"""Runs on a Dask cluster: a real scheduler, real workers, one of them killed; hosts by SSH; a Slurm that is played."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, files_under
from small_project import CALLS, FAILS_AT_13, Switchboard, make_project, make_recipe

from gisttools.errors import EndpointError, ParameterError
from gisttools.workflow import cluster
from gisttools.workflow.execute import RunFailed
from gisttools.workflow.runs import finished_runs
from gisttools.workflow.steps import run_recipe
from gisttools.workflow.sweep import sweep

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and shell scripts are others there")


def _process(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GISTTOOLS_RESULTS": "/nowhere"},
    )  # fmt: skip


@contextmanager
def _scheduler():
    process = _process("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    try:
        line = next(line for line in process.stderr if "Scheduler at:" in line)
        yield line.split("Scheduler at:")[1].strip()
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _worker(address: str, *options: str):
    process = _process(
        "distributed.cli.dask_worker", address, "--nworkers", "1", "--no-dashboard", "--host", "127.0.0.1",
        "--memory-limit", "0", *options,
    )  # fmt: skip
    try:
        next(line for line in process.stderr if "Starting established connection" in line)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def scheduler():
    """A scheduler with two workers, as one starts them by hand: its address and their processes."""
    with ExitStack() as stack:
        address = stack.enter_context(_scheduler())
        yield (
            address,
            [
                stack.enter_context(_worker(address, "--no-nanny", "--nthreads", "1", *more))
                for more in ([], ["--resources", "GPU=1"])
            ],
        )


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A function that makes a small project and goes there."""

    def make(work: str) -> Path:
        monkeypatch.chdir(make_project(tmp_path, work))
        return tmp_path

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return make


def test_records_are_those_of_a_local_run_and_failures_are_told(project, scheduler, capsys):
    folder = project(FAILS_AT_13)
    (here,) = sweep([("convert", {"seed": 4, "sources": ["x"]})], workers=1)
    steps = {"one": (1, ["x"]), "bad": (13, ["x"]), "next": (5, ["$bad"]), "four": (4, ["x"])}
    with pytest.raises(RunFailed, match=r"(?s)1 of 4 failed:.*bad: 13 is unlucky.*next was not run: it needs bad"):
        run_recipe(make_recipe(folder, steps, one={"resources": {"GPU": 1}}), cluster=scheduler[0])
    assert "[4/4] four: already done, seed 4" in capsys.readouterr().out
    one = next(m for m in finished_runs() if m["parameters"]["seed"] == 1)
    assert one.keys() == here.keys()
    assert one["artefacts"].keys() == here["artefacts"].keys()
    assert {m["parameters"]["seed"]: m["status"] for m in finished_runs()} == {4: "ok", 1: "ok", 13: "failed"}


def test_what_a_cluster_cannot_do_is_told_before_anything_runs(project, scheduler, results, monkeypatch):
    address, _ = scheduler
    recipe = make_recipe(project(""), {"one": (1, ["x"])}, one={"resources": {"GPU": 2}})
    with pytest.raises(ParameterError, match=r"No worker of tcp://\S+ has GPU=2\. .*--resources \"GPU=2\""):
        run_recipe(recipe, cluster=address)
    with pytest.raises(ParameterError, match="has workers of its own; leave out --workers"):
        run_recipe(recipe, cluster=address, workers=3)
    monkeypatch.setattr(cluster, "_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(EndpointError, match=rf"{nobody}: .*reachable"):
        run_recipe(recipe, cluster=nobody)
    with pytest.raises(ParameterError, match="'cloud' is none of local, tcp:"):
        run_recipe(recipe, cluster="cloud")
    two_threads = "(?s)a run needs a process for itself.*has 2 threads.*--nthreads 1"
    with _scheduler() as other, _worker(other, "--nthreads", "2"), pytest.raises(ParameterError, match=two_threads):
        run_recipe(recipe, cluster=other)
    assert files_under(results) == []


def test_a_worker_killed_in_the_middle_of_a_notebook(project, results):
    """Its run is done again by the other one; nothing is there twice, and no kernel is left."""
    board, pool = Switchboard(project(CALLS)), ThreadPoolExecutor(1)
    one = ("--no-nanny", "--nthreads", "1")
    with _scheduler() as address, _worker(address, *one), _worker(address, *one):
        done = pool.submit(run_recipe, make_recipe(Path.cwd(), {"one": (3, ["x"])}), cluster=address)
        _, kernel, worker, orphan = board.take()
        watched = psutil.Process(kernel)
        os.kill(worker, signal.SIGKILL)
        orphan.sendall(b"!")  # even if its work is done now, its run must not count
        _, _, other, line = board.take()
        watched.wait(60)
        line.sendall(b"!")
        (manifest,) = done.result(200)
    board.close()
    assert other != worker
    assert manifest["status"] == "ok"
    assert [m["run_id"] for m in finished_runs()] == [manifest["run_id"]] == [p.name for p in results.iterdir()]
    assert not (results / manifest["run_id"] / "half.partial").exists()
