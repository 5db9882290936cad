"""Files that are read again after a crash: damaged ones are named, set aside, and block nothing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3

import pytest
from click.testing import CliRunner
from helpers.server import Server, completion

from gisttools.cli.main import main
from gisttools.synthesis.llm.asking import Request
from gisttools.workflow.folders import all_runs, find_finished, finished_runs

GOOD = {"verb": "convert", "status": "ok", "started": "2026-01-01T00:00:00+00:00"}
MANIFESTS = ["", "[]", "{}", "null", "7", "not JSON", "{", '{"verb": 7}', "\udcff", "[" * 50_000] + [
    json.dumps(GOOD | {name: value})
    for name, value in {
        "run_id": 5, "headline": 5, "seconds": "x", "spec_hash": 7, "artefacts": {"a": 3}, "parents": {}, "error": 5,
        "started": "yesterday", "parameters": [1], "status": "fine", "verb": None,
    }.items()
]  # fmt: skip
COMMANDS = [
    ["runs"], ["show", "latest"], ["verify"], ["compare"], ["clean", "--failed"], ["run", "report", "--dry-run"],
    ["run", "convert", "--dry-run"], ["run", "compare", "--dry-run"], ["run", "cost_to_gain", "--dry-run"],
]  # fmt: skip


@pytest.fixture
def damaged(results):
    """A results folder full of runs whose manifests are damaged, of three verbs."""
    for verb in ("convert", "finetune", "evaluate"):
        for number, text in enumerate(MANIFESTS):
            folder = results / f"{verb}-20260101T0000{number:02}Z-{number:08x}"
            folder.mkdir(parents=True)
            (folder / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        (results / f"{verb}-20260102T000000Z-00000000" / "manifest.json").mkdir(parents=True)
    return results


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_stumbles_over_damaged_manifests(damaged, command) -> None:
    told = CliRunner().invoke(main, command)
    assert "bug" not in told.output
    assert "Traceback" not in told.output
    assert told.exception is None or isinstance(told.exception, SystemExit)


def test_a_damaged_run_counts_as_not_done_and_is_named_once(damaged, make_run, caplog, monkeypatch) -> None:
    monkeypatch.setattr("gisttools.workflow.folders._told_of", set())
    whole = make_run("convert")
    for _ in range(3):
        assert [run.id for run in finished_runs("convert")] == [whole.name]
        assert find_finished(read_spec(whole), "convert").id == whole.name
    lines = [record.message for record in caplog.records if "damaged" in record.message]
    assert len(lines) == 1
    assert f"and {len(MANIFESTS) + 1 - 3} more" in lines[0]
    assert {run.status for run in all_runs()} == {"damaged", "ok"}


def read_spec(folder) -> str:
    return json.loads((folder / "manifest.json").read_text())["spec_hash"]


def damage(path, how: str) -> None:
    """Cut, overwrite or empty a file."""
    content = path.read_bytes()
    noise = random.Random(0).randbytes(max(200, len(content)))
    told = {
        "empty": b"", "cut to 100 bytes": content[:100], "cut in half": content[: len(content) // 2],
        "noise": noise[: len(content)], "[]": b"[]", "{}": b"{}", "null": b"null",
        "a hole": content[:300] + b"\0" * 300 + content[600:],
    }  # fmt: skip
    path.write_bytes(told[how])


HOW = ["empty", "cut to 100 bytes", "cut in half", "noise", "[]", "{}", "null", "a hole"]
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_cache_of_answers_is_set_aside_and_work_goes_on(tmp_path, monkeypatch, caplog, how) -> None:
    monkeypatch.setattr("gisttools.synthesis.llm.cache._sound", set())
    cache = tmp_path / "llm.sqlite"
    requests = [Request(messages=[{"role": "user", "content": str(i)}], schema=SCHEMA) for i in range(40)]
    with Server(lambda *_: completion('{"text": "fine"}')) as server:
        server.llm(cache=cache).ask(requests)
        with contextlib.closing(sqlite3.connect(cache)) as sql:
            sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        damage(cache, how)
        monkeypatch.setattr("gisttools.synthesis.llm.cache._sound", set())
        assert all(r.answer == {"text": "fine"} for r in server.llm(cache=cache).ask(requests))
        calls = len(server.calls)
        assert all(r.cached for r in server.llm(cache=cache).ask(requests))
        assert len(server.calls) == calls
    if how not in ("empty", "a hole"):
        assert list(tmp_path.glob("llm.sqlite.damaged-*"))
        assert "llm.sqlite" in caplog.text


def test_answers_that_can_still_be_read_are_taken_over(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("gisttools.synthesis.llm.cache._sound", set())
    cache = tmp_path / "llm.sqlite"
    text = json.dumps({"text": "x" * 400})
    requests = [Request(messages=[{"role": "user", "content": str(i)}], schema=SCHEMA) for i in range(300)]
    with Server(lambda *_: completion(text)) as server:
        server.llm(cache=cache).ask(requests)
        with contextlib.closing(sqlite3.connect(cache)) as sql:
            sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        content = bytearray(cache.read_bytes())
        middle = len(content) // 2 // 4096 * 4096
        content[middle : middle + 4096] = b"\xff" * 4096
        cache.write_bytes(content)
        monkeypatch.setattr("gisttools.synthesis.llm.cache._sound", set())
        server.llm(cache=cache).ask(requests)
        assert 300 < len(server.calls) < 400  # what stood in the damaged page, and no more


def test_a_file_of_another_kind_named_as_the_cache_is_left_alone(tmp_path) -> None:
    from gisttools.common import DataError
    from gisttools.synthesis import LLM, LLMOptions

    path = tmp_path / "my_texts.csv"
    path.write_text("text\n" * 100)
    llm = LLM(LLMOptions(base_url="http://127.0.0.1:1/v1", model="m"), cache=path)
    with pytest.raises(DataError, match=r"my_texts\.csv cannot be used"):
        llm.ask([Request(messages=[{"role": "user", "content": "a"}], schema=SCHEMA)])
    assert path.read_text() == "text\n" * 100


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_manifest_that_may_not_be_read_is_damaged(results, make_run) -> None:
    folder = make_run("convert")
    (folder / "manifest.json").chmod(0)
    assert [run.status for run in all_runs()] == ["damaged"]
    shutil.rmtree(folder)


def test_of_several_that_find_the_damage_one_mends_it(tmp_path, monkeypatch) -> None:
    """A file that was made anew meanwhile is not set aside as well."""
    import threading

    from gisttools.synthesis.llm.cache import CallCache

    monkeypatch.setattr("gisttools.synthesis.llm.cache._sound", set())
    path = tmp_path / "llm.sqlite"
    path.write_bytes(b"no database" * 1000)
    errors: list[BaseException] = []

    def use(number: int) -> None:
        try:
            with CallCache(path) as cache:
                cache.put(str(number), {"n": number})
        except BaseException as error:  # told below
            errors.append(error)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(list(tmp_path.glob("llm.sqlite.damaged-*[0-9]"))) == 1
    with CallCache(path) as cache:
        assert all(cache.get(str(n)) for n in range(8))
