"""Where things are: the project, its notebooks, the results folder, and paths told by the user.

Keys from a `.env` file: of the folder where a run is started, and of the project.

Whether a run has where to write, found out before it starts.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from gisttools.common import MissingError, ParameterError, cache_folder, did_you_mean, problems
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
