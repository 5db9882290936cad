"""The page of a comparison, its text and its command: whole, safe, quick, and within the width of a terminal."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from helpers import ROOT, files_under
from helpers.browser import PALE, in_browser, needs_chromium
from helpers.compared import ABOUT, contender, grid
from helpers.html_page import Page, seen

from gisttools.cli.main import main
from gisttools.common.errors import DataError
from gisttools.evaluation.contenders import Contender, Scored, ScoredOn
from gisttools.evaluation.ranking import leaderboard
from gisttools.report import sweep
from gisttools.report.drawing import to_svg
from gisttools.report.sweep import (
    effects_forest,
    leaderboard_text,
    render_sweep,
    sweep_latex,
    sweep_markdown,
    variants_forest,
    write_sweep,
)

EVIL = "</script><script>document.title='gone'</script><!-- \"quotes\" 🙂 שלום \u202e <b>bold</b> \x1b[31m \udc80"
GUIDED = {"guide": (None, "embedded:all-MiniLM-L6-v2"), "mask_same_label": (False, True)}


def guided_board():
    return leaderboard(grid(lambda guide, mask_same_label: 0.05 * (guide is not None) + 0.01 * mask_same_label, GUIDED))


def hostile_board():
    part = tuple(f"{what} | {EVIL}".replace("\udc80", "") for what in ("task", "subset"))  # Parquet holds no half pairs
    runs = [
        contender(f"evaluate-{i}", {"guide": guide, "text": EVIL + "!" * i}, i, tuned=0.4 + i / 10, part=part)
        for i, guide in enumerate((None, EVIL, "x" * 100_000))
    ]
    return leaderboard(runs)


# --- the page ------------------------------------------------------------------------------------------------------


def test_the_page_says_the_verdict_first_and_holds_all_variants():
    page = render_sweep(guided_board())
    text = seen(page)
    assert text.index("Does the guide help?") < text.index("helped") < text.index("The guide embedded:all-MiniLM-L6-v2")
    for name in (
        "guide=none",
        "mask_same_label=true",
        "Over the baseline",
        "not distinguishable",
        "Task by task",
        "Interactions",
    ):
        assert name in text


def test_the_page_is_one_file_that_loads_nothing():
    page = render_sweep(guided_board())
    assert re.findall(r'(?:src|href)="(?!#)([^"]+)"', page) == []
    assert "default-src 'none'" in page
    assert len(page.encode()) < 3_000_000


def test_the_page_is_accessible():
    parsed = Page(render_sweep(guided_board()))
    ids = [a["id"] for _, a in parsed.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for t, a in parsed.elements if t == "a"} <= set(ids)
    labelled = [i for _, a in parsed.elements for i in (a.get("aria-labelledby") or "").split()]
    assert set(labelled) <= set(ids)
    assert all("scope" in a for t, a in parsed.elements if t == "th")
    assert [t for t, _ in parsed.elements].count("caption") == [t for t, _ in parsed.elements].count("table")
    assert [a.get("role") for t, a in parsed.elements if t == "svg"] == ["img", "img"]
    levels = [int(t[1]) for t, _ in parsed.elements if re.fullmatch(r"h\d", t)]
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_the_numbers_stand_in_the_page_as_json():
    board = guided_board()
    told = json.loads(next(code for code in Page(render_sweep(board)).scripts if code.startswith("{")))
    assert told["word"] == "helped"
    assert [r["recipe"] for r in told["recipes"]] == board.table["recipe"].tolist()
    assert told["findings"][0]["low"] == pytest.approx(board.findings[0].effect.interval.low, abs=1e-6)


def test_hostile_names_stay_text():
    page = render_sweep(hostile_board())
    parsed = Page(page)
    assert [t for t, _ in parsed.elements].count("script") == 2
    assert [t for t, _ in parsed.elements if t == "b"] == []
    assert "document.title='gone'" in seen(page)
    json.loads(next(code for code in parsed.scripts if code.startswith("{")))


def test_files_are_written_whole_with_csv_and_markdown_beside(tmp_path):
    path = write_sweep(guided_board(), tmp_path / "new")
    assert files_under(tmp_path / "new") == [f"leaderboard.{kind}" for kind in ("csv", "html", "md", "tex")]
    assert path == tmp_path / "new" / "leaderboard.html"
    table = pd.read_csv(tmp_path / "new" / "leaderboard.csv")
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert table["runs"].str.split("; ").map(len).tolist() == [3] * 4
    text = (tmp_path / "new" / "leaderboard.md").read_text()
    assert "| 1 | guide=embedded:all-MiniLM-L6-v2, mask\\_same\\_label=true |" in text


def test_the_latex_table_holds_every_variant_and_escapes_it():
    text = sweep_latex(guided_board())
    rows = [line for line in text.splitlines() if line.startswith("guide=")]
    assert len(rows) == 4
    assert all(r"mask\_same\_label" in row and row.count("&") == 4 and row.endswith(r"\\") for row in rows)
    assert r"$\pm$" in rows[0]
    hostile = [line for line in sweep_latex(hostile_board()).splitlines() if "guide=" in line]
    assert all(re.sub(r"\\[&_%#${}]", "", line).count("&") == 4 for line in hostile)


def test_a_smoke_run_is_marked_on_the_page_and_in_the_terminal():
    smoke = leaderboard([replace(c, smoke=i == 0) for i, c in enumerate(grid(lambda **_: 0.1, {"limit": (60, 120)}))])
    assert "SMOKE RUN" in leaderboard_text(smoke)
    assert "Smoke run" in render_sweep(smoke)
    assert "Smoke run" in sweep_markdown(smoke)
    assert "Smoke run" in sweep_latex(smoke)
    assert smoke.headline().startswith("SMOKE RUN")
    whole = guided_board()
    said = leaderboard_text(whole) + render_sweep(whole) + sweep_markdown(whole) + sweep_latex(whole) + whole.headline()
    assert "smoke run" not in said.lower()


def test_two_parameters_are_a_heat_map_and_three_are_none():
    two = leaderboard(grid(lambda a, b: a / 10 + b / 100, {"a": (0, 1), "b": (0, 1, 2)}))
    page = render_sweep(two)
    assert page.count("--heat:") == 6
    assert 'style="--heat: 1.000"' in page
    assert "Scores by b (down) and a (across)" in leaderboard_text(two)
    three = leaderboard(grid(lambda **_: 0.1, {"a": (0, 1), "b": (0, 1), "c": (0, 1)}))
    assert "Scores by" not in leaderboard_text(three)
    assert three.grid is None


def test_a_cell_without_a_variant_is_empty():
    runs = grid(lambda guide, margin: margin, {"guide": (None, "m"), "margin": (0.0, 0.1)})
    board = leaderboard([c for c in runs if c.parameters["guide"] or not c.parameters["margin"]])
    assert "nan" not in render_sweep(board).split("<script")[0].lower()
    assert "nan" not in leaderboard_text(board)
    assert "–" in leaderboard_text(board).split("Scores by")[1]


def test_hostile_names_are_written_too(tmp_path):
    write_sweep(hostile_board(), tmp_path)
    text = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "<script" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows[:5]} == {11}


def test_where_the_page_cannot_be_made_nothing_is_left(tmp_path, monkeypatch):
    def fails(_):
        raise DataError("no")

    monkeypatch.setattr(sweep, "sweep_markdown", fails)
    with pytest.raises(DataError):
        write_sweep(guided_board(), tmp_path)
    assert files_under(tmp_path) == []


@pytest.mark.parametrize("board", [guided_board, hostile_board], ids=["guided", "hostile"])
def test_figures_are_valid_svg_with_all_numbers_in_their_description(board):
    board = board()
    for figure in (variants_forest(board), effects_forest(board)) if board.separable else (variants_forest(board),):
        ElementTree.fromstring(to_svg(figure))
        assert "(" in figure.alt


def test_without_a_parameter_that_differs_alone_there_is_no_figure_of_effects():
    board = leaderboard([contender(f"evaluate-{i}", {"a": i % 2, "b": i}) for i in (0, 1)])
    alone = leaderboard([contender("evaluate-1", {"guide": None})])
    assert effects_forest(alone).title == "Nothing to draw"
    assert "What each parameter does" not in seen(render_sweep(alone))
    assert "What each parameter does" in seen(render_sweep(board))


@pytest.mark.slow
def test_thirty_runs_of_sixty_tasks_are_a_page_in_time(tmp_path):
    """Two thirds of the tasks with 500 items and 10 draws, one third with an interval alone."""
    rng = np.random.default_rng(0)
    parts = [(f"task {i}", "default") for i in range(60)]
    base = {p: Scored(score=0.5, values=rng.uniform(size=(10, 500)) if i % 3 else None) for i, p in enumerate(parts)}
    base = {
        p: s if s.values is None else Scored(score=float(s.values.mean()), values=s.values) for p, s in base.items()
    }

    def run(i):
        tuned = {}
        for p, s in base.items():
            values = None if s.values is None else s.values + rng.normal(0.01, 0.1, (10, 500))
            score = 0.5 + rng.normal(0, 0.02) if values is None else float(values.mean())
            tuned[p] = Scored(score=score, values=values, variance=0.0001, freedom=99.0)
        parameters = {"guide": (None, "a")[i % 2], "limit": (60, 120, 240, 476, 900)[i // 2 % 5]}
        about = {p: ScoredOn(**ABOUT) for p in parts}
        return Contender(name=f"evaluate-{i}", parameters=parameters, seeds=(("seed", i // 10),), baseline="b",
                         base=base, tuned=tuned, about=about, targets=frozenset(parts[:40]))  # fmt: skip

    runs = [run(i) for i in range(30)]
    started = time.process_time()  # of this process: what else a machine does is not counted
    page = write_sweep(leaderboard(runs), tmp_path)
    assert time.process_time() - started < 20
    assert page.stat().st_size < 3_000_000


# --- the terminal --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", [guided_board, hostile_board], ids=["guided", "hostile"])
def test_no_line_is_wider_than_a_terminal_or_moves_its_cursor(board):
    text = leaderboard_text(board())
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text


def test_the_text_holds_findings_variants_and_effects():
    text = leaderboard_text(guided_board())
    assert text.startswith("support, accuracy: 4 variants, 12 runs; baseline student (1.0) 3")
    assert "  1 guide=embedded:all-MiniLM-L6-v2, mask_same_label=true" in text
    assert "    guide: none → embedded:all-MiniLM-L6-v2" in text
    assert re.search(r"helped +2 settings, 3 seeds", text)


@pytest.fixture
def compared(monkeypatch):
    """Evaluate runs' names whose contenders are simulated ones."""
    from gisttools import workflow
    from gisttools.common.project import results_folder

    runs = {r.name: r for r in grid(lambda limit: limit / 1000, {"limit": (60, 120)})}
    monkeypatch.setattr(workflow, "contenders_to_compare", lambda names: [runs[n] for n in names or runs])
    monkeypatch.setattr(workflow, "find_runs", lambda names: [results_folder() / name for name in names])
    return list(runs)


def test_the_command_prints_the_leaderboard_of_all_or_of_those_named(compared):
    done = CliRunner().invoke(main, ["compare"])
    assert (done.exit_code, "2 variants, 6 runs" in done.output) == (0, True)
    done = CliRunner().invoke(main, ["compare", *compared[:2]])
    assert "1 variant, 2 runs" in done.output


def test_the_command_prints_json(compared):
    done = CliRunner().invoke(main, ["compare", "--json"])
    found = json.loads(done.output)
    assert [r["recipe"] for r in found["recipes"]] == ["limit=120", "limit=60"]
    (row,) = re.findall(r"^\| `compare` \|.*$", (ROOT / "docs" / "commands.md").read_text("utf-8"), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == {"compare", *found}


def test_a_wrong_task_or_run_is_one_message(compared, results):
    done = CliRunner().invoke(main, ["compare", "--task", "nothing"])
    assert (done.exit_code, "task = 'nothing' is none of support" in done.output) == (1, True)


def test_without_runs_the_command_says_what_to_do(results):
    done = CliRunner().invoke(main, ["compare"])
    assert (done.exit_code, "No finished evaluate run" in done.output) == (1, True)


def test_help_loads_nothing_heavy():
    script = (
        "import sys; from click.testing import CliRunner; from gisttools.cli.main import main; "
        "assert CliRunner().invoke(main, ['compare', '--help']).exit_code == 0; "
        "print(*sorted({'numpy', 'pandas', 'scipy', 'matplotlib', 'torch', 'mteb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


# --- in a browser --------------------------------------------------------------------------------------------------

_DRIVE = (
    PALE
    + """
addEventListener("load", async () => {
  const seen = { width: innerWidth, fits: document.documentElement.scrollWidth <= innerWidth };
  const table = document.querySelector("table[data-sortable]");
  const first = () => table.tBodies[0].rows[0].cells[0].textContent;
  seen.before = first(); table.tHead.rows[0].cells[2].querySelector("button").click();
  table.tHead.rows[0].cells[2].querySelector("button").click(); seen.after = first();
  document.querySelectorAll("details").forEach((d) => { d.open = true; });
  seen.opened = document.documentElement.scrollWidth <= innerWidth;
  const targets = [...document.querySelectorAll("nav a, summary, button")].filter((e) => e.offsetParent);
  seen.small = targets.filter((e) => Math.min(e.offsetHeight, e.offsetWidth) < 44).map((e) => e.outerHTML);
  scrollTo(0, document.documentElement.scrollHeight / 2);
  seen.contents = [scrollY > 500, document.querySelector("nav.contents").getBoundingClientRect().top];
  seen.title = document.title; seen.errors = errors; seen.pale = pale();
  parent.postMessage(JSON.stringify(seen), "*");
});
"""
)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)], ids=["desk", "phone in the dark"])
@pytest.mark.parametrize("board", [guided_board, hostile_board], ids=["guided", "hostile"])
def test_in_a_browser_nothing_breaks_scrolls_sideways_or_comes_alive(board, width, dark, tmp_path):
    needs_chromium()
    found, logged = in_browser(render_sweep(board()), tmp_path, width, _DRIVE, dark=dark)
    assert (found["errors"], logged) == ([], [])
    assert (found["width"], found["fits"], found["opened"]) == (width, True, True)
    assert found["title"] != "gone"
    assert found["pale"] == []
    assert (found["small"], found["contents"]) == ([], [True, 0])
    assert found["before"] == "1"
    assert found["after"] != "1"  # by score, the lowest first
