"""One word for an evaluation: its headline, its verdicts, its report and a leaderboard never disagree."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest
from helpers.report_runs import comparison_row, evaluate

from gisttools.evaluation.comparison import comparison_table, read_comparisons
from gisttools.evaluation.evaluating import Evaluation, Variant
from gisttools.evaluation.judging import headline, verdict_words
from gisttools.report.data import collect
from gisttools.report.render import render_html, render_markdown
from gisttools.report.tables import variants
from gisttools.report.verdict import headline as headline_of_report, verdict_word, words
from gisttools.workflow.evaluations import write_pages

DIFFERENCE = {"helped": (0.08, 0.06, 0.1), "hurt": (-0.08, -0.1, -0.06), "not shown": (0.0, -0.01, 0.01)}


def row(task, verdict, **told):
    difference, low, high = DIFFERENCE[verdict]
    return comparison_row(
        task, verdict=verdict, base=0.5, tuned=0.5 + difference, difference=difference, low=low, high=high, **told
    )


def evaluation(rows, failed=()):
    table = comparison_table(read_comparisons(pd.DataFrame(rows)))
    lost = [{"task": task, "model": "base", "error": "broken", "is_target": True} for task in failed]
    names = list(dict.fromkeys(table["variant"]))
    empty = pd.DataFrame()
    return Evaluation(
        scores=empty, comparison=table, items=empty, overlap=empty, references=empty, averages=empty,
        failed=pd.DataFrame(lost, columns=["task", "model", "error", "is_target"]), speed={}, encoded={},
        variants=tuple(Variant(name=name, roles=(name,), trained_on=()) for name in names),
    )  # fmt: skip


@pytest.mark.parametrize("order", itertools.permutations(["helped", "hurt", "not shown"]))
def test_several_targets_end_with_the_word_of_all_of_them(order):
    found = evaluation([row(f"t{i}", verdict, variant="tuned") for i, verdict in enumerate(order)])
    assert found.verdicts() == {"tuned": "MIXED"}
    assert found.headline().endswith(": MIXED")
    assert found.headline().startswith("mean of 3 targets 50.0 → 50.0 (0.0 points")
    for verdict in order:
        assert f"1 {verdict}" in found.headline()


def test_a_guard_that_lost_is_named_with_the_word():
    lost = row("STS", "hurt", is_target=False, allowed_loss=0.01, non_inferior=False, variant="tuned")
    found = evaluation([row("t", "helped", variant="tuned"), lost])
    assert found.headline() == (
        "t accuracy 50.0 → 58.0 (+8.0 points, 95 % interval +6.0 to +10.0, guard STS lost more than allowed): MIXED"
    )


def test_a_target_that_failed_counts():
    found = evaluation([row("t", "helped", variant="tuned")], failed=["u"])
    assert found.headline().endswith("1 failed): MIXED")


def test_every_variant_has_its_own_word():
    rows = [row("t", "helped", variant="a"), row("t", "hurt", variant="b")]
    assert evaluation(rows).headline() == "t accuracy, 2 variants: a +8.0 HELPED; b −8.0 HURT"
    assert evaluation(rows[::-1]).headline() == "t accuracy, 2 variants: b −8.0 HURT; a +8.0 HELPED"


def test_of_many_variants_the_first_are_told_and_the_others_counted():
    rows = [row("t", "helped" if i < 5 else "hurt", variant=f"v{i}") for i in range(9)]
    assert evaluation(rows).headline().endswith("v2 +8.0 HELPED; and 2 HELPED, 4 HURT")


def test_seeds_are_told():
    assert "3 seeds" in headline(read_comparisons(pd.DataFrame([row("t", "helped", n_seeds=3)])))


def test_nothing_scored_is_nothing_shown():
    told = headline(read_comparisons(pd.DataFrame([row("t", "helped") | {"tuned": None, "difference": None}])))
    assert told.endswith(": NOT SHOWN")


@pytest.mark.parametrize(
    "rows",
    [
        [row("t", "helped"), row("u", "hurt")],
        [row("t", "helped"), row("g", "hurt", is_target=False, allowed_loss=0.01, non_inferior=False)],
        [row("t", "helped", variant="a"), row("t", "hurt", variant="b"), row("u", "hurt", variant="b")],
        [row("t", "hurt", variant="a"), row("t", "helped", variant="b"), row("u", "hurt", variant="b")],
    ],
)
def test_report_and_evaluation_say_the_same(tmp_path, rows):
    found = evaluation(rows)
    data = collect(evaluate(tmp_path, rows), tmp_path)
    first, *others = found.verdicts().values()
    assert verdict_word(data) == first
    assert list(words(data).values()) == others
    assert headline_of_report(data) == found.headline()
    assert {r["word"] for r in variants(data)} == set(others)
    for page in (render_html(data), render_markdown(data)):
        assert first in page
    assert write_pages(str(data.evaluate.folder), tmp_path / "pages").headline == found.headline() if not others else 1


def test_words_are_those_of_the_overall_verdict():
    rows = read_comparisons(pd.DataFrame([row("t", "helped", variant="a"), row("t", "not shown", variant="b")]))
    assert verdict_words(rows) == {"a": "HELPED", "b": "NOT SHOWN"}
    assert verdict_words(rows, ["u"]) == {"a": "MIXED", "b": "NOT SHOWN"}
