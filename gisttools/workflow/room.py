"""Whether a run has where to write, found out before it starts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from gisttools.common import ParameterError, cache_folder, problems
from gisttools.workflow.places import results_folder

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
