"""Where the training rows came from: sources, counts kept and dropped, samples, and what overlaps the test data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from gisttools.common import count, plain, share
from gisttools.report.data import ReportData
from gisttools.report.drawing import clip

_LONG = 280  # characters of a text shown
_SHARED = 4  # examples of a task's test texts in the training table
_WRITTEN_BY = {"task": "task", "kind": "kind", "model": "llm_model", "prompt": "prompt_id"}
_REASONS, _OF_EACH, _KEPT = 3, 2, 4  # samples of rows
_MOST_REASONS = 40


def synthetic(data: ReportData) -> list[dict[str, Any]]:
    """For each synthesize run: its counts, the reasons of rejection, and a few rows of either fate."""
    found = []
    for run in data.syntheses:
        summary = run.summary
        reasons = sorted((summary.get("reasons") or {}).items(), key=lambda pair: -pair[1])
        found.append(
            {
                "run": run,
                "facts": [(name, plain(summary.get(k))) for name, k in _WRITTEN_BY.items()] + _quota(summary),
                "asked": count(summary.get("asked")),
                "accepted": count(summary.get("accepted")),
                "rejected": count(summary.get("rejected")),
                "reasons": [
                    (clip(name, 80), count(n), share(n, summary.get("asked"))) for name, n in reasons[:_MOST_REASONS]
                ],
                "samples": _samples(data.accepted.get(run.id), data.rejected.get(run.id), [r for r, _ in reasons]),
            }
        )
    return found


def _quota(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows that were wanted, labels or topics that fell short, and what an accepted row cost, as far as it is known."""
    if summary.get("wanted") is None:
        return []
    short = sorted((summary.get("short") or {}).items(), key=lambda pair: -pair[1])
    lacking = ", ".join(f"{clip(name, 80)} {count(n)}" for name, n in short[:_MOST_REASONS])
    found = [("rows wanted", count(summary["wanted"])), ("short of", lacking or "nothing")]
    cost = summary.get("cost_per_accepted")
    return found if cost is None else [*found, ("an accepted row cost", f"${cost:.4f}")]


def converted(data: ReportData) -> list[dict[str, Any]]:
    """One row for each source of each convert run."""
    return [
        {
            "source": plain(source.get("source")),
            "revision": plain(source.get("revision"))[:19],
            "split": plain(source.get("split")),
            **{k: count(source.get(k)) for k in ("texts", "classes", "triplets")},
            "dropped": ", ".join(f"{k} {count(n)}" for k, n in (source.get("dropped") or {}).items()) or "none",
        }
        for run in data.converts
        for source in run.summary.get("sources") or []
    ]


def mined(data: ReportData) -> list[dict[str, Any]]:
    """A few mined triplets, the first of each label."""
    return [row for table in data.mined.values() for row in _samples(table, None, [])]


def shared(data: ReportData) -> list[dict[str, str]]:
    """A few test texts that the training table holds, the least alike of each task first: they show what counts."""
    if data.overlap is None or not len(data.overlap):
        return []
    rows = data.overlap.sort_values("score", kind="stable").groupby("task", sort=False).head(_SHARED)
    return [
        {
            "task": plain(r["task"]),
            "tier": plain(r["tier"]),
            "text": clip(r["text"], _LONG),
            "training_text": clip(r["training_text"], _LONG),
        }
        for r in rows.to_dict("records")
    ][: 3 * _SHARED]


def left_out(data: ReportData) -> list[dict[str, Any]]:
    """Rows that a conversion left out because they overlap a test set: how many by tier, and a few of them."""
    found = []
    for run_id, table in data.left_out.items():
        names = {"text", "other"} if {"text", "other"} <= set(table) else {"text", "training_text"} & set(table)
        tiers = table["tier"].value_counts().to_dict() if "tier" in table else {}
        ranked = table.sort_values("score", kind="stable") if "score" in table else table
        found.append(
            {
                "run": run_id,
                "count": count(len(table)),
                "tiers": ", ".join(f"{count(n)} {plain(tier)}" for tier, n in tiers.items()),
                "texts": [
                    {"tier": plain(r.get("tier")), "texts": [clip(r[c], _LONG) for c in sorted(names, reverse=True)]}
                    for r in ranked.head(_SHARED).to_dict("records")
                ],
            }
        )
    return found


def _samples(accepted: pd.DataFrame | None, rejected: pd.DataFrame | None, reasons: list[str]) -> list[dict[str, Any]]:
    """A few rows, the same ones each time: the first of each label, and of each main reason."""
    rows: list[tuple[str, Mapping[str, Any]]] = []
    if accepted is not None:
        first = accepted.drop_duplicates("anchor_label") if "anchor_label" in accepted else accepted
        rows += [("accepted", r) for r in first.head(_KEPT).to_dict("records")]
    if rejected is not None:
        for reason in reasons[:_REASONS]:
            some = rejected[rejected["reject_reason"] == reason].head(_OF_EACH)
            rows += [(f"rejected: {reason}", r) for r in some.to_dict("records")]
    return [
        {
            "fate": fate,
            "label": plain(r.get("anchor_label")) if r.get("anchor_label") else "",
            **{k: clip(r.get(k) or "", _LONG) for k in ("anchor", "positive")},
            "negative": clip(r["negatives"][0], _LONG) if _some(r.get("negatives")) else "",
        }
        for fate, r in rows
    ]


def _some(values: object) -> bool:
    return values is not None and hasattr(values, "__len__") and len(values) > 0
