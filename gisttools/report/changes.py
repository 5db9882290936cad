"""What changed item by item: texts fixed and broken, slices of the test set, classes confused less or more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from gisttools.common import count, is_number, score, signed
from gisttools.evaluation import crossed_interval
from gisttools.report.data import ReportData
from gisttools.report.drawing import clip
from gisttools.report.noise import gains

CHANGED = 6  # texts shown of each kind
LONG = 280  # characters of a text shown
_SLICES = 60  # slices of one kind
_PAIRS = 8  # of classes, confused less and more
_NAME = 60


def changed(data: ReportData) -> dict[str, Any] | None:
    """The texts that gained and lost most, and how many did; None where the run saved no items."""
    if data.items is None or data.items.empty:
        return None
    items = data.items.assign(change=data.items["tuned_correct"] - data.items["base_correct"])
    fixed = items[items["change"] > 0].sort_values("change", ascending=False, kind="stable")
    broken = items[items["change"] < 0].sort_values("change", kind="stable")
    same, whole = len(items) - len(fixed) - len(broken), len(items)
    return {
        "kinds": [
            ("Fixed", "right more often with the tuned model", _texts(fixed)),
            ("Broken", "right less often with the tuned model", _texts(broken)),
        ],
        "fixed": len(fixed),
        "broken": len(broken),
        "same": same,
        "parts": [
            ("fixed", "good", len(fixed) / whole),
            ("unchanged", "base", same / whole),
            ("broken", "bad", len(broken) / whole),
        ],
        "several": items["task"].nunique() > 1,
    }


def slices(data: ReportData) -> list[dict[str, Any]]:
    """Groups of slices (class, text length, source, subset), each with scores before and after and an interval.

    A group is left out where it has one slice only. Each entry: `name`, `rows` as numbers (name, task, n, base, tuned,
    difference, low, high, verdict).
    """
    if data.items is None or data.items.empty:
        return []
    items, groups = data.items, []
    several = items["task"].nunique() > 1
    for name, keys in _keys(items):
        rows = []
        for (task, key), part in items.loc[keys.index].groupby(["task", keys], sort=False):
            label = f"{task}: {key}" if several else str(key)
            rows.append({"name": clip(label, _NAME), **_slice(part)})
        if len(rows) > 1:
            if name == "Class":
                rows.sort(key=lambda r: -r["difference"])
            groups.append({"name": name, "rows": rows[:_SLICES], "more": max(len(rows) - _SLICES, 0)})
    return groups


def slice_row(row: dict[str, Any]) -> dict[str, str]:
    """A slice as it is written."""
    known = is_number(row["low"])
    return {
        "name": row["name"],
        "n": count(row["n"]),
        "base": score(row["base"]),
        "tuned": score(row["tuned"]),
        "difference": signed(row["difference"]),
        "interval": f"{signed(row['low'])} to {signed(row['high'])}" if known else "none",
        "verdict": row["verdict"],
    }


def confusions(data: ReportData) -> list[dict[str, Any]]:
    """Pairs of classes that are confused less than before, and more: gold, the answer given, and how many texts before
    and after. An answer is the one most draws gave."""
    if data.items is None or data.items.empty:
        return []
    counts: dict[tuple[str, str, str], list[int]] = {}
    for side in (0, 1):
        answers = data.items[("base_answer", "tuned_answer")[side]]
        for task, gold, answer in zip(data.items["task"], data.items["gold"], answers, strict=True):
            if gold != answer:
                counts.setdefault((task, str(gold), str(answer)), [0, 0])[side] += 1
    rows: list[dict[str, Any]] = [
        {"task": t, "gold": clip(g, _NAME), "answer": clip(a, _NAME), "base": b, "tuned": n, "change": n - b}
        for (t, g, a), (b, n) in counts.items()
    ]
    less = sorted((r for r in rows if r["change"] < 0), key=lambda r: (r["change"], -r["base"]))[:_PAIRS]
    more = sorted((r for r in rows if r["change"] > 0), key=lambda r: (-r["change"], -r["tuned"]))[:_PAIRS]
    kinds = (("Confused less than before", less), ("Confused more than before", more))
    return [{"name": name, "rows": part} for name, part in kinds if part]


def _keys(items: pd.DataFrame) -> Iterable[tuple[str, pd.Series]]:
    yield "Class", items["gold"].astype(str)
    lengths = items["text"].str.len().sort_values(kind="stable")
    yield "Text length", _by_length(lengths)
    for column, name in (("source", "Source"), ("subset", "Subset")):
        if column in items and items[column].nunique() > 1:
            yield name, items[column].astype(str)


def _by_length(lengths: pd.Series) -> pd.Series:
    """Thirds of the texts by their number of characters, named by their ends."""
    edges = [int(lengths.quantile(q)) for q in (1 / 3, 2 / 3)]
    short = f"up to {edges[0]:,} characters"
    middle = f"{edges[0] + 1:,} to {edges[1]:,} characters"
    long = f"more than {edges[1]:,} characters"
    named = np.select([lengths <= edges[0], lengths <= edges[1]], [short, middle], long)
    return pd.Series(named, index=lengths.index)


def _slice(part: pd.DataFrame) -> dict[str, Any]:
    base, tuned = part["base_correct"].astype(float), part["tuned_correct"].astype(float)
    row = {"n": len(part), "base": base.mean(), "tuned": tuned.mean(), "difference": tuned.mean() - base.mean()}
    nothing = row | {"low": None, "high": None, "verdict": "not shown"}
    if len(part) < 2:
        return nothing
    gain = gains(part)
    gain = (tuned - base).to_numpy() if gain is None else gain
    interval = crossed_interval(np.zeros_like(gain), gain)
    if interval.standard_error == 0:
        return nothing
    shown = "helped" if interval.low > 0 else "hurt" if interval.high < 0 else "not shown"
    return row | {"low": interval.low, "high": interval.high, "verdict": shown}


def _texts(items: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "task": r["task"],
            "text": clip(r["text"], LONG),
            "gold": clip(r["gold"], _NAME),
            **{f"{k}_answer": clip(r[f"{k}_answer"], _NAME) for k in ("base", "tuned")},
            **{k: f"{100 * r[f'{k}_correct']:.0f} %" for k in ("base", "tuned")},
        }
        for r in items.head(CHANGED).to_dict("records")
    ]
