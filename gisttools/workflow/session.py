"""A run under way inside a notebook: `run = start("convert", globals())` ... `run.finish(summary, headline)`."""

from __future__ import annotations

import atexit
import gc
import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock

from gisttools.common import GistError, ParameterError, quiet_libraries
from gisttools.workflow.folders import artefact, inputs
from gisttools.workflow.manifest import LOCK, artefact_texts, key_variables, scrub, scrub_files, write_manifest
from gisttools.workflow.params import check_params
from gisttools.workflow.parents import parents_of
from gisttools.workflow.places import load_env_files, resolve, results_folder
from gisttools.workflow.publishing import with_fetched
from gisttools.workflow.spec import spec_hash

RUN_FOLDER = "GISTTOOLS_RUN_FOLDER"  # the runner tells the kernel where this execution writes,
SPEC_HASH = "GISTTOOLS_SPEC_HASH"  # and what it is an execution of
_KERNEL_NAMES = {"In", "Out", "exit", "quit", "open", "get_ipython"}

log = logging.getLogger(__name__)


@dataclass
class Run:
    """A notebook execution under way. Make it with `start`, end it with `finish`."""

    verb: str
    params: Any
    folder: Path
    spec: str
    started: datetime
    parents: list[str]
    lock: FileLock | None = None  # says that the run is under way, until the process ends
    clock: float = field(default_factory=time.monotonic)

    def path(self, name: str) -> Path:
        """Where an artefact of this run goes."""
        return self.folder / name

    def input(self, name: str, file: str) -> Path:
        """A file of an earlier run, or a plain path; see `artefact`."""
        return artefact(name, file)

    def inputs(self, names: list[str], file: str) -> list[str]:
        """The same for several; names of hub sets (`org/name@revision`) stay as they are."""
        return inputs(names, file)

    @property
    def key_variables(self) -> list[str]:
        """Environment variables that hold keys, beside those that are named like it."""
        return key_variables(self.params.model_dump())

    @property
    def checkpoints(self) -> Path:
        """Where a training of this spec keeps its checkpoints, to go on from if it is stopped."""
        return results_folder() / ".checkpoints" / f"{self.verb}-{self.spec[:16]}"

    def resolve(self, path: str) -> Path:
        """A path as told, or relative to the project's root."""
        return resolve(path)

    def finish(self, summary: Mapping[str, Any], headline: str) -> None:
        """Write `summary.json` and, last, the manifest.

        Args:
            summary: the numbers of this run, JSON values.
            headline: one line that says what came out, shown by `gisttools runs`.

        Raises:
            GistError: the process that started this run is gone, so that it may be under way elsewhere again.
        """
        _refuse_orphan()
        summary = {**summary, "seconds": round(time.monotonic() - self.clock, 1)}
        (self.folder / "summary.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False), encoding="utf-8")
        scrub_files(artefact_texts(self.folder), self.key_variables)  # before checksums are taken
        write_manifest(self.folder, self.record("ok", headline))
        self.release()
        log.info("%s: %s", self.folder.name, headline)

    def release(self) -> None:
        """Say that the run has ended."""
        if self.lock is not None:
            self.lock.release()
            (self.folder / LOCK).unlink(missing_ok=True)

    def record(self, status: str, headline: str = "", error: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the manifest says of this run, but for what can be read off the machine and the folder."""
        parameters = self.params.model_dump()
        return {
            "verb": self.verb,
            "status": status,
            "headline": headline,
            "started": self.started.isoformat(timespec="milliseconds"),
            "seconds": round(time.monotonic() - self.clock, 1),
            "parameters": parameters,
            "changed": list(self.params.changed()),
            "spec_hash": self.spec,
            "seeds": {k: v for k, v in parameters.items() if k.endswith("seed")},
            "parents": self.parents,
            "error": error,
        }


def start(verb: str, notebook: Mapping[str, Any]) -> Run:
    """Begin a run inside a notebook: `run = start("convert", globals())`.

    Takes the parameters from the notebook's variables, so that it works alike under `gisttools run`, under plain
    papermill and by hand; a stray variable is refused like an unknown parameter.

    Raises:
        ParameterError: unknown parameters, wrong types or values; all at once.
        MissingError, DataError: a run that they name is not there, unfinished or failed.
    """
    quiet_libraries()
    atexit.register(gc.freeze)  # or a process that holds torch is taken apart object by object: two seconds
    given = {
        k: v for k, v in notebook.items() if not k.startswith("_") and k not in _KERNEL_NAMES and _could_be_parameter(v)
    }
    load_env_files()
    params = check_params(verb, with_fetched(given))
    parents = parents_of(params)
    told = os.environ.get(RUN_FOLDER)
    spec = os.environ.get(SPEC_HASH) if told else spec_hash(verb, params)
    folder = Path(told) if told else new_folder(verb, spec)
    lock = None if told else hold(folder)
    _log_to(folder / "log.txt", key_variables(params.model_dump()))
    log.info("%s starts, parameters %s", folder.name, params.model_dump_json())
    return Run(verb, params, folder, spec, datetime.now(UTC), parents, lock)


def _refuse_orphan() -> None:
    # a kernel sees only once a second whether its parent still lives, and then ends
    parent = os.environ.get("JPY_PARENT_PID") if os.environ.get(RUN_FOLDER) and os.name != "nt" else None
    if parent and os.getppid() != int(parent):
        raise GistError("The process that started this run is gone; the run does not count. Run it again.")


def _could_be_parameter(value: Any) -> bool:
    """Whether a variable could be a parameter: a JSON scalar or a list of them."""
    if isinstance(value, list):
        return all(_could_be_parameter(v) for v in value)
    return value is None or isinstance(value, str | int | float | bool)


class _WithoutSecrets(logging.Formatter):
    def __init__(self, form: str, variables: list[str]) -> None:
        super().__init__(form)
        self._variables = variables

    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record), self._variables)


def _log_to(path: Path, variables: list[str]) -> None:
    """Send what the package logs to a run's `log.txt`, and no longer to that of an earlier run in this kernel."""
    logger = logging.getLogger("gisttools")
    for handler in [h for h in logger.handlers if isinstance(h, logging.FileHandler)]:
        logger.removeHandler(handler)
        handler.close()
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(_WithoutSecrets("%(asctime)s %(levelname)s %(name)s: %(message)s", variables))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def hold(folder: Path) -> FileLock:
    """A lock on a new run's folder; the operating system gives it back however the process ends."""
    lock = FileLock(folder / LOCK)
    lock.acquire()
    return lock


def new_folder(verb: str, spec: str) -> Path:
    """Make the folder of a new run: `<verb>-<UTC time>-<8 hex of the spec>`.

    Raises:
        ParameterError: the results folder cannot be written to.
    """
    now, later = datetime.now(UTC), 0
    while True:  # the name of a second run in one second is the next second's
        stamp = (now + timedelta(seconds=later)).strftime("%Y%m%dT%H%M%SZ")
        folder = results_folder() / f"{verb}-{stamp}-{spec[:8]}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            later += 1
        except OSError as error:
            raise ParameterError(
                f"Results cannot be written to {results_folder()}: {error}. Set GISTTOOLS_RESULTS."
            ) from error
