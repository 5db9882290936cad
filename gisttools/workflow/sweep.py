"""Many runs on an executor: local processes by default, any `concurrent.futures.Executor` (such as Dask's) instead."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any

from gisttools.workflow.execute import Rerun, run_notebook


def sweep(
    specs: Sequence[tuple[str, dict[str, Any]]],
    executor: Executor | None = None,
    *,
    workers: int = 2,
    rerun: Rerun = "only-missing",
) -> list[dict[str, Any]]:
    """Run (verb, parameters) pairs; returns their manifests in order.

    Args:
        specs: what to run; the runs must not depend on each other.
        executor: None for `workers` local processes. papermill's working directory is global to a process, so threads
            will not do.
        rerun: as in `run_notebook`.

    Raises:
        RunFailed: of the first run that failed, after all have ended.
    """
    own = executor is None
    if own:
        executor = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        futures = [executor.submit(run_notebook, verb, parameters, rerun=rerun) for verb, parameters in specs]
        errors = [error for f in futures if (error := f.exception())]
        if errors:
            raise errors[0]
        return [f.result() for f in futures]
    finally:
        if own:
            executor.shutdown()
