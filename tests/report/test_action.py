"""What to do next: each branch of the rule, and that it asks for no more than the data say."""

from __future__ import annotations

import math

import pytest

from gisttools.evaluation.comparison import Comparison
from gisttools.report.verdict import MOST_TIMES, next_action


def target(**values):
    told = {"task": "mine", "is_target": True, "verdict": "not shown", "low": -0.01, "high": 0.03, "n_items": 100}
    return Comparison(**(told | values))


def guard(**values):
    return target(
        **({"task": "guard", "is_target": False, "low": -0.001, "high": 0.002, "non_inferior": True} | values)
    )


def act(word, *rows, leaked=False, advice=None):
    return next_action(word, rows, leaked=leaked, advice=advice)


def advised(word, best, other="", head=""):
    return {"line": head, "targets": [{"word": word, "best": best, "other": other, "head": head}], "overall": None}


def test_leaked_test_texts_come_before_anything_else():
    action = act("HELPED", target(verdict="helped", low=0.02), leaked=True)
    assert action.word == "Change the data"
    assert "test texts out of the training data" in action.head


def test_what_helped_is_no_reason_to_use_it_and_says_what_of_guards_is_known():
    helped = target(verdict="helped", low=0.02)
    assert "Training helped every target, and no guard lost more than is allowed." in act("HELPED", helped, guard()).why
    assert "No guard was evaluated" in act("HELPED", helped).why
    unclear = act("HELPED", helped, guard(non_inferior=False, low=-0.03))
    assert (unclear.word, unclear.head) == ("Evaluate again", "Evaluate again with candidates")
    assert "look at guard" in unclear.why
    assert "−3.0 to +0.2" in unclear.why
    assert "not measured" in act("HELPED", helped, leaked=None).why


def test_where_candidates_were_scored_the_advice_over_all_of_them_is_followed():
    helped = target(verdict="helped", low=0.02)
    use = act("HELPED", helped, advice=advised("use", "the guide", head="Use the guide"))
    assert (use.word, use.head) == ("Use", "Use the guide")
    choose = act("HELPED", helped, advice=advised("choose", "the guide", "tuned", head="the guide or tuned"))
    assert (choose.word, choose.head) == ("Collect", "Choose between the guide and tuned")


def test_a_student_that_was_spoilt_asks_for_a_lower_rate_and_never_for_other_data():
    why = "The tuned model's vectors have collapsed."
    for verdict, word in (("hurt", "HURT"), ("not shown", "NOT SHOWN")):
        action = next_action(word, [target(verdict=verdict, low=-0.5, high=-0.4)], leaked=False, spoilt=why)
        assert (action.word, action.head) == ("Train again", "Lower the learning rate and train again")
        assert action.why.startswith(why)
    helped = [target(verdict="helped", low=0.02)]
    assert next_action("HELPED", helped, leaked=False, spoilt=why).word == "Evaluate again"


def test_a_target_that_was_hurt_asks_for_other_data():
    action = act("HURT", target(verdict="hurt", low=-0.05, high=-0.01))
    assert action.word == "Change the data"
    assert "mine got worse" in action.why


def test_a_guard_that_was_hurt_asks_for_general_texts():
    lost = guard(verdict="hurt", low=-0.05, high=-0.01, non_inferior=False)
    assert act("MIXED", target(verdict="helped", low=0.02), lost).head == "Add general texts to the training"


def test_a_gain_of_a_point_that_is_ruled_out_ends_it():
    assert act("NOT SHOWN", target(high=0.009)).word == "Stop"
    assert act("NOT SHOWN", target(high=0.010)).word != "Stop"


@pytest.mark.parametrize(
    ("n", "needed", "word"),
    [
        (100, 250, "Collect"),
        (100, 100 * MOST_TIMES, "Collect"),
        (100, 100 * MOST_TIMES + 1, "Change the data"),
        (100, 90, "Change the data"),
        (100, math.nan, "Change the data"),
        (None, 250, "Change the data"),
    ],
)
def test_items_are_asked_for_where_they_can_show_a_point_and_be_collected(n, needed, word):
    action = act("NOT SHOWN", target(n_items=n, items_for_one_point=needed))
    assert action.word == word
    if word == "Collect":
        assert action.head == f"Collect {needed - n:,} more test texts"


def test_of_several_targets_the_one_that_lacks_most_counts():
    near = target(task="near", items_for_one_point=150)
    far = target(task="far", items_for_one_point=400)
    helped = target(task="done", verdict="helped", low=0.02, items_for_one_point=900)
    action = act("MIXED", helped, near, far)
    assert action.head == "Collect 300 more test texts"
    assert "far has 100 test texts" in action.why


def test_one_target_that_may_gain_a_point_keeps_it_going():
    assert act("NOT SHOWN", target(task="a", high=0.005), target(task="b", items_for_one_point=200)).word == "Collect"


def test_without_any_interval_another_evaluation_is_asked_for():
    assert act("NOT SHOWN", target(low=math.nan, high=math.nan)).word == "Evaluate again"


def test_where_no_task_is_a_target_all_are():
    action = act("HELPED", guard(verdict="helped", low=0.01))
    assert "Training helped every target. No guard was evaluated" in action.why


def test_one_item_is_one_item():
    assert (
        act("NOT SHOWN", target(n_items=100, items_for_one_point=101, task_type="Retrieval")).head
        == "Collect 1 more query"
    )
