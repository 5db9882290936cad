"""The package as a whole: light to import, few public names, imports that run one way, no prints."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

import gisttools

PACKAGE = ROOT / "gisttools"
MODULES = sorted(PACKAGE.rglob("*.py"))
ABOVE = ("workflow", "report", "cli", "commands", "doctor")
DOMAIN = [p for p in MODULES if p.relative_to(PACKAGE).parts[0].removesuffix(".py") not in ABOVE]
LOSS = ("loss", "batch", "embedding", "row_blocks")
HEAVY = ("torch", "mteb", "sentence_transformers", "transformers", "matplotlib", "datasets", "openai")


def imported(path: Path) -> set[str]:
    """Modules of this package that a module imports anywhere, without the package's name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gisttools":
            inside = node.module.removeprefix("gisttools").lstrip(".")
            names = [alias.name for alias in node.names]
            packages = [n for n in names if (PACKAGE / inside.replace(".", "/") / n).with_suffix(".py").exists()]
            found |= {f"{inside}.{n}".lstrip(".") for n in packages} or {inside}
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("gisttools.") for a in node.names if a.name.startswith("gisttools.")}
    return found - {""}


def names(paths) -> list[str]:
    return [p.relative_to(ROOT).as_posix() for p in paths]


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
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gisttools.nothing


@pytest.mark.parametrize("name", ["errors", "triplets", "intervals", "progress"])
def test_modules_on_the_ground_import_only_errors(name):
    assert imported(PACKAGE / f"{name}.py") <= {"errors"} - {name}


@pytest.mark.parametrize("name", ["statistics", "mean_intervals", "judgement"])
def test_statistics_stand_on_intervals_alone(name):
    assert imported(PACKAGE / f"{name}.py") <= {"errors", "intervals"}


@pytest.mark.parametrize("name", LOSS)
def test_the_loss_stands_on_its_own(name):
    assert imported(PACKAGE / f"{name}.py") <= {*LOSS, "errors"}


@pytest.mark.parametrize("path", DOMAIN, ids=names(DOMAIN))
def test_domain_modules_never_import_what_stands_above_them(path):
    assert not [m for m in imported(path) if m.split(".")[0] in ABOVE]


@pytest.mark.parametrize("path", MODULES, ids=names(MODULES))
def test_house_style(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "no module docstring"
    calls = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    assert "print" not in calls
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Global)]
    widgets = [
        n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module in ("tqdm.auto", "tqdm.notebook")
    ]
    assert not widgets


def test_every_public_class_and_every_public_function_of_some_length_says_what_it_does():
    bare = []
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            told = isinstance(node, ast.ClassDef) or (isinstance(node, ast.FunctionDef) and len(node.body) > 3)
            if told and not node.name.startswith("_") and not ast.get_docstring(node):
                bare.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert bare == []


def test_every_error_of_the_package_is_a_gist_error():
    found = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
                found.append((path.name, node.exc.func.id))
    own = {"ParameterError", "DataError", "MissingError", "ModelError", "EndpointError", "RunFailed", "GistError"}
    made = {"AttributeError", "one_error"}  # the latter puts several together
    assert [f for f in found if f[1] not in own | made] == []
