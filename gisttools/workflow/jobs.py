"""One run as a job that any process can do which sees the same files, and what came of it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gisttools.common import GistError
from gisttools.workflow.execute import Rerun, run_notebook
from gisttools.workflow.surroundings import Surroundings


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run: see `run_notebook`."""

    verb: str
    parameters: Mapping[str, Any]
    rerun: Rerun
    title: str
    surroundings: Surroundings


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a job: the run's manifest or why there is none, and the lines that it said."""

    manifest: dict[str, Any] | None = None
    error: BaseException | None = None
    said: str = ""


def do_job(job: Job) -> Outcome:
    """Do a run in this process; its lines are not written to the terminal but come back whole."""
    said = io.StringIO()
    try:
        with job.surroundings.entered(), contextlib.redirect_stdout(said):
            manifest = run_notebook(job.verb, job.parameters, rerun=job.rerun, title=job.title)
    except GistError as error:
        return Outcome(error=error, said=said.getvalue())
    return Outcome(manifest=manifest, said=said.getvalue())
