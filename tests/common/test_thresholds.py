"""A share of a similarity lies below it on either side of zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from gisttools.common import share_of
from gisttools.training import MaskOptions


@given(st.floats(-1, 1), st.floats(0, 1))
def test_a_share_is_never_above_the_whole(theta, share) -> None:
    assert share_of(theta, share) <= theta
    assert share_of(theta, 1 + share) >= theta


@pytest.mark.parametrize(("theta", "below"), [(0.8, 0.76), (0.0, 0.0), (-0.4, -0.42)])
def test_values_by_hand(theta, below) -> None:
    assert share_of(theta, 0.95) == pytest.approx(below)
    assert share_of(np.array([theta]), 0.95) == pytest.approx([below])
    relative = MaskOptions(margin=0.05, margin_strategy="relative")
    assert relative.masks_above(torch.tensor([theta])).tolist() == pytest.approx([below])
