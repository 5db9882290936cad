"""The rule from numbers to advice, by a table of cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gisttools.evaluation.advice import Candidate, advise, simultaneous
from gisttools.evaluation.comparison import holm
from gisttools.evaluation.intervals import Interval, student_interval

FLOOR = ("guess", "floor", 0.10, 1e6)


def gap_of(error: float):
    """Differences that all have this standard error."""

    def gap(one: Candidate, other: Candidate) -> Interval:
        return student_interval(one.score - other.score, error**2, 500, n_items=500, n_draws=1, method="case")

    return gap


def candidates(*rows):
    return [Candidate(name=n, kind=k, score=s, texts_per_s=t) for n, k, s, t in rows]


CASES = [
    # what, candidates (name, kind, score, texts a second), standard error, word, best, other, names of the trades
    ("the best is the fastest", [FLOOR, ("tuned", "tuned", 0.70, 900), ("guide", "guide", 0.60, 90)], 0.01,
     ("use", "tuned", "", [])),
    ("the best is slow, nothing faster comes near, and what is faster earns its cost",
     [FLOOR, ("tuned", "tuned", 0.44, 5000), ("tf-idf", "classic", 0.45, 20000), ("guide", "guide", 0.64, 300)], 0.01,
     ("use", "guide", "", ["tf-idf"])),
    ("two that both earn their cost", [FLOOR, ("tuned", "tuned", 0.60, 4200), ("guide", "guide", 0.64, 300)], 0.01,
     ("use", "guide", "", ["tuned"])),
    ("the best is not shown to be better than a faster one",
     [FLOOR, ("tuned", "tuned", 0.63, 4200), ("guide", "guide", 0.64, 300)], 0.01,
     ("choose", "guide", "tuned", ["tuned"])),
    ("of several that are not shown to be worse the fastest is named",
     [FLOOR, ("tf-idf", "classic", 0.62, 20000), ("tuned", "tuned", 0.63, 4200), ("guide", "guide", 0.64, 300)], 0.02,
     ("choose", "guide", "tf-idf", ["tf-idf"])),
    ("base and tuned are as fast as each other, whatever the clock says",
     [FLOOR, ("base", "base", 0.63, 850), ("tuned", "tuned", 0.64, 1000)], 0.01, ("choose", "tuned", "base", ["base"])),
    ("a slower model that is as good is no reason against the faster",
     [FLOOR, ("tuned", "tuned", 0.64, 1000), ("guide", "guide", 0.64, 90)], 0.01, ("use", "tuned", "", [])),
    ("a speed that was not measured counts as fast",
     [FLOOR, ("api", "reference", 0.63, None), ("tuned", "tuned", 0.64, 1000)], 0.01,
     ("choose", "tuned", "api", ["api"])),
    ("no model beats a guess",
     [("guess", "floor", 0.50, 1e6), ("base", "base", 0.50, 90), ("tuned", "tuned", 0.51, 90)], 0.02,
     ("none", "tuned", "", [])),
    ("words alone are the best", [FLOOR, ("tf-idf", "classic", 0.70, 20000), ("tuned", "tuned", 0.60, 900),
      ("guide", "guide", 0.62, 90)], 0.01, ("use", "tf-idf", "", [])),
    ("a head that is as fast as the tuned model and better",
     [FLOOR, ("tuned", "tuned", 0.60, 5000), ("head", "head", 0.66, 4900), ("guide", "guide", 0.50, 90)], 0.01,
     ("use", "head", "", [])),
    ("a tuned model that is shown to be worse than its own base",
     [FLOOR, ("base", "base", 0.66, 900), ("tuned", "tuned", 0.60, 900)], 0.01, ("use", "base", "", [])),
    ("what is faster and shown to be worse, but not better than what is faster still, is no trade",
     [FLOOR, ("tf-idf", "classic", 0.50, 20000), ("tuned", "tuned", 0.51, 5000), ("guide", "guide", 0.64, 300)], 0.01,
     ("use", "guide", "", ["tf-idf"])),
    ("three of equal scores: the fastest", [FLOOR, ("a", "base", 0.60, 100), ("b", "tuned", 0.60, 1000),
      ("c", "guide", 0.60, 10)], 0.01, ("use", "b", "", [])),
    ("no speed was measured", [FLOOR, ("a", "reference", 0.60, None), ("b", "reference", 0.70, None)], 0.01,
     ("use", "b", "", [])),
    ("a difference without an interval is not shown",
     [FLOOR, ("a", "reference", 0.60, 100), ("b", "reference", 0.70, 90)], 5.0, ("none", "b", "", [])),
    ("only guesses", [FLOOR, ("random", "floor", 0.11, 1000)], 0.01, ("none", "", "", [])),
    ("one model alone", [FLOOR, ("tuned", "tuned", 0.64, 1000)], 0.01, ("none", "", "", [])),
]  # fmt: skip


@pytest.mark.parametrize(("what", "rows", "error", "wanted"), CASES, ids=[c[0] for c in CASES])
def test_the_rule(what, rows, error, wanted) -> None:
    advice = advise(candidates(*rows), gap_of(error))
    assert (advice.word, advice.best, advice.other, [t.name for t in advice.trades]) == wanted


@pytest.mark.parametrize(("what", "rows", "error", "wanted"), CASES, ids=[c[0] for c in CASES])
def test_the_order_of_candidates_changes_nothing(what, rows, error, wanted) -> None:
    advice = advise(candidates(*reversed(rows)), gap_of(error))
    assert (advice.word, {advice.best, advice.other}) == (wanted[0], {wanted[1], wanted[2]})


def test_a_smoke_run_makes_no_claim() -> None:
    advice = advise(candidates(*CASES[0][1]), gap_of(0.01), smoke=True)
    assert advice.word == "none"
    assert "smoke" in advice.head


def test_a_trade_says_points_and_times_as_fast() -> None:
    rows = [("tuned", "tuned", 0.609, 4200), ("guide", "guide", 0.64, 300)]
    assert advise(candidates(*rows), gap_of(0.005)).trades[0].told() == "3.1 points less, 14 times as fast"


def test_many_candidates_make_a_difference_harder_to_show() -> None:
    """2.3 standard errors are enough for one difference, not for one of ten."""
    pair = [("tuned", "tuned", 0.64, 1000), ("base", "base", 0.617, 1000)]
    crowd = [(f"other {i}", "reference", 0.617, 1000) for i in range(9)]
    assert advise(candidates(*pair), gap_of(0.01)).word == "use"
    assert advise(candidates(*pair, *crowd), gap_of(0.01)).word == "choose"


def test_simultaneous_intervals_agree_with_holm() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        found = rng.normal(0.015, 0.015, rng.integers(1, 8))
        gaps = [student_interval(d, 1e-4, 50, n_items=51, n_draws=1, method="") for d in found]
        shown = holm([g.p for g in gaps]) < 0.05
        assert [not low <= 0 <= high for low, high in ((g.low, g.high) for g in simultaneous(gaps))] == shown.tolist()


def test_a_difference_without_p_has_no_interval_and_weighs_on_no_other() -> None:
    known = student_interval(0.1, 1e-4, 50, n_items=51, n_draws=1, method="")
    unknown = Interval(difference=0.1, low=math.nan, high=math.nan, n_items=0, n_draws=0, method="")
    alone, both = simultaneous([known])[0], simultaneous([known, unknown])
    assert both[0] == alone
    assert math.isnan(both[1].low)
