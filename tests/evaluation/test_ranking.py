"""Leaderboards: variants, intervals against oracles, effects of parameters in simulations, the guide's verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.compared import PART, contender, grid
from scipy import stats

from gisttools.common.errors import ParameterError
from gisttools.common.wording import shortened, value_name
from gisttools.evaluation.contenders import Scored
from gisttools.evaluation.intervals import seed_spread
from gisttools.evaluation.ranking import effect_table, effects, leaderboard
from gisttools.evaluation.variants import group

GUIDED = {"guide": (None, "minilm"), "mask_same_label": (False, True)}


def guided(gain, **given):
    return leaderboard(grid(gain, GUIDED, **given))


def effect_of(board, parameter, value=None):
    table = effect_table(board.effects)
    rows = table[(table["parameter"] == parameter) & ((table["value"] == value) | (value is None))]
    return rows.iloc[0]


# --- variants -------------------------------------------------------------------------------------------------------


def test_models_that_differ_only_in_seeds_are_one_variant_named_by_what_differs():
    variants, factors = group(grid(lambda **_: 0.1, GUIDED))
    assert [f.name for f in factors] == ["guide", "mask_same_label"]
    assert [(r.name, len(r.runs)) for r in variants] == [
        ("guide=none, mask_same_label=false", 3),
        ("guide=none, mask_same_label=true", 3),
        ("guide=minilm, mask_same_label=false", 3),
        ("guide=minilm, mask_same_label=true", 3),
    ]


def test_parameters_that_change_together_are_one_factor():
    runs = [contender(f"evaluate-{g}", {"guide": g, "epochs": r}) for g, r in ((None, 1.0), ("a", 2.0))]
    _, (factor,) = group(runs)
    assert (factor.name, factor.along, factor.values) == ("guide", ("epochs",), (None, "a"))
    assert "epochs changed with it" in leaderboard(runs).sentences()[0]


def test_without_a_guide_there_are_no_prompts_of_one_that_could_be_the_cause():
    told = ((None, None), ("a", "query: "))
    runs = [contender(f"evaluate-{g}", {"guide": g, "guide_query_prompt": p}) for g, p in told]
    assert "changed with it" not in leaderboard(runs).sentences()[0]
    told = (("a", None), ("b", "query: "))  # of two guides it may be the prompt
    (found,) = leaderboard([contender(f"evaluate-{g}", {"guide": g, "guide_query_prompt": p}) for g, p in told]).effects
    assert found.along == ("guide_query_prompt",)


def test_models_are_the_same_where_they_are_so_for_the_seeds_that_both_have():
    runs = [
        contender(f"evaluate-{guide}-{seed}", {"guide": guide}, seed, weights=f"w{seed}")
        for guide, seeds in ((None, (1, 2, 3)), ("a", (1, 2, 3, 42)))
        for seed in seeds
    ]
    (finding,) = leaderboard(runs).findings
    assert finding.verdict == "same models"
    assert "does nothing here, the models are the same" in finding.sentence


def test_a_model_from_elsewhere_is_a_row_but_no_setting():
    runs = [*grid(lambda **_: 0.1, {"limit": (60, 120)}), contender("evaluate-m", {"model": "org/m"})]
    runs[-1] = replace(runs[-1], base=runs[0].base, about=runs[0].about)
    board = leaderboard(runs)
    assert set(board.table["recipe"]) == {"limit=60", "limit=120", "model=org/m"}
    assert len(board.effects) == 1


def test_a_single_variant_is_its_difference_to_the_baseline():
    board = leaderboard([contender("evaluate-1", {"guide": None, "mask_same_label": True, "epochs": 1.0})])
    assert board.table["recipe"].tolist() == ["guide=none, mask_same_label=true"]
    assert (board.effects, board.findings, board.question()) == ([], [], "Did training help?")
    assert "the only variant" in board.headline()


# --- intervals -----------------------------------------------------------------------------------------------------


def test_the_table_against_a_hand_made_one():
    runs = grid(lambda limit: limit / 1000, {"limit": (60, 120)})
    board = leaderboard(runs)
    values = {
        limit: np.stack([r.tuned[PART].values for r in runs if r.parameters["limit"] == limit]) for limit in (60, 120)
    }
    base = np.stack([runs[0].base[PART].values] * 3)
    for row, limit in zip(board.table.itertuples(), (120, 60), strict=True):
        assert row.recipe == f"limit={limit}"
        assert row.score == pytest.approx(values[limit].mean())
        assert row.seed_sd == pytest.approx(values[limit].mean(axis=(1, 2)).std(ddof=1))
        wanted = seed_spread(base, values[limit])
        parts = [(wanted.seed_error**2, 2), (wanted.item_error**2, wanted.item_freedom)]
        whole = sum(v for v, _ in parts)
        half = stats.t.ppf(0.975, whole**2 / sum(v**2 / f for v, f in parts if v)) * np.sqrt(whole)
        assert (row.difference, row.low, row.high) == pytest.approx(
            (wanted.interval.difference, wanted.interval.difference - half, wanted.interval.difference + half)
        )
    behind = seed_spread(values[120], values[60]).interval
    last = board.table.iloc[1]
    assert (last.behind, last.behind_low, last.behind_high) == pytest.approx(
        (behind.difference, behind.low, behind.high)
    )


def test_an_effect_against_sums_over_every_cell():
    """One seed: the paired difference, draws and items crossed, of the mean over settings; written out in loops."""
    runs = grid(lambda a, b: 0.1 * a + 0.05 * b, {"a": (0, 1), "b": (0, 1)}, seeds=(0,), shape=(3, 5))
    draws, items = 3, 5
    gain = np.zeros((draws, items))
    for run in runs:
        sign = 1 if run.parameters["a"] else -1
        for d in range(draws):
            for i in range(items):
                gain[d, i] += sign * run.tuned[PART].values[d, i] / 2
    mean = gain.sum() / gain.size
    by_draw, by_item = gain.mean(axis=1), gain.mean(axis=0)
    v_draw = sum((x - mean) ** 2 for x in by_draw) / (draws - 1) / draws
    v_item = sum((x - mean) ** 2 for x in by_item) / (items - 1) / items
    rest = sum((gain[d, i] - by_draw[d] - by_item[i] + mean) ** 2 for d in range(draws) for i in range(items))
    v_cell = rest / ((draws - 1) * (items - 1)) / gain.size
    whole = max(v_draw - v_cell, 0) + max(v_item - v_cell, 0) + v_cell
    parts = ((v_draw, draws - 1), (v_item, items - 1), (v_cell, (draws - 1) * (items - 1)))
    half = stats.t.ppf(0.975, whole**2 / sum(v**2 / f for v, f in parts)) * np.sqrt(whole)
    found = effect_of(leaderboard(runs), "a")
    assert (found.difference, found.low, found.high) == pytest.approx((mean, mean - half, mean + half))
    assert (found.settings, found.seeds) == (2, 1)


def test_a_parameter_without_effect_is_covered_and_one_with_an_effect_is_found():
    """Trainings of their own noise, items that like parameters differently: the interval holds the truth."""
    rng = np.random.default_rng(11)
    covered = {"a": 0, "b": 0}
    shown = 0
    times = 300
    for _ in range(times):
        runs = grid(
            lambda a, b: 0.02 * b, {"a": (0, 1), "b": (0, 1)}, by_seed=0.004, by_item=0.1, rng=rng, shape=(3, 60)
        )
        found = {e.parameter: e.interval for e in effects(*group(runs), {PART: 1.0})}
        for name, truth in (("a", 0.0), ("b", 0.02)):
            covered[name] += found[name].low <= truth <= found[name].high
        shown += found["b"].low > 0
    assert 0.92 <= covered["a"] / times <= 0.99
    assert 0.92 <= covered["b"] / times <= 0.99
    assert shown / times > 0.2


def test_without_single_answers_intervals_are_wide_but_there():
    told = {"variance": 0.0001, "freedom": 99.0}
    runs = [
        contender(f"evaluate-{limit}-{s}", {"limit": limit}, s, tuned=0.4 + limit / 1000)
        for limit in (10, 90)
        for s in (0, 1)
    ]
    runs = [replace(r, tuned={PART: Scored(score=r.tuned[PART].score, **told)}) for r in runs]
    last = leaderboard(runs).table.iloc[1]
    assert last.behind == pytest.approx(-0.08)
    assert last.behind_high - last.behind_low == pytest.approx(2 * stats.t.ppf(0.975, 99) * np.sqrt(0.0002), rel=0.02)


def test_variants_of_other_seeds_are_paired_in_order_and_shared_seeds_come_first():
    alone = grid(lambda limit: limit / 1000, {"limit": (60,)}, seeds=(0, 1, 2))
    other = grid(lambda limit: limit / 1000, {"limit": (120,)}, seeds=(5, 6))
    assert (
        effect_of(
            leaderboard([*alone, *[replace(r, name=f"x{r.name}", base=alone[0].base) for r in other]]), "limit"
        ).seeds
        == 2
    )
    shared = grid(lambda limit: limit / 1000, {"limit": (120,)}, seeds=(2, 7))
    assert (
        effect_of(
            leaderboard([*alone, *[replace(r, name=f"x{r.name}", base=alone[0].base) for r in shared]]), "limit"
        ).seeds
        == 1
    )


def test_ties_with_the_best_are_told():
    board = leaderboard(grid(lambda limit: {60: 0.0, 120: 0.1, 240: 0.1}[limit], {"limit": (60, 120, 240)}))
    assert board.table["with_best"].tolist() == [True, True, False]
    assert len(board.tied) == 1
    assert board.word() == "no clear best"
    assert f"Not distinguishable from it: {board.tied[0]}." in board.best_sentence()
    clear = leaderboard(grid(lambda limit: limit / 1000, {"limit": (60, 240)}))
    assert (clear.word(), clear.tied) == ("one ahead", [])


# --- effects and verdicts ------------------------------------------------------------------------------------------


def test_parameters_that_never_differ_alone_are_not_separable():
    runs = [contender(f"evaluate-{i}", {"a": a, "b": b}) for i, (a, b) in enumerate([(0, 0), (1, 1), (0, 2)])]
    board = leaderboard(runs)
    assert effect_of(board, "a").verdict == "not separable"
    assert np.isnan(effect_of(board, "a").difference)
    assert effect_of(board, "b", "2").settings == 1


def test_values_stand_in_order_nothing_first():
    board = leaderboard([contender(f"evaluate-{v}", {"lr": v}) for v in (0.01, None, 1e-4)])
    assert effect_table(board.effects)[["against", "value"]].to_numpy().tolist() == [
        ["none", "0.0001"],
        ["none", "0.01"],
    ]


@pytest.mark.parametrize(("gain", "word"), [(0.1, "helped"), (-0.1, "hurt"), (0.0, "not shown")])
def test_the_guide_has_a_verdict_with_numbers(gain, word):
    board = guided(lambda guide, **_: gain * (guide is not None))
    assert (board.word(), board.question()) == (word, "Does the guide help?")
    said = board.sentences()[0]
    shown = {"not shown": "is not shown to help"}.get(word, word)
    assert said.startswith(f"The guide minilm, where labels do not mask, {shown}: ")
    assert "points (95 % interval" in said
    assert "over unguided training that is the same otherwise, 3 seeds." in said


def test_the_guide_is_first_judged_where_labels_do_not_mask_and_then_beside_them():
    board = guided(lambda guide, mask_same_label: 0.1 * (guide is not None and not mask_same_label))
    assert [(f.question, f.verdict) for f in board.findings[:2]] == [
        ("Does the guide help?", "helped"),
        ("And where labels mask as well?", "not shown"),
    ]


def test_where_labels_do_not_vary_the_guide_is_judged_over_all_settings():
    board = leaderboard(grid(lambda guide, **_: 0.1 * (guide is not None), {"guide": (None, "m"), "limit": (60, 120)}))
    assert board.sentences()[0].endswith("over unguided training that is the same otherwise, 3 seeds in 2 settings.")
    assert len(board.findings) == 1


def test_labels_are_judged_on_top_of_the_guide_and_without_one():
    board = guided(lambda guide, mask_same_label: 0.1 * mask_same_label * (guide is None))
    found = {f.question: f.verdict for f in board.findings}
    assert found["What do labels add on top of the guide?"] == "not shown"
    assert found["What do labels add without a guide?"] == "helped"
    assert found["And where labels mask as well?"] == "hurt"


def test_three_arms_are_enough():
    arms = grid(lambda guide, mask_same_label: 0.1 * (guide is not None) + 0.1 * mask_same_label, GUIDED)
    arms = [r for r in arms if r.parameters["guide"] or not r.parameters["mask_same_label"]]
    board = leaderboard(arms)
    assert {f.question: f.verdict for f in board.findings} == {
        "Does the guide help?": "helped",
        "What do labels add on top of the guide?": "helped",
    }


def test_a_task_can_be_chosen_and_a_wrong_one_is_refused():
    runs = grid(lambda **_: 0.1, {"limit": (60, 120)})
    assert leaderboard(runs, task="support").task == "support"
    with pytest.raises(ParameterError, match=r"task = 'suport' is none of support\. Did you mean"):
        leaderboard(runs, task="suport")


def test_the_summary_is_json():
    board = leaderboard([contender("evaluate-1", {"limit": 1}), contender("evaluate-2", {"limit": 2})])
    told = json.loads(json.dumps(board.summary(), allow_nan=False))
    assert [r["rank"] for r in told["recipes"]] == [1, 2]
    assert told["recipes"][0]["behind"] is None
    assert told["effects"][0]["settings"] == 1


@pytest.mark.parametrize(("gain", "word", "said"), [
    (0.08, "helped", "The rows that an LLM wrote helped: +"), (0.0, "not shown", "brought nothing that shows"),
    (-0.08, "hurt", "The rows that an LLM wrote hurt: −"),
])  # fmt: skip
def test_rows_of_an_llm_are_said_to_help_or_to_bring_nothing(gain, word, said):
    with_them = ["synthesize", "convert"]
    board = leaderboard(
        grid(lambda triplets: gain * (triplets == with_them), {"triplets": [["convert"], with_them]}, noise=0.05)
    )
    (found,) = board.findings
    assert found.verdict == word
    assert said in found.sentence
    assert "3 seeds" in found.sentence


def test_rows_that_differ_without_an_llm_say_nothing_of_one():
    axes = {"triplets": [["convert"], ["convert", "convert2"]]}
    assert leaderboard(grid(lambda triplets: 0.1 * len(triplets), axes)).findings == []


# --- what a verdict needs, and what is the same -------------------------------------------------------------------


@pytest.mark.parametrize(("seeds", "enough"), [((0,), False), ((0, 1), False), ((0, 1, 2), True)])
def test_below_three_seeds_there_is_no_verdict_on_a_way_to_train(seeds, enough):
    board = guided(lambda guide, mask_same_label: 0.3 * (guide is not None), seeds=seeds)
    words = {row.word for row in board.ranked} | {row.verdict for row in board.ranked} | {board.word()}
    words |= {f.verdict for f in board.findings} | {e.verdict for e in board.effects} | set(board.tasks["verdict"])
    assert bool(words & {"HELPED", "helped", "HURT", "hurt", "MIXED", "NOT SHOWN", "not shown"}) is enough
    assert bool(words & {"NO VERDICT", "too few seeds"}) is not enough
    said = " ".join(board.sentences())
    assert ("Below 3 seeds there is no verdict" in said) is not enough
    assert ("distinguishable" in said) is enough


def test_which_is_best_has_no_verdict_either_and_one_variant_has_none():
    two = leaderboard(grid(lambda limit: limit / 100, {"limit": (1, 2)}, seeds=(0,)))
    assert (two.question(), two.word()) == ("Which variant is best?", "too few seeds")
    one = leaderboard(grid(lambda limit: 0.3, {"limit": (1,)}, seeds=(0, 1)))
    assert one.word() == "no verdict"


def test_a_variant_of_few_seeds_far_behind_takes_nothing_from_those_ahead():
    runs = grid(lambda limit: limit / 100, {"limit": (1, 20, 60)})
    runs = [run for run in runs if run.parameters["limit"] != 1 or run.seeds == runs[0].seeds]
    board = leaderboard(runs)
    assert (board.few, board.word()) == (["limit=1"], "one ahead")
    assert board.best_sentence().endswith("It is distinguishable from all others.")


def test_what_only_one_of_the_same_models_was_told_is_not_said_of_all():
    runs = grid(lambda guide: 0.1, {"guide": (None, "m")})
    board = leaderboard(with_weights(runs, lambda c: str(c.seeds)))
    assert len(board.ranked) == 1
    assert board.shared.keys() == {"epochs"}


def test_a_model_from_elsewhere_is_no_way_to_train_and_needs_no_seeds():
    runs = grid(lambda **_: 0.3, {"model": ("org/m",)}, seeds=(0,))
    runs = [replace(c, parameters={"model": "org/m"}) for c in runs]
    assert leaderboard(runs).ranked[0].word == "HELPED"


def with_weights(runs, name):
    return [replace(c, weights=name(c)) for c in runs]


def test_variants_of_the_same_models_are_one_row_and_it_is_said_what_does_nothing():
    runs = grid(lambda guide, mask: 0.1 * (guide is not None), {"guide": (None, "m"), "mask": (False, True)})
    board = leaderboard(with_weights(runs, lambda c: f"{c.parameters['guide']} {c.seeds}"))
    assert [row.recipe for row in board.ranked] == ["guide=m, mask=false or true", "guide=none, mask=false or true"]
    assert [len(row.alike) for row in board.ranked] == [2, 2]
    assert sorted(run for row in board.ranked for run in row.runs) == sorted(run.name for run in runs)
    assert board.runs == len(runs)
    assert {e.parameter: e.verdict for e in board.effects}["mask"] == "same models"
    assert "mask does nothing here: whatever its value, the models are the same." in board.sentences()


@pytest.mark.parametrize(
    "name",
    [
        lambda c: "",
        lambda c: f"{c.parameters} {c.seeds}",
        lambda c: f"{c.seeds}" if c.seeds != (("seed", 2),) else c.name,
    ],
)
def test_models_that_differ_in_one_seed_or_are_not_known_are_rows_of_their_own(name):
    board = leaderboard(with_weights(grid(lambda mask: 0.0, {"mask": (False, True)}), name))
    assert len(board.ranked) == 2
    assert board.effects[0].verdict == "not shown"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (None, "none"), (True, "true"), (1, "1"), (0.1234567, 0.1234568), (["a", "b"], "[a, b]"),
        (["a, b"], ["a", "b"]),
        ("x" * 200 + "1" + "y" * 200, "x" * 200 + "2" + "y" * 200), ("a", "a "), ("", None), ("1e-3", 1e-3),
    ],
)  # fmt: skip
def test_labels_that_differ_look_different(one, other):
    assert value_name(one) != value_name(other)
    assert shortened(f"p={value_name(one)}, q=1", 62) != shortened(f"p={value_name(other)}, q=1", 62)
    assert len(shortened(f"p={value_name(one)}", 62)) <= 62


def test_usual_names_are_as_they_are():
    names = ["embedded:all-MiniLM-L6-v2", "org/name@main", "data/my file.csv", "a=b", "gistembed"]
    assert [value_name(name) for name in names] == names


# --- what a point costs ---------------------------------------------------------------------------------------------


def test_a_point_of_rows_that_were_paid_has_a_price():
    by = {None: 0.0, "llm": 0.1}
    runs = grid(lambda leave_out: by["llm"] - by[leave_out], {"leave_out": (None, "llm")}, noise=0.005)
    runs = [replace(run, cost=3.0 if run.parameters["leave_out"] is None else None) for run in runs]
    (found,) = leaderboard(runs).effects
    assert found.interval is not None
    assert found.interval.high < 0
    assert found.dollars == -3.0  # its other rows name no price, in both
    price, least, most = found.price
    assert price == pytest.approx(3.0 / (-100 * found.interval.difference))
    assert (least, most) == (
        pytest.approx(3.0 / (-100 * found.interval.low)),
        pytest.approx(3.0 / (-100 * found.interval.high)),
    )
    row = effect_table([found]).iloc[0]
    assert (row["dollars"], row["dollars_a_point"]) == (-3.0, pytest.approx(price))


@pytest.mark.parametrize(
    ("gain", "cost"),
    [
        ({None: 0.0, "a": 0.0}, 3.0),
        ({None: 0.1, "a": 0.0}, 3.0),
        ({None: 0.0, "a": 0.1}, None),
        ({None: 0.0, "a": 0.1}, 0.0),
    ],
    ids=["no difference", "costs more and scores less", "no price", "nothing paid"],
)
def test_where_nothing_is_shown_or_nothing_was_paid_there_is_no_price(gain, cost):
    runs = grid(lambda rows: gain[rows], {"rows": (None, "a")}, noise=0.005)
    runs = [replace(run, cost=cost if run.parameters["rows"] == "a" else None) for run in runs]
    (found,) = leaderboard(runs).effects
    assert found.price is None
