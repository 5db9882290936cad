"""The package as a whole: light to import, few public names, rooms whose imports go one way."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from helpers import ROOT

import gisttools

PACKAGE = ROOT / "gisttools"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py"))
HEAVY = ("torch", "mteb", "sentence_transformers", "transformers", "matplotlib", "datasets", "openai")


@cache
def parsed(path: Path) -> tuple[ast.Module, list[ast.AST]]:
    """A module, and every node of it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return tree, list(ast.walk(tree))


@pytest.mark.parametrize(
    "module",
    ["gisttools", "gisttools.common.errors", "gisttools.cli.main", "gisttools.workflow.params", "gisttools.synthesis"],
)
def test_importing_it_loads_nothing_heavy(module):
    script = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_the_triplet_table_needs_no_torch():
    script = "import sys, gisttools.data.triplets; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_at_most_twelve_public_names_and_all_can_be_imported():
    assert len(gisttools.__all__) <= 12
    assert all(getattr(gisttools, name) is not None for name in gisttools.__all__)
    assert dir(gisttools) == gisttools.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        _ = gisttools.nothing


def test_imports_go_one_way_and_no_deeper_than_a_room():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(lint), "--no-cache"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for_and_all_that_it_hands_out_is_there(room):
    module = importlib.import_module(f"gisttools.{room}")
    assert module.__doc__
    assert [name for name in module.__all__ if getattr(module, name, None) is None] == []


def test_every_module_says_what_it_does_and_none_has_globals_or_widgets():
    for path in MODULES:
        tree, nodes = parsed(path)
        assert ast.get_docstring(tree), f"{path} has no docstring"
        assert not [n for n in nodes if isinstance(n, ast.Global)], path
        froms = [n.module for n in nodes if isinstance(n, ast.ImportFrom)]
        assert not {"tqdm.auto", "tqdm.notebook"} & set(froms), path


def test_every_public_class_and_every_public_function_of_some_length_says_what_it_does():
    bare = []
    for path in MODULES:
        for node in parsed(path)[0].body:
            told = isinstance(node, ast.ClassDef) or (isinstance(node, ast.FunctionDef) and len(node.body) > 3)
            if told and not node.name.startswith("_") and not ast.get_docstring(node):
                bare.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert bare == []


def test_every_error_of_the_package_is_a_gist_error():
    found = []
    for path in MODULES:
        for node in parsed(path)[1]:
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
                found.append((path.name, node.exc.func.id))
    own = {"ParameterError", "DataError", "MissingError", "ModelError", "EndpointError", "RunFailed", "GistError"}
    own |= {
        "YamlProblem",
        "BadAnswer",
        "TemplateFault",
        "TrainingError",
        "NothingToDrawError",
        "UnderWay",
    }  # kinds of these
    made = {"AttributeError", "one_error"}  # the latter puts several together
    assert [f for f in found if f[1] not in own | made] == []


BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.match_case)


def branches(function: ast.AST) -> int:
    """Conditions of any kind in a function, plus one: branches and loops, and/or, conditional expressions, filters."""
    count = 1
    for node in ast.walk(function):
        if isinstance(node, BRANCHES):
            count += 1
        elif isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            count += 1 + len(node.ifs)
    return count


def functions() -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return [
        (f"{path.relative_to(ROOT)}: {node.name}", node)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_no_function_holds_twenty_conditions():
    assert [(name, branches(node)) for name, node in functions() if branches(node) >= 20] == []


def test_no_function_but_the_loss_takes_more_than_eight_arguments():
    many = []
    for name, node in functions():
        own = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        if len([a for a in own if a not in ("self", "cls")]) > 8:
            many.append(name)
    assert many == ["gisttools/training/loss.py: gist_loss"]  # it keeps its keyword form for science
