"""What more rows bring: the mark against hand-made intervals and simulated trials, and what intervals stand on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from gisttools.common.errors import ParameterError
from gisttools.common.wording import dollars
from gisttools.evaluation.contenders import Contender, Scored, ScoredOn, paired_gain
from gisttools.evaluation.gain import enough, gain_curve
from gisttools.evaluation.intervals import seed_spread

PART = ("support", "default")
SIZES = (100, 250, 500, 1000)
ITEMS, DRAWS = 280, 5


def trial(rows, seed, base, tuned, *, cost=None, part=PART, target=True, **scored) -> Contender:
    """Values are arrays (draws, items), or plain scores."""
    base, tuned = (Scored(score=float(np.mean(v)), values=v if np.ndim(v) else None) for v in (base, tuned))
    return Contender(
        name=f"evaluate-{rows}-{seed}", rows=rows, seeds=(("seed", seed),), cost=cost,
        priced=0 if cost is None else rows, parameters={}, baseline="student",
        base={part: base}, tuned={part: Scored(score=tuned.score, values=tuned.values, **scored)},
        about={part: ScoredOn(metric="accuracy")}, targets=frozenset([part] if target else []),
    )  # fmt: skip


def trials(gains, *, seeds=(0, 1, 2), sizes=SIZES, by_seed=0.0, noise=0.1, **given) -> list[Contender]:
    """Simulated: each item has a share of its own, models add their gain to it, seeds and cells their noise."""
    rng = np.random.default_rng(5)
    base = np.broadcast_to(rng.uniform(0.2, 0.5, ITEMS), (DRAWS, ITEMS))
    found = []
    for rows, gain in zip(sizes, gains, strict=True):
        for seed in seeds:
            shift = gain + by_seed * rng.normal()
            found.append(trial(rows, seed, base, base + shift + noise * rng.normal(size=(DRAWS, ITEMS)), **given))
    return found


def lows(*rows):
    """A matrix of lower ends from its upper triangle."""
    n = len(rows) + 1
    return [[math.nan] * (i + 1) + list(rows[i]) for i in range(len(rows))] + [[math.nan] * n]


@pytest.mark.parametrize(
    ("matrix", "place", "known"),
    [
        pytest.param(lows((1, 2, 3), (1, 2), (1,)), 3, True, id="still rising"),
        pytest.param(lows((-1, -1, -1), (-1, -1), (-1,)), 0, True, id="flat from the start"),
        pytest.param(lows((1, 1, 1), (-1, -1), (-1,)), 1, True, id="flat after the first"),
        pytest.param(lows((1, 1, 1), (-1, 1), (-1,)), 2, True, id="small steps, none shown, but two together"),
        pytest.param(lows((1, 1, 1), (-1, 1), (1,)), 3, True, id="a lucky size in between does not stop it"),
        pytest.param(lows((0, 0, 0), (1, 1), (1,)), 0, True, id="an interval that ends at zero shows nothing"),
        pytest.param(lows((1, 1, 1), (-2, -3), (-1,)), 1, True, id="more rows hurt"),
        pytest.param(lows((1, 1, 1), (-1, math.nan), (-1,)), 1, False, id="an interval is missing"),
        pytest.param(lows((1, 1, 1), (1, math.nan), (-1,)), 2, True, id="a missing one that does not matter"),
    ],
)
def test_enough_is_the_smallest_size_that_no_larger_one_is_shown_to_beat(matrix, place, known):
    assert enough(matrix) == (place, known)


def test_where_scores_still_rise_there_is_no_mark():
    curve = gain_curve(trials([0.02, 0.05, 0.08, 0.12], noise=0.01))
    assert curve.enough == 1000
    assert curve.headline() == "100 → 1,000 rows: +2.0 → +12.0 points; still pays at 1,000 rows, the most tried"
    assert curve.caveat() == ""


def test_where_they_rise_no_more_the_mark_is_at_the_last_size_that_paid():
    curve = gain_curve(trials([0.03, 0.06, 0.06, 0.06]))
    assert curve.enough == 250
    assert curve.verdict() == "more than 250 rows no longer pays"
    assert curve.caveat().startswith("No larger size is shown to beat 250 rows; up to ")


def test_flat_trials_are_not_shown_to_help():
    curve = gain_curve(trials([0.0, 0.0, 0.0, 0.0]))
    assert (curve.enough, curve.verdict()) == (0, "no size is shown to help")


def test_seeds_that_differ_much_hide_what_equal_ones_show():
    calm, noisy = (gain_curve(trials([0.03, 0.04, 0.05, 0.06], by_seed=s)) for s in (0.0, 0.06))
    assert calm.enough == 1000
    assert noisy.enough < 1000
    assert noisy.may_hide > 0.03


def test_one_size_says_nothing_of_more():
    curve = gain_curve(trials([0.05], sizes=(100,), noise=0.01))
    assert curve.headline() == "100 rows: +5.0 points; one size does not say whether more would pay"
    assert curve.shown()["step"].isna().all()


def test_the_table_holds_scores_gains_and_steps_by_size():
    given = trials([0.03, 0.06, 0.06, 0.06], cost=0.5)
    curve = gain_curve(given[::-1])  # in whatever order they come
    table = curve.table.set_index("rows")
    assert table.index.tolist() == list(SIZES)
    by_hand = [t.tuned[PART].score for t in given if t.rows == 250]
    assert table.loc[250, "seed_scores"] == by_hand
    assert table.loc[250, "seed_sd"] == pytest.approx(np.std(by_hand, ddof=1))
    assert table.loc[250, "gain"] == pytest.approx(np.mean(by_hand) - curve.base)
    assert table.loc[250, "step"] == pytest.approx(table.loc[250, "score"] - table.loc[100, "score"])
    assert ((table["low"] < table["gain"]) & (table["gain"] < table["high"])).all()
    assert curve.summary()["sizes"][0]["step"] is None


def test_a_gain_of_one_task_is_that_of_seeds_crossed_with_draws_and_items():
    given = trials([0.05], sizes=(100,), by_seed=0.02)
    found = paired_gain([t.base for t in given], [t.tuned for t in given], {PART: 1.0})
    arrays = (np.stack([side[PART].values for side in sides]) for sides in
              ([t.base for t in given], [t.tuned for t in given]))  # fmt: skip
    wanted = seed_spread(*arrays).interval
    assert (found.difference, found.low, found.high) == pytest.approx((wanted.difference, wanted.low, wanted.high))


def test_gains_of_several_tasks_cover_the_truth():
    rng, weights = np.random.default_rng(1), {("a", "default"): 0.5, ("b", "default"): 0.5}

    def covers() -> bool:
        before, after = [], []
        luck = 0.01 * rng.normal(size=3)  # of a seed, on all tasks
        by_item = {part: 0.05 + 0.2 * rng.normal(size=100) for part in weights}
        for seed in range(3):
            gains = {p: by_item[p] + luck[seed] + 0.2 * rng.normal(size=(4, 100)) for p in weights}
            before.append({p: Scored(score=0.0, values=np.zeros((4, 100))) for p in weights})
            after.append({p: Scored(score=float(g.mean()), values=g) for p, g in gains.items()})
        found = paired_gain(before, after, weights)
        return found.low <= 0.05 <= found.high

    assert np.mean([covers() for _ in range(400)]) >= 0.92


def test_without_items_the_noise_of_both_sides_adds_up():
    one, other = ([{PART: Scored(score=s, variance=0.01**2, freedom=99)} for s in scores] for scores in
                  ((0.50, 0.51), (0.54, 0.56)))  # fmt: skip
    found = paired_gain(one, other, {PART: 1.0})
    assert found.difference == pytest.approx(0.045)
    by_seed = np.std([0.04, 0.05], ddof=1) ** 2 / 2
    assert found.standard_error == pytest.approx(math.sqrt(by_seed + 2 * 0.01**2))


def test_with_one_seed_the_interval_speaks_of_items_alone():
    found = paired_gain([{PART: Scored(score=0.5)}], [{PART: Scored(score=0.6, variance=0.01**2)}], {PART: 1.0})
    assert (found.standard_error, found.freedom) == (pytest.approx(0.01), math.inf)


def test_without_any_interval_nothing_is_claimed():
    given = [trial(rows, 0, 0.5, 0.5 + rows / 10_000, variance=math.nan) for rows in SIZES]
    curve = gain_curve(given)
    assert curve.enough is None
    assert curve.headline() == "100 → 1,000 rows: +1.0 → +10.0 points; whether more rows pay is not known: intervals " \
        "are missing"  # fmt: skip


def test_sizes_are_compared_over_the_seeds_that_both_have():
    some, others = trials([0.02, 0.08], sizes=SIZES[:2], seeds=(0, 1, 2)), trials([0.3], sizes=(100,), seeds=(7,))
    table = gain_curve([*some, *others]).table
    alone = gain_curve(some).table
    assert table["seeds"].tolist() == [4, 3]
    columns = ["step", "step_low", "step_high"]
    assert table[columns].iloc[1].tolist() == alone[columns].iloc[1].tolist()


def test_without_a_seed_in_common_a_step_has_no_interval():
    curve = gain_curve([*trials([0.02], sizes=(100,), seeds=(0,)), *trials([0.08], sizes=(250,), seeds=(1,))])
    assert curve.table["step"].iloc[1] == pytest.approx(0.06, abs=0.01)
    assert math.isnan(curve.table["step_low"].iloc[1])
    assert curve.enough is None


def several(tuned, targets) -> Contender:
    parts = {(name, subset): Scored(score=s, variance=1e-4) for (name, subset), s in tuned.items()}
    base = {part: Scored(score=0.5) for part in parts}
    about = {part: ScoredOn(metric="accuracy") for part in parts}
    return Contender(name="e", rows=9, parameters={}, baseline="student", base=base, tuned=parts, about=about,
                     targets=frozenset(targets))  # fmt: skip


def test_targets_count_alike_and_so_do_the_subsets_of_a_task():
    given = several({("a", "en"): 0.6, ("a", "de"): 0.8, ("b", "en"): 0.9, ("guard", "en"): 0.0},
                    [("a", "en"), ("a", "de"), ("b", "en")])  # fmt: skip
    curve = gain_curve([given])
    assert (curve.task, curve.table["score"][0]) == ("mean of 2 tasks", pytest.approx((0.7 + 0.9) / 2))
    assert gain_curve([given], task="a").table["score"][0] == pytest.approx(0.7)
    assert gain_curve([given], task="guard").table["score"][0] == 0.0


def test_where_no_task_is_a_target_all_of_them_count():
    assert gain_curve([several({("a", "en"): 0.6, ("b", "en"): 0.8}, [])]).table["score"][0] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("given", "task", "expected"),
    [
        ([], None, "There is no evaluation to draw a curve from"),
        ([trial(9, 0, 0.5, 0.6)], "suport", r"'suport' is none of support\. Did you mean 'support'"),
        (
            [trial(9, 0, 0.5, 0.6, part=("a", "x")), trial(8, 0, 0.5, 0.6)],
            None,
            "evaluate-9-0 scored a, but evaluate-8",
        ),
    ],
)
def test_what_gives_no_curve_is_refused(given, task, expected):
    with pytest.raises(ParameterError, match=expected):
        gain_curve(given, task=task)


def test_a_model_whose_rows_are_not_known_is_refused():
    with pytest.raises(ParameterError, match="evaluate-9-0 is of a model whose rows are not known"):
        gain_curve([replace(trial(9, 0, 0.5, 0.6), rows=None)])


def test_all_problems_come_in_one_message():
    twice = [trial(9, 0, 0.5, 0.6), replace(trial(9, 0, 0.5, 0.7), name="again")]
    with pytest.raises(ParameterError, match=r"(?s)2 problem.*evaluate-9-0 and again have both 9 rows.*'x' is none of"):
        gain_curve(twice, task="x")


@pytest.mark.parametrize(
    ("costs", "priced", "why"),
    [
        ((0.1, 0.4), True, ""),
        ((0.0, 0.0), False, "these rows cost nothing"),
        ((None, None), False, "the price of these rows is not known"),
        ((None, 0.4), False, "the price of the rows of some sizes is not known"),
    ],
)
def test_dollars_are_drawn_only_where_all_are_known_and_some_were_paid(costs, priced, why):
    curve = gain_curve([trial(n, 0, 0.5, 0.6, cost=c, variance=1e-4) for n, c in zip((10, 40), costs, strict=True)])
    assert curve.priced == priced
    assert priced or why in curve.no_price()
    assert ("($0.10 → $0.40)" in curve.headline()) == priced


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0.00"), (0.00123, "0.0012"), (0.072, "0.072"), (0.57, "0.57"), (1234.5, "1,234.50")]
)
def test_small_sums_keep_two_digits(amount, text):
    assert dollars(amount) == f"${text}"
