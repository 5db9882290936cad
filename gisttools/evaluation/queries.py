"""Takes a search apart into its queries: what each scored with either model, and which document came first instead of
the one that answers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gisttools.data import passage_of
from gisttools.evaluation.items import Saved, Split, query_scores

if TYPE_CHECKING:
    from mteb import AbsTask

QUERIES = ["task", "subset", "query", "text", "base", "tuned", "base_rank", "tuned_rank"]
QUERIES += ["answer", "base_found", "tuned_found", "variant"]
_READ = 200  # queries, of those whose score changed most, whose documents are kept to be read
_TEXT = 600  # characters of a text


def query_rows(
    task: AbsTask, subset: str, data: Split | None, base: Saved | None, tuned: Sequence[Saved | None]
) -> list[dict[str, Any]]:
    """A row for each judged query of a search, in the order of its ids; none of another task, where the main score is
    no mean over queries, or where mteb saved no predictions.

    Of several trainings `tuned` is the mean, rank and document are the first one's. Documents are those of the 200
    queries whose score changed most; None elsewhere.
    """
    if not isinstance(data, Mapping) or "relevant_docs" not in data:
        return []
    saved = [p for p in (base, *tuned) if isinstance(p, Mapping) and p]
    if len(saved) < len(tuned) + 1:
        return []
    options = {k: bool(getattr(task, k, False)) for k in ("ignore_identical_ids", "skip_first_result")}
    relevant = data["relevant_docs"]
    scores = [query_scores(p, relevant, task.metadata.main_score, **options) for p in saved]
    if any(s is None for s in scores):
        return []
    known = sorted(set.intersection(*(set(s or ()) for s in scores)))
    texts = _texts(data["queries"], known)
    rows = [
        {
            "task": task.metadata.name,
            "subset": subset,
            "query": query,
            "text": texts.get(query, ""),
            "base": float((scores[0] or {})[query]),
            "tuned": float(np.mean([(s or {})[query] for s in scores[1:]])),
            **dict.fromkeys(("base_rank", "tuned_rank", "answer", "base_found", "tuned_found")),
        }
        for query in known
    ]
    _name_documents(rows, data, saved[:2], options)
    return rows


def query_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The table that queries.parquet holds."""
    kinds = {"base": "float64", "tuned": "float64", "base_rank": "Int64", "tuned_rank": "Int64"}
    return pd.DataFrame(rows, columns=QUERIES).astype(kinds)


def _name_documents(
    rows: Sequence[dict[str, Any]], data: Mapping[str, Any], saved: Sequence[Saved], options: Mapping[str, bool]
) -> None:
    """Add where the first right document stands, and of the queries that changed most which documents came first."""
    relevant, firsts = data["relevant_docs"], {}
    for row in rows:
        right = {d: grade for d, grade in relevant[row["query"]].items() if grade > 0}
        ranked = [_ranked(p[row["query"]], row["query"], options) for p in saved]
        row["base_rank"], row["tuned_rank"] = (
            next((rank for rank, d in enumerate(found, 1) if d in right), None) for found in ranked
        )
        firsts[row["query"]] = [
            max(right, key=lambda d: right[d], default=None),
            *(r[0] if r else None for r in ranked),
        ]
    changed = [row for row in rows if row["base"] != row["tuned"]]
    read = sorted(changed, key=lambda row: -abs(row["tuned"] - row["base"]))[:_READ]
    documents = _texts(data["corpus"], [d for row in read for d in firsts[row["query"]] if d is not None])
    for row in read:
        found = (None if d is None else documents.get(d) for d in firsts[row["query"]])
        row["answer"], row["base_found"], row["tuned_found"] = found


def _ranked(found: Mapping[str, float], query: str, options: Mapping[str, bool]) -> list[str]:
    """Document ids, the best first; equal scores stand by descending id, as trec_eval has them."""
    ids = sorted(found, key=lambda d: (found[d], d), reverse=True)
    if options["ignore_identical_ids"]:
        ids = [d for d in ids if d != query]
    return ids[1:] if options["skip_first_result"] else ids


def _texts(table: Any, ids: Sequence[str]) -> dict[str, str]:
    """The texts of these ids, cut; of a document with its title."""
    wanted, names = set(ids), table["id"]
    places = [(place, str(name)) for place, name in enumerate(names) if str(name) in wanted]
    return {name: _text(table[place])[:_TEXT] for place, name in places}


def _text(row: Mapping[str, Any]) -> str:
    text = row["text"]
    if not isinstance(text, str):  # turns of a conversation
        text = "\n".join(str(turn.get("content", turn) if isinstance(turn, Mapping) else turn) for turn in text)
    return passage_of(str(row.get("title") or ""), text)
