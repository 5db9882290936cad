"""What an evaluate run says of its models: scores, the single items behind them, and what they were scored on."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gisttools.common import DataError, MissingError
from gisttools.evaluation import Part, Scored
from gisttools.workflow.manifest import read_manifest
from gisttools.workflow.runs import artefact, as_run, read_summary

_COLUMNS = ("task", "subset", "metric", "base", "tuned", "standard_error", "freedom", "is_target")
_DRAWS = ("base_draws", "tuned_draws")
_ABOUT = ("split", "revision", "n_items", "n_draws")


@dataclass(frozen=True, kw_only=True)
class ScoredParts:
    """Of one tuned model of an evaluate run.

    Attributes:
        model: what the run's parameters call it.
        base, tuned: by part what the baseline and it did.
        about: by part what it was scored on.
        targets: the parts that are targets.
    """

    model: str
    base: dict[Part, Scored]
    tuned: dict[Part, Scored]
    about: dict[Part, dict[str, Any]]
    targets: frozenset[Part]


def models_of(parameters: Mapping[str, Any]) -> list[str]:
    """The tuned models that the parameters of an evaluation name, each once."""
    model = parameters["model"]
    return list(dict.fromkeys([model] if isinstance(model, str) else model))


def read_scored(name: str) -> list[ScoredParts]:
    """Read an evaluate run, by id or path; one result for each of its tuned models, in their order.

    `about` holds of each part its metric, split, revision, n_items, n_draws and items (a hash of texts and labels), as
    far as the run kept them. Of several seeds of one recipe the run keeps one interval; what it says of items is taken
    for each of them.

    Raises:
        DataError: the run is of an older kind, failed, or its files changed since.
        MissingError: the run or an artefact is not there.
    """
    comparison = pd.read_parquet(artefact(name, "comparison.parquet"))
    if lacking := [c for c in _COLUMNS if c not in comparison]:
        raise DataError(f"Run {name}: comparison.parquet lacks {', '.join(lacking)}. Evaluate again.")
    models = models_of(read_manifest(as_run(name))["parameters"])
    variants = {v["name"]: v["models"] for v in read_summary(name).get("variants", ())}
    items, scores = pq.read_table(artefact(name, "items.parquet")), _main_scores(name)
    found = []
    for i, model in enumerate(models):
        role = "tuned" if i == 0 else f"tuned_{i + 1}"
        variant = next((v for v, members in variants.items() if model in members), None)
        own = comparison if variant is None else comparison[comparison["variant"] == variant]
        members = [model] if variant is None else variants[variant]
        roles = ["tuned" if models.index(m) == 0 else f"tuned_{models.index(m) + 1}" for m in members]
        mine = items if variant is None else items.filter(pc.equal(items["variant"], variant))
        found.append(_parts_of(model, role, roles, own, _items(mine), scores))
    return found


def _parts_of(
    model: str,
    role: str,
    roles: Sequence[str],
    comparison: pd.DataFrame,
    items: Mapping[Part, tuple[tuple[np.ndarray | None, np.ndarray | None], str | None]],
    scores: Mapping[tuple[str, Part], Mapping[str, Any]],
) -> ScoredParts:
    """What the model of `role` did; `roles` are all seeds of its recipe, whose draws stand one after the other."""
    base, tuned, about, targets = {}, {}, {}, set()
    for row in comparison.to_dict("records"):
        part = (row["task"], row["subset"])
        several, told = row.get("n_seeds", 1) > 1, scores.get((role, part))
        if scores and told is None:
            continue  # it failed here, another seed of its recipe did not
        (base_values, values), hashed = items.get(part, ((None, None), None))
        if values is not None and several:
            there = [r for r in roles if (r, part) in scores]
            n = len(values) // len(there)
            values = values[there.index(role) * n :][:n] if n * len(there) == len(values) else None
        error = row["item_error"] if several else row["standard_error"]
        freedom = row["freedom"] if np.isfinite(row["freedom"]) else np.inf
        score = told["score"] if several else row["tuned"]
        base[part] = Scored(score=row["base"], values=base_values)
        tuned[part] = Scored(score=score, values=values, variance=error**2, freedom=freedom)
        known = {k: told[k] for k in _ABOUT if k in told and pd.notna(told[k])} if told else {}
        about[part] = {"metric": row["metric"], **known} | ({"items": hashed} if hashed else {})
        targets |= {part} if row["is_target"] else set()
    return ScoredParts(model=model, base=base, tuned=tuned, about=about, targets=frozenset(targets))


def _main_scores(name: str) -> dict[tuple[str, Part], dict[str, Any]]:
    """Main scores by role and part, with the split and the data they are of, as far as the run kept that."""
    try:
        scores = pd.read_parquet(artefact(name, "scores.parquet"))
    except MissingError:
        return {}
    if not {"is_main", "role", "task", "subset"} <= set(scores):
        return {}
    rows = scores[scores["is_main"].astype(bool)].to_dict("records")
    return {(r["role"], (r["task"], r["subset"])): r for r in reversed(rows)}  # of several splits the first


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
        base, tuned = (_matrix(part[c]) for c in _DRAWS) if kept else (None, None)
        found[names[start]] = (base, tuned), _hash(part)
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
