"""How far vectors lie apart, and when they count as collapsed."""

from __future__ import annotations

import numpy as np
import pytest

from gisttools.models import Spread, spread_of

RNG = np.random.default_rng(0)
WIDE = RNG.standard_normal((64, 128))


def around(distance, texts=64):
    """Vectors around one direction."""
    centre = np.zeros(128)
    centre[0] = 1
    return centre + distance / np.sqrt(128) * RNG.standard_normal((texts, 128))


def test_rank_and_cosine_of_what_can_be_worked_out_by_hand():
    found = spread_of(np.eye(16))
    assert (found.mean_cosine, found.effective_rank) == (pytest.approx(0), pytest.approx(16))
    found = spread_of(np.ones((16, 5)))
    assert (found.mean_cosine, found.effective_rank) == (pytest.approx(1), pytest.approx(1))


def test_pairs_of_one_group_do_not_count_for_the_cosine():
    two = np.repeat(np.eye(2), 8, axis=0)
    assert spread_of(two, [0] * 8 + [1] * 8).mean_cosine == pytest.approx(0)
    assert spread_of(two).mean_cosine > 0.4
    assert np.isnan(spread_of(two[:8], [0] * 8).mean_cosine)


def test_vectors_that_become_one_have_collapsed():
    why = spread_of(around(0.05)).collapse(spread_of(WIDE))
    assert "mean cosine" in why
    assert "at the start" in why


def test_vectors_on_one_line_have_collapsed():
    line = np.outer(RNG.choice([-1.0, 1.0], 64), np.ones(128))
    assert "effective rank" in spread_of(line).collapse(spread_of(WIDE))
    assert not spread_of(line).collapse(spread_of(WIDE), few_will_do=True)


@pytest.mark.parametrize(
    ("now", "start"),
    [
        (spread_of(WIDE), spread_of(WIDE)),
        (spread_of(around(0.2)), spread_of(around(0.25))),  # alike before it was trained, and hardly more so now
        (spread_of(around(0.05, texts=4)), spread_of(WIDE[:4])),  # too few to say
    ],
)
def test_no_false_alarm(now, start):
    assert not now.collapse(start)


def test_a_student_that_was_narrow_before_collapses_too():
    start = spread_of(around(0.25))
    assert start.mean_cosine > 0.93
    assert "mean cosine" in spread_of(around(0.02)).collapse(start)


def test_few_classes_may_end_in_few_directions():
    classes = np.repeat([0, 1, 2], 22)[:64]
    corners = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1.0]])[classes] + 1e-3 * RNG.standard_normal((64, 3))
    assert not spread_of(corners, classes).collapse(spread_of(WIDE, classes))
    # nearly all texts of one class: alike among themselves, far from the others
    rare = np.array([0] * 62 + [1] * 2)
    two = np.array([[1.0, 0], [-1, 0.01]])[rare] + 1e-3 * RNG.standard_normal((64, 2))
    assert not spread_of(two, rare).collapse(spread_of(WIDE, rare))


def test_vectors_of_zero_do_not_stop_it():
    assert isinstance(spread_of(np.zeros((16, 4))), Spread)
