"""Runs on a Dask cluster that is started for them, or joined.

`local` starts processes on this machine; `tcp://HOST:PORT` (or `tls://`) joins a scheduler; `ssh:HOSTS` starts workers
on hosts, named with commas between them or in a file; `slurm` or `slurm:FILE` asks Slurm for jobs. All machines see the
same project, results and cache folders. Whoever reaches a scheduler can run code on its workers: use a network that
you trust, or `tls://`.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from typing import Any

from gisttools.common import EndpointError, GistError, ParameterError, problems
from gisttools.workflow.capacity import share_of_cores
from gisttools.workflow.cluster_kinds import local_cluster, needed, slurm_cluster, ssh_cluster
from gisttools.workflow.surroundings import environment

_KINDS = "local, tcp://HOST:PORT, tls://HOST:PORT, ssh:HOST,HOST or ssh:FILE, slurm or slurm:FILE"
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
            elif kind in ("local", "slurm", "ssh"):
                start = {"local": lambda _, n: local_cluster(n), "slurm": slurm_cluster, "ssh": ssh_cluster}[kind]
                cluster = stack.enter_context(start(told, workers))
            else:
                raise ParameterError(f"--cluster {where!r} is none of {_KINDS}.")
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
        beside = Counter(worker["host"] for worker in self._workers().values())
        options = {"resources": wanted} if wanted else {}
        inner = self._executor.submit(_on_worker, dict(beside), partial(fn, *args), **options)
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


def _on_worker(beside: Mapping[str, int], call: Callable[[], Any]) -> Any:
    """On a worker: the call with its share of the cores. `beside`: workers of each host."""
    from distributed import get_worker

    worker = get_worker()
    if worker.state.nthreads > 1:
        raise ParameterError(
            f"Worker {worker.address} has {worker.state.nthreads} threads, and a run needs a process for itself. Start "
            "it with --nthreads 1."
        )
    # Dask itself tells its workers one thread each, so what stands there is not the user's
    with environment(share_of_cores(beside.get(worker.ip, 1), told=False)):
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
