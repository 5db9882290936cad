"""Finds the project: the folder that holds notebooks, prompts and results. Nothing else in the package decides it.

A project is marked by a file `gisttools.toml`, looked for from the current folder upwards; the file may be empty. A
file of its own marks any folder, also one that is no Python package, and nobody has one by chance.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from gisttools.common.errors import MissingError, ParameterError
from gisttools.common.files import write_whole

MARKER = "gisttools.toml"
PACKAGE = Path(__file__).resolve().parents[1]  # the package's own code and data
_SHIPPED = PACKAGE / "project"  # in an installed package; a checkout is a project itself
_PARTS = ("notebooks", "prompts", "data")


def project_root() -> Path:
    """The nearest folder with a marker, from the current one upwards; else the checkout that the package lies in.

    Raises:
        MissingError: there is neither.
    """
    for folder in (here := Path.cwd(), *here.parents, PACKAGE.parent):
        if (folder / MARKER).is_file():
            return folder
    raise MissingError(
        f"{here} is in no gisttools project: neither it nor a folder above it holds a file {MARKER}. Make one: "
        f"gisttools init my_project; or put an empty {MARKER} next to the notebooks/ and prompts/ that are yours."
    )


def notebooks_folder() -> Path:
    """The project's notebooks; its recipes lie in `recipes/` there. Raises as `project_root`."""
    return project_root() / "notebooks"


def recipes_folder() -> Path:
    """The project's recipes, YAML files. Raises as `project_root`."""
    return notebooks_folder() / "recipes"


def prompts_folder() -> Path:
    """The project's prompts. Raises as `project_root`."""
    return project_root() / "prompts"


def results_folder() -> Path:
    """`$GISTTOOLS_RESULTS`, else `results/` of the project. Raises as `project_root`."""
    return Path(os.environ.get("GISTTOOLS_RESULTS") or project_root() / "results")


@dataclass(frozen=True)
class LaidOut:
    """What `lay_out` did, as paths below the folder, each with / in it: `written`; `same`, which were there as they are
    in this version; `kept`, which are others than this version's and were left alone."""

    folder: Path
    written: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def lay_out(folder: Path) -> LaidOut:
    """Make a folder a project: notebooks with recipes, prompts, demo data, and a place for results. No file that is
    there is written over.

    Raises:
        ParameterError: the folder, or one that it needs, is a file, or cannot be written.
    """
    source = _SHIPPED if _SHIPPED.is_dir() else PACKAGE.parent
    done = LaidOut(folder)
    files = [path for part in _PARTS for path in sorted((source / part).rglob("*")) if path.is_file()]
    try:
        for path in [*files, source / MARKER]:
            name = path.relative_to(source)
            if any(part.startswith((".", "__")) for part in name.parts):
                continue  # what an editor or a kernel left
            content, place = path.read_bytes(), folder / name
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                write_whole(place, content)
                done.written.append(name.as_posix())
            else:
                (done.same if place.read_bytes() == content else done.kept).append(name.as_posix())
        results = folder / "results"
        results.mkdir(exist_ok=True)
        if not (ignored := results / ".gitignore").exists():
            ignored.write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise ParameterError(f"{folder} cannot become a project: {error}. Choose another folder.") from error
    return done
