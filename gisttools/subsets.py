"""Nested subsets of triplet tables: the first rows of one seeded order, so that a smaller one lies within a larger one.

Only then does a score against the number of rows say what more rows bring: other rows would be another draw.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from datasets import Dataset, concatenate_datasets

from gisttools.common import ParameterError

_ORDERED_BY = ("task_name", "anchor_label")


def nested_subset(tables: Mapping[str, Dataset], limit: int | None, *, seed: int = 0) -> dict[str, Dataset]:
    """The first `limit` rows of all tables together in their seeded order; each table keeps those that are its own.

    Rows stay in the order of their table, so that a limit of all rows gives the tables as they are.

    Args:
        tables: triplet tables by name.
        limit: rows in all; None for every row.
        seed: of the order. It is no training seed: trainings of several seeds share their rows.

    Raises:
        ParameterError: there are fewer rows than `limit`.
    """
    sizes = [len(table) for table in tables.values()]
    if limit is None:
        return dict(tables)
    if limit > sum(sizes):
        raise ParameterError(
            f"limit is {limit}, but the triplets have {sum(sizes)} rows. Set limit to at most {sum(sizes)}, or to null "
            "for all of them."
        )
    told = concatenate_datasets([t.select_columns(list(_ORDERED_BY)) for t in tables.values()]).to_pandas()
    known = told["anchor_label"].notna()
    # a label that two tasks use, such as 0 or positive, is two labels
    groups = told.groupby(list(_ORDERED_BY), dropna=False, sort=False).ngroup().where(known, -1)
    kept = np.sort(nested_order(groups.to_numpy(), seed)[:limit])
    ends = np.cumsum(sizes)
    parts = np.split(kept, np.searchsorted(kept, ends[:-1]))
    starts = ends - sizes
    return {n: t.select(p - s) for (n, t), p, s in zip(tables.items(), parts, starts, strict=True)}


def nested_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """An order of rows of which every beginning is as balanced by label as it can be.

    Round over the labels: first one row of each, then a second one, and so on, each label's rows in random order; a
    label that has run out is left out of later rounds. Rows without a label are spread evenly among the others, so that
    every beginning holds as large a share of them as the whole.

    Args:
        labels: int (N,), the number of each row's label, -1 for none.
        seed: of the order.

    Returns:
        int (N,), row numbers, each once.
    """
    drawn = np.random.default_rng(seed).permutation(len(labels))
    bare = labels[drawn] < 0
    rows = drawn[~bare]
    rounds = pd.Series(labels[rows]).groupby(labels[rows]).cumcount().to_numpy()
    rows = rows[np.argsort(rounds, kind="stable")]
    others = drawn[bare]
    places = np.concatenate([(np.arange(len(part)) + 0.5) / max(len(part), 1) for part in (rows, others)])
    return np.concatenate([rows, others])[np.argsort(places, kind="stable")]
