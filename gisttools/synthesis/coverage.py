"""Tells which kinds of a label's real texts the written ones reach: clusters of the real texts in the guide's space,
and how many of them a written text falls into."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gisttools.synthesis.judge import Embed

_FEWEST = 4  # different real texts of a label, to speak of kinds of them
_EACH, _MOST = 5, 8  # real texts a cluster, and clusters
_SAMPLE = 500  # real and written texts of a label that are looked at
_SHOWN = 3  # real texts of clusters that are not reached


def coverage(
    written: Iterable[tuple[str, str]], real: Iterable[tuple[str, str]], embed: Embed, seed: int = 0
) -> list[dict[str, Any]]:
    """Which clusters of each label's real texts have a written text; the least covered label first.

    The real texts of a label are cut into clusters by k-means on the guide's unit vectors, one for each five texts, two
    at least and eight at most; a written text falls into the cluster whose centre is nearest. Few written texts cannot
    reach many clusters, whatever they say: `clusters` and `written` stand side by side.

    Args:
        written, real: (text, label) pairs; labels without written texts, or of fewer than four real ones, are left out.
        embed: the guide.
        seed: of k-means, and of the draw where a label has more than 500 texts.

    Returns:
        By label: label, real and written (different texts), clusters, covered (clusters), missed (a real text of each
        cluster that no written text falls into, the one nearest to its centre; three at most, the largest first).
    """
    rows = [
        found
        for label, (own, theirs) in _by_label(written, real, seed).items()
        if (found := _of_label(label, own, theirs, embed, seed))
    ]
    return sorted(rows, key=lambda row: (row["covered"] / row["clusters"], row["label"]))


def _by_label(
    written: Iterable[tuple[str, str]], real: Iterable[tuple[str, str]], seed: int
) -> dict[str, tuple[list[str], list[str]]]:
    """Written and real texts of each label that has both, each text once."""
    found: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for side, pairs in enumerate((written, real)):
        for text, label in pairs:
            found.setdefault(label, ({}, {}))[side][text] = None
    rng = np.random.default_rng(seed)

    def drawn(texts: Sequence[str]) -> list[str]:
        if len(texts) <= _SAMPLE:
            return list(texts)
        return [texts[i] for i in np.sort(rng.choice(len(texts), _SAMPLE, replace=False)).tolist()]

    return {label: (drawn([*a]), drawn([*b])) for label, (a, b) in found.items() if a and len(b) >= _FEWEST}


def _of_label(label: str, written: list[str], real: list[str], embed: Embed, seed: int) -> dict[str, Any] | None:
    from sklearn.cluster import KMeans

    vectors = np.asarray(embed(real), dtype=np.float64)
    wanted = min(_MOST, max(2, math.ceil(len(real) / _EACH)), len(np.unique(vectors, axis=0)))
    if wanted < 2:
        return None
    means = KMeans(n_clusters=wanted, n_init=4, random_state=seed).fit(vectors)
    reached = set(means.predict(np.asarray(embed(written), dtype=np.float64)).tolist())
    near = means.transform(vectors)
    sizes = np.bincount(means.labels_, minlength=wanted)
    missed = [c for c in np.argsort(-sizes, kind="stable").tolist() if c not in reached]
    return {
        "label": label,
        "real": len(real),
        "written": len(written),
        "clusters": wanted,
        "covered": len(reached),
        "missed": [real[int(near[:, c].argmin())] for c in missed[:_SHOWN]],
    }
