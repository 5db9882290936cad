"""Runs on a Dask cluster: a real scheduler, real workers, one of them killed; hosts by SSH."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import distributed
import psutil
import pytest
from helpers import ROOT, files_under
from helpers.small_project import CALLS, FAILS_AT_13, Switchboard, make_recipe

from gisttools.common.errors import EndpointError, MissingError, ParameterError
from gisttools.workflow import cluster, machine
from gisttools.workflow.cluster import hosts_of
from gisttools.workflow.execute import RunFailed, run_notebook
from gisttools.workflow.folders import finished_runs
from gisttools.workflow.schedule import run_recipe, sweep

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


@pytest.mark.slow
def test_records_are_those_of_a_local_run_and_failures_are_told(project, scheduler, capsys):
    folder = project(FAILS_AT_13)
    here = run_notebook("convert", {"seed": 4, "sources": ["x"]})
    steps = {"one": (1, ["x"]), "bad": (13, ["x"]), "next": (5, ["$bad"]), "four": (4, ["x"])}
    with pytest.raises(RunFailed, match=r"(?s)1 of 4 failed:.*bad: 13 is unlucky.*next was not run: it needs bad"):
        run_recipe(make_recipe(folder, steps, one={"resources": {"GPU": 1}}), cluster=scheduler[0])
    assert "[4/4] four: already done, seed 4" in capsys.readouterr().out
    one = next(m for m in finished_runs() if m.parameters["seed"] == 1)
    with distributed.Client(scheduler[0], set_as_default=False) as client:  # any other executor will do
        assert sweep([("convert", one.parameters | {"seed": 1})], client.get_executor(pure=False)) == [one]
    assert one.manifest.keys() == here.manifest.keys()
    assert one.artefacts.keys() == here.artefacts.keys()
    assert {m.parameters["seed"]: m.status for m in finished_runs()} == {4: "ok", 1: "ok", 13: "failed"}


@pytest.mark.slow
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
    with pytest.raises(ParameterError, match=r"'slurm:job\.yaml' is none of local, tcp:.*On Slurm .* as a job array"):
        run_recipe(recipe, cluster="slurm:job.yaml")
    two_threads = "(?s)a run needs a process for itself.*has 2 threads.*--nthreads 1"
    with _scheduler() as other, _worker(other, "--nthreads", "2"), pytest.raises(ParameterError, match=two_threads):
        run_recipe(recipe, cluster=other)
    assert files_under(results) == []


@pytest.mark.slow
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
        (run,) = done.result(200)
    board.close()
    assert other != worker
    assert run.status == "ok"
    assert [m.id for m in finished_runs()] == [run.id] == [p.name for p in results.iterdir()]
    assert not (results / run.id / "half.partial").exists()


def test_processes_on_this_machine_as_a_cluster_with_a_gpu_each(monkeypatch):
    monkeypatch.setattr(cluster, "gpus", lambda: ["6"])
    monkeypatch.setattr(machine, "cores", lambda: 2)
    with cluster.cluster_workers("local", 2) as workers:
        asked = [workers.submit(os.getenv, "CUDA_VISIBLE_DEVICES", resources={"GPU": 1}) for _ in range(3)]
        assert {f.result(60) for f in asked} == {"6"}
        pids = {workers.submit(os.getpid).result(60)}
        with pytest.raises(ParameterError, match="has GPU=2"):
            workers.submit(os.getpid, resources={"GPU": 2})
    assert os.getpid() not in pids


def test_hosts_reached_by_ssh(ssh_server):
    with cluster.cluster_workers(f"ssh:{ssh_server},{ssh_server}") as workers:
        pids = {workers.submit(os.getpid).result(60) for _ in range(2)}
        there = [psutil.Process(pid) for pid in pids]
        with pytest.raises(ParameterError, match="has GPU=1"):
            workers.submit(os.getpid, resources={"GPU": 1})
    assert os.getpid() not in pids
    assert psutil.wait_procs(there, timeout=60)[1] == []


def test_a_file_of_hosts(tmp_path):
    (tmp_path / "hosts").write_text("# ours\nme@a:2222 GPU=2\n\na  # without\nb GPU=1\n")
    assert hosts_of(str(tmp_path / "hosts")) == [
        ("a", {"username": "me", "port": 2222}, {"GPU": 2.0}), ("a", {}, {}), ("b", {}, {"GPU": 1.0})
    ]  # fmt: skip
    with pytest.raises(ParameterError, match=r"(?s)'a GPU' is not `\[user@\]host.*'b:x' is not"):
        hosts_of("a GPU,b:x")
    with pytest.raises(ParameterError, match="there are no hosts"):
        hosts_of("")


def test_without_dask_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingError, match=r"pip install \"gisttools\[cluster\]\""), cluster.cluster_workers("local"):
        pass


@pytest.fixture
def ssh_server(tmp_path_factory, monkeypatch):
    """`user@host:port` of an SSH server that lets everybody in."""
    import asyncssh

    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(home))
    key = asyncssh.generate_private_key("ssh-ed25519")
    loop, ready = asyncio.new_event_loop(), threading.Event()

    class Open(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

    async def command(process: asyncssh.SSHServerProcess) -> None:
        inner = await asyncio.create_subprocess_shell(
            process.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        await process.redirect(stdin=inner.stdin, stdout=inner.stdout, stderr=inner.stderr)
        closed = asyncio.ensure_future(process.wait_closed())
        ended = asyncio.ensure_future(inner.wait())
        try:
            await asyncio.wait([closed, ended], return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                process.exit(ended.result())
            else:
                os.killpg(inner.pid, signal.SIGTERM)
                await ended
        finally:
            inner._transport.close()  # or its pipes are closed when their loop is gone, with a warning

    async def serve() -> None:
        server = await asyncssh.create_server(
            Open, "127.0.0.1", 0, server_host_keys=[key], process_factory=command, encoding=None
        )
        told["port"] = server.get_port()
        ready.set()

    told: dict[str, int] = {}
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(serve(), loop)
    assert ready.wait(30)
    public = key.export_public_key().decode().strip()
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{told['port']} {public}\n")
    yield f"me@127.0.0.1:{told['port']}"

    async def end() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    asyncio.run_coroutine_threadsafe(end(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
