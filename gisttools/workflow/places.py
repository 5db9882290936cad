"""Where things are: the project, its notebooks, the results folder, and paths told by the user."""

from __future__ import annotations

import os
from pathlib import Path

from gisttools.common import MissingError, did_you_mean
from gisttools.workflow.params import VERBS

STARTED_IN = "GISTTOOLS_STARTED_IN"  # the runner tells a kernel, which works in the project's root


def project_root() -> Path:
    """The folder that holds `notebooks/` and `prompts/`: the working directory's ancestor, or this checkout."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks").is_dir() and (folder / "prompts").is_dir():
            return folder
    return Path(__file__).resolve().parents[2]


def results_folder() -> Path:
    """`$GISTTOOLS_RESULTS`, else `results/` of the project."""
    return Path(os.environ.get("GISTTOOLS_RESULTS") or project_root() / "results")


def resolve(path: str | Path) -> Path:
    """A path as told, seen from the folder in which the run was started; or, where nothing is there, from the
    project's root. It need not exist."""
    path = Path(path).expanduser()
    here = Path(os.environ.get(STARTED_IN, "")) / path
    return here if path.is_absolute() or here.exists() else project_root() / path


def run_folder(run: str | Path) -> Path:
    """Folder of a run, by path or id.

    Raises:
        MissingError: there is no such run; the message holds the nearest ids.
    """
    for folder in (Path(run), results_folder() / str(run)):
        if folder.is_dir():
            return folder
    known = [f.name for f in results_folder().glob("*-*") if f.is_dir()]
    raise MissingError(
        f"There is no run {str(run)!r} in {results_folder()}.{did_you_mean(str(run), known)} See `gisttools runs`."
    )


def notebook_of(verb: str) -> Path:
    """The notebook of a verb."""
    return project_root() / "notebooks" / f"{list(VERBS).index(verb) + 1}_{verb}.ipynb"
