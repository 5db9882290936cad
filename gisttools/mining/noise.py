"""Finds labels that may be wrong: copies under two labels, classes that a guide confuses, tiny classes.

Nothing is changed: these are tables to look at. Where a text may have several labels at once, centroids of classes say
nothing about a single one, so that part is skipped, and copies only clash if their labels have nothing in common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gisttools.common import DataError, ParameterError
from gisttools.data import near_pairs, normalise, texts_read

if TYPE_CHECKING:
    from gisttools.models import VectorCache

_ROWS = 8192  # texts compared with all centroids at once
_TIE = 1e-6  # cosines closer than this decide nothing


@dataclass(frozen=True, kw_only=True)
class LabelNoise:
    """What looks wrong about labels.

    Attributes:
        conflicts: texts that stand under several labels, by `normalise`: text, label, texts (how many say so); the
            lines of one text follow each other.
        near_conflicts: near-copies under different labels: text, label, other, other_label, score (Jaccard similarity
            of trigrams), the most alike first.
        classes: label, texts, astray (share of its texts, each left out of its own centroid, that are nearer to the
            centroid of another class; NaN where there is no guide or only one text), mostly (the class that most of
            these are nearer to), the worst first. Texts that the guide hardly reads count as not astray.
        confused: pairs of classes: label, other, texts (of both), there (texts of label nearer to other), back (the
            other way round), share (of both, there and back together), the worst first.
        small: classes with fewer texts than asked for: label, texts.
        skipped: what was not looked at, and why.
        repairs: labels to repair, as `gisttools.mining.labels_to_repair` lists them; None: they were not looked for.
    """

    conflicts: pd.DataFrame
    near_conflicts: pd.DataFrame
    classes: pd.DataFrame
    confused: pd.DataFrame
    small: pd.DataFrame
    skipped: dict[str, str]
    repairs: pd.DataFrame | None = None

    @property
    def counts(self) -> dict[str, int | None]:
        """How many of each; None where it was not looked at."""
        looked = "confused" not in self.skipped
        astray = (self.classes["astray"] * self.classes["texts"]).sum()
        return {
            "texts under several labels": int(self.conflicts["text"].map(normalise).nunique()),
            "near-copies under different labels": None
            if "near_conflicts" in self.skipped
            else len(self.near_conflicts),
            "texts nearer to another class": round(astray) if looked else None,
            "small classes": len(self.small),
            **({} if self.repairs is None else {"labels to repair (labels_to_repair.csv)": len(self.repairs)}),
        }


def label_noise(
    texts: Sequence[str],
    labels: Sequence[str] | Sequence[tuple[str, ...]],
    *,
    guide: VectorCache | None = None,
    near: float | None = 0.8,
    few: int = 3,
) -> LabelNoise:
    """Look for labels that may be wrong, and classes that may be one.

    Args:
        texts: n texts.
        labels: n labels, or n tuples of them where a text may have several.
        guide: its vectors make the centroids; None skips that part. Texts that it hardly reads are not judged by it.
        near: least Jaccard similarity of near-copies (see `gisttools.data.near_duplicates`); None skips that part.
        few: a class with fewer texts than that is small.

    Raises:
        DataError: texts and labels are not equally many.
        ParameterError: `near` is out of range.
        ModelError, EndpointError, DataError: as `gisttools.models.VectorCache.embed`.
    """
    if len(texts) != len(labels):
        raise DataError(f"There are {len(texts)} texts and {len(labels)} labels. Give one label, or tuple, a text.")
    if near is not None and not 0 < near <= 1:
        raise ParameterError(f"near is {near!r}, must be above 0 and at most 1, or None.")
    several = any(not isinstance(label, str) for label in labels)
    sets = [(label,) if isinstance(label, str) else tuple(sorted(set(label))) for label in labels]
    skipped = {}
    if near is None:
        skipped["near_conflicts"] = "near is None"
    if several:
        skipped["confused"] = "a text may have several labels"
    elif guide is None:
        skipped["confused"] = "there is no guide"
    counts = pd.Series(Counter(label for own in sets for label in own), dtype=int)
    counts = counts.rename_axis("label").rename("texts").reset_index().sort_values(["texts", "label"])
    by_form: dict[str, Counter[tuple[str, ...]]] = {}
    written: dict[str, str] = {}
    for text, own in zip(texts, sets, strict=True):
        form = normalise(text)
        written.setdefault(form, text)
        by_form.setdefault(form, Counter())[own] += 1
    read = texts_read(None if "confused" in skipped else guide, texts)
    if not read.any() and len(read):
        skipped["confused"] = "the guide hardly reads any of these texts"
    classes, confused = _centroids(texts, sets, counts, None if "confused" in skipped else guide, read)
    return LabelNoise(
        conflicts=_conflicts(by_form, written),
        near_conflicts=_near_conflicts(by_form, written, near),
        classes=classes,
        confused=confused,
        small=counts[counts["texts"] < few].reset_index(drop=True),
        skipped=skipped,
    )


def _name(labels: tuple[str, ...]) -> str:
    return " | ".join(labels)


def _conflicts(by_form: dict[str, Counter], written: dict[str, str]) -> pd.DataFrame:
    lines = [
        (written[form], _name(own), count)
        for form, found in by_form.items()
        if len(found) > 1 and not set.intersection(*map(set, found))
        for own, count in sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    return pd.DataFrame(lines, columns=["text", "label", "texts"]).astype({"texts": int})


def _near_conflicts(by_form: dict[str, Counter], written: dict[str, str], near: float | None) -> pd.DataFrame:
    forms, lines = list(by_form), []
    labels = [{label for own in found for label in own} for found in by_form.values()]
    for i, j, score in near_pairs(forms, forms, near) if near is not None else ():
        for a, b, s in zip(i.tolist(), j.tolist(), score.tolist(), strict=True):
            if a < b and not labels[a] & labels[b]:
                names = (_name(tuple(sorted(labels[x]))) for x in (a, b))
                lines.append((written[forms[a]], next(names), written[forms[b]], next(names), s))
    found = pd.DataFrame(lines, columns=["text", "label", "other", "other_label", "score"]).astype({"score": float})
    return found.sort_values(["score", "text", "other"], ascending=[False, True, True], ignore_index=True)


def _centroids(
    texts: Sequence[str],
    sets: list[tuple[str, ...]],
    counts: pd.DataFrame,
    guide: VectorCache | None,
    read: np.ndarray,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables `classes` and `confused`; only texts that the guide reads, bool (n,), are judged by its vectors."""
    names, sizes = counts["label"].tolist(), counts["texts"].to_numpy()
    judged = np.zeros(len(names), dtype=np.int64)  # texts of each class
    moved = np.zeros((0, 3), dtype=np.int64)  # class, the class its texts are nearer to, how many
    if guide is not None and len(names) > 1:
        number = {name: i for i, name in enumerate(names)}
        owner = np.array([number[own[0]] for own in sets])[read]
        judged = np.bincount(owner, minlength=len(names))
        where = np.concatenate(
            list(_nearest([t for t, ok in zip(texts, read, strict=True) if ok], owner, judged, guide))
        )
        strayed = np.flatnonzero(where != owner)
        found, many = np.unique(np.stack([owner, where])[:, strayed], axis=1, return_counts=True)
        moved = np.column_stack([found.T, many])
    gone = np.bincount(moved[:, 0], moved[:, 2], minlength=len(names))
    mostly = {}
    for own, other, _ in sorted(moved.tolist(), key=lambda line: (line[2], names[line[1]])):
        mostly[own] = names[other]
    known = (judged > 1) & (guide is not None) & (len(names) > 1)
    classes = counts.assign(
        astray=np.where(known, gone / np.maximum(sizes, 1), np.nan), mostly=[mostly.get(i) for i in range(len(names))]
    )
    classes = classes.sort_values(["astray", "label"], ascending=[False, True], ignore_index=True)
    both: dict[tuple[int, int], list[int]] = {}
    for own, other, count in moved.tolist():
        low, high = sorted((own, other), key=lambda i: names[i])
        both.setdefault((low, high), [0, 0])[own == high] += count
    lines = [
        (names[a], names[b], sizes[a] + sizes[b], there, back, (there + back) / (sizes[a] + sizes[b]))
        for (a, b), (there, back) in both.items()
    ]
    confused = pd.DataFrame(lines, columns=["label", "other", "texts", "there", "back", "share"])
    confused = confused.astype({"texts": int, "there": int, "back": int, "share": float})
    order = ["share", "texts", "label", "other"]
    return classes, confused.sort_values(order, ascending=[False, False, True, True], ignore_index=True)


def _nearest(texts: Sequence[str], owner: np.ndarray, sizes: np.ndarray, guide: VectorCache) -> Iterator[np.ndarray]:
    """For each text the class whose centroid is nearest, its own centroid without it; its own where that is a tie, or
    where it is the only text of its class."""
    rows = guide.add(texts)
    sums = np.zeros((len(sizes), guide.vectors(rows[:1]).shape[1]))
    for begin in range(0, len(rows), _ROWS):
        np.add.at(sums, owner[begin : begin + _ROWS], guide.vectors(rows[begin : begin + _ROWS]))
    centroids = _unit(sums)
    for begin in range(0, len(rows), _ROWS):
        vectors, own = guide.vectors(rows[begin : begin + _ROWS]).astype(np.float64), owner[begin : begin + _ROWS]
        line = np.arange(len(own))
        cosines = vectors @ centroids.T
        kept = np.einsum("nd,nd->n", vectors, _unit(sums[own] - vectors))
        cosines[line, own] = -np.inf
        nearest = cosines.argmax(axis=1)
        stays = (kept >= cosines[line, nearest] - _TIE) | (sizes[own] == 1)
        yield np.where(stays, own, nearest)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
