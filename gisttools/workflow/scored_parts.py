"""What an evaluate run says of both models: scores, the single items behind them, and what they were scored on."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gisttools.errors import DataError, MissingError
from gisttools.gain import Part, Scored
from gisttools.workflow.runs import artefact

_COLUMNS = ("task", "subset", "metric", "base", "tuned", "standard_error", "freedom", "is_target")
_DRAWS = ("base_draws", "tuned_draws")
_ABOUT = ("split", "revision", "n_items", "n_draws")


@dataclass(frozen=True, kw_only=True)
class ScoredParts:
    """By part what base and tuned model did, and what it was scored on; the parts that are targets."""

    base: dict[Part, Scored]
    tuned: dict[Part, Scored]
    about: dict[Part, dict[str, Any]]
    targets: frozenset[Part]


def read_scored(name: str) -> ScoredParts:
    """Read an evaluate run, by id or path.

    `about` holds of each part its metric, split, revision, n_items, n_draws and items (a hash of texts and labels), as
    far as the run kept them.

    Raises:
        DataError: the run is of an older kind, failed, or its files changed since.
        MissingError: the run or an artefact is not there.
    """
    comparison = pd.read_parquet(artefact(name, "comparison.parquet"))
    if lacking := [c for c in _COLUMNS if c not in comparison]:
        raise DataError(f"Run {name}: comparison.parquet lacks {', '.join(lacking)}. Evaluate again.")
    items = _items(pq.read_table(artefact(name, "items.parquet")))
    scored_on = _scored_on(name)
    base, tuned, about = {}, {}, {}
    for row in comparison.itertuples():
        part = (row.task, row.subset)
        values, hashed = items.get(part, ((None, None), None))
        freedom = row.freedom if np.isfinite(row.freedom) else np.inf
        base[part] = Scored(score=row.base, values=values[0])
        tuned[part] = Scored(score=row.tuned, values=values[1], variance=row.standard_error**2, freedom=freedom)
        about[part] = {"metric": row.metric, **scored_on.get(part, {})} | ({"items": hashed} if hashed else {})
    targets = frozenset((r.task, r.subset) for r in comparison.itertuples() if r.is_target)
    return ScoredParts(base=base, tuned=tuned, about=about, targets=targets)


def _scored_on(name: str) -> dict[Part, dict[str, Any]]:
    """Of each part the split and the data that it was scored on, as far as the run kept that."""
    try:
        scores = pd.read_parquet(artefact(name, "scores.parquet"))
    except MissingError:
        return {}
    if not {"is_main", "task", "subset"} <= set(scores):
        return {}
    rows = scores[scores["is_main"].astype(bool)].drop_duplicates(["task", "subset"]).to_dict("records")
    return {(r["task"], r["subset"]): {k: r[k] for k in _ABOUT if k in r and pd.notna(r[k])} for r in rows}


def _items(table: pa.Table) -> dict[Part, tuple[tuple[np.ndarray | None, np.ndarray | None], str | None]]:
    """By part: what base and tuned model got right, (draws, items) each or None where that was not kept, and a hash of
    the texts and labels."""
    if not len(table) or not {"task", "subset", "item"} <= set(table.column_names):
        return {}
    table = table.sort_by([("task", "ascending"), ("subset", "ascending"), ("item", "ascending")]).combine_chunks()
    names = list(zip(table["task"].to_pylist(), table["subset"].to_pylist(), strict=True))
    starts = [0, *(i for i in range(1, len(names)) if names[i] != names[i - 1]), len(names)]
    found = {}
    for start, stop in itertools.pairwise(starts):
        part = table.slice(start, stop - start)
        kept = stop - start > 1 and all(c in table.column_names for c in _DRAWS)
        values = tuple(_matrix(part[c]) for c in _DRAWS) if kept else (None, None)
        found[names[start]] = values, _hash(part)
    return found


def _matrix(column: pa.ChunkedArray) -> np.ndarray | None:
    """(draws, items), of a column that holds a list of draws an item; None where their numbers differ."""
    lists = column.combine_chunks()
    draws = set(pc.list_value_length(lists).to_pylist())
    if len(draws) != 1 or None in draws:
        return None
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(float)
    return np.ascontiguousarray(flat.reshape(-1, draws.pop()).T)


def _hash(part: pa.Table) -> str | None:
    if not {"text", "gold"} <= set(part.column_names):
        return None
    digest = hashlib.blake2b(digest_size=8)
    for name in ("text", "gold"):
        for value in part[name].to_pylist():
            digest.update(repr(value).encode())
    return digest.hexdigest()
