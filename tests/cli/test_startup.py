"""The command and the package answer at once: what they must not load, how long they may take; and how runs end."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

import pytest
from helpers import ROOT

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
HELP = (
    "import sys; sys.argv = ['gisttools', '--help']; from gisttools.cli.main import main; main(standalone_mode=False)"
)


def cpu_seconds(script: str) -> float:
    """Median processor time of three processes: on a busy machine it says more than the clock does."""
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


def test_a_wrong_parameter_is_told_without_torch(results):
    script = (
        "import sys; sys.argv = ['gisttools', 'run', 'finetune', '-p', 'epocs', '3']\n"
        "from gisttools.cli.main import main\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert "unknown parameter 'epocs'" in done.stderr
    assert done.stdout.split() == ["False"]


def said(script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.split()


@pytest.mark.slow
def test_only_an_endpoint_needs_openai():
    assert said("import sys, gisttools.models.guides, gisttools.evaluation.models; print('openai' in sys.modules)") == [
        "False"
    ]


@pytest.mark.slow
def test_papermill_is_loaded_without_a_grammar_and_who_needs_that_can_still_have_it():
    script = (
        "import sys, gisttools.workflow.execute as execute\n"
        "with execute.without_grammar():\n    import papermill\n"
        "print('lark' in sys.modules)\n"
        "import rfc3987_syntax\nprint('lark' in sys.modules)"
    )
    assert said(script) == ["False", "True"]


def test_the_process_of_a_run_ends_without_taking_everything_apart(results):
    script = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0))\n"  # called last
        "from gisttools.workflow import start; start('convert', {})"
    )
    assert said(script) == ["True"]
