"""Passages and people's short sentences on them, from the libraries that are installed: data to choose settings by.

A docstring starts with one sentence that says what a function or class does, and goes on in prose. The sentence is the
query, the prose the passage that answers it. Nothing is downloaded; another version of a library has other texts.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

LIBRARIES = ("networkx", "numpy", "pandas", "scipy", "sklearn", "sympy", "torch", "transformers")
WORDS = (6, 25)  # of a query
PASSAGE = (40, 100)  # words: at least, and where it is cut
QUERIES = 1500
_NO_PROSE = re.compile(r"\s*(-{3,}|={3,}|>>>|\.\. |```|:param|Args|Returns|Example|@)|\s{2,}")


def passages_and_queries(keep: Path) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Passages and queries by id, and which passage answers which query; `keep`: a file that spares reading again."""
    found = _found(keep)
    passages = {name: passage for name, (_, passage) in found.items()}
    asked = _order(found)[:QUERIES]
    return passages, {f"q-{n}": found[n][0] for n in asked}, {f"q-{n}": {n: 1} for n in asked}


def other_pairs(keep: Path) -> list[tuple[str, str]]:
    """Query and passage of what is not asked for: pairs by people, to train on."""
    found = _found(keep)
    return [found[name] for name in _order(found)[QUERIES:]]


def _found(keep: Path) -> dict[str, tuple[str, str]]:
    """Query and passage by place, no text twice."""
    if keep.exists():
        return {name: tuple(pair) for name, pair in json.loads(keep.read_text(encoding="utf-8")).items()}
    found: dict[str, tuple[str, str]] = {}
    taken: set[str] = set()
    for name, query, passage in (docstring for library in LIBRARIES for docstring in _docstrings(library)):
        if not taken & {query, passage}:
            found[name] = query, passage
            taken |= {query, passage}
    keep.write_text(json.dumps(found), encoding="utf-8")
    return found


def _order(found: dict) -> list[str]:
    """The places, as drawn."""
    names = list(found)
    return [names[i] for i in np.random.default_rng(0).permutation(len(names))]


def _docstrings(library: str) -> Iterator[tuple[str, str, str]]:
    """Name, first sentence and prose of what a library documents."""
    spec = importlib.util.find_spec(library)
    if spec is None or spec.origin is None:
        return
    root = Path(spec.origin).parent
    for file in sorted(root.rglob("*.py")):
        if "test" in str(file.relative_to(root)):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            first, *rest = re.split(r"\n\s*\n", (ast.get_docstring(node) or "").strip())
            prose = [part for part in rest if not any(_NO_PROSE.match(line) for line in part.splitlines())]
            query, words = first.split(), " ".join(prose).split()
            if WORDS[0] <= len(query) <= WORDS[1] and len(words) >= PASSAGE[0]:
                place = f"{library}/{file.relative_to(root)}:{node.lineno}"
                yield place, " ".join(query), " ".join(words[: PASSAGE[1]])
