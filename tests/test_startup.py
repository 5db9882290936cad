"""The command and the package answer at once: what they must not load, and how long they may take."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

import pytest
from conftest import ROOT

HEAVY = {
    "torch",
    "transformers",
    "mteb",
    "datasets",
    "pandas",
    "numpy",
    "openai",
    "matplotlib",
    "papermill",
    "pydantic",
}
HELP = "import sys; sys.argv = ['gisttools', '--help']; from gisttools.cli import main; main(standalone_mode=False)"


def cpu_seconds(script: str) -> float:
    """Median processor time of three processes: beside other work it says more than the clock does."""
    found = []
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, cwd=ROOT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = status
        assert status == 0
        found.append(used.ru_utime + used.ru_stime)
    return statistics.median(found)


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="Windows does not tell a child's processor time like this")
@pytest.mark.parametrize(("script", "limit"), [(HELP, 0.5), ("import gisttools", 0.2)], ids=["--help", "import"])
def test_it_is_quick(script, limit):
    """Limits are for a machine on which Python itself starts in 0.05 s; on a slower one they are longer."""
    slower = max(1.0, cpu_seconds("pass") / 0.05)
    assert cpu_seconds(script) < limit * slower


@pytest.mark.parametrize("script", [HELP, "import sys, gisttools"])
def test_it_loads_nothing_heavy(script):
    done = subprocess.run(
        [sys.executable, "-c", f"{script}\nprint(*sys.modules)"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert HEAVY & set(done.stdout.split()) == set()
