"""Runs the cells of notebooks one after the other in one process, where a kernel for each would take longer to start.

`notebook_cells.py '[["finetune", {"limit": 60}], ["evaluate", {"model": "$"}]]'`: verbs and what differs from their
defaults; "$" is the run before. Prints the last run's id.
"""

from __future__ import annotations

import ast
import json
import sys

import nbformat

from gisttools.workflow.places import notebook_of


def run_cells(verb: str, given: dict[str, object], shown: list[object] | None = None) -> str:
    """One notebook; its run's id. `shown` gets what each cell ends with, as a person would see it."""
    cells = [c.source for c in nbformat.read(notebook_of(verb), as_version=4).cells if c.cell_type == "code"]
    names: dict = {}
    exec(cells[0], names)  # the parameters
    names.update(given)
    for cell in cells[1:]:
        tree = ast.parse(cell)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, verb, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), verb, "eval"), names)
            if shown is not None:
                shown.append(_look(value))
    return names["run"].folder.name


def _look(value: object) -> object:
    """What Jupyter would show of a value."""
    for form in ("_repr_png_", "_repr_html_", "_repr_markdown_"):
        if hasattr(value, form):
            return getattr(value, form)()
    return value if value is None else repr(value)


def main() -> None:
    last = ""
    for verb, given in json.loads(sys.argv[1]):
        last = run_cells(verb, {name: last if value == "$" else value for name, value in given.items()})
    print(last)


if __name__ == "__main__":
    main()
