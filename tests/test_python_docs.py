"""docs/python.md: each notebook's work in at most fifteen lines of Python, of public names, which run as they stand."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pandas as pd
import pytest

from gisttools.data.triplets import read_triplets
from gisttools.workflow.params import VERBS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n.*?^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def test_every_notebook_has_its_section_of_at_most_fifteen_lines():
    assert [name.lower().replace(" ", "_") for name in SECTIONS] == list(VERBS)
    lines = {name: len([line for line in block.splitlines() if line.strip()]) for name, block in SECTIONS.items()}
    assert {name: n for name, n in lines.items() if n > 15} == {}


@pytest.mark.parametrize("name", SECTIONS)
def test_names_come_from_the_package_or_a_room_and_are_public(name):
    found = [node for node in ast.walk(ast.parse(SECTIONS[name])) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in found if node.module.startswith("gisttools")]
    assert all(node.module.count(".") <= 1 for node in ours)
    assert not [a.name for node in ours for a in node.names if a.name.startswith("_") or a.name.endswith("Params")]


@pytest.mark.slow
def test_the_blocks_run_in_order(tmp_path, results, monkeypatch):
    for folder in ("data", "prompts"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for name, block in SECTIONS.items():
        exec(compile(block, f"docs/python.md, {name}", "exec"), names)
    assert len(read_triplets("converted/triplets.parquet")) <= 120
    assert {p.name.split("-")[0] for p in results.glob("*-*")} == {"finetune", "evaluate"}
    comparison = pd.read_parquet(Path(names["evaluations"][-1]) / "comparison.parquet")
    assert (comparison["overlap"] == 0).all()
    assert names["curve"].sizes == [40, 120]
    assert len(names["board"].table) == 2
    for file in (
        "synthetic.parquet",
        "converted/data_card.md",
        "report/report.html",
        "curve.svg",
        "comparison/leaderboard.html",
    ):
        assert Path(file).stat().st_size > 0
