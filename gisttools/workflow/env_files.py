"""Keys from a `.env` file: of the folder where a run is started, and of the project."""

from __future__ import annotations

import os
from pathlib import Path

from gisttools.workflow.places import STARTED_IN, project_root

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
