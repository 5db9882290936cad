"""Maps how two models lay out the same texts: flat places, and how alike texts of one class and of two are."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from gisttools.common import DataError, problems

log = logging.getLogger(__name__)
FILE = "embedding.parquet"
TEXTS = 400  # a sample of so many keeps the pairs few and the picture readable
BINS = 40
COLUMNS = {
    "role": "str", "kind": "str", "text": "str", "label": "str", "x": "float64", "y": "float64",
    "neighbour": "str", "low": "float64", "high": "float64", "value": "float64",
}  # fmt: skip


class Encoder(Protocol):
    """A model that makes vectors: texts to an array (texts, dimensions)."""

    def encode(self, texts: list[str], /) -> NDArray: ...


def embedding_map(
    base: Encoder, tuned: Encoder, texts: Sequence[str], labels: Sequence[object], seed: int, *, most: int = TEXTS
) -> pd.DataFrame:
    """One long table of what both models make of a sample of labelled texts, as evenly of all labels as can be.

    Args:
        base, tuned: models whose `encode` takes a list of texts and gives an array (texts, dimensions).
        texts, labels: of a test set, one label a text.
        seed: of the sample.
        most: texts in the sample.

    Returns:
        Columns as in `COLUMNS`, `role` is base or tuned, and by `kind`:
        `point`: one row a text with its place `x`, `y` (the first two principal components of the unit vectors; those
        of the tuned model turned and mirrored to lie as near to the base's as can be) and the label of the text nearest
        to it in the whole space, `neighbour`;
        `same`, `different`: how the cosines of pairs of one label, and of two, are spread: `value` is the share of the
        pairs from `low` to `high`;
        `explained`: the share of the variance that the map shows; `separation`: how often a pair of one label is more
        alike than a pair of two (0.5 is chance; the area under the ROC curve); `neighbours`: the share of texts whose
        nearest other text has their label. `value` holds each.

    Raises:
        DataError: texts and labels differ in number, or there are fewer than two labels with two texts each, or a model
            gives vectors that are not finite.
    """
    texts, named = [str(t) for t in texts], np.asarray([str(x) for x in labels], dtype=object)
    _check(texts, named, most)
    chosen = _sample(named, most, seed)
    shown, names = [texts[i] for i in chosen], named[chosen]
    vectors = {role: _unit(model, shown, role) for role, model in (("base", base), ("tuned", tuned))}
    flat = {role: _flat(v) for role, v in vectors.items()}
    turn = _turn(flat["tuned"][0], flat["base"][0])
    flat["tuned"] = (flat["tuned"][0] @ turn, flat["tuned"][1])
    found = [_rows(role, shown, names, vectors[role], *flat[role]) for role in vectors]
    table = pd.DataFrame([row for rows in found for row in rows], columns=list(COLUMNS))
    return table.astype({c: t for c, t in COLUMNS.items() if t != "str"})


def save_map(items: pd.DataFrame, base: Encoder, tuned: Encoder, path: Path, seed: int) -> pd.DataFrame | None:
    """Write the map of the first classification task of an evaluation; None, and nothing written, where there is none
    to map: no such task, texts of fewer than two labels, or a model that makes no vectors.

    Args:
        items: of an `Evaluation`, with task, variant, text and gold.
        base, tuned, seed: as in `embedding_map`.
        path: the file.
    """
    if not len(items) or not all(hasattr(model, "encode") for model in (base, tuned)):
        return None
    first = items[(items["task"] == items["task"].iloc[0]) & (items["variant"] == items["variant"].iloc[0])]
    try:
        found = embedding_map(base, tuned, first["text"].tolist(), first["gold"].tolist(), seed)
    except DataError as error:
        log.warning("no map of embeddings. %s", error)
        return None
    found.to_parquet(path)
    return found


def _check(texts: list[str], labels: NDArray, most: int) -> None:
    found = []
    if len(texts) != len(labels):
        found.append(f"{len(texts)} texts have {len(labels)} labels")
    names, counts = np.unique(labels, return_counts=True)
    if (counts > 1).sum() < 2:
        found.append(f"{int((counts > 1).sum())} of {len(names)} label(s) have two texts or more; two must")
    if most < 4:
        found.append(f"most is {most}; a map takes at least 4 texts")
    if found:
        raise DataError(problems("There is nothing to map:", found, "Give the texts of a classification task."))


def _sample(labels: NDArray, most: int, seed: int) -> NDArray:
    """Positions, one of each label in turn, in the order of the texts."""
    if len(labels) <= most:
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    turn = pd.Series(labels[order]).groupby(labels[order]).cumcount().to_numpy()
    return np.sort(order[np.argsort(turn, kind="stable")[:most]])


def _unit(model: Encoder, texts: list[str], role: str) -> NDArray:
    vectors = np.asarray(model.encode(texts), dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(vectors).all():
        raise DataError(f"The {role} model gives vectors that are not finite. Look at its training: did it diverge?")
    return vectors / np.maximum(lengths, 1e-12)


def _flat(vectors: NDArray) -> tuple[NDArray, float]:
    """Places on the first two principal components, and the share of the variance that they hold."""
    centred = vectors - vectors.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    whole = float((sizes**2).sum())
    return left[:, :2] * sizes[:2], float((sizes[:2] ** 2).sum()) / whole if whole > 0 else 0.0


def _turn(moved: NDArray, fixed: NDArray) -> NDArray:
    """The turn or mirroring that brings `moved` nearest to `fixed` (orthogonal Procrustes)."""
    left, _, right = np.linalg.svd(moved.T @ fixed)
    return left @ right


def _rows(
    role: str, texts: list[str], labels: NDArray, vectors: NDArray, places: NDArray, explained: float
) -> list[dict[str, Any]]:
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = labels[cosines.argmax(axis=1)]
    first, second = np.triu_indices(len(texts), k=1)
    pairs, same = cosines[first, second], labels[first] == labels[second]
    rows = [
        {"role": role, "kind": "point", "text": t, "label": a, "x": x, "y": y, "neighbour": n}
        for t, a, (x, y), n in zip(texts, labels, places.tolist(), nearest, strict=True)
    ]
    edges = np.linspace(-1, 1, 2 * BINS + 1)
    for kind, some in (("same", pairs[same]), ("different", pairs[~same])):
        shares = np.histogram(np.clip(some, -1, 1), edges)[0] / len(some)
        filled = np.flatnonzero(shares)
        rows += [
            {"role": role, "kind": kind, "low": edges[i], "high": edges[i + 1], "value": shares[i]} for i in filled
        ]
    ranks, n = rankdata(pairs), int(same.sum())
    above = (ranks[same].sum() - n * (n + 1) / 2) / (n * (len(pairs) - n))
    numbers = {"explained": explained, "separation": above, "neighbours": float((nearest == labels).mean())}
    return rows + [{"role": role, "kind": kind, "value": float(value)} for kind, value in numbers.items()]
