"""Finds the project: the folder that holds notebooks, prompts and results. Nothing else in the package decides it.

A project is marked by a file `gisttools.toml`, looked for from the current folder upwards; the file may be empty. A
file of its own marks any folder, also one that is no Python package, and nobody has one by chance.
"""

from __future__ import annotations

import os
from pathlib import Path

from gisttools.common.errors import MissingError

MARKER = "gisttools.toml"
PACKAGE = Path(__file__).resolve().parents[1]  # the package's own code and data


def project_root() -> Path:
    """The nearest folder with a marker, from the current one upwards; else the checkout that the package lies in.

    Raises:
        MissingError: there is neither.
    """
    for folder in (here := Path.cwd(), *here.parents, PACKAGE.parent):
        if (folder / MARKER).is_file():
            return folder
    raise MissingError(
        f"{here} is in no gisttools project: neither it nor a folder above it holds a file {MARKER}. Go to a checkout "
        f"of gisttools; or put an empty {MARKER} next to the notebooks/ and prompts/ that are yours."
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
