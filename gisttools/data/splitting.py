"""Splits texts, or documents, into a part to train on and a part to test on, with near copies on one side.

What stands on which side is decided by content, not by place: another order of the same rows gives the same split. Each
label keeps its share, as far as its near copies allow; a label that cannot be split stays in the part to train on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gisttools.common import DataError, ParameterError, digest
from gisttools.data.characters import normalise
from gisttools.data.copies import near_groups
from gisttools.data.options import NEAR

_KEPT: dict[str, np.ndarray] = {}  # parts of what was split last: each reader of a file asks again
_MOST_KEPT = 8


@dataclass(frozen=True, kw_only=True)
class Split:
    """Who stands where.

    Attributes:
        test: (n,) truth values; the others are to train on.
        groups: (n,) numbers; near copies share one.
        unsplit: labels of which nothing could be tested, with the number of their different texts.
    """

    test: np.ndarray
    groups: np.ndarray
    unsplit: dict[str, int]


def split_texts(
    texts: Sequence[str],
    labels: Sequence[str] | None = None,
    *,
    share: float = 0.2,
    seed: int = 0,
    near: float = NEAR,
    groups: np.ndarray | None = None,
) -> Split:
    """Choose about `share` of the texts to test on, of each label alike.

    Args:
        texts: (n,); near copies (trigrams, see `near_pairs`) and texts that are near the same third stay together.
        labels: (n,); None where there are none.
        share: of the texts, between 0 and 1.
        seed: of the choice.
        near: similarity from which two texts are near copies.
        groups: (n,) numbers, where it is known already what stays together, such as the chunks of one document.

    Raises:
        ParameterError: `share` is not between 0 and 1.
        DataError: there are labels for another number of texts, or nothing can be split: all texts are near copies.
    """
    if not 0 < share < 1:
        raise ParameterError(f"test_share is {share}; it must lie between 0 and 1, such as 0.2.")
    labels = [""] * len(texts) if labels is None else list(labels)
    if len(labels) != len(texts):
        raise DataError(f"There are {len(labels)} labels for {len(texts)} texts.")
    plain = [normalise(text) for text in texts]
    groups = near_groups(plain, near) if groups is None else groups
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups.tolist()):
        members[group].append(row)
    counts, numbers = [Counter(labels[row] for row in rows) for rows in members.values()], list(members)
    first = [min(plain[row] for row in rows) for rows in members.values()]
    order = sorted(range(len(counts)), key=lambda g: digest(f"{seed}\n{first[g]}", 16))
    test = np.isin(groups, [numbers[place] for place in _choose(counts, order, share)])
    if not test.any():
        raise DataError(
            f"None of the {len(texts):,} texts can be tested on: they are too few, or near copies of one another. "
            "Name a test file of your own."
        )
    parts = Counter(label for own in counts for label in own)
    tested = {label for label, of_test in zip(labels, test.tolist(), strict=True) if of_test}
    return Split(test=test, groups=groups, unsplit={k: n for k, n in sorted(parts.items()) if k not in tested})


def split_parts(
    texts: Sequence[str], labels: Sequence[str] | None, shares: Mapping[str, float], *, where: str = "texts"
) -> np.ndarray:
    """Which part each text belongs to: "train", or a name in `shares`, each a share of all texts; near copies are in
    one part. The same texts and labels always give the same parts; the first share's do not depend on the others.

    Returns:
        (n,) names.

    Raises:
        ParameterError, DataError: as `split_texts`; the latter names `where`.
    """
    key = digest(repr([list(shares.items()), list(texts), None if labels is None else list(labels)]), 16)
    if key not in _KEPT:
        while len(_KEPT) >= _MOST_KEPT:
            _KEPT.pop(next(iter(_KEPT)))
        try:
            _KEPT[key] = _split_parts(texts, labels, shares)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
    return _KEPT[key]


def _split_parts(texts: Sequence[str], labels: Sequence[str] | None, shares: Mapping[str, float]) -> np.ndarray:
    parts = np.full(len(texts), "train", dtype=object)
    left, seed = 1.0, 0
    for name, share in shares.items():
        rows = np.flatnonzero(parts == "train").tolist()
        own = None if labels is None else [labels[row] for row in rows]
        split = split_texts([texts[row] for row in rows], own, share=share / left, seed=seed)
        parts[np.array(rows, dtype=np.int64)[split.test]] = name
        left, seed = left - share, seed + 1
    return parts


def _choose(counts: Sequence[Counter[str]], order: Sequence[int], share: float) -> list[int]:
    """Groups to test on: in `order`, as long as no label gets more than its share, and at least one stays to train on.

    Each label gets at least one text where it has two groups, so that rare labels are tested too.
    """
    whole = sum(counts, Counter())
    groups_left = Counter(label for own in counts for label in own)
    wanted = {label: max(round(share * n), 1) for label, n in whole.items()}
    taken: Counter[str] = Counter()
    chosen = []
    for group in order:
        own = counts[group]
        fits = all(taken[label] + n <= wanted[label] for label, n in own.items())
        if fits and all(groups_left[label] > 1 for label in own):
            chosen.append(group)
            taken.update(own)
            groups_left.subtract(dict.fromkeys(own, 1))
    return chosen
