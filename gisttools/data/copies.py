"""Finds out what belongs together because it is nearly the same: texts, and documents that share their chunks.

However many texts are copies of one another, memory grows with the number of texts, not with that of their pairs.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gisttools.data.near_duplicates import near_pairs, runs
from gisttools.data.options import NEAR

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_LINKS = 2_000_000  # kept at once
_SHARED = 0.5  # of a document's chunks, near copies of which make two documents one
_NUMBER = re.compile(r"\d+")


def near_groups(texts: Sequence[str], near: float = NEAR) -> np.ndarray:
    """(n,) int64: texts that are near copies, or are linked by others that are, share a number; 0 comes first."""
    different, places = _different(texts)
    pairs = near_pairs(different, different, near)
    return linked((np.stack([i, j]) for i, j, _ in pairs), len(different))[places]


def linked(links: Iterable[np.ndarray], count: int) -> np.ndarray:
    """The number of each one's group, int64 (count,): of all that are linked, directly or through others; 0 is first.

    Args:
        links: pairs in parts, each int64 (2, m).
        count: how many there are.
    """
    groups = np.arange(count)
    held: list[np.ndarray] = []
    for part in links:
        held.append(part)
        if sum(p.shape[1] for p in held) > _LINKS:
            groups, held = _joined(groups, held), []
    return _joined(groups, held)


def _joined(groups: np.ndarray, links: Sequence[np.ndarray]) -> np.ndarray:
    """The groups when these are linked too."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    i, j = np.concatenate([np.empty((2, 0), dtype=np.int64), *links], axis=1)
    graph = coo_array((np.ones(len(i), dtype=np.int8), (groups[i], groups[j])), shape=(len(groups),) * 2)
    found = connected_components(graph, directed=False)[1][groups]
    _, first, places = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[places].astype(np.int64)  # numbered as they first come


def first_ones(texts: Sequence[str], near: float) -> np.ndarray:
    """The places, int64, ascending, of texts that are no near copy, with the same numbers in them, of an earlier one
    that is among them."""
    different, places = _different(texts)
    numbers, _ = _numbered(tuple(_NUMBER.findall(text)) for text in different)
    stays = np.ones(len(different), dtype=bool)
    for later, earlier in _earlier_ones(different, near):
        same = numbers[later] == numbers[earlier]
        for a, b in zip(later[same].tolist(), earlier[same].tolist(), strict=True):
            if stays[b]:
                stays[a] = False
    first = np.unique(places, return_index=True)[1]
    return np.sort(first[stays])


def _earlier_ones(texts: Sequence[str], near: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Near copies and the earlier texts they are copies of, the former ascending over all parts."""
    for i, j, _ in near_pairs(texts, texts, near):
        yield i[j < i], j[j < i]


def document_groups(forms: Sequence[str], owners: Sequence[str], near: float = NEAR) -> np.ndarray:
    """For each chunk the number of its document's group, int64 (n,). Documents are of one group where half of one's
    chunks, or more, are near copies of chunks of the other.

    Args:
        forms: the chunks' texts, as they are to be compared.
        owners: the document of each.
        near: see `near_groups`.
    """
    from scipy.sparse import csr_array

    owner, count = _numbered(owners)
    kind = near_groups(forms, near)
    sizes = np.bincount(owner, minlength=count)
    shape = (count, int(kind.max(initial=-1)) + 1)
    shares = csr_array((1.0 / sizes[owner], (owner, kind)), shape=shape)  # equal ones are added up
    shares.sum_duplicates()
    parts = np.repeat(np.arange(count), np.diff(shares.indptr))
    # a kind that makes up half of a document links it to all that have that kind: one link each will do
    heavy = np.zeros(shape[1], dtype=bool)
    heavy[shares.indices[shares.data >= _SHARED - 1e-9]] = True
    first = np.full(shape[1], count, dtype=np.int64)
    np.minimum.at(first, shares.indices, parts)
    own = heavy[shares.indices]
    star = np.stack([parts[own], first[shares.indices[own]]])
    return linked([star, *_shared_links(shares)], count)[owner]


def _shared_links(shares: csr_array) -> Iterator[np.ndarray]:
    """Documents and those that hold half of their chunks, some documents at a time."""
    held = shares.T.tocsr()
    held.data[:] = 1
    several = np.flatnonzero(np.diff(shares.indptr) > 1)  # those of one kind alone are linked already
    if not len(several):
        return
    partners = np.add.reduceat(np.diff(held.indptr)[shares.indices], shares.indptr[:-1])
    for begin, end in runs(partners[several], _LINKS):
        found = (shares[several[begin:end]] @ held).tocoo()
        near = found.data >= _SHARED - 1e-9
        yield np.stack([several[begin:end][found.coords[0][near]], found.coords[1][near]]).astype(np.int64)


def _different(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Each text once, and the place there of each, int64 (n,)."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return list(places), np.array([places[text] for text in texts], dtype=np.int64)


def _numbered(values: Iterable[Hashable]) -> tuple[np.ndarray, int]:
    """A number for each, equal ones alike, int64 (n,), in the order in which they come; and how many numbers."""
    seen: dict[Hashable, int] = {}
    numbers = np.array([seen.setdefault(value, len(seen)) for value in values], dtype=np.int64)
    return numbers, len(seen)
