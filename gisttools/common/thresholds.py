"""Says what "a share of the positive's similarity" is, once for mining, the loss and what lays a batch open."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

T = TypeVar("T", "np.ndarray", "Tensor", float)


def relative_threshold(theta: T, margin: float) -> T:
    """What lies a relative margin below a similarity: theta - margin * |theta|.

    A share s of the positive's similarity theta is `relative_threshold(theta, 1 - s)`, theta - (1 - s) |theta|. Of a
    positive theta that is s * theta. Of a negative one s * theta would lie above theta (0.95 * -0.2 = -0.19), so that
    candidates nearer than the positive would pass; this formula never does for s <= 1.

    Args:
        theta: cosines of anchors and their positives; any shape, NumPy, torch or a number.
        margin: 0 is theta itself; below 0 lies above it.
    """
    return theta - abs(theta) * margin
