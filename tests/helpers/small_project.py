"""A project with one small notebook, a recipe of it, and a notebook that waits until it is told to go on."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path

import nbformat
import psutil

CELLS = {
    "parameters": "seed = 1029\nsources = ['x']",
    "start": "from gisttools.workflow import start\nrun = start('convert', globals())",
    "work": "",
    "finish": "run.path('t.txt').write_text(str(seed))\nrun.finish({'n': seed}, headline=f'seed {seed}')",
}
FAILS_AT_13 = "if seed == 13:\n    raise ValueError('13 is unlucky')"
# sends the number of its process and goes on when the call is answered
CALLS = """
import os, socket
from pathlib import Path
run.path('half.partial').write_text('half')
with socket.create_connection(('127.0.0.1', int(Path('port').read_text()))) as _call:
    _call.sendall(f'{seed} {os.getpid()} {os.getppid()}\\n'.encode())
    _call.recv(1)
run.path('half.partial').unlink()
"""


def make_project(folder: Path, work: str) -> Path:
    """A project with the notebook 2_convert, whose cell `work` is told."""
    cells = []
    for name, code in {**CELLS, "work": work}.items():
        cell = nbformat.v4.new_code_cell(code, id=name)
        cell.metadata["tags"] = ["parameters"] if name == "parameters" else []
        cells.append(cell)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (folder / "notebooks").mkdir()
    for name in ("x", "a", "b", "c", "d"):  # sources that tests name, and the default test texts
        (folder / name).mkdir()
    (folder / "data" / "support_intents").mkdir(parents=True)
    (folder / "data" / "support_intents" / "test.csv").write_text("text,label\na,b\n")
    (folder / "prompts").mkdir()
    (folder / "gisttools.toml").touch()
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "notebooks/2_convert.ipynb")
    return folder


def make_recipe(folder: Path, steps: dict[str, tuple[int, Sequence[str]]], **more: dict) -> Path:
    """A recipe of such notebooks: name -> (seed, sources); `more`: further keys of a step."""
    told = [
        {"name": name, "verb": "convert", "parameters": {"seed": seed, "sources": list(sources)}, **more.get(name, {})}
        for name, (seed, sources) in steps.items()
    ]
    path = folder / "mine.yaml"
    path.write_text(json.dumps({"name": "mine", "steps": told}))
    return path


class Switchboard:
    """Takes the calls of notebooks whose work is `CALLS`."""

    def __init__(self, project: Path) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(500)
        (project / "port").write_text(str(self._server.getsockname()[1]))

    def take(self) -> tuple[int, int, int, socket.socket]:
        """The next call: seed, the kernel's process, the worker that asked for it, and the line to answer on."""
        line, _ = self._server.accept()
        line.settimeout(500)
        with line.makefile() as text:
            seed, kernel, parent = map(int, text.readline().split())
        started = psutil.Process(parent)
        forked = "gisttools.workflow.forks" in " ".join(started.cmdline())  # by the worker's server
        return seed, kernel, started.ppid() if forked else parent, line

    def close(self) -> None:
        self._server.close()
