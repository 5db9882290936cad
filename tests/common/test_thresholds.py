"""A share of the positive's similarity: the same number for mining and loss, at, above and below 0."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from gisttools.common import relative_threshold


@given(st.floats(-1, 1), st.floats(0, 1))
def test_no_share_of_a_similarity_lies_above_it(theta, share):
    expected = theta * share if theta > 0 else theta * (2 - share)  # by cases, as a person would say it
    assert relative_threshold(theta, 1 - share) == pytest.approx(expected, abs=1e-12)
    assert relative_threshold(theta, 1 - share) <= theta


def test_arrays_and_tensors_give_what_numbers_give():
    thetas = [-0.7, -0.2, 0.0, 0.3, 0.9]
    expected = [relative_threshold(t, 0.05) for t in thetas]
    assert relative_threshold(np.array(thetas), 0.05).tolist() == expected
    assert relative_threshold(torch.tensor(thetas, dtype=torch.float64), 0.05).tolist() == expected
