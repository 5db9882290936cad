"""Where runs are done, as the command names it: here one after the other, side by side, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from gisttools.workflow.local_workers import LocalWorkers


@contextmanager
def open_executor(workers: int | None = None, cluster: str | None = None) -> Iterator[Executor | None]:
    """An executor that ends with the block; None for one run after the other in this process.

    Args:
        workers: runs at once; None is 1 here, and on a cluster what it has.
        cluster: see `gisttools.workflow.cluster`.

    Raises:
        ParameterError, MissingError, EndpointError: as `gisttools.workflow.cluster.cluster_workers`.
    """
    if cluster is not None:
        from gisttools.workflow.cluster import cluster_workers  # Dask is optional

        with cluster_workers(cluster, workers) as executor:
            yield executor
    elif workers in (None, 1):
        yield None
    else:
        with LocalWorkers(workers) as executor:
            yield executor
