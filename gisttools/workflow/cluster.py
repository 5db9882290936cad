"""Opens where runs are done: here one after the other, side by side, or on a Dask cluster, started or joined.

`local` starts processes on this machine; `tcp://HOST:PORT` (or `tls://`) joins a scheduler; `ssh:HOSTS` starts workers
on hosts, named with commas between them or in a file. All machines see the same project, results and cache folders.
Whoever reaches a scheduler can run code on its workers: use a network that you trust, or `tls://`. Slurm needs none of
this: a job array of one command shares out a recipe (docs/scale.md).
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from gisttools.common import EndpointError, GistError, MissingError, ParameterError, problems
from gisttools.workflow.machine import at_once, environment, gpus, share_of_cores
from gisttools.workflow.workers import LocalWorkers

INSTALL = 'pip install "gisttools[cluster]"'
_WORKER = {"nthreads": 1, "memory_limit": 0}  # one run at a time; Dask would not see the memory of its kernel
_SCHEDULER = {"port": 0, "dashboard": False, "dashboard_address": ":0"}


def needed(module: str) -> ModuleType:
    """An optional module. Raises MissingError, with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingError(f"--cluster needs {error.name or module}, which is not installed here: {INSTALL}") from error


def local_cluster(workers: int | None) -> Any:
    """Processes on this machine, each with its share of the cores; the first ones have a GPU each, where there are."""
    distributed, count, devices = needed("distributed"), at_once(workers), gpus()
    share = share_of_cores(count)
    specs = {}
    for i in range(count):
        seen = {"CUDA_VISIBLE_DEVICES": devices[i % len(devices)]} if devices else {}
        own = {"GPU": 1} if i < len(devices) else None
        options = {**_WORKER, "host": "127.0.0.1", "env": share | seen, "resources": own, "silence_logs": logging.ERROR}
        specs[i] = {"cls": distributed.Nanny, "options": options}
    scheduler = {"cls": distributed.Scheduler, "options": {**_SCHEDULER, "host": "127.0.0.1"}}
    return distributed.SpecCluster(workers=specs, scheduler=scheduler, name="gisttools", silence_logs=logging.ERROR)


def ssh_cluster(told: str, workers: int | None) -> Any:
    """Workers on hosts reached by SSH; the scheduler runs on the first.

    Args:
        told: a file with a host a line, or hosts with commas between them: `[user@]host[:port] [GPU=1]`. A host that
            stands there k times does k runs at once; of its GPUs each takes the next ones.
        workers: how many; hosts are gone through again where they are fewer. None for one each.

    Raises:
        ParameterError: no hosts, or lines that are none; all at once.
        MissingError: asyncssh is not installed.
    """
    needed("asyncssh")
    ssh, distributed = needed("distributed.deploy.ssh"), needed("distributed")
    hosts = hosts_of(told)
    hosts = [hosts[i % len(hosts)] for i in range(workers or len(hosts))]
    taken, same_python = Counter(), {"remote_python": sys.executable}
    specs = {}
    for i, (host, connect, resources) in enumerate(hosts):
        wanted, variables = round(resources.get("GPU", 0)), {}
        if wanted:
            variables = {"CUDA_VISIBLE_DEVICES": ",".join(str(taken[host] + n) for n in range(wanted))}
            taken[host] += wanted
        options = {**_WORKER, "env": variables, "resources": resources or None}
        specs[i] = {
            "cls": ssh.Worker,
            "options": {
                "address": host,
                "connect_options": connect,
                "kwargs": options,
                "remote_python": sys.executable,
            },
        }
    first, connect, _ = hosts[0]
    scheduler = {
        "cls": ssh.Scheduler,
        "options": {
            "address": first,
            "connect_options": connect,
            "kwargs": {"port": 0, "dashboard": False},
            **same_python,
        },
    }
    return distributed.SpecCluster(workers=specs, scheduler=scheduler, name="gisttools", silence_logs=logging.ERROR)


def hosts_of(told: str) -> list[tuple[str, dict[str, Any], dict[str, float]]]:
    """Host, how to connect, and resources, of a file or a list; see `ssh_cluster`."""
    path = Path(told)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else told.split(",")
    found, bad = [], []
    for line in (line.partition("#")[0].split() for line in lines):
        if not line:
            continue
        user, _, rest = line[0].rpartition("@")
        host, _, port = rest.partition(":")
        pairs = [word.partition("=") for word in line[1:]]
        if not host or (port and not port.isdigit()) or not all(n and v.isdigit() for n, _, v in pairs):
            bad.append(f"{' '.join(line)!r} is not `[user@]host[:port] [GPU=1]`")
            continue
        connect = ({"username": user} if user else {}) | ({"port": int(port)} if port else {})
        found.append((host, connect, {n: float(v) for n, _, v in pairs}))
    if bad or not found:
        raise ParameterError(problems(f"--cluster ssh:{told}:", bad or ["there are no hosts"]))
    return found


_KINDS = "local, tcp://HOST:PORT, tls://HOST:PORT, ssh:HOST,HOST or ssh:FILE"
_SECONDS = 10  # in which a scheduler must answer


@contextmanager
def cluster_workers(where: str, workers: int | None = None) -> Iterator[ClusterWorkers]:
    """An executor on a cluster; what was started for it ends with the block.

    Args:
        where: see the module's docstring.
        workers: how many are started; None takes what fits (local), one a host (ssh). A scheduler that is joined has
            its own.

    Raises:
        ParameterError: there is no such kind of cluster; its workers do several calls at once in one process.
        MissingError: a package is not installed.
        EndpointError: the cluster cannot be started, or no scheduler answers.
    """
    distributed = needed("distributed")
    kind, _, told = where.partition(":")
    if kind in ("tcp", "tls") and workers is not None:
        raise ParameterError(f"{where} has workers of its own; leave out --workers.")
    with contextlib.ExitStack() as stack:
        try:
            if kind in ("tcp", "tls"):
                cluster = where
            elif kind in ("local", "ssh"):
                started = ssh_cluster(told, workers) if kind == "ssh" else local_cluster(workers)
                cluster = stack.enter_context(started)
            else:
                raise ParameterError(
                    f"--cluster {where!r} is none of {_KINDS}. On Slurm submit the command without it, as a job array: "
                    "docs/scale.md."
                )
            client = stack.enter_context(distributed.Client(cluster, timeout=_SECONDS, set_as_default=False))
        except GistError:
            raise
        except Exception as error:  # each way to start one has errors of its own
            text = str(error).strip() or type(error).__name__
            raise EndpointError(f"--cluster {where}: {text.splitlines()[0]}. Is it there, and reachable?") from error
        yield ClusterWorkers(client, where)


class ClusterWorkers(Executor):
    """Calls on the workers of a Dask cluster. One whose worker dies is done again on another, as Dask does it.

    Args:
        client: of `dask.distributed`.
        name: what the cluster is called in messages.

    Raises:
        ParameterError: there are workers that do several calls at once in one process.
    """

    def __init__(self, client: Any, name: str = "the cluster") -> None:
        self._client, self._name = client, name
        self._executor = client.get_executor(pure=False)
        threads = {address: about["nthreads"] for address, about in self._workers().items() if about["nthreads"] > 1}
        if threads:
            raise ParameterError(
                problems(
                    f"{name}: a run needs a process for itself, but",
                    [f"worker {address} has {n} threads" for address, n in threads.items()],
                    "Start workers with: dask worker ADDRESS --nworkers 2 --nthreads 1",
                )
            )

    def submit(  # type: ignore[override]  # no keyword arguments for the call: `resources` is ours
        self, fn: Callable, /, *args: Any, resources: Mapping[str, float] | None = None
    ) -> Future:
        """As `Executor.submit`, with the resources that a worker must have free for the call.

        Raises:
            ParameterError: as `check`.
        """
        wanted = dict(resources or {})
        self.check(wanted)
        on_host = Counter(worker["host"] for worker in self._workers().values())
        options = {"resources": wanted} if wanted else {}
        inner = self._executor.submit(_on_worker, dict(on_host), partial(fn, *args), **options)
        outer: Future = Future()
        outer.set_running_or_notify_cancel()
        inner.add_done_callback(partial(_hand_on, outer))
        return outer

    def check(self, wanted: Mapping[str, float]) -> None:
        """Refuse resources that no worker has; where there are no workers yet, some may come that have them.

        Raises:
            ParameterError: there are workers, and none of them has such resources.
        """
        workers = self._workers().values()
        if workers and not any(all(w["resources"].get(k, 0) >= v for k, v in wanted.items()) for w in workers):
            told = " ".join(f"{k}={v:g}" for k, v in wanted.items())
            raise ParameterError(
                f"No worker of {self._name} has {told}. Start some with: dask worker ADDRESS --nthreads 1 "
                f'--resources "{told}"'
            )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; without `wait`, or with `cancel_futures`, drop those that have not begun."""
        self._executor.shutdown(wait=wait and not cancel_futures)

    def _workers(self) -> dict[str, dict[str, Any]]:
        return self._client.scheduler_info(n_workers=-1)["workers"]


def _on_worker(on_host: Mapping[str, int], call: Callable[[], Any]) -> Any:
    """On a worker: the call with its share of the cores. `on_host`: workers of each host."""
    from distributed import get_worker

    worker = get_worker()
    if worker.state.nthreads > 1:
        raise ParameterError(
            f"Worker {worker.address} has {worker.state.nthreads} threads, and a run needs a process for itself. Start "
            "it with --nthreads 1."
        )
    # Dask itself tells its workers one thread each, so what stands there is not the user's
    with environment(share_of_cores(on_host.get(worker.ip, 1), told=False)):
        return call()


def _hand_on(outer: Future, inner: Future) -> None:
    if inner.cancelled():
        outer.set_exception(GistError("It was cancelled on the cluster."))
        return
    error = inner.exception()
    if type(error).__name__ == "KilledWorker":
        error = GistError(
            "Each worker that tried it died. Is memory short? Use fewer workers on a machine, or machines with more."
        )
    if error is None:
        outer.set_result(inner.result())
    else:
        outer.set_exception(error)


@contextmanager
def open_executor(workers: int | None = None, cluster: str | None = None) -> Iterator[Executor | None]:
    """An executor that ends with the block; None for one run after the other in this process.

    Args:
        workers: runs at once; None is 1 here, and on a cluster what it has.
        cluster: see `gisttools.workflow.cluster`.

    Raises:
        ParameterError, MissingError, EndpointError: as `gisttools.workflow.cluster_workers`.
    """
    if cluster is not None:
        with cluster_workers(cluster, workers) as executor:
            yield executor
    elif workers in (None, 1):
        yield None
    else:
        with LocalWorkers(workers) as executor:
            yield executor
