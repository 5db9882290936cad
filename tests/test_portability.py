"""What runs on Windows and macOS as well: texts are UTF-8, and what only POSIX has is asked for first."""

from __future__ import annotations

import ast
import re

import pytest
from helpers import ROOT

from gisttools.workflow import warm

MODULES = sorted((ROOT / "gisttools").rglob("*.py"))
POSIX = {
    "os.fork", "os.killpg", "os.setsid", "os.getuid", "os.geteuid", "os.mkfifo", "signal.SIGKILL", "signal.SIGALRM",
    "signal.SIGHUP", "signal.SIGUSR1", "signal.alarm", "os.sched_getaffinity", "os.sysconf",
}  # fmt: skip
ONLY_LINUX = {"forks.py", "warm.py"}  # used where `warm.can_be` says so, which is tested below
ONLY_POSIX = {"fcntl", "resource", "pwd", "grp", "termios", "pty"}
_GUARD = re.compile(r"hasattr\(|os\.name|sys\.platform")


def lines_of(path):
    return path.read_text(encoding="utf-8").splitlines()


def name_of(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


@pytest.mark.parametrize("path", MODULES, ids=[p.relative_to(ROOT).as_posix() for p in MODULES])
def test_texts_are_read_and_written_as_utf_8(path):
    bare = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        told = {k.arg for k in node.keywords}
        named = name_of(node.func)
        if isinstance(node.func, ast.Attribute):
            owner = node.func.value
            is_file = named in ("read_text", "write_text") or (named == "fdopen" and name_of(owner) == "os")
        else:
            is_file = named == "open"
        modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if is_file and "encoding" not in told and not any(m in ("rb", "wb", "ab", "r+b") for m in modes):
            bare.append(node.lineno)
    assert bare == []


def test_what_only_posix_has_is_asked_for_first():
    found = []
    for path in MODULES:
        if path.name in ONLY_LINUX:
            continue
        lines = lines_of(path)
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {a.name for a in node.names} if isinstance(node, ast.Import) else {node.module}
                used = names & ONLY_POSIX
            elif isinstance(node, ast.Attribute):
                used = {f"{name_of(node.value)}.{node.attr}"} & POSIX
            else:
                continue
            near = "\n".join(lines[max(0, node.lineno - 3) : node.lineno])
            if used and not _GUARD.search(near):
                found.append(f"{path.name}:{node.lineno}: {used}")
    assert found == []


def test_runs_are_forks_on_linux_alone(monkeypatch):
    for platform in ("win32", "darwin"):
        monkeypatch.setattr("sys.platform", platform)
        with warm.kept():
            warm.begin("convert")
            assert warm.server() is None
