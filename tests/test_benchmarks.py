"""Benchmarks are run by hand and seldom: here is seen that what they take from one another and from the package is
there."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
from helpers import ROOT

SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))
NAMES = {path.stem for path in SCRIPTS}


def defined(path: Path) -> set[str]:
    """Names at the top of a script."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_benchmark_imports_only_what_is_there(path):
    missing = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        names = [alias.name for alias in node.names]
        if node.module in NAMES:
            there = defined(ROOT / "benchmarks" / f"{node.module}.py")
            missing += [f"{node.module}.{name}" for name in names if name not in there]
        elif node.module.partition(".")[0] == "gisttools":
            module = importlib.import_module(node.module)
            missing += [f"{node.module}.{name}" for name in names if not hasattr(module, name)]
    assert missing == []
