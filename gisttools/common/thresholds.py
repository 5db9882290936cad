"""The one formula for a share of a similarity: as far below it as the share says, on either side of zero."""

from __future__ import annotations

from typing import TypeVar

Number = TypeVar("Number")  # a float, an array or a tensor


def share_of(theta: Number, share: float) -> Number:
    """θ − (1 − share)·|θ|: below θ for any share under 1, also where θ is negative, as `share * theta` is not.

    With share = 1 − margin it is the relative margin of the loss.

    Args:
        theta: similarities, such as the guide's cosine of anchor and positive; of any shape.
        share: 1 is θ itself, above 1 lies above θ.
    """
    return theta - (1 - share) * abs(theta)  # type: ignore[operator, arg-type, return-value]
