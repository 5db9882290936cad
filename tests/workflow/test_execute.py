"""Executing notebooks: what a run leaves when it ends well, fails, or is killed, and when it runs again."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import papermill
import psutil
import pytest
from helpers import ROOT, files_under

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.common.runs import read_run
from gisttools.workflow.execute import RunFailed, line, run_notebook
from gisttools.workflow.folders import artefact, finished_runs
from gisttools.workflow.schedule import run_recipe, sweep

SECRET = "sk-very-secret-0123456789"
CELLS = [
    ("parameters", "negatives = 1\nseed = 1029"),
    ("start", "from gisttools.workflow import start\nrun = start('convert', globals())"),
    ("work", "print('a key:', __import__('os').environ.get('TEST_API_KEY'))\n{work}"),
    ("finish", "run.path('t.txt').write_text(str(seed))\nrun.finish({'n': negatives}, headline=f'seed {seed}')"),
]
BREAKS_AT_13 = (
    'if seed == 13:\n    raise ValueError(f\'13 is unlucky\\nand {__import__("os").environ["TEST_API_KEY"]}\')'
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A function that makes a project with one small notebook, whose cell `work` is told, and goes there."""

    def make(work: str = BREAKS_AT_13) -> Path:
        cells = []
        for name, code in CELLS:
            cell = nbformat.v4.new_code_cell(code.replace("{work}", work), id=name)
            cell.metadata["tags"] = ["parameters"] if name == "parameters" else []
            cells.append(cell)
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        (tmp_path / "notebooks").mkdir()
        (tmp_path / "prompts").mkdir()
        (tmp_path / "data" / "support_intents").mkdir(parents=True)  # the default sources and test texts
        (tmp_path / "data" / "support_intents" / "test.csv").write_text("text,label\na,b\n")
        (tmp_path / "gisttools.toml").touch()
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "notebooks/2_convert.ipynb")
        monkeypatch.chdir(tmp_path)
        return tmp_path

    monkeypatch.setenv("TEST_API_KEY", SECRET)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return make


def texts_of(folder: Path) -> str:
    return "\n".join(p.read_text(encoding="utf-8") for p in folder.rglob("*") if p.is_file())


@pytest.mark.slow
def test_a_run_that_ends_well(project, results, capsys):
    project()
    environment = dict(os.environ)
    run = run_notebook("convert", {"seed": 5})
    folder = results / run.id
    assert (run.status, run.headline, run.parameters["seed"]) == ("ok", "seed 5", 5)
    assert set(run.artefacts) == {"summary.json", "t.txt"}
    assert artefact(run.id, "t.txt").read_text() == "5"
    assert capsys.readouterr().out.rstrip().endswith("seed 5")
    names = {p.name for p in folder.iterdir()}
    assert names == {"manifest.json", "summary.json", "t.txt", "log.txt", "notebook.ipynb", "notebook.html"}
    executed = nbformat.read(folder / "notebook.ipynb", as_version=4)
    assert [c.get("id") for c in executed.cells if "injected-parameters" not in c.metadata.tags] == [
        n for n, _ in CELLS
    ]
    assert "<script" not in (folder / "notebook.html").read_text()
    assert SECRET not in texts_of(folder)
    assert dict(os.environ) == environment

    assert run_notebook("convert", {"seed": 5}).id == run.id
    assert run_notebook("convert", {"seed": 5}, rerun="always").id != run.id
    assert len(finished_runs()) == 2


@pytest.mark.slow
def test_a_run_that_fails(project, results, capsys):
    project()
    with pytest.raises(RunFailed, match=r"(?s)13 is unlucky.*In cell 'work' of .*notebook\.ipynb") as caught:
        run_notebook("convert", {"seed": 13})
    assert caught.value.cause == "ValueError"
    (run,) = finished_runs()
    folder = results / run.id
    assert (run.status, run.headline) == ("failed", "13 is unlucky")
    assert (run.manifest["error"]["type"], run.manifest["error"]["cell"]) == ("ValueError", "work")
    assert "13 is unlucky" in (folder / "notebook.ipynb").read_text()
    assert SECRET not in texts_of(folder)
    assert "FAILED" in capsys.readouterr().out
    assert {p.name for p in folder.iterdir()} == {"manifest.json", "log.txt", "notebook.ipynb", "notebook.html"}
    with pytest.raises(MissingError, match="no finished run of these parameters"):
        run_notebook("convert", {"seed": 13}, rerun="only-cache")


@pytest.mark.slow
def test_a_kernel_that_dies_leaves_a_failed_run(project):
    project("__import__('os')._exit(3)")
    with pytest.raises(RunFailed, match=r"killed or crashed .*DeadKernelError[\s\S]*run again"):
        run_notebook("convert", {})
    (run,) = finished_runs()
    assert (run.status, run.manifest["error"]["cell"]) == ("failed", "work")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="process groups are killed otherwise there")
def test_a_killed_run_is_unfinished_and_is_replaced_by_the_next(project, results):
    folder = project(
        "from pathlib import Path\n"
        "if Path('port').exists():\n"
        "    run.path('half.partial').write_text('half')\n"
        "    _call = __import__('socket').create_connection(('127.0.0.1', int(Path('port').read_text())))\n"
        "    _call.recv(1)  # nobody answers: this waits to be killed"
    )
    command = [sys.executable, "-m", "gisttools.cli.main", "run", "convert"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)
        (folder / "port").write_text(str(server.getsockname()[1]))
        with (
            tempfile.TemporaryDirectory() as scratch,  # for what the killed process cannot remove
            subprocess.Popen(
                command, start_new_session=True, stdout=subprocess.DEVNULL, env={**os.environ, "TMPDIR": scratch}
            ) as process,
        ):
            _call, _ = server.accept()  # the notebook is in the middle of its work
            kernels = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, signal.SIGKILL)
            for kernel in kernels:
                kernel.kill()
        psutil.wait_procs(kernels, timeout=30)
    (killed,) = results.glob("convert-*")
    assert (killed / "half.partial").exists()
    assert finished_runs() == []
    with pytest.raises(MissingError, match=f"Run {killed.name} is unfinished"):
        read_run(killed)

    (folder / "port").unlink()
    run = run_notebook("convert", {})
    assert run.status == "ok"
    assert [p.name for p in results.iterdir()] == [run.id]
    assert list(results.rglob("half.partial")) == []


@pytest.mark.slow
def test_plain_papermill_works_alike_and_refuses_unknown_names(project, results, tmp_path):
    project()
    notebook, output = str(tmp_path / "notebooks/2_convert.ipynb"), str(tmp_path / "out.ipynb")
    papermill.execute_notebook(notebook, output, {"seed": 3, "negatives": 2}, progress_bar=False)
    (run,) = finished_runs()
    assert (run.status, run.parameters["seed"], run.manifest["seeds"]) == ("ok", 3, {"seed": 3})
    shutil.rmtree(results)
    results.mkdir()
    with pytest.raises(papermill.PapermillExecutionError, match=r"unknown parameter 'sed' = 3\. Did you mean 'seed'"):
        papermill.execute_notebook(notebook, output, {"sed": 3}, progress_bar=False)
    assert list(results.iterdir()) == []


@pytest.mark.slow
def test_runs_at_the_same_time_do_not_disturb_each_other_and_all_end_before_a_failure_is_raised(project):
    folder = project(
        "_port = int(open('port').read())\n"
        "_call = __import__('socket').create_connection(('127.0.0.1', _port))\n"
        "assert _call.recv(1) == b'!'  # comes when the other one is here too\n" + BREAKS_AT_13
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(200)
        (folder / "port").write_text(str(server.getsockname()[1]))

        def meet() -> None:
            calls = [server.accept()[0] for _ in range(2)]
            for call in calls:
                call.sendall(b"!")

        threading.Thread(target=meet, daemon=True).start()
        with pytest.raises(RunFailed, match="13 is unlucky"):
            sweep([("convert", {"seed": seed}) for seed in (13, 1)])
    assert {m.parameters["seed"]: m.status for m in finished_runs()} == {1: "ok", 13: "failed"}
    (again,) = sweep([("convert", {"seed": 1})])  # done before: nobody needs to be met
    assert again.headline == "seed 1"


@pytest.mark.slow
def test_a_recipe_hands_the_run_of_a_step_to_the_next(project, results):
    folder = project()
    steps = [
        {"name": "one", "verb": "convert", "parameters": {"seed": 1}},
        {"name": "two", "verb": "convert", "parameters": {"seed": 2, "sources": ["$one"]}},
    ]
    (folder / "mine.yaml").write_text(json.dumps({"name": "mine", "steps": steps}))
    cell = "negatives = 1\nseed = 1029\nsources = ['x']"
    notebook = nbformat.read(folder / "notebooks/2_convert.ipynb", as_version=4)
    notebook.cells[0].source = cell
    nbformat.write(notebook, folder / "notebooks/2_convert.ipynb")
    one, two = run_recipe(folder / "mine.yaml")
    assert two.parents == [one.id]
    assert [m.id for m in run_recipe(folder / "mine.yaml")] == [one.id, two.id]


def test_wrong_parameters_start_no_kernel(project, results):
    project()
    with pytest.raises(ParameterError, match="unknown parameter 'sed'"):
        run_notebook("convert", {"sed": 3})
    assert list(results.iterdir()) == []


@pytest.mark.slow
def test_two_processes_run_finetune_and_the_first_keeps_the_run(results):
    """As `torchrun` starts them: the second trains along and leaves nothing."""
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "gisttools.cli.main"]
    done = subprocess.run(
        [sys.executable, *command, "run", "finetune", "-p", "max_steps", "3"],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("3 steps in") == 2  # the first process's line and headline
    (folder,) = [p for p in results.iterdir() if p.name.startswith("finetune-")]
    assert read_run(folder).status == "ok"
    assert (folder / "model" / "model.safetensors").exists()


def test_only_finetune_runs_in_several_processes(monkeypatch, results):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ParameterError, match="convert runs in one process, this is one of 2"):
        run_notebook("convert", {})
    assert files_under(results) == []


@pytest.mark.slow
def test_a_killed_finetune_goes_on_from_its_checkpoint(results):
    command = [sys.executable, "-m", "gisttools.cli.main", "run", "finetune"]
    command += ["-p", "max_steps", "12", "-p", "checkpoint_minutes", "0"]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while first.poll() is None and not list(results.glob(".checkpoints/*/checkpoint-*/note.json")):
        time.sleep(0.05)  # waits for a file, not for a time
    first.kill()
    first.wait()
    assert list(results.glob("finetune-*/manifest.json")) == []
    assert "12 steps in" in run_notebook("finetune", {"max_steps": 12, "checkpoint_minutes": 0.0}).headline
    (folder,) = results.glob("finetune-*")
    assert "going on from checkpoint-" in (folder / "log.txt").read_text(encoding="utf-8")
    assert not list(results.glob(".checkpoints/*"))


def test_a_mistake_in_a_task_description_is_told_before_a_kernel_starts(results, tmp_path):
    task = tmp_path / "task.yaml"
    task.write_text("name: x\nkind: sts\nlabels: []\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"description: is missing[\s\S]*domain: is missing"):
        run_notebook("synthesize", {"task": str(task)})
    with pytest.raises(MissingError, match="No prompt at"):
        run_notebook("synthesize", {"prompt": "clasification"})
    assert files_under(results) == []


def test_a_path_is_read_from_where_the_run_was_started(tmp_path, monkeypatch):
    from gisttools.workflow.places import STARTED_IN, resolve

    (tmp_path / "mine.yaml").write_text("")
    (tmp_path / "data").mkdir()
    monkeypatch.setenv(STARTED_IN, str(tmp_path))
    monkeypatch.chdir(ROOT)
    assert resolve("mine.yaml") == tmp_path / "mine.yaml"
    assert resolve("data") == tmp_path / "data"
    assert resolve("prompts") == ROOT / "prompts"
    monkeypatch.delenv(STARTED_IN)
    assert resolve("prompts") == Path("prompts")


def test_without_a_terminal_progress_is_a_line_now_and_then_and_warnings_are_lines(tmp_path, monkeypatch):
    monkeypatch.setattr("gisttools.workflow.terminal._SPARSE", 0.6)
    status = tmp_path / "status.txt"
    with open(tmp_path / "out.txt", "w", encoding="utf-8") as out, line("training", status, out) as said:
        (tmp_path / "notices.txt").write_text("! the rate is high\n! half a li")
        status.write_text("3 of 9 steps")
        time.sleep(2.2)
        (tmp_path / "notices.txt").write_text("! the rate is high\n! half a line\n")
        said.append("loss 2 to 1")
    lines = (tmp_path / "out.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "training ... "
    assert [text.strip() for text in lines if "!" in text] == ["! the rate is high", "! half a line"]
    assert 1 <= sum("3 of 9 steps" in text for text in lines) <= 4
    assert lines[-1].endswith("loss 2 to 1")


def test_a_short_run_is_one_line(tmp_path):
    out = io.StringIO()
    with line("training", tmp_path / "status.txt", out) as said:
        said.append("fine")
    assert out.getvalue() == "training ... 0 s, fine\n"
