"""Finds labels to repair: each text is judged by a classifier that has seen neither it nor a near copy of it.

The table is meant to be edited and read back, by `relabel`: see `gisttools.data.FileOptions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gisttools.common import digest
from gisttools.data import NEAR, near_groups, normalise, texts_read

if TYPE_CHECKING:
    from gisttools.models import VectorCache

COLUMNS = ("text", "label", "suggested", "new_label", "score", "suggested_score")
FILE_NAME = "labels_to_repair.csv"
_FOLDS = 5
_PENALTY = 1.0  # of unit vectors


def labels_to_repair(
    texts: Sequence[str], labels: Sequence[str], guide: VectorCache, *, near: float | None = NEAR
) -> pd.DataFrame:
    """Labels that look wrong, the most so first.

    A ridge regression of the labels on the guide's vectors is fitted five times, each time without a fifth of the
    texts; near copies are in one fifth. Its outputs estimate how likely each label is. Texts are listed for which it
    prefers another label, by how much (the normalised margin of C. Northcutt and others 2021, "Confident Learning"):
    the first lines are most often wrong, the last ones often right and only hard.

    Args:
        texts, labels: (n,) each; one label a text.
        guide: its vectors are looked at. Texts that it hardly reads are not judged.
        near: least likeness of near copies; None: only equal texts stay together.

    Returns:
        Columns text, label, suggested, new_label (the same as label: to be edited), score and suggested_score (what the
        classifier gives label and suggested, about 0 to 1), by their difference, the largest first.

    Raises:
        ModelError, EndpointError, DataError: as `gisttools.models.VectorCache.embed`.
    """
    rows = np.flatnonzero(texts_read(guide, texts))
    names = sorted({labels[row] for row in rows.tolist()})
    if len(names) < 2 or len(rows) < 2 * _FOLDS:
        return _table([])
    number = {name: i for i, name in enumerate(names)}
    codes = np.array([number[labels[row]] for row in rows.tolist()])
    forms = [normalise(texts[row]) for row in rows.tolist()]
    folds = _folds(forms, codes, near)
    vectors = guide.vectors(guide.add([texts[row] for row in rows.tolist()]))
    scores = _cross_fitted(vectors, codes, folds, len(names))
    own = scores[np.arange(len(codes)), codes]
    known = np.isfinite(own)
    others = np.where(np.isfinite(scores), scores, -np.inf)
    others[np.arange(len(codes)), codes] = -np.inf
    other = others.argmax(axis=1)
    best = others[np.arange(len(codes)), other]
    found = [
        (texts[rows[i]], names[codes[i]], names[other[i]], names[codes[i]], float(own[i]), float(best[i]))
        for i in np.flatnonzero(known & (best > own)).tolist()
    ]
    return _table(sorted(found, key=lambda line: (line[4] - line[5], line[0])))


def _table(lines: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(lines, columns=list(COLUMNS)).astype({"score": float, "suggested_score": float})


def _folds(forms: Sequence[str], codes: np.ndarray, near: float | None) -> np.ndarray:
    """(n,) the fold of each text: near copies in one, each label spread over all; by content, not by order."""
    groups = near_groups(forms, near if near is not None else 1.0)
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(row)
    order = sorted(members.values(), key=lambda own: digest(min(forms[row] for row in own), 16))
    begun: Counter[int] = Counter()
    folds = np.zeros(len(forms), dtype=np.int64)
    for own in order:
        label = Counter(codes[own].tolist()).most_common(1)[0][0]
        folds[own] = (begun[label] + label) % _FOLDS
        begun[label] += 1
    return folds


def _cross_fitted(vectors: np.ndarray, codes: np.ndarray, folds: np.ndarray, classes: int) -> np.ndarray:
    """(n, classes) scores; NaN for labels that no text outside the fold has."""
    from sklearn.linear_model import Ridge

    scores = np.full((len(codes), classes), np.nan, dtype=np.float32)
    for fold in np.unique(folds).tolist():
        fitted, judged = folds != fold, folds == fold
        seen = np.unique(codes[fitted])
        if len(seen) < 2:
            continue
        targets = (codes[fitted][:, None] == seen).astype(np.float32)
        model = Ridge(alpha=_PENALTY).fit(vectors[fitted].astype(np.float32), targets)
        scores[np.ix_(judged, seen)] = model.predict(vectors[judged].astype(np.float32)).reshape(-1, len(seen))
    return scores
