"""Measures how far vectors of different texts lie apart, and says whether a model has collapsed: all texts alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALIKE = 0.95  # mean cosine of different texts above which vectors hardly tell them apart
LEFT = 0.05  # share of the start's effective rank below which few directions are left
_NEARER = 0.25  # of the distance between texts at the start: a model whose texts were alike before has not collapsed
LEAST = 8  # texts; of fewer nothing can be said


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How far vectors lie apart.

    Attributes:
        mean_cosine: of pairs of texts that share no group; NaN where there is no such pair.
        effective_rank: exp of the entropy of the singular values' shares (Roy and Vetterli 2007, "The effective rank: a
            measure of effective dimensionality"), 1 to the number of texts.
        texts: how many were measured.
        groups: how many groups they are of; a text of no group is one by itself.
    """

    mean_cosine: float
    effective_rank: float
    texts: int
    groups: int

    def told(self) -> dict[str, float | int | None]:
        """As JSON values; what is not known is null."""
        return {name: None if value != value else value for name, value in vars(self).items()}

    def collapse(self, start: Spread, *, few_will_do: bool = False) -> str:
        """Why vectors that were spread like `start` count as collapsed; empty where they do not.

        Either different texts are nearly all alike (and at least four times nearer than at the start), or few
        directions are left: under a twentieth of the start's, and fewer than half of what would set the groups apart,
        for texts of few classes may well end in few directions; never where few directions will do.
        """
        if min(self.texts, start.texts) < LEAST:
            return ""
        if self.mean_cosine > ALIKE and 1 - self.mean_cosine < _NEARER * (1 - start.mean_cosine):
            return f"the mean cosine of {self.texts} different texts is {self.mean_cosine:.3f}, " + (
                f"{start.mean_cosine:.3f} at the start"
            )
        if not few_will_do and self.effective_rank < min(LEFT * start.effective_rank, (self.groups - 1) / 2):
            return f"the effective rank of {self.texts} vectors is {self.effective_rank:.1f}, " + (
                f"{start.effective_rank:.1f} at the start"
            )
        return ""


def spread_of(vectors: np.ndarray, groups: Sequence[int] | np.ndarray | None = None) -> Spread:
    """The spread of vectors (n, dimension), n > 0; `groups` (n,) says which texts may be alike, -1 of no group."""
    wide = np.asarray(vectors, dtype=np.float64)
    unit = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-300)
    own = np.arange(len(unit))
    told = np.full(len(unit), -1) if groups is None else np.asarray(groups)
    apart = (told[:, None] != told[None]) | (told[:, None] < 0)
    apart &= own[:, None] < own[None]
    sizes = np.linalg.svd(unit, compute_uv=False)
    shares = sizes[sizes > 0] / max(sizes.sum(), 1e-300)
    return Spread(
        mean_cosine=float((unit @ unit.T)[apart].mean()) if apart.any() else float("nan"),
        effective_rank=float(np.exp(-(shares * np.log(shares)).sum())),
        texts=len(unit),
        groups=len(set(told[told >= 0].tolist())) + int((told < 0).sum()),
    )
