"""Executes notebooks with papermill: one run folder each, one line in the terminal, and never the same work twice.

Where two ask for the same work at once, one does it, and the other waits for it or does something else first.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout

from gisttools.common import (
    NEW_STATUS,
    STATUS_FILE,
    FinishedRun,
    GistError,
    MissingError,
    ParameterError,
    project_root,
    read_run,
    results_folder,
)
from gisttools.workflow import warm
from gisttools.workflow.early import check_early
from gisttools.workflow.folders import find_finished, remove_unfinished
from gisttools.workflow.machine import environment, without_grammar
from gisttools.workflow.manifest import artefact_texts, scrub, scrub_files, write_manifest
from gisttools.workflow.params import Params, SynthesizeParams, check_params
from gisttools.workflow.permission import Sent, may_send
from gisttools.workflow.places import STARTED_IN, check_room, load_env_files, notebook_of
from gisttools.workflow.publishing import PUBLISH_TO, Place, publish, with_fetched
from gisttools.workflow.session import RUN_FOLDER, SENT, SPEC_HASH, Run, hold, new_folder
from gisttools.workflow.spec import parents_of, settled, spec_hash
from gisttools.workflow.terminal import LATER, line
from gisttools.workflow.tuning import with_best

if TYPE_CHECKING:
    from traitlets.config import Config


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def turn(verb: str, spec: str, waits: Callable[[], None]) -> Iterator[None]:
    """Inside, no other process is at work on this spec in the same results folder. A process that is killed gives up
    its turn.

    Args:
        waits: called once, if another is at work and this one must wait; what it raises ends the waiting.
    """
    path = results_folder() / f".{verb}-{spec[:16]}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waits()
        lock.acquire()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes it when it is released
            path.unlink()
        lock.release()


_START_S = 600  # a busy machine may take minutes to load a kernel; of one that dies it is known at once
Rerun = Literal["only-missing", "always", "never", "only-cache"]


class RunFailed(GistError):
    """A notebook ended with an error; its executed copy and its manifest are kept.

    `cause` is the kind of that error, such as "ModelError", where one run failed.
    """

    cause: str | None = None

    @classmethod
    def of(cls, failure: Mapping[str, Any], where: str = "") -> RunFailed:
        """Of what `_execute` tells: `message` and `type`."""
        error = cls(failure["message"] + where)
        error.cause = failure["type"]
        return error


class UnderWay(GistError):
    """Another process is at work on this run, and nobody wants to wait for it yet."""


def run_notebook(
    verb: str,
    parameters: Mapping[str, Any],
    *,
    rerun: Rerun = "only-missing",
    title: str | None = None,
    wait: bool = True,
) -> FinishedRun:
    """Run one notebook in a kernel of its own and return the finished run.

    Started by `torchrun` or `accelerate launch`, each process runs `finetune` in a kernel of its own, and the first
    keeps the run. What ends well is published to `$GISTTOOLS_PUBLISH_TO`, if that is set.

    Args:
        verb: one of `params.VERBS`.
        parameters: what differs from the notebook's defaults.
        rerun: `only-missing` answers with a finished run of the same spec, `always` runs anew, `never` refuses to run
            a spec that has run before, `only-cache` refuses to run at all.
        title: what the terminal's line begins with.
        wait: for the same work, where another process is at it already.

    Raises:
        UnderWay: another process is, and `wait` is False.
        ParameterError, MissingError, DataError: the parameters are wrong, or name a run that is not there, unfinished
            or failed; no folder is made.
        ParameterError: it would send texts to another machine without permission (`gisttools.workflow.permission`).
        MissingError: `only-cache`, and there is no finished run.
        RunFailed: the notebook ended with an error.
        EndpointError: the run is done, but could not be published.
    """
    load_env_files()
    fetched = with_fetched(check_params(verb, parameters).model_dump(include=set(parameters)))
    params = settled(check_params(verb, with_best(verb, fetched)), tell=True)
    parents = parents_of(params)
    spec = spec_hash(verb, params)
    rank, devices = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if devices > 1 and verb != "finetune":
        raise ParameterError(f"{verb} runs in one process, this is one of {devices}. Only finetune is for torchrun.")
    title, url = title or verb, os.environ.get(PUBLISH_TO)
    if url:
        Place(url)  # a wrong one is told before anything runs
    done = _done(verb, spec, rerun, title)
    if done is None:
        if rerun == "only-cache":
            raise MissingError(f"{verb}: no finished run of these parameters, and rerun is 'only-cache'.")
        check_before(verb, params)
        sent = may_send(params)
        if rank > 0:
            return _follow(Run(verb, params, Path(), spec, datetime.now(UTC), parents))
        check_room(verb)

        def busy() -> None:
            told = f"{title}: waits for {verb} with the same parameters, which is under way; its result will do"
            if not wait:
                raise UnderWay(told)
            say(told)

        with turn(verb, spec, busy):
            done = _done(verb, spec, rerun, title) or _run(verb, params, spec, parents, title, sent)
    if url and rank == 0 and (written := publish(done.id, url)):
        say(f"{title}: published {', '.join(written)}")
    return done


def check_before(verb: str, params: Params) -> None:
    """What can be said of a step's inputs without a kernel. Raises as `check_early` and `check_inputs`."""
    check_early(verb, params)
    check_task(params)


def check_task(params: Params) -> None:
    """What can be said of a task description and a prompt without a kernel. Raises as `check_inputs`."""
    if isinstance(params, SynthesizeParams):
        from gisttools.workflow.inputs import check_inputs

        check_inputs(params)


def _done(verb: str, spec: str, rerun: Rerun, title: str) -> FinishedRun | None:
    """The finished run that answers, if there is one."""
    done = find_finished(spec, verb)
    if done and rerun == "never":
        raise MissingError(f"{verb}: this has run before, as {done.id}, and rerun is 'never'.")
    if not done or rerun == "always":
        return None
    if done.missing and rerun == "only-missing":
        say(f"{title}: {done.id} is not finished, it goes on")
        return None
    say(f"{title}: already done, {done.headline}")
    return done


def _run(
    verb: str, params: Params, spec: str, parents: list[str], title: str, sent: Sequence[Sent] = ()
) -> FinishedRun:
    remove_unfinished(spec, verb)
    folder = new_folder(verb, spec)
    run = Run(verb, params, folder, spec, datetime.now(UTC), parents, hold(folder), sent=sent)
    try:
        with line(title, folder / "status.txt", later=LATER.get()) as said:
            try:
                failure = _execute(run)
            except KeyboardInterrupt:
                # nbclient leaves the interrupted cell's error in a task that nobody asks; asyncio tells it at the end
                logging.getLogger("asyncio").setLevel(logging.CRITICAL)
                said.append("stopped")
                raise
            finally:
                _clean(run)
            if failure:
                scrub_files(artefact_texts(folder), run.key_variables)
                write_manifest(folder, run.record("failed", failure["message"].splitlines()[0], failure))
                said.append("FAILED")
            else:
                said.append(read_run(folder).headline)
    finally:
        run.release()
    if failure:
        raise RunFailed.of(failure, f"\n\nIn cell {failure['cell']!r} of {folder / 'notebook.ipynb'}")
    return read_run(folder)


def _clean(run: Run) -> None:
    """No secrets in what the runner wrote, and the notebook as a page too."""
    notebook = run.folder / "notebook.ipynb"
    scrub_files([notebook, *run.folder.glob("*.log")], run.key_variables)
    if notebook.exists():
        with contextlib.suppress(ValueError):  # not written to its end
            _write_html(notebook)


def _follow(run: Run) -> FinishedRun:
    """Run the notebook along with the first process, which keeps the run; what is written here is thrown away."""
    with tempfile.TemporaryDirectory(prefix="gisttools-") as scratch:
        run.folder = Path(scratch) / run.verb
        run.folder.mkdir()
        if failure := _execute(run):
            raise RunFailed.of(failure)
        return read_run(run.folder)


def _execute(run: Run) -> dict[str, Any] | None:
    """Run the notebook; None if it ended well, else what went wrong."""
    output, told = run.folder / "notebook.ipynb", _told(run)
    with environment(told), without_grammar():
        warm.begin(run.verb)  # while it loads, so does this process
        import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from gisttools.workflow.kernels import ForkingManager

    logging.getLogger("papermill").setLevel(logging.ERROR)

    try:
        with environment(told), tempfile.TemporaryDirectory(prefix="gist-", ignore_cleanup_errors=True) as sockets:
            forks = {} if warm.server() is None else {"kernel_manager_class": ForkingManager}
            papermill.execute_notebook(
                str(notebook_of(run.verb)),
                str(output),
                parameters=run.params.changed(),
                kernel_name="python3",
                progress_bar=False,
                start_timeout=_START_S,
                cwd=str(project_root()),
                config=_kernel_config(sockets),
                extra_arguments=["--IPKernelApp.log_level=50"],  # an idle kernel logs that it was told to end
                **forks,
            )
    except PapermillExecutionError as error:
        if error.ename == "KeyboardInterrupt":  # Ctrl-C: the kernel was interrupted, and is gone
            raise KeyboardInterrupt from None
        message = (
            f"{error.evalue}" if error.ename.endswith("Error") and error.evalue else f"{error.ename}: {error.evalue}"
        )
        cell = _failed_cell(output)
        return {"type": error.ename, "message": scrub(message, run.key_variables), "cell": cell}
    except Exception as error:  # noqa: BLE001  # a kernel that died or could not start: each library has its own
        message = f"{type(error).__name__}: {error}"
        if isinstance(error, DeadKernelError):
            message = (
                f"The notebook's process was killed or crashed ({message}). Most often memory was short: ask for less "
                "at once, such as a smaller batch_size, or make room, and run again."
            )
        return {
            "type": type(error).__name__,
            "message": scrub(message, run.key_variables),
            "cell": _last_cell(output),
        }
    finally:
        for name in ("status.txt", NEW_STATUS):
            (run.folder / name).unlink(missing_ok=True)
    return None


def _told(run: Run) -> dict[str, str]:
    """Environment variables of the kernel."""
    return {
        RUN_FOLDER: str(run.folder),
        SPEC_HASH: run.spec,
        SENT: json.dumps(list(run.sent)),
        **({} if Path.cwd() == project_root() else {STARTED_IN: os.getcwd()}),
        STATUS_FILE: str(run.folder / "status.txt"),
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive"),  # idle threads must not starve others
        "PYTHONWARNINGS": "ignore::FutureWarning",
    }


def _write_html(notebook: Path) -> None:
    """The executed notebook as a page that loads nothing from the network."""
    from nbconvert import HTMLExporter

    page, _ = HTMLExporter(embed_images=True).from_filename(str(notebook))
    # its scripts fetch formula, diagram and widget libraries; a static page needs none of them
    page = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL | re.IGNORECASE)
    notebook.with_suffix(".html").write_text(page, encoding="utf-8")


def _failed_cell(notebook: Path) -> str | None:
    """Id of the cell that papermill marked, which is the name it has in the notebook."""
    import nbformat

    cells = nbformat.read(notebook, as_version=4).cells
    return next((c.get("id") for c in cells if c.metadata.get("papermill", {}).get("exception")), None)


def _last_cell(notebook: Path) -> str | None:
    """Id of the last cell that was begun."""
    import nbformat

    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except (OSError, ValueError):  # not written, or not to its end
        return None
    begun = [c.get("id") for c in cells if c.metadata.get("papermill", {}).get("start_time")]
    return begun[-1] if begun else None


def _kernel_config(sockets: str) -> Config:
    from traitlets.config import Config

    # sockets in the file system: no races for ports, nothing to listen in on. In a folder of their own: the default
    # name is the same for all kernels of a working directory, and two at once would take each other's messages.
    return Config() if os.name == "nt" else Config(KernelManager={"transport": "ipc", "ip": f"{sockets}/kernel"})
