"""Makes a folder a project, `gisttools init`: notebooks, recipes, prompts and demo data to work in."""

from __future__ import annotations

from pathlib import Path

import click

from gisttools.cli.answers import Answer
from gisttools.common import lay_out


@click.command(short_help="Make a folder a project to work in.")
@click.argument("folder", default=".", type=click.Path(path_type=Path))
def init(folder: Path) -> Answer:
    """Lay out FOLDER, the current one if left out: notebooks with recipes, prompts, demo data and a place for results.

    Nothing that is there is written over, so that it may be called again after gisttools was updated.
    """
    done = lay_out(folder)
    lines = [f"{folder}: {len(done.written)} files written, {len(done.same)} were there."]
    if done.kept:
        lines.append(f"Yours, other than this version's, and left alone: {', '.join(done.kept)}.")
    go = [] if folder.resolve() == Path.cwd() else [f"cd {folder}"]
    following = [*go, "gisttools run quickstart", "jupyter lab notebooks"]
    told = {
        "folder": folder.resolve(),
        "written": done.written,
        "same": done.same,
        "kept": done.kept,
        "next": following,
    }
    return Answer(data=told, lines=[*lines, "", *following])
