"""The report's figures: text stays text, the colours are the page's; targets come first."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from helpers.report_runs import comparison_row, item_rows

from gisttools.evaluation.maps import embedding_map
from gisttools.report import figures


def test_figure_texts_are_not_read_as_mathematics_and_stay_text():
    svg = figures.to_svg(figures.class_balance(["$x^2$ <b>", "$x^2$ <b>", "🙂"]))
    assert "$x^2$ &lt;b&gt;" in svg
    assert "🙂" in svg


def test_figures_follow_the_colours_of_the_page():
    svg = figures.to_svg(figures.class_balance(["a", "b"]))
    assert "var(--fig-good, #" in svg
    assert not re.search(r"(?:fill|stroke): #", svg)


def test_a_long_history_does_not_make_a_large_figure():
    noise = np.random.default_rng(0).random(50_000)
    history = pd.DataFrame({"step": range(50_000), "loss": noise, "masked_ap": noise})
    assert len(figures.to_svg(figures.loss_curve(history))) < 60_000
    assert len(figures.to_svg(figures.masked_shares(history))) < 60_000


def test_the_best_development_score_stands_below_the_loss():
    history = pd.DataFrame({"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0]})
    looks = pd.DataFrame({"step": [1, 2, 3], "dev_score": [0.5, 0.71, 0.6]})
    figure = figures.loss_curve(history, looks)
    assert "best at step 2: 71.0" in figure.alt
    assert ">71.0<" in figures.to_svg(figure)
    assert "development" not in figures.to_svg(figures.loss_curve(history))


def test_classes_of_several_tasks_are_kept_apart():
    items = pd.DataFrame(item_rows("one", 8) + item_rows("two", 8))
    assert ">two: order_status<" in figures.to_svg(figures.per_class(items))


def test_the_forest_draws_target_tasks_first():
    table = pd.DataFrame([comparison_row("other", is_target=False, difference=0.5), comparison_row("mine")])
    svg = figures.to_svg(figures.forest(table))
    assert svg.index(">mine<") < svg.index(">other<")


def test_the_loss_allowed_is_drawn_for_guards_alone():
    guard = comparison_row("other", is_target=False, allowed_loss=0.005)
    svg = figures.to_svg(figures.forest(pd.DataFrame([comparison_row("mine", allowed_loss=np.nan), guard])))
    assert "allowed loss" in svg
    assert svg.count("stroke-dasharray: 2") == 1
    assert "allowed loss" not in figures.to_svg(figures.forest(pd.DataFrame([comparison_row("mine")])))


def test_a_short_forest_keeps_targets_and_the_guards_that_lost_most():
    mine = [comparison_row(f"mine {i}", difference=0.1 + i / 100) for i in range(10)]
    guards = [comparison_row(f"guard {i}", is_target=False, difference=-i / 100) for i in range(10)]
    svg = figures.to_svg(figures.forest(pd.DataFrame(mine + guards), most=7))
    assert ">TARGET TASKS, 4 OF 10<" in svg
    assert ">GUARDS, 3 OF 10<" in svg
    assert all(f">{name}<" in svg for name in ("mine 9", "mine 6", "guard 9", "guard 7"))
    assert ">guard 6<" not in svg


def test_a_task_without_interval_is_drawn_as_a_point():
    svg = figures.to_svg(figures.forest(pd.DataFrame([comparison_row("mine", low=np.nan, high=np.nan)])))
    assert ">+7.5<" in svg


def test_the_saved_step_is_marked():
    history = pd.DataFrame({"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0]})
    assert "step 2 saved" in figures.to_svg(figures.loss_curve(history, saved=2))
    assert "saved" not in figures.to_svg(figures.loss_curve(history))


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)

    class Model:
        def __init__(self, scale):
            self.scale = scale

        def encode(self, texts):
            return np.eye(4)[[len(t) % 3 for t in texts]] + self.scale * rng.normal(size=(len(texts), 4))

    texts = ["x" * i for i in range(60)]
    return embedding_map(Model(2.0), Model(0.2), texts, [len(t) % 3 for t in texts], 0)


def test_the_map_shows_each_text_once_a_model(table):
    figure = figures.embedding_maps(table)
    assert figures.to_svg(figure).count("<use ") >= 120
    assert "the nearest text has the same label for 100 % of the texts" in figure.alt


def test_similarities_name_how_far_classes_are_apart(table):
    figure = figures.similarities(table)
    assert re.search(r"tuned: a pair of one class is more alike than a pair of two (9\d|100) %", figure.alt)


def test_drawing_leaves_matplotlibs_settings_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figures.to_svg(figures.class_balance(["a"]))
    assert dict(mpl.rcParams) == before
