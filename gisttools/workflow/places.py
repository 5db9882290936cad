"""Prepares where a run works: paths as they were told, notebooks, keys from `.env` files, and room to write in."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from gisttools.common import ParameterError, cache_folder, notebooks_folder, problems, project_root, results_folder
from gisttools.workflow.params import VERBS

RERANKER = "reranker"  # the folder of a cross-encoder in a finetune run
STARTED_IN = "GISTTOOLS_STARTED_IN"  # the runner tells a kernel, which works in the project's root


def resolve(path: str | Path) -> Path:
    """A path as told, seen from the folder in which the run was started; or, where nothing is there, from the
    project's root. It need not exist."""
    path = Path(path).expanduser()
    here = Path(os.environ.get(STARTED_IN, "")) / path
    return here if path.is_absolute() or here.exists() else project_root() / path


def notebook_of(verb: str) -> Path:
    """The notebook of a verb."""
    return notebooks_folder() / f"{list(VERBS).index(verb) + 1}_{verb}.ipynb"


_OWN = "GISTTOOLS_"  # all commands must agree on where results are, those that start nothing as well


def load_env_files() -> None:
    """Set the variables of `.env` files that the environment lacks. The folder where the run was started goes before
    the project's root; settings of gisttools itself (`GISTTOOLS_...`) come from the environment alone."""
    folders = [Path(os.environ.get(STARTED_IN) or Path.cwd()), project_root()]
    files = [f for f in dict.fromkeys(folder / ".env" for folder in folders) if f.is_file()]
    if not files:
        return
    from dotenv import dotenv_values

    for file in files:
        for name, value in dotenv_values(file, encoding="utf-8", interpolate=False).items():
            if value is not None and not name.startswith(_OWN):
                os.environ.setdefault(name, value)


_MB = 10**6
_NEED = {"synthesize": 50, "convert": 100, "finetune": 500, "evaluate": 100}  # MB; a small student and its checkpoint
_NEED_OTHERS = 20


def check_room(verb: str) -> None:
    """Make the folders for results and caches, and see that they can be written to and have room.

    Raises:
        ParameterError: one cannot be written to, or its disk is (nearly) full; all of them at once.
    """
    need = _NEED.get(verb, _NEED_OTHERS) * _MB
    places = {
        "Results": (results_folder(), "GISTTOOLS_RESULTS", need),
        "Caches": (cache_folder(), "GISTTOOLS_CACHE", need),
        "Temporary files": (Path(tempfile.gettempdir()), "TMPDIR", _NEED_OTHERS * _MB),
    }
    found = [told for what, place in places.items() if (told := _problem(verb, what, *place))]
    if len(found) == 1:
        raise ParameterError(found[0])
    if found:
        raise ParameterError(problems(f"{verb} cannot start:", found))


def _problem(verb: str, what: str, folder: Path, variable: str, need: int) -> str | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free >= need:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
            return None
    except OSError as error:
        return f"{what} cannot be written to {folder}: {error}. Set {variable} to a folder that can."
    return (
        f"{what} have {free / _MB:.0f} MB left on the disk of {folder}, and {verb} needs about {need / _MB:.0f} MB. "
        f"Make room (gisttools clean), or set {variable} to a folder on another disk."
    )
