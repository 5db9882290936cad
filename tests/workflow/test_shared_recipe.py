"""One recipe given to several commands at once, as a job array of Slurm does; `sbatch` is played."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from helpers import ROOT
from helpers.small_project import CALLS, make_recipe

from gisttools.workflow.folders import finished_runs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="signals and shell scripts are others there"),
]
SBATCH = r"""#!/bin/bash
# As Slurm: the command line goes before the script, jobs work in the current folder and write to slurm-JOB_TASK.out.
# Other than Slurm: all begin at once, and it waits for them.
for word in "$@"; do case $word in --array=*) array=${word#--array=} ;; *) script=$word ;; esac; done
array=${array:-$(sed -n 's/^#SBATCH.*--array=\([0-9-]*\).*/\1/p' "$script")}
for task in $(seq "${array%-*}" "${array#*-}"); do
    SLURM_ARRAY_TASK_ID=$task bash "$script" >"slurm-1_$task.out" 2>&1 &
done
wait
"""
WAIT_S = 500  # a busy machine takes minutes for what takes twenty seconds
STEPS = {"one": (1, ["x"]), "two": (2, ["x"]), "both": (7, ["$one", "$two"])}


@pytest.fixture
def sbatch(project, calls, monkeypatch):
    """The project, its switchboard (seeds 1 and 2 call), and docs/scale.md's job array, two of it begun."""
    indented = "\n".join(f"    {line}" for line in CALLS.splitlines())
    folder = project(f"if seed in (1, 2):\n{indented}")
    (folder / "notebooks" / "recipes").mkdir()
    make_recipe(folder, STEPS).rename(folder / "notebooks" / "recipes" / "guided_vs_unguided.yaml")
    activate = folder / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(f"PATH={Path(sys.executable).parent}:$PATH\n")
    told = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    (folder / "share.sh").write_text(re.search(r"```bash\n(#!.*?)```", told, re.DOTALL)[1])
    (folder / "bin").mkdir()
    (folder / "bin" / "sbatch").write_text(SBATCH)
    (folder / "bin" / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    board = calls(folder)
    with subprocess.Popen(["sbatch", "--array=1-2", "share.sh"], cwd=folder) as begun:
        yield folder, board, begun


def said(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted(folder.glob("slurm-1_*.out"))]


def test_jobs_of_an_array_share_out_the_steps_and_each_ends_with_all_of_them(sbatch, results):
    folder, board, begun = sbatch
    lines = {call[0]: call[3] for call in (board.take(), board.take())}  # both are at work at once
    assert lines.keys() == {1, 2}
    for line in lines.values():
        line.sendall(b"!")
    assert begun.wait(WAIT_S) == 0, said(folder)
    runs = finished_runs()
    assert sorted(run.parameters["seed"] for run in runs) == [1, 2, 7]
    assert sorted(path.name for path in results.iterdir()) == sorted(run.id for run in runs)
    for told in said(folder):
        assert "seed 7" in told, told
        assert "Traceback" not in told


def test_the_step_of_a_killed_job_is_done_by_another(sbatch, results):
    folder, board, begun = sbatch
    first, second = board.take(), board.take()
    job = psutil.Process(first[2])
    job.kill()
    second[3].sendall(b"!")
    again = board.take()
    assert again[0] == first[0]
    assert again[2] != first[2]
    again[3].sendall(b"!")
    begun.wait(WAIT_S)
    assert sorted(run.parameters["seed"] for run in finished_runs()) == [1, 2, 7]
    assert sum("seed 7" in told for told in said(folder)) == 1
