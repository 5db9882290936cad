"""Figures of what more rows bring: whatever the curve, they draw it whole and say what it says."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from gisttools.evaluation.gain import GainCurve
from gisttools.report import figures
from gisttools.report.drawing import PAPER


def curve(gains, *, enough, sizes=(60, 120, 240, 476), costs=None, seeds=3, half=0.01, priced_rows=None) -> GainCurve:
    rows = []
    for i, (n, gain) in enumerate(zip(sizes, gains, strict=True)):
        step = gain - gains[i - 1] if i else np.nan
        spread = np.linspace(-0.004, 0.004, seeds) if seeds > 1 else np.zeros(1)
        rows.append(
            {
                "rows": n, "cost_usd": costs[i] if costs else np.nan, "priced_rows": priced_rows or n, "seeds": seeds,
                "score": 0.3 + gain, "seed_sd": 0.004, "gain": gain, "low": gain - half, "high": gain + half,
                "step": step, "step_low": step - half, "step_high": step + half,
                "seed_scores": (0.3 + gain + spread).tolist(),
            }
        )  # fmt: skip
    return GainCurve(table=pd.DataFrame(rows), task="support <1> & $x$", metric="accuracy", base=0.3, enough=enough,
                     may_hide=0.01)  # fmt: skip


RISING = curve([0.02, 0.04, 0.06, 0.08], enough=476, costs=[0.1, 0.2, 0.4, 0.8])
MARKED = curve([0.02, 0.06, 0.06, 0.06], enough=120, costs=[0.1, 0.2, 0.4, 0.8])
FLAT = curve([0.0, 0.0, 0.001, 0.0], enough=0)
UNKNOWN = curve([0.02, 0.04, 0.06, 0.08], enough=None, half=np.nan)
ALONE = curve([0.02], enough=60, sizes=(60,), seeds=1)
NAMES = ["rising", "marked", "flat", "unknown", "alone"]


def texts(figure) -> list[str]:
    (axes,) = figure.axes
    return [t.get_text() for t in (*axes.texts, *figure.texts)]


@pytest.mark.parametrize("given", [RISING, MARKED, FLAT, UNKNOWN, ALONE], ids=NAMES)
def test_every_curve_is_drawn_and_is_valid_svg(given):
    figure = figures.score_by_rows(given)
    ElementTree.fromstring(figures.to_svg(figure))
    assert given.verdict() in figure.title
    assert "baseline 30.0" in texts(figure)


def test_the_mark_stands_between_what_pays_and_what_does_not():
    figure = figures.score_by_rows(MARKED)
    (axes,) = figure.axes
    assert "more data no longer pays →" in texts(figure)
    hollow = [line for line in axes.lines if line.get_markersize() == 7]
    assert [line.get_markerfacecolor() == PAPER for line in hollow] == [False, False, True, True]
    places = [line.get_xdata()[0] for line in hollow]
    upright = [line for line in axes.lines if len(line.get_xdata()) == 2 and list(line.get_ydata()) == [0, 1]]
    assert places[1] < upright[0].get_xdata()[0] < places[2]


@pytest.mark.parametrize("given", [RISING, UNKNOWN, ALONE, FLAT], ids=["rising", "unknown", "alone", "flat"])
def test_without_a_mark_the_verdict_is_told(given):
    said = texts(figures.score_by_rows(given))
    assert given.verdict() in said
    assert "more data no longer pays →" not in said


def test_sizes_that_differ_by_far_stand_on_a_logarithmic_axis():
    def places(sizes):
        (axes,) = figures.score_by_rows(curve([0.01, 0.02, 0.03], enough=sizes[-1], sizes=sizes)).axes
        return [line.get_xdata()[0] for line in axes.lines if line.get_markersize() == 7]

    assert places((10, 100, 1000)) == pytest.approx([0, 0.5, 1])
    assert places((100, 200, 300)) == pytest.approx([0, 0.5, 1])
    assert places((100, 120, 300)) == pytest.approx([0, 0.1, 1])


def test_names_of_close_sizes_do_not_stand_over_each_other():
    sizes = (1000, 1010, 1020, 1500, 9000)
    (axes,) = figures.score_by_rows(curve([0.01] * 5, enough=1000, sizes=sizes)).axes
    shown = [t.get_text() for t in axes.get_xticklabels()]
    assert sorted(shown) == sorted(["9,000", "1,500", "1,020"])


def test_all_that_is_drawn_lies_within_the_axes():
    for given in (RISING, MARKED, FLAT, UNKNOWN, ALONE):
        (axes,) = figures.score_by_rows(given).axes
        low, high = axes.get_ylim()
        points = [v for line in axes.lines for v in np.asarray(line.get_ydata(), dtype=float) if v > 1]
        assert low < np.nanmin(points)
        assert np.nanmax(points) < high
        assert all(low < t.get_position()[1] < high for t in axes.texts)


def test_dollars_have_a_figure_of_their_own():
    (axes,) = figures.score_by_cost(MARKED).axes
    assert {"$0.10", "$0.80"} <= {t.get_text() for t in axes.get_xticklabels()}
    assert axes.get_xlabel() == "US dollars for the rows"
    partly = curve([0.01, 0.02], enough=120, sizes=(60, 120), costs=[0.1, 0.2], priced_rows=50)
    assert figures.score_by_cost(partly).axes[0].get_xlabel().endswith("of those that name a price")


@pytest.mark.parametrize("costs", [None, [0.0] * 4])
def test_without_dollars_there_is_a_sentence_in_place_of_the_curve(costs):
    given = curve([0.02, 0.04, 0.06, 0.08], enough=476, costs=costs)
    assert figures.score_by_cost(given).alt == given.no_price()
    assert "No curve against dollars" in given.no_price()


def test_colours_are_those_of_the_page():
    svg = figures.to_svg(figures.score_by_rows(MARKED))
    assert [
        name for name in ("good", "base", "muted", "faint", "ink", "paper") if f"var(--fig-{name}," not in svg
    ] == []
