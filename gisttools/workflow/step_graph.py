"""The steps of a recipe on an executor: each as soon as the steps that it refers to are done."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import replace
from typing import Any, TextIO

from gisttools.common import GistError, MissingError, problems
from gisttools.workflow.cluster import ClusterWorkers
from gisttools.workflow.execute import Rerun, RunFailed, run_notebook
from gisttools.workflow.jobs import Job, Outcome, do_job
from gisttools.workflow.local_workers import LocalWorkers
from gisttools.workflow.recipe import Step, fill, references
from gisttools.workflow.surroundings import surroundings

_CLEAR = "\r\x1b[2K"
Start = Callable[[Step, dict[str, Any], str], Future]


def run_steps(steps: Sequence[Step], executor: Executor | None, *, rerun: Rerun) -> list[dict[str, Any]]:
    """Run steps that refer to one another; returns their manifests in the order of the steps.

    A step that fails stops those that refer to it, nothing else.

    Args:
        executor: from `open_executor`; None runs them here, one after the other.

    Raises:
        ParameterError: no worker of a cluster has what a step must have; before anything runs.
        RunFailed: at the end, with all that failed; what was done is kept and will not be done again.
    """
    if executor is None:
        return _walk(steps, lambda step, parameters, title: _here(step, parameters, title, rerun), _Lines(None))
    if isinstance(executor, ClusterWorkers):
        for step in steps:
            executor.check(step.resources)
    with surroundings(shared=not isinstance(executor, LocalWorkers)) as place:
        lines = _Lines(len(steps))

        def start(step: Step, parameters: dict[str, Any], title: str) -> Future:
            return _elsewhere(executor, step, Job(verb=step.verb, parameters=parameters, rerun=rerun, title=title,
                                                  surroundings=place))  # fmt: skip

        return _walk(steps, start, lines, together=True)


def submit(executor: Executor, call: Callable, argument: Any, resources: dict[str, float] | None = None) -> Future:
    """`executor.submit`; resources are told to those that know them (`LocalWorkers`, Dask's)."""
    return executor.submit(call, argument, resources=resources) if resources else executor.submit(call, argument)


def one_error(failed: dict[str, BaseException], stopped: dict[str, list[str]], of: int) -> GistError:
    """What went wrong in several runs, by name, as one error; `stopped`: what was not run, and for want of what."""
    if len(failed) == 1 and not stopped:
        error = next(iter(failed.values()))
        return error if isinstance(error, GistError) else RunFailed(_text(error))
    found = [f"{name}: {_text(error)}".replace("\n", "\n    ") for name, error in failed.items()]
    found += [f"{name} was not run: it needs {', '.join(needs)}" for name, needs in stopped.items()]
    return RunFailed(problems(f"{len(failed)} of {of} failed:", found, "What was done is kept. Mend it and run again."))


def _walk(steps: Sequence[Step], start: Start, lines: _Lines, *, together: bool = False) -> list[dict[str, Any]]:
    done: dict[str, dict[str, Any]] = {}
    failed: dict[str, BaseException] = {}
    stopped: dict[str, list[str]] = {}
    running: dict[Future, Step] = {}
    waiting = list(steps)
    titles = {
        step.name: f"[{i}/{len(steps)}] {step.name}" + (f": {step.about}" if step.about else "")
        for i, step in enumerate(steps, 1)
    }
    while waiting or running:
        for step in list(waiting):
            needs = references(step)
            if lost := [name for name in dict.fromkeys(needs) if name in failed or name in stopped]:
                waiting.remove(step)
                stopped[step.name] = lost
            elif all(name in done for name in needs) and (together or not running):
                waiting.remove(step)
                runs = {name: manifest["run_id"] for name, manifest in done.items()}
                running[start(step, fill(step, runs), titles[step.name])] = step
        lines.working([step.name for step in running.values()])
        for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
            step = running.pop(future)
            outcome = _outcome(future)
            lines.ended(outcome.said or (f"{titles[step.name]}: FAILED\n" if outcome.error and together else ""))
            if outcome.manifest is not None:
                done[step.name] = outcome.manifest
            else:
                failed[step.name] = outcome.error
    if failed:
        raise one_error(failed, stopped, len(steps))
    return [done[step.name] for step in steps]


def _here(step: Step, parameters: dict[str, Any], title: str, rerun: Rerun) -> Future:
    try:
        return _ended(Outcome(manifest=run_notebook(step.verb, parameters, rerun=rerun, title=title)))
    except GistError as error:
        return _ended(Outcome(error=error))


def _elsewhere(executor: Executor, step: Step, job: Job) -> Future:
    """Done on the executor, unless it was done before: that is found out here, where no process must be started."""
    if job.rerun == "only-missing":
        here = do_job(replace(job, rerun="only-cache"))
        if not isinstance(here.error, MissingError):  # what else may be missing, the run itself will say
            return _ended(here)
    return submit(executor, do_job, job, step.resources)


def _ended(outcome: Outcome) -> Future:
    future: Future = Future()
    future.set_result(outcome)
    return future


class _Lines:
    """Whole lines; and, where several steps run at once on a terminal, a last one that says what is under way."""

    def __init__(self, total: int | None, out: TextIO | None = None) -> None:
        self._out, self._total, self._done = out or sys.stdout, total, 0
        self._live = total is not None and self._out.isatty()

    def working(self, names: Sequence[str]) -> None:
        if self._live:
            text = f"{self._done} of {self._total} done; under way: {', '.join(names)}" if names else ""
            self._out.write(_CLEAR + text[: shutil.get_terminal_size().columns - 1])
            self._out.flush()

    def ended(self, said: str) -> None:
        self._done += 1
        self._out.write((_CLEAR if self._live else "") + said)
        self._out.flush()


def _outcome(future: Future) -> Outcome:
    error = future.exception()
    return future.result() if error is None else Outcome(error=error)


def _text(error: BaseException) -> str:
    return str(error) if isinstance(error, GistError) else f"{type(error).__name__}: {error}"
