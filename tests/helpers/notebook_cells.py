"""Runs the cells of notebooks one after the other in one process, where a kernel for each would take longer to start.

`notebook_cells.py '[["finetune", {"limit": 60}], ["evaluate", {"model": "$"}]]'`: verbs and what differs from their
defaults; "$" is the run before. Prints the last run's id.
"""

from __future__ import annotations

import json
import sys

import nbformat

from gisttools.workflow.places import notebook_of


def run_cells(verb: str, given: dict[str, object]) -> str:
    """One notebook; its run's id."""
    cells = [c.source for c in nbformat.read(notebook_of(verb), as_version=4).cells if c.cell_type == "code"]
    names: dict = {}
    exec(cells[0], names)  # the parameters
    names.update(given)
    for cell in cells[1:]:
        exec(cell, names)
    return names["run"].folder.name


def main() -> None:
    last = ""
    for verb, given in json.loads(sys.argv[1]):
        last = run_cells(verb, {name: last if value == "$" else value for name, value in given.items()})
    print(last)


if __name__ == "__main__":
    main()
