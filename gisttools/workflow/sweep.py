"""Many runs on an executor: local processes by default, any `concurrent.futures.Executor` (such as Dask's) instead."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from typing import Any

from gisttools.workflow.execute import Rerun
from gisttools.workflow.jobs import Job, do_job
from gisttools.workflow.local_workers import LocalWorkers
from gisttools.workflow.step_graph import one_error
from gisttools.workflow.surroundings import surroundings


def sweep(
    specs: Sequence[tuple[str, dict[str, Any]]],
    executor: Executor | None = None,
    *,
    workers: int | None = None,
    rerun: Rerun = "only-missing",
) -> list[dict[str, Any]]:
    """Run (verb, parameters) pairs; returns their manifests in order.

    Args:
        specs: what to run; the runs must not depend on each other.
        executor: None for local processes. papermill's working directory is global to a process, so threads will not
            do.
        workers: how many local processes, fewer where cores or memory would not do; None for as many as do.
        rerun: as in `run_notebook`.

    Raises:
        RunFailed: runs failed; told after all have ended.
    """
    with (
        LocalWorkers(workers) if executor is None else nullcontext(executor) as pool,
        surroundings(shared=executor is not None) as place,
    ):
        calls = {}
        for i, (verb, parameters) in enumerate(specs, 1):
            title = f"[{i}/{len(specs)}] {verb}"
            job = Job(verb=verb, parameters=parameters, rerun=rerun, title=title, surroundings=place)
            calls[title] = pool.submit(do_job, job)
        manifests, failed = [], {}
        for title, call in calls.items():
            error = call.exception()
            outcome = None if error else call.result()
            if outcome is not None:
                sys.stdout.write(outcome.said)
                manifests.append(outcome.manifest)
                error = outcome.error
            if error is not None:
                failed[title] = error
    if failed:
        raise one_error(failed, {}, len(specs))
    return manifests
