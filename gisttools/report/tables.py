"""Makes the tables of a report: scores by task and on average, where noise comes from, what changed item by item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gisttools.common import anonymous, count, is_number, is_true, model_name, p_value, score, signed, trained_as
from gisttools.evaluation import Average, Comparison, averages, crossed_interval, targets_and_guards, verdict
from gisttools.report.data import ReportData
from gisttools.report.drawing import clip
from gisttools.report.verdict import interval, main_rows, metric_name, size, task_name, words

NOISE_NAMES = {
    "draws": "few-shot draws",
    "items": "test items",
    "both": "single answers",
    "seeds": "training seeds",
}


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The standard error of one task's difference (a share of 1), and each source's share of its variance.

    `both` is what single answers add that neither their draw nor their item explains.
    """

    task: str
    error: float
    shares: dict[str, float]


def noise(data: ReportData) -> list[Noise]:
    """One entry for each task whose noise can be taken apart: draws crossed with items, or seeds next to items."""
    found = []
    for row in main_rows(data):
        shares, error = _of_items(data, row), row.standard_error
        variance = row.seed_error**2 + row.item_error**2
        if variance > 0:
            by_seed = row.seed_error**2 / variance
            shares = {k: v * (1 - by_seed) for k, v in (shares or {"items": 1.0}).items()} | {"seeds": by_seed}
            error = error if is_number(error) else float(np.sqrt(variance))
        if shares and error > 0:
            found.append(Noise(task=task_name(row), error=error, shares=shares))
    return found


def crossed_shares(gain: NDArray) -> dict[str, float] | None:
    """Shares of the variance of a matrix's mean, (draws, items): by draws, by items, and by what neither explains.

    The parts are those of the two-way interval: the spread of the draws' means and that of the items' means, each less
    the noise of single cells, and that noise. None where nothing varies, or there is one draw or one item.
    """
    draws, items = gain.shape
    if draws < 2 or items < 2:
        return None
    by_draw, by_item = gain.mean(axis=1), gain.mean(axis=0)
    rest = gain - by_draw[:, None] - by_item[None] + gain.mean()
    cells = float((rest**2).sum()) / ((draws - 1) * (items - 1)) / gain.size
    parts = {
        "draws": max(float(by_draw.var(ddof=1)) / draws - cells, 0.0),
        "items": max(float(by_item.var(ddof=1)) / items - cells, 0.0),
        "both": cells,
    }
    whole = sum(parts.values())
    return {k: v / whole for k, v in parts.items()} if whole > 0 else None


def gains(items: pd.DataFrame) -> NDArray | None:
    """Tuned minus base of every draw and item, (draws, items); None where draws were not kept or differ in number."""
    if not {"base_draws", "tuned_draws"} <= set(items) or items.empty:
        return None
    pairs = list(zip(items["base_draws"], items["tuned_draws"], strict=True))
    if any(_length(b) != _length(t) or _length(b) == 0 for b, t in pairs) or len({_length(b) for b, _ in pairs}) > 1:
        return None
    return np.asarray([np.asarray(t, dtype=float) - np.asarray(b, dtype=float) for b, t in pairs]).T


def items_of(data: ReportData, row: Comparison) -> pd.DataFrame | None:
    """The saved items behind a row of the comparison."""
    if data.items is None:
        return None
    part = data.items[data.items["task"] == row.task]
    if "subset" in part:
        part = part[part["subset"] == row.subset]
    return part if len(part) else None


def _of_items(data: ReportData, row: Comparison) -> dict[str, float] | None:
    items = items_of(data, row)
    gain = None if items is None or row.metric != "accuracy" else gains(items)
    return None if gain is None else crossed_shares(gain)


def _length(values: object) -> int:
    return len(values) if hasattr(values, "__len__") else 0


ROWS = 200  # tasks shown of each group
METRICS = 600  # rows of the table of all metrics
_REFERENCES = 60  # other models, by task
_LONG = 280  # characters of an error


def score_groups(data: ReportData) -> list[dict[str, Any]]:
    """Groups of rows (target tasks, guards), targets first, the best change first."""
    rows = main_rows(data)
    targets = [row for row in rows if row.is_target]
    guards = [row for row in rows if not row.is_target and not row.second_look]
    groups = []
    for name, part in (
        ("Target tasks", targets),
        ("Guards: tasks that must not lose" if targets else "Tasks", guards),
        ("A second look at the same texts, which has no say", [row for row in rows if row.second_look]),
    ):
        if part:
            more = f" (the best {ROWS} of {len(part)}; all stand in scores.csv)" if len(part) > ROWS else ""
            shown = sorted(part, key=lambda row: -row.difference if row.scored else np.inf)[:ROWS]
            groups.append({"name": name + more, "rows": [_score_row(row) for row in shown]})
    return groups


def means(data: ReportData) -> list[dict[str, str]]:
    """Averages by category and over all tasks, and again without the tasks whose train split was trained on."""
    # the mean of one task is that task; what was not trained on is worth a line even so
    return [
        {
            "name": _average_name(row),
            "base": score(row.base),
            "tuned": score(row.tuned),
            "difference": signed(row.difference),
            "interval": interval(row),
            "p": p_value(row.p),
            "verdict": row.verdict,
        }
        for row in data.averages or _averages(data)
        if row.n_tasks != 1 or row.tasks == "not trained on"
    ]


def _averages(data: ReportData) -> list[Average]:
    """Of an evaluation that kept none."""
    rows = [row for row in main_rows(data) if row.scored]
    found = averages(rows) if len(rows) > 1 else []
    fresh = [row for row in rows if not row.trained_on]
    if 0 < len(fresh) < len(rows):
        found += [replace(row, tasks="not trained on") for row in averages(fresh)]
    return found


def references(data: ReportData) -> list[dict[str, str]]:
    """Scores of other models on these tasks, next to base and tuned."""
    if data.references is None:
        return []
    table = data.references.assign(score=pd.to_numeric(data.references["score"], errors="coerce"))
    ours = {(row.task, row.metric): row for row in main_rows(data)}
    found = []
    for r in table.to_dict("records"):
        own = ours.get((r["task"], r["metric"]))
        if own is not None or not ours:
            found.append(
                {
                    "task": clip(r["task"], 80),
                    "name": clip(_reference(data, model_name(r["name"])), 120),
                    "kind": clip(r.get("kind") or "", 40),
                    "metric": metric_name(r["metric"]),
                    "score": score(r["score"]),
                    "base": score(own.base) if own else "",
                    "tuned": score(own.tuned) if own else "",
                }
            )
    return found[:_REFERENCES]


def _reference(data: ReportData, name: str) -> str:
    run = data.beside.get(name)
    return name if run is None else trained_as(run.parameters.get("student"), run.summary.get("by_source") or {})


def all_metrics(data: ReportData) -> list[dict[str, Any]]:
    """Every metric of every task, base and tuned side by side; at most `METRICS` rows."""
    keys = ["task", "subset", "split", "metric"]
    scores = data.scores.drop_duplicates([*keys, "role"], keep="last")
    wide = scores.pivot(index=keys, columns="role", values="score").dropna(how="all").reset_index()
    main = {(r["task"], r["metric"]) for r in scores.to_dict("records") if is_true(r["is_main"])}
    return [
        {
            **{k: r[k] for k in keys},
            "base": score(r.get("base")),
            "tuned": score(r.get("tuned")),
            "main": (r["task"], r["metric"]) in main,
        }
        for r in wide.head(METRICS).to_dict("records")
    ]


def variants(data: ReportData) -> list[dict[str, str]]:
    """The other variants of this evaluation on the target tasks, with the overall word of each."""
    told = words(data)
    return [
        {**_score_row(row), "variant": clip(row.variant, 80), "word": told[row.variant or ""]}
        for row in targets_and_guards(data.others)[0][:ROWS]
    ]


def paper(data: ReportData) -> list[dict[str, str]]:
    """What the GISTEmbed paper's students scored on tasks that ran here, where the evaluation says so."""
    rows = [r for r in data.evaluate.summary.get("paper") or [] if isinstance(r, Mapping)]
    return [
        {
            "student": clip(r.get("student"), 60),
            "category": clip(r.get("category"), 60),
            "tasks": f"{count(r.get('n_tasks'))} of {count(r.get('of_tasks'))}",
            "base": score(r.get("base")),
            "gist": score(r.get("gist")),
            "difference": signed(r.get("difference")),
        }
        for r in rows[:_REFERENCES]
    ]


def failures(data: ReportData) -> list[dict[str, str]]:
    """Tasks that could not be scored, with the error."""
    if data.failed is None:
        return []
    return [
        {
            "task": clip(r["task"], 80),
            "model": clip(r.get("model") or "", 60),
            "error": clip(anonymous(str(r["error"])), _LONG),
        }
        for r in data.failed.head(ROWS).to_dict("records")
    ]


def _average_name(row: Average) -> str:
    name = clip(row.name, 80)
    name = f"{name[:1].upper()}{name[1:]}" + (f", {row.tasks}" if row.tasks not in ("", "all") else "")
    return name if row.n_tasks is None else f"{name} ({count(row.n_tasks)})"


def _score_row(row: Comparison) -> dict[str, Any]:
    needed = "not known" if is_number(row.mde) else "not run"
    return {
        "task": clip(task_name(row), 80),
        "metric": metric_name(row.metric),
        "interval": interval(row),
        "verdict": row.verdict if row.scored else "not run",
        "sample": size(row),
        "trained_on": bool(row.trained_on),
        "base": score(row.base),
        "tuned": score(row.tuned),
        "mde": score(row.mde),
        "difference": signed(row.difference),
        "p": p_value(row.p_holm),
        "needed": count(row.items_for_one_point) if is_number(row.items_for_one_point) else needed,
        "guard": _guard(row),
        "speaks_of": "the variant" if (row.n_seeds or 1) > 1 else "",
    }


def _guard(row: Comparison) -> str:
    """What is known of the loss of a guard."""
    if row.non_inferior is None:
        return ""
    said = "loss within what is allowed" if row.non_inferior else "a larger loss is not ruled out"
    return said + (f" (allowed: {100 * row.allowed_loss:g} points)" if is_number(row.allowed_loss) else "")


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


def searched(data: ReportData) -> list[dict[str, Any]]:
    """Of each search, how many queries gained and lost, and those that did most: the text, where the right document
    stood before and after, it, and what came first instead."""
    if data.queries is None:
        return []
    found = []
    for (task, subset), rows in data.queries.groupby(["task", "subset"], sort=False):
        change = rows["tuned"] - rows["base"]
        better, worse = rows[change > 0], rows[change < 0]
        found.append(
            {
                "task": task if subset == "default" else f"{task} ({subset})",
                "better": len(better),
                "worse": len(worse),
                "same": len(rows) - len(better) - len(worse),
                "parts": [
                    ("better", "good", len(better) / len(rows)),
                    ("unchanged", "base", (len(rows) - len(better) - len(worse)) / len(rows)),
                    ("worse", "bad", len(worse) / len(rows)),
                ],
                "kinds": [
                    (
                        "Worse",
                        "found less well with the tuned model",
                        _queries(worse.loc[change[worse.index].sort_values(kind="stable").index], "tuned_found"),
                    ),
                    (
                        "Better",
                        "found better with the tuned model",
                        _queries(better.loc[(-change[better.index]).sort_values(kind="stable").index], "base_found"),
                    ),
                ],
            }
        )
    return found


def _queries(rows: pd.DataFrame, instead: str) -> list[dict[str, str]]:
    """The first ones; `instead` is the column of the document that stood first when the right one did not."""
    return [
        {
            "text": clip(row["text"], LONG),
            "base": _rank(row["base_rank"]),
            "tuned": _rank(row["tuned_rank"]),
            "answer": clip(row["answer"] or "", LONG),
            "instead": clip(row[instead] or "", LONG) if row[instead] != row["answer"] else "",
        }
        for row in rows.head(CHANGED).to_dict("records")
    ]


def _rank(rank: object) -> str:
    return f"place {count(rank)}" if is_number(rank) else "not found"


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
    """Pairs of classes that are confused less than before, and more: the true class, the answer given, and how many
    texts before and after. An answer is the one most draws gave."""
    if data.items is None or data.items.empty:
        return []
    counts: dict[tuple[str, str, str], list[int]] = {}
    for side in (0, 1):
        answers = data.items[("base_answer", "tuned_answer")[side]]
        for task, label, answer in zip(data.items["task"], data.items["gold"], answers, strict=True):
            if label != answer:
                counts.setdefault((task, str(label), str(answer)), [0, 0])[side] += 1
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
    return row | {"low": interval.low, "high": interval.high, "verdict": verdict(interval)}


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
