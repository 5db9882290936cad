"""The wheel alone, outside any checkout: what `pip install` brings is enough to begin a project and to run in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from helpers import ROOT
from helpers.elsewhere import first_cell
from nbclient import NotebookClient

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds the wheel's files and nothing else; dependencies are those of this Python."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "site")
    return folder / "site"


def gisttools(site, folder, *arguments):
    """The command, by the installed wheel alone."""
    told = {**os.environ, "PYTHONPATH": str(site), "GISTTOOLS_RESULTS": "", "GISTTOOLS_CACHE": str(folder / ".cache")}
    command = [sys.executable, "-m", "gisttools.cli.main", *arguments]
    return subprocess.run(command, cwd=folder, env=told, capture_output=True, text=True)


def test_it_holds_all_that_a_project_needs_and_no_tests(installed):
    names = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    there = (path.relative_to(ROOT) for part in ("notebooks", "prompts", "data") for path in (ROOT / part).rglob("*"))
    needed = {path.as_posix() for path in there if (ROOT / path).is_file() and "/." not in path.as_posix()}
    assert {f"gisttools/project/{name}" for name in needed} <= names
    assert {"gisttools/project/gisttools.toml", "gisttools/py.typed", "gisttools/training/general.txt"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"gisttools"}


def test_from_an_empty_folder_to_a_run(installed, tmp_path):
    outside = gisttools(installed, tmp_path, "run", "convert")
    assert outside.returncode == 1
    assert "Make one: gisttools init my_project" in outside.stderr
    made = gisttools(installed, tmp_path, "init", "my_project", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["next"][:2] == ["cd my_project", "gisttools run quickstart"]
    mine = tmp_path / "my_project"
    previewed = gisttools(installed, mine, "run", "quickstart", "--dry-run")
    assert "6 to run" in previewed.stdout, previewed.stderr
    done = gisttools(installed, mine, "run", "convert", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "476 texts" in told["headline"]
    assert told["runs"][0]["folder"].startswith(str(mine / "results"))


def test_a_notebook_runs_in_an_empty_folder_behind_the_cell_for_colab_and_kaggle(installed, tmp_path, monkeypatch):
    """pip only looks at the wheel, whose files are there already."""
    (wheel,) = installed.parent.glob("*.whl")
    for name, value in {"PYTHONPATH": installed, "GISTTOOLS_RESULTS": "", "GISTTOOLS_CACHE": tmp_path / "c"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    first = first_cell().replace("%pip install", "%pip install --dry-run --no-deps --no-index")
    notebook = nbformat.read(ROOT / "notebooks" / "2_convert.ipynb", as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(first.replace("WHEEL", str(wheel))))
    folder = tmp_path / "content"
    folder.mkdir()
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    said = "".join(output.get("text", "") for output in notebook.cells[0].outputs)
    assert "ERROR" not in said
    assert "files written" in said
    (manifest,) = (folder / "results").glob("convert-*/manifest.json")
    assert json.loads(manifest.read_text())["status"] == "ok"
