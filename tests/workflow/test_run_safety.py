"""Runs that cannot start, are stopped, are asked for twice at once, or are told secrets."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from helpers import ROOT
from helpers.small_project import CALLS, Switchboard, make_project

from gisttools.common.errors import ParameterError
from gisttools.workflow.cleaning import verify_run
from gisttools.workflow.execute import run_notebook
from gisttools.workflow.folders import finished_runs
from gisttools.workflow.places import check_room

CANARY = "canary-0123456789"
LEAKS = f"""
import logging, os
told = ' '.join([os.environ['CANARY_API_KEY'], os.environ['CANARY_URL'], os.environ['CANARY_DSN'], os.environ['MINE']])
assert told.count('{CANARY}') == 4
print(told)
logging.getLogger('gisttools').warning(told)
for name in ('report.html', 'card.md', 'browse.html', 'more.json'):
    run.path(name).write_text(told, encoding='utf-8')
try:
    raise ValueError(told)
except ValueError:
    __import__('traceback').print_exc()
finish = run.finish
run.finish = lambda *_, **__: finish({{'told': told}}, headline=told)
"""
AWKWARD = """Zq7&w'K<x"e\\n/+=%é-q7canary"""
WRITES = """
import base64, html, json, logging, os
import pandas as pd
from datasets import Dataset
from IPython.display import HTML, display
from gisttools.report import write_browser
key = os.environ['AWKWARD_KEY']
basic = base64.b64encode(f'someone:{key}'.encode()).decode()
told = ' '.join([f'[{key}]', json.dumps(key), html.escape(key), basic, repr(key), f'http://{os.environ["NAME_ONLY"]}@host/v1'])
rows = Dataset.from_dict({'anchor': [told], 'positive': [key], 'negatives': [[key]], 'reject_reason': [None]})
write_browser(rows, rows, run.folder, title=key)
rows.to_parquet(run.path('rows.parquet'))
pd.DataFrame({'a': [told]}).to_csv(run.path('rows.csv'))
run.path('card.md').write_text(told)
print(told)
display(HTML(f'<p title="{html.escape(told)}">{html.escape(told)}</p>'), pd.DataFrame({'a': [key, told]}), {'a': told})
logging.getLogger('gisttools').warning(told)
finish = run.finish
run.finish = lambda *_, **__: finish({'told': told}, headline=told)
"""
SERVES = (
    """
from gisttools.synthesis.llm.server import serve_local
_serving = serve_local()
_server = _serving.__enter__()
"""
    + CALLS
)


def command(*more: str, **given) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "gisttools.cli.main", "run", "convert", *more],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, **given,
    )  # fmt: skip


def mounted(folder: Path, options: str):
    """A small file system in memory; skips where this process may not mount one."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"may not mount here: {done.stderr.strip()}")


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system")
@pytest.mark.parametrize(("options", "message"), [("size=1m", "MB left on the disk"), ("ro", "cannot be written to")])
def test_a_full_disk_and_a_read_only_folder_are_told_before_work_starts(tmp_path, monkeypatch, options, message):
    folder = tmp_path / "disk"
    mounted(folder, options)
    try:
        monkeypatch.setenv("GISTTOOLS_RESULTS", str(folder))
        with pytest.raises(ParameterError, match=f"{message}(?s:.*)GISTTOOLS_RESULTS"):
            run_notebook("convert", {})
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_all_folders_that_cannot_be_written_to_are_told_at_once(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for name in ("RESULTS", "CACHE"):
        monkeypatch.setenv(f"GISTTOOLS_{name}", str(tmp_path / "file" / name))
    with pytest.raises(ParameterError, match=r"(?s)Results cannot be written.*Caches cannot be written"):
        check_room("convert")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent otherwise there")
def test_ctrl_c_ends_kernel_and_server_and_says_one_line(tmp_path, results):
    project = make_project(tmp_path, SERVES)
    calls = Switchboard(project)
    with command(cwd=project) as process:
        calls.take()
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 2  # the kernel and its server
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=10)
    calls.close()
    assert (process.returncode, alive) == (130, [])
    assert "stopped" in said
    assert said.rstrip().endswith("Stopped.")
    assert "Traceback" not in said
    assert "KeyboardInterrupt" not in said
    assert finished_runs() == []


@pytest.mark.slow
def test_of_two_identical_runs_at_once_one_waits_and_takes_the_others_result(tmp_path, results):
    project = make_project(tmp_path, CALLS)
    calls = Switchboard(project)
    with command(cwd=project) as first:
        *_, line = calls.take()
        with command(cwd=project) as second:
            said = second.stdout.readline()
            assert "waits for convert with the same parameters" in said
            line.close()
            told, _ = second.communicate(timeout=100)
        ended, _ = first.communicate(timeout=100)
    calls.close()
    assert (first.returncode, second.returncode) == (0, 0)
    assert "already done, seed 1029" in told
    assert "caught in kernel" not in ended + told
    (run,) = finished_runs()
    assert [p.name for p in results.iterdir()] == [run.id]


def test_a_killed_process_gives_up_its_turn(results):
    script = (
        "from gisttools.workflow.execute import turn\n"
        "with turn('convert', 'a' * 64, lambda: None):\n    print('mine', flush=True)\n    input()"
    )
    from gisttools.workflow.execute import turn

    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as holder:
        assert holder.stdout.readline().strip() == b"mine"
        waits = []
        with turn("convert", "a" * 64, lambda: (waits.append(1), holder.kill())):
            assert waits == [1]
    assert list(results.iterdir()) == []


@pytest.mark.slow
def test_secrets_stay_out_of_all_that_a_run_leaves(tmp_path, results, monkeypatch, capsys):
    project = make_project(tmp_path, LEAKS)
    monkeypatch.chdir(project)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("CANARY_API_KEY", "CANARY_URL", "CANARY_DSN", "MINE", "GUIDE_KEY"):
        monkeypatch.setenv(name, "")  # so that they are put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("GUIDE_KEY", "from-the-environment")
    (project / ".env").write_text(
        f"CANARY_API_KEY={CANARY}\nCANARY_URL=https://me:{CANARY}@example.org/v1\nGUIDE_KEY=from-the-file\n"
        f"CANARY_DSN=https://example.org/v1?api_key={CANARY}\nMINE={CANARY}\n",
        encoding="utf-8",
    )
    run_notebook(
        "convert", {"guide": "endpoint:m", "guide_base_url": "http://127.0.0.1:1/v1", "guide_key_variable": "MINE"}
    )
    assert os.environ["GUIDE_KEY"] == "from-the-environment"
    (folder,) = results.iterdir()
    leaks = [p.name for p in folder.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()]
    assert leaks == []
    assert CANARY not in capsys.readouterr().out
    assert {"report.html", "card.md", "browse.html", "summary.json"} <= set(finished_runs()[0].artefacts)
    assert verify_run(folder).ok


def plain_texts(path: Path) -> list[str]:
    """What a file holds, as a reader might take it apart."""
    if path.suffix == ".parquet":
        return [json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False), str(pq.read_table(path).to_pylist())]
    found = [path.read_text(encoding="utf-8")]
    for _ in range(3):
        found.append(html.unescape(re.sub(r"\\u([0-9a-f]{4})", lambda m: chr(int(m[1], 16)), found[-1])))
        found.append(re.sub(r"\\(.)", r"\1", found[-1]))
    for run in re.findall(r"[A-Za-z0-9+/_-]{16,}", found[0]):
        raw = (
            base64.urlsafe_b64decode(run.replace("+", "-").replace("/", "_") + "=" * (-len(run) % 4))
            if len(run) % 4 != 1
            else b""
        )
        found.append(raw.decode("utf-8", "replace"))
    return found


@pytest.mark.slow
def test_an_awkward_key_stays_out_of_all_that_a_run_leaves_in_every_spelling(tmp_path, results, monkeypatch, capsys):
    project = make_project(tmp_path, WRITES)
    monkeypatch.chdir(project)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("AWKWARD_KEY", AWKWARD)
    monkeypatch.setenv("NAME_ONLY", "plain-user-name")
    run_notebook("convert", {})
    (folder,) = results.iterdir()
    # the end of the key, which no spelling changes; texts of tables are left alone but for values of variables
    parts = {p: ["q7canary"] + (["plain-user-name"] if p.suffix != ".parquet" else []) for p in folder.rglob("*")}
    files = [p for p in parts if p.is_file()]
    leaks = [(p.name, part) for p in files for text in plain_texts(p) for part in parts[p] if part in text]
    assert leaks == []
    assert "q7canary" not in capsys.readouterr().out
    assert {"browse.html", "rows.parquet", "rows.csv", "card.md", "summary.json"} <= set(finished_runs()[0].artefacts)
    assert verify_run(folder).ok
