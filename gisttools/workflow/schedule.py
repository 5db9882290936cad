"""Runs the steps of a recipe, and many runs side by side; previews what would run. Each step is one notebook.

A run is a job that any process can do which sees the same files: one after the other here, side by side in local
processes, or on any `concurrent.futures.Executor`, such as Dask's. A step starts as soon as those that it refers to are
done. Several commands may be given the same recipe at once: each does what none of the others is at.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TextIO

from gisttools.common import FinishedRun, GistError, MissingError, ParameterError, duration, notice, problems
from gisttools.synthesis import LLMOptions, find_model
from gisttools.workflow import warm
from gisttools.workflow.cluster import ClusterWorkers, open_executor
from gisttools.workflow.early import early_error
from gisttools.workflow.execute import Rerun, RunFailed, UnderWay, check_before, check_task, run_notebook
from gisttools.workflow.folders import find_finished
from gisttools.workflow.machine import Surroundings, environment, stay_interruptible, surroundings
from gisttools.workflow.manifest import PROFILE
from gisttools.workflow.params import SHARED, Params, check_params
from gisttools.workflow.permission import allow, leaving_yet, sends_anywhere, with_permission
from gisttools.workflow.publishing import PUBLISH_TO
from gisttools.workflow.recipes import Recipe, Step, fill, read_recipe, references
from gisttools.workflow.spec import parents_of, settled, spec_hash
from gisttools.workflow.terminal import LATER
from gisttools.workflow.together import step_problems
from gisttools.workflow.tuning import recipe_problems, with_best
from gisttools.workflow.workers import LocalWorkers

log = logging.getLogger(__name__)
WITHOUT_LLM = "without_llm"  # the profile of a recipe by which nothing is written
_CLEAR = "\r\x1b[2K"
_NAMED = 3  # steps to come
_RAN = 1.0  # seconds; a step that took less was done before, and tells no pace
Start = Callable[[Step, dict[str, Any], str, str, "_Place"], "Future[JobResult]"]


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A step among the others: `waits` for another process that is at it, for there is nothing else to do; is `alone`,
    with nothing under way and nothing else that could be."""

    waits: bool
    alone: bool


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run: see `run_notebook`."""

    verb: str
    parameters: Mapping[str, Any]
    rerun: Rerun
    title: str
    surroundings: Surroundings
    profile: str = ""


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What came of a job: the finished run or why there is none, and the lines that it said."""

    run: FinishedRun | None = None
    error: BaseException | None = None
    said: str = ""


def do_job(job: Job) -> JobResult:
    """Do a run in this process; its lines are not written to the terminal but come back whole."""
    said = io.StringIO()
    try:
        told = environment({PROFILE: job.profile})
        with job.surroundings.entered(), told, contextlib.redirect_stdout(said):
            run = run_notebook(job.verb, job.parameters, rerun=job.rerun, title=job.title)
    except GistError as error:
        return JobResult(error=error, said=said.getvalue())
    return JobResult(run=run, said=said.getvalue())


def run_recipe(
    path: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    profile: str | None = None,
    rerun: Rerun = "only-missing",
    workers: int | None = None,
    cluster: str | None = None,
) -> list[FinishedRun]:
    """Run the steps of a recipe, under one of its profiles if told; returns their runs.

    Args:
        path, overrides, profile: as in `read_recipe`.
        rerun: as in `run_notebook`.
        workers, cluster: where steps that do not refer to one another run side by side, as in `open_executor`; None
            runs one after the other.

    Raises:
        ParameterError: the recipe or the parameters of any step are wrong (before anything runs).
        MissingError, EndpointError: there is no such cluster.
        RunFailed: steps failed; what does not refer to them is done, and what is done will not be done again.
    """
    recipe = checked_recipe(path, overrides=overrides, profile=profile)
    # an address told for this very command goes before that of the recipe
    told = {PUBLISH_TO: recipe.publish_to} if recipe.publish_to and not os.environ.get(PUBLISH_TO) else {}
    for note in recipe.notes:
        notice(note)
    _see_to_sending(recipe.steps, rerun)
    with environment(told), open_executor(workers, cluster) as executor:
        return run_steps(recipe.steps, executor, rerun=rerun)


def _see_to_sending(steps: Sequence[Step], rerun: Rerun) -> None:
    """One question for all texts that steps are known to send to other machines, before anything runs; what a step is
    yet to be given by earlier ones is asked about when it is its turn. Raises as `allow`."""
    to_run: list[Params] = []
    for step in steps:
        try:
            sends = sends_anywhere(check_params(step.verb, step.parameters))
        except GistError:  # it is told at the step
            sends = False
        if sends and not to_run:
            to_run = [p.params for p in preview(steps, rerun=rerun, tell=False) if p.state == "to run"]
    asked = [params for params in to_run if not getattr(params, "send_texts", False)]
    allow([one for params in asked for one in leaving_yet(params)])


def checked_recipe(path: Path, *, overrides: Mapping[str, Any] | None = None, profile: str | None = None) -> Recipe:
    """A recipe whose steps all have right parameters. Arguments and errors as of `run_recipe`."""
    recipe = _fitting(path, overrides, profile)
    failed: dict[str, GistError] = {}
    right: dict[str, Params] = {}
    for step in recipe.steps:  # all parameters first: nothing runs if a later step cannot
        try:
            params = check_params(step.verb, fill(step, {s.name: f"${s.name}" for s in recipe.steps}))
            right[step.name] = params
            check_task(params)
        except GistError as problem:
            failed.setdefault(str(problem), problem)
    if early := early_error(right):
        failed[str(early)] = early
    elif lines := [*recipe_problems(right), *step_problems(right)]:
        failed[""] = ParameterError(problems(f"{path}: {len(lines)} problem(s)", lines))
    if len(failed) > 1:
        raise ParameterError("\n".join(failed))
    if failed:
        (error,) = failed.values()
        raise error
    return recipe


def _fitting(path: Path, overrides: Mapping[str, Any] | None, profile: str | None) -> Recipe:
    """The recipe; where it would ask an embedded LLM that is not installed and has a profile for that, under that."""
    recipe = read_recipe(path, overrides, profile=profile)
    if profile is not None or WITHOUT_LLM not in recipe.profiles:
        return recipe
    try:
        asking = [check_params(step.verb, step.parameters) for step in recipe.steps if step.verb == "synthesize"]
    except ParameterError:  # told with the problems of all other steps
        return recipe
    try:
        for params in asking:
            if params.llm_base_url == LLMOptions().base_url and not (params.texts or params.llm_endpoints):
                find_model(params.llm_model)
    except MissingError as missing:
        recipe = read_recipe(path, overrides, profile=WITHOUT_LLM)
        recipe.notes.append(f"No texts are written by an LLM here. {missing}\nOr: gisttools doctor --install.")
    return recipe


def run_steps(steps: Sequence[Step], executor: Executor | None, *, rerun: Rerun) -> list[FinishedRun]:
    """Run steps that refer to one another; returns their runs in the order of the steps.

    A step that fails stops those that refer to it, nothing else.

    Args:
        executor: from `open_executor`; None runs them here, one after the other.

    Raises:
        ParameterError: no worker of a cluster has what a step must have; before anything runs.
        RunFailed: at the end, with all that failed; what was done is kept and will not be done again.
    """
    if executor is None:
        with warm.kept(len(steps) > 1):
            return _Walk(steps, partial(_here, rerun=rerun), _Lines(None)).go()
    if isinstance(executor, ClusterWorkers):
        for step in steps:
            executor.check(step.resources)
    with surroundings(shared=not isinstance(executor, LocalWorkers)) as place:

        def start(step: Step, parameters: dict[str, Any], title: str, _later: str, at: _Place) -> Future[JobResult]:
            job = Job(verb=step.verb, parameters=parameters, rerun=rerun, title=title, surroundings=place)
            job = replace(job, profile=step.profile)
            return _elsewhere(executor, step, job, alone=at.alone)

        return _Walk(steps, start, _Lines(len(steps)), together=True).go()


def sweep(
    specs: Sequence[tuple[str, dict[str, Any]]],
    executor: Executor | None = None,
    *,
    workers: int | None = None,
    rerun: Rerun = "only-missing",
) -> list[FinishedRun]:
    """Run (verb, parameters) pairs; returns their runs in order.

    Args:
        specs: what to run; the runs must not depend on each other.
        executor: None for local processes. papermill's working directory is global to a process, so threads will not
            do.
        workers: how many local processes, fewer where cores or memory would not do; None for as many as do.
        rerun: as in `run_notebook`.

    Raises:
        RunFailed: runs failed; told after all have ended.
    """
    done: list[FinishedRun] = []
    failed: dict[str, BaseException] = {}
    with (
        LocalWorkers(workers) if executor is None else nullcontext(executor) as pool,
        surroundings(shared=executor is not None) as place,
    ):
        calls = {}
        for i, (verb, parameters) in enumerate(specs, 1):
            title = f"[{i}/{len(specs)}] {verb}"
            job = Job(verb=verb, parameters=parameters, rerun=rerun, title=title, surroundings=place)
            calls[title] = pool.submit(do_job, job)
        stay_interruptible()
        for title, call in calls.items():
            result = _result(call)
            sys.stdout.write(result.said)
            if result.error is not None:
                failed[title] = result.error
            elif result.run is not None:
                done.append(result.run)
    if failed:
        raise one_error(failed, {}, len(specs))
    return done


@dataclass(frozen=True, kw_only=True)
class StepPreview:
    """What would become of a step.

    `done`: the finished run `run` answers it. `to run`: after those in `after`, to run too.
    `refused`: by the rerun policy. `params` are those it would run with; `$name` is the run of a step that is to run.
    """

    step: Step
    state: Literal["done", "to run", "refused"]
    params: Params
    run: FinishedRun | None = None
    after: tuple[str, ...] = ()
    note: str = ""

    def lines(self) -> list[str]:
        """The step in words; of one that is to run also the parameters that are not the defaults."""
        told = f"{self.state}, {self.run.headline} ({self.run.id})" if self.run else self.state
        told += f" after {', '.join(self.after)}" if self.after else ""
        first = f"{self.step.name}: {told}" + (f" ({self.note})" if self.note else "")
        if self.state == "done":
            return [first]
        given = self.params.changed()
        width = max(map(len, given), default=0)
        return [first, *(f"    {k:{width}}  {json.dumps(v, ensure_ascii=False)}" for k, v in given.items())]


def preview(steps: Sequence[Step], *, rerun: Rerun = "only-missing", tell: bool = True) -> list[StepPreview]:
    """What would become of steps that refer to one another, in their order.

    Args:
        steps, rerun: as in `run_steps`.
        tell: note which texts would leave this machine, as far as that is known.

    Raises:
        ParameterError, DataError: parameters are wrong, or name a run that failed.
    """
    previews: dict[str, StepPreview] = {}
    for step in steps:
        found = _preview(step, previews, rerun)
        notes = [one.words("would go") for one in leaving_yet(found.params)] if tell and found.state == "to run" else []
        previews[step.name] = replace(found, note="; ".join(filter(None, [found.note, *notes])))
    return list(previews.values())


def _answer_of(step: Step, params: Params, pending: bool) -> tuple[FinishedRun | None, str]:
    """The finished run that answers a step; or what it lacks, where that may come: it is not fetched yet, or an earlier
    step will leave it."""
    try:
        parents_of(params)  # they must be there and whole, as when it is run
        return find_finished(spec_hash(step.verb, params), step.verb), ""
    except MissingError as error:
        if not pending:
            raise
        return None, str(error).splitlines()[0]


def _preview(step: Step, before: dict[str, StepPreview], rerun: Rerun) -> StepPreview:
    runs = {name: p.run.id if p.run and p.state == "done" else f"${name}" for name, p in before.items()}
    given = fill(step, runs)
    after = tuple(name for name in dict.fromkeys(references(step)) if runs[name].startswith("$"))
    params = _settled(check_params(step.verb, given if after else with_best(step.verb, given)))
    pending = bool(os.environ.get(PUBLISH_TO)) or any(p.state == "to run" for p in before.values())
    done, note = (None, "") if after else _answer_of(step, params, pending)
    if done is None or rerun == "always":
        check_before(step.verb, params)
    return _by_policy(done, rerun, {"step": step, "params": params, "after": after, "note": note})


def _settled(params: Params) -> Params:
    """With the runs that "latest" stands for, where there are any yet."""
    with contextlib.suppress(MissingError):
        return settled(params)
    return params


def _by_policy(done: FinishedRun | None, rerun: Rerun, told: dict[str, Any]) -> StepPreview:
    if rerun == "only-cache" and done is None:
        return StepPreview(state="refused", **told | {"note": "no finished run, and rerun is 'only-cache'"})
    if rerun == "never" and done:
        return StepPreview(state="refused", run=done, **told | {"note": "it has run before, and rerun is 'never'"})
    if done and done.missing and rerun == "only-missing":
        return StepPreview(state="to run", **told | {"note": f"{done.id} is not finished: {done.missing}"})
    if done and rerun != "always":
        return StepPreview(state="done", run=done, **told)
    return StepPreview(state="to run", **told)


def submit(executor: Executor, call: Callable, argument: object, resources: dict[str, float] | None = None) -> Future:
    """`executor.submit`; resources are told to those that know them (`LocalWorkers`, Dask's)."""
    return executor.submit(call, argument, resources=resources) if resources else executor.submit(call, argument)


def one_error(failed: dict[str, BaseException], stopped: dict[str, list[str]], of: int) -> GistError:
    """What went wrong in several runs, by name, as one error; `stopped`: what was not run, and for want of what."""
    if len(failed) == 1 and not stopped:
        error = next(iter(failed.values()))
        return error if isinstance(error, GistError) else RunFailed(_text(error))
    found = [f"{name}: {_text(error)}".replace("\n", "\n    ") for name, error in failed.items()]
    found += [f"{name} was not run: it needs {', '.join(needs)}" for name, needs in stopped.items()]
    error = RunFailed(problems(f"{len(failed)} of {of} failed:", found, "What was done is kept. Fix it and run again."))
    causes = {getattr(one, "cause", None) for one in failed.values()}
    error.cause = causes.pop() if len(causes) == 1 else None
    return error


class _Walk:
    """Steps that refer to one another, each started when what it refers to is done."""

    def __init__(self, steps: Sequence[Step], start: Start, lines: _Lines, *, together: bool = False) -> None:
        self._steps, self._start, self._lines, self._together = steps, start, lines, together
        self._waiting = list(steps)
        self._put_off: set[str] = set()  # steps that another process was at; they stand behind all others
        self._running: dict[Future[JobResult], Step] = {}
        self._done: dict[str, FinishedRun] = {}
        self._began: dict[str, float] = {}
        self._took: dict[str, list[float]] = {}  # seconds of the steps that were run, by verb
        self._failed: dict[str, BaseException] = {}
        self._stopped: dict[str, list[str]] = {}  # step -> what it needs and will not get
        self._titles = {
            step.name: f"[{i}/{len(steps)}] {step.name}" + (f": {step.about}" if step.about else "")
            for i, step in enumerate(steps, 1)
        }

    def go(self) -> list[FinishedRun]:
        """All runs in the order of the steps. Raises RunFailed as `run_steps`."""
        while self._waiting or self._running:
            ready = [step for step in self._waiting if self._is_ready(step)]
            for step in list(self._waiting):
                self._start_or_stop(step, alone=len(ready) == 1 and not self._running)
            self._lines.working([step.name for step in self._running.values()], self._later())
            stay_interruptible()
            for future in wait(self._running, return_when=FIRST_COMPLETED).done if self._running else ():
                self._take(self._running.pop(future), _result(future))
        if self._failed:
            raise one_error(self._failed, self._stopped, len(self._steps))
        return [self._done[step.name] for step in self._steps]

    def _is_ready(self, step: Step) -> bool:
        return all(name in self._done for name in references(step))

    def _start_or_stop(self, step: Step, *, alone: bool) -> None:
        needs = list(dict.fromkeys(references(step)))
        if lost := [name for name in needs if name in self._failed or name in self._stopped]:
            self._waiting.remove(step)
            self._stopped[step.name] = lost
        elif self._is_ready(step) and (self._together or not self._running):
            self._waiting.remove(step)
            parameters = fill(step, {name: run.id for name, run in self._done.items()})
            self._began[step.name] = time.monotonic()
            place = _Place(waits=step.name in self._put_off, alone=alone)
            self._running[self._start(step, parameters, self._titles[step.name], self._later(), place)] = step

    def _later(self) -> str:
        """What comes after the steps under way, and how long it takes: by the steps of the same verb that are done."""
        if not self._waiting:
            return ""
        took, verbs = self._took, [step.verb for step in self._waiting]
        known = all(verb in took for verb in verbs)
        seconds = sum(sum(took[verb]) / len(took[verb]) for verb in verbs) if known else None
        names = [step.name for step in self._waiting]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"then {', '.join(names[:_NAMED])}{more} ({_time(seconds)})"

    def _take(self, step: Step, result: JobResult) -> None:
        if isinstance(result.error, UnderWay):
            self._put_off.add(step.name)
            self._waiting.append(step)
            return
        fallen = f"{self._titles[step.name]}: FAILED\n" if result.error and self._together else ""
        self._lines.ended(result.said or fallen)
        if result.error is not None:
            self._failed[step.name] = result.error
        elif result.run is not None:
            self._done[step.name] = result.run
            seconds = time.monotonic() - self._began[step.name]
            if seconds >= _RAN:
                self._took.setdefault(step.verb, []).append(seconds)


def _time(seconds: float | None) -> str:
    return "time not known yet" if seconds is None else f"about {duration(seconds)}"


def _here(
    step: Step, parameters: dict[str, Any], title: str, later: str, at: _Place, *, rerun: Rerun
) -> Future[JobResult]:
    LATER.set(later)
    try:
        with environment({PROFILE: step.profile}):
            return _ended(JobResult(run=run_notebook(step.verb, parameters, rerun=rerun, title=title, wait=at.waits)))
    except GistError as error:
        return _ended(JobResult(error=error))
    finally:
        LATER.set("")


def _elsewhere(executor: Executor, step: Step, job: Job, *, alone: bool) -> Future[JobResult]:
    """Done on the executor, unless it was done before: that is found out here, where no process must be started. Of a
    step that has all workers to itself the long part is shared out first."""
    if job.rerun == "only-missing":
        here = do_job(replace(job, rerun="only-cache"))
        if not isinstance(here.error, MissingError):  # what else may be missing, the run itself will say
            return _ended(here)
    try:
        job = replace(job, parameters=with_permission(job.verb, job.parameters))
    except GistError as error:
        return _ended(JobResult(error=error))
    if alone and job.verb in SHARED and not step.resources:
        _share_out(executor, job)
    return submit(executor, do_job, job, step.resources)


def _share_out(executor: Executor, job: Job) -> None:
    """The long part of a job, done side by side beforehand. What goes wrong there the job itself meets again, or does
    by itself."""
    from gisttools.workflow.shards import share_out  # loads what embeds and scores

    try:
        params = settled(check_params(job.verb, with_best(job.verb, dict(job.parameters))))
        share_out(params, executor, job.surroundings)
    except Exception as error:  # noqa: BLE001  # a worker that died, or whatever a model or a data set raises
        log.warning("%s: not shared out, so it is done on one worker: %s", job.title, _text(error))


def _ended(result: JobResult) -> Future[JobResult]:
    future: Future[JobResult] = Future()
    future.set_result(result)
    return future


def _result(future: Future[JobResult]) -> JobResult:
    error = future.exception()
    return future.result() if error is None else JobResult(error=error)


class _Lines:
    """Whole lines; and, where several steps run at once on a terminal, a last one that says what is under way."""

    def __init__(self, total: int | None, out: TextIO | None = None) -> None:
        self._out, self._total, self._done = out or sys.stdout, total, 0
        self._live = total is not None and self._out.isatty()

    def working(self, names: Sequence[str], later: str = "") -> None:
        if self._live:
            rest = f"; {later}" if later else ""
            text = f"{self._done} of {self._total} done; under way: {', '.join(names)}{rest}" if names else ""
            self._out.write(_CLEAR + text[: shutil.get_terminal_size().columns - 1])
            self._out.flush()

    def ended(self, said: str) -> None:
        self._done += 1
        self._out.write((_CLEAR if self._live else "") + said)
        self._out.flush()


def _text(error: BaseException) -> str:
    return str(error) if isinstance(error, GistError) else f"{type(error).__name__}: {error}"
