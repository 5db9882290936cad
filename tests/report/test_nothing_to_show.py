"""Nothing to show is no mistake: every figure of nothing says so, and every table of nothing is an empty one."""

from __future__ import annotations

import inspect
import warnings
import xml.etree.ElementTree as ElementTree
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from helpers.report_runs import comparison_row, evaluate, finetune, score_rows, synthesize

from gisttools.data.triplets import COLUMNS
from gisttools.evaluation.gain import GainCurve
from gisttools.evaluation.maps import COLUMNS as MAP
from gisttools.evaluation.ranking import Leaderboard
from gisttools.report import (
    ReportData,
    browse,
    checks,
    collect,
    curves,
    figures,
    lesson,
    provenance,
    render,
    sweep,
    tables,
    verdict,
)
from gisttools.report.drawing import Drawing

BLANK = pd.DataFrame()
COMPARED = list(comparison_row())
BOARD = Leaderboard(
    ranked=(), tasks=pd.DataFrame(columns=["task", "subset", "metric", "is_target", "base"]), effects=[], findings=[],
    baseline="student (1)", base=0.5, task="support", metric="accuracy", shared={},
)  # fmt: skip
SIZE = {"rows": 4, "cost_usd": np.nan, "priced_rows": 0, "seeds": 1, "score": 0.5, "seed_scores": [0.5]}
ENDS = dict.fromkeys(("gain", "low", "high", "step", "step_low", "step_high", "seed_sd"), np.nan)


def frame(columns, rows=0):
    """A table of these columns; its rows hold nothing."""
    return pd.DataFrame({c: [None] * rows for c in columns})


def curve(*sizes):
    return GainCurve(
        table=pd.DataFrame(sizes), task="support", metric="accuracy", base=0.5, enough=None, may_hide=np.nan
    )


def no_priced_curve():
    return curve(SIZE | ENDS)


HISTORY = ("step", "loss", "masked_ap", "masked_aa", "masked_pp", "masked_an")
CONFUSED = ("label", "other", "there", "back", "texts", "share")
ITEMS = ("task", "gold", "base_correct", "tuned_correct")
# of each figure what it may be given where there is nothing to show, as lists of arguments
FIGURES = {
    figures.forest: [[BLANK], [frame(COMPARED)], [pd.DataFrame([comparison_row(difference=None, tuned=None)])]],
    figures.embedding_maps: [[BLANK], [frame(MAP)], [frame(MAP, 2)], [frame(["kind"])],
                             [frame(MAP, 2).assign(kind="point")]],
    figures.similarities: [[BLANK], [frame(MAP)], [frame(MAP, 2)], [frame(MAP, 2).assign(kind="same")]],
    figures.acceptance: [[{}], [{"by_label": None, "by_attribute": None}], [{"by_label": {}, "by_attribute": {}}],
                         [{"by_label": {"a": {"asked": 0, "accepted": 0}}, "by_attribute": {"tone": {}}}],
                         [{"by_label": {"a": {}}, "by_attribute": {"tone": None}}]],
    figures.answers: [[{}, "Answers"]],
    figures.confusion: [[{}], [{"confusion": None}], [{"confusion": {}}], [{"confusion": {"a": {}}}],
                        [{"confusion": {"a": None}}]],
    figures.accept_reject: [[{}], [{"asked": None, "accepted": None, "reasons": None}], [{"reasons": {}}]],
    figures.label_counts: [[{}], [{"by_label": None}], [{"by_label": {}}]],
    figures.class_balance: [[[]], [[None, float("nan")]], [iter(())], [pd.Series(dtype=object)], [np.array([])]],
    figures.chunk_lengths: [[[]], [()]],
    figures.label_noise: [[BLANK], [frame(CONFUSED)], [frame(["share"])], [frame(CONFUSED, 2)]],
    figures.per_class: [[BLANK], [frame(ITEMS)], [frame(ITEMS, 2)], [frame(["task", "gold"], 2)]],
    curves.loss_curve: [[BLANK], [frame(HISTORY)], [frame(HISTORY, 2)], [BLANK, BLANK], [BLANK, None, 3],
                        [frame(HISTORY), frame(["step", "dev_score"], 2), 1]],
    curves.masked_shares: [[BLANK], [frame(HISTORY)], [frame(HISTORY, 2)], [frame(["step"], 1000)]],
    curves.score_by_rows: [[curve()]],
    curves.score_by_cost: [[curve()], [no_priced_curve()]],
    sweep.variants_forest: [[BOARD]],
    sweep.effects_forest: [[BOARD]],
    lesson.guide_matrix: [[[], [], []], [np.zeros((0, 0)), np.zeros((0, 0), bool), []]],
    lesson.mask_blocks: [[{}, {}], [{b: np.zeros((0, 0), bool) for b in ("ap", "aa", "pp", "an")}] * 2],
    lesson.temperatures: [[{}, []], [{0.1: []}, []], [{}, [0.5]]],
    lesson.margins: [[[], [], []]],
    lesson.trainings: [[[], BLANK], [["a"], BLANK], [["a"], frame(["variant", "base"], 1)]],
}  # fmt: skip
CASES = [(draw, arguments) for draw, cases in FIGURES.items() for arguments in cases]


def public(module):
    """Functions that a module defines for others."""
    found = inspect.getmembers(module, inspect.isfunction)
    return [f for name, f in found if not name.startswith("_") and f.__module__ == module.__name__]


def test_every_public_figure_is_tried():
    drawn = [f for module in (figures, curves, sweep, lesson) for f in public(module)
             if "Drawing" in str(inspect.signature(f).return_annotation)]  # fmt: skip
    assert {f.__name__ for f in drawn} == {f.__name__ for f in FIGURES}


@pytest.mark.parametrize(("draw", "arguments"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_a_figure_of_nothing_says_so(draw, arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw(*arguments)
        assert isinstance(figure, Drawing)
        assert figure._repr_png_().startswith(b"\x89PNG")
        svg = figures.to_svg(figure)
    ElementTree.fromstring(svg)
    assert figure.title == "Nothing to draw"
    assert figure.alt
    written = " ".join(text.get_text() for text in figure.texts[::-1])
    assert written == figure.alt


@pytest.mark.parametrize("missing", ["base", "tuned"])
def test_a_map_of_one_model_is_drawn(missing):
    point = {"kind": "point", "label": "a", "neighbour": "a", "x": 0.0, "y": 1.0}
    bins = [{"kind": kind, "low": 0.0, "high": 0.1, "value": 1.0} for kind in ("same", "different")]
    table = pd.DataFrame([point, *bins]).assign(role="base" if missing == "tuned" else "tuned")
    for draw in (figures.embedding_maps, figures.similarities):
        figure = draw(table)
        assert "an unknown share" in figure.alt
        assert "nan" not in figures.to_svg(figure)


def test_a_development_score_that_is_missing_leaves_the_loss():
    history = pd.DataFrame({"step": [1, 2], "loss": [2.0, 1.0]})
    figure = figures.loss_curve(history, frame(["step", "dev_score"], 2))
    assert figure.title == "Training loss"


def test_a_leaderboard_of_nothing_is_written(tmp_path):
    assert "No variant was scored." in sweep.leaderboard_text(BOARD)
    page = sweep.write_sweep(BOARD, tmp_path)
    assert "No variant was scored." in page.read_text(encoding="utf-8")


def test_a_curve_of_nothing_has_a_headline():
    assert curve().headline() == "no size was trained on and scored"


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> dict[str, ReportData]:
    """Reports of evaluations that have as little as can be: nothing but the tables that must be there, those without a
    score, tables of no rows, and no tables at all."""
    folder = tmp_path_factory.mktemp("bare")
    unknown = comparison_row(**dict.fromkeys(("base", "tuned", "difference", "low", "high"), np.nan))
    least = collect(evaluate(folder / "least", [comparison_row()]), folder / "least")
    unscored = collect(evaluate(folder / "unscored", [unknown]), folder / "unscored")
    results = folder / "empty"
    parents = [synthesize(results, reasons={}, by_label={}, asked=0, accepted=0).name, finetune(results, ()).name]
    rich = collect(evaluate(results, [comparison_row()], parents), results)
    empty = {"scores": frame(score_rows([comparison_row()])[0]), "comparison": (), "items": frame(browse_items())}
    empty |= dict.fromkeys(("overlap", "references", "failed", "embedding", "history", "masked"), BLANK)
    empty |= {name: {rich.syntheses[0].id: BLANK} for name in ("accepted", "rejected", "mined", "left_out")}
    told = {f.name: getattr(rich, f.name) for f in fields(rich)}
    blank = {name: BLANK if isinstance(value, pd.DataFrame) else value for name, value in (told | empty).items()}
    nothing = ReportData(evaluate=rich.evaluate, scores=BLANK, comparison=())
    return {"least": least, "unscored": unscored, "empty tables": ReportData(**told | empty),
            "tables without columns": ReportData(**blank), "nothing": nothing}  # fmt: skip


def browse_items():
    return ("task", "item", "text", "gold", "base_correct", "tuned_correct", "base_answer", "tuned_answer")


def _of_data(module):
    """Public functions that make something of the whole data, or of a run that may be missing."""
    return [f for f in public(module) if len(inspect.signature(f).parameters) == 1
            and next(iter(inspect.signature(f).parameters)) in ("data", "run")]  # fmt: skip


@pytest.mark.parametrize("kind", ["least", "unscored", "empty tables", "tables without columns", "nothing"])
@pytest.mark.parametrize(
    "make", [f for m in (tables, checks, provenance, verdict, render) for f in _of_data(m)], ids=lambda f: f.__name__
)
def test_whatever_a_report_is_made_of_copes_with_nothing(bare, kind, make):
    data = bare[kind]
    wants_run = next(iter(inspect.signature(make).parameters)) == "run"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = make(data.finetune if wants_run else data)
    assert "nan" not in str(made).split()


@pytest.mark.parametrize("kind", ["least", "unscored", "empty tables", "tables without columns", "nothing"])
def test_a_report_of_little_is_written(bare, kind, tmp_path):
    page = render.write_report(bare[kind], tmp_path, latex=True)
    assert page.read_text(encoding="utf-8").rstrip().endswith("</html>")


@pytest.mark.parametrize("rejected", [None, "empty"])
def test_a_browser_of_no_rows_is_a_page(rejected):
    none = Dataset(COLUMNS.empty_table())
    assert "</html>" in browse.render_browser(none, none if rejected else None, title="nothing")
