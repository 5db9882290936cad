"""Draws the figures of the report and the notebooks: one function a figure, each answering with a matplotlib `Figure`.

Where there is nothing to show, the figure says so. They use no pyplot, so nothing global changes. Scores are drawn
times 100, as points. The curves are in `gisttools.report.curves`; their functions are found here as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gisttools.common import is_number, signed
from gisttools.evaluation import Comparison, read_comparisons
from gisttools.report.curves import loss_curve, masked_shares, score_by_cost, score_by_rows
from gisttools.report.drawing import (
    BAD,
    BASE,
    FAINT,
    GAP,
    GOOD,
    INK,
    LOOKS,
    MUTED,
    PAPER,
    WIDTH,
    Drawing,
    clip,
    grid,
    not_empty,
    or_nothing,
    to_svg,
    width_of,
    with_columns,
    write,
)
from gisttools.report.verdict import task_name

MOST = 40
_ROW, _HEAD, _FOOT, _PLOT = 34, 22, 38, WIDTH - 48  # points; differences stand to the right of the plot


@or_nothing
def forest(comparison: pd.DataFrame, most: int = MOST) -> Drawing:
    """Differences (tuned − base, in points) with their intervals, one row a task, target tasks first.

    Args:
        comparison: the table of an evaluate run: task, difference, low, high, verdict, is_target; where they are known,
            also subset, trained_on and allowed_loss (of guards, drawn as a dashed line).
        most: rows drawn; of more the first targets and the guards that lost most.
    """
    scored = [row for row in read_comparisons(comparison) if row.scored]
    groups = _groups(not_empty(scored, "comparison has no row with a difference"), most)
    rows = [row for _, part in groups for row in part]
    height = 6 + _FOOT + _ROW * len(rows) + _HEAD * len(groups)
    told = Counter(row.verdict for row in rows).most_common()
    alt = "Difference in points with interval. " + "; ".join(
        f"{clip(task_name(row), 60)}: {signed(row.difference)} ({signed(row.low)} to {signed(row.high)})"
        for row in rows[:12]
    )
    figure = Drawing(height, f"Difference by task: {', '.join(f'{n} {v}' for v, n in told)}", alt)
    axes = figure.panel(2, _FOOT, _PLOT, height - 4 - _FOOT)
    tall = height - 4 - _FOOT
    left, right = _scale(axes, rows, tall)
    y = 0.0
    for name, part in groups:
        write(axes, (left, y + 10), name.upper(), size=8, color=MUTED, weight="bold", backed=True)
        y += _HEAD
        for row in part:
            _draw(axes, row, y, left, right)
            y += _ROW
    allowed = any(is_number(row.allowed_loss) for row in rows)
    legend = [f"points, tuned − base{GAP}● helped", "○ not shown", "◆ hurt", *(["┆ allowed loss"] if allowed else [])]
    axes.set_xlabel(("\u2002" if allowed else GAP).join(legend), fontsize=9, color=MUTED, labelpad=5)
    return figure


def _groups(rows: Sequence[Comparison], most: int) -> list[tuple[str, list[Comparison]]]:
    """Named groups of at most `most` rows in all; targets take at most all but three of them where there are guards."""
    rows = sorted(rows, key=lambda row: -row.difference)
    targets, guards = [row for row in rows if row.is_target], [row for row in rows if not row.is_target]
    room = most - min(len(guards), max(3, most - len(targets)))
    shown, kept = targets[:room], guards[len(guards) - min(len(guards), most - min(len(targets), room)) :]
    titles = (("Target tasks", shown, targets), ("Guards" if targets else "Tasks", kept, guards))
    return [
        (title if len(part) == len(whole) else f"{title}, {len(part)} of {len(whole)}", part)
        for title, part, whole in titles
        if part
    ]


def _scale(axes: Axes, rows: Sequence[Comparison], tall: float) -> tuple[float, float]:
    """Limits with room around all intervals, zero and the allowed losses; ticks as faint lines."""
    axes.set_ylim(tall, 0)
    ends = [100 * end for row in rows for end in (row.difference, row.low, row.high, -row.allowed_loss)]
    ends = [end for end in ends if is_number(end)]
    low, high = min(*ends, 0.0), max(*ends, 0.0)
    pad = max(0.06 * (high - low), 0.2)
    left, right = low - pad, high + pad
    edge = (right - left) * 14 / _PLOT  # a tick closer than its label is wide would be cut off
    ticks = [t for t in MaxNLocator(nbins=6).tick_values(left, right) if left + edge <= t <= right - edge or t == 0]
    axes.set_xticks(ticks)
    for tick in ticks:
        axes.axvline(tick, color=FAINT, linewidth=0.6, zorder=0)
    axes.axvline(0, color=MUTED, linewidth=0.9, zorder=1)
    axes.set_yticks([])
    axes.set_xlim(left, right)
    return left, right


def _draw(axes: Axes, row: Comparison, y: float, left: float, right: float) -> None:
    line, marker, fill = LOOKS[row.verdict]
    write(axes, (left, y + 7), clip(task_name(row), 34) + (" †" if row.trained_on else ""), backed=True)
    end = right + (WIDTH - _PLOT - 4) / _PLOT * (right - left)
    write(axes, (end, y + 20), signed(row.difference), weight="bold", color=line, align=("right", "center"))
    if is_number(row.allowed_loss):
        at = -100 * row.allowed_loss
        axes.plot([at, at], [y + 12, y + 29], color=MUTED, linewidth=1.1, linestyle=(0, (2.5, 2)), zorder=2)
    if row.has_interval:
        axes.plot([100 * row.low, 100 * row.high], [y + 20] * 2, color=line, linewidth=2, solid_capstyle="round")
    axes.plot(100 * row.difference, y + 20, marker, ms=6.5, color=line, mfc=fill, mew=1.6)


_ROLES = (("base", "base"), ("tuned", "tuned"))
_HALF = (WIDTH - 12) / 2  # points of a panel, two side by side


@or_nothing
def embedding_maps(table: pd.DataFrame) -> Drawing:
    """Both maps side by side, one dot a text; orange where the nearest text in the whole space has another label.

    Args:
        table: from `gisttools.evaluation.embedding_map`.
    """
    table = with_columns(table, "role", "kind", "label", "neighbour", "x", "y", "value")
    points = table[(table["kind"] == "point") & table[["x", "y"]].notna().all(axis=1)]
    points = not_empty(points, "the embedding table has no points")
    near, shown = number(table, "neighbours"), number(table, "explained")
    alt = ". ".join(
        f"{name}: the nearest text has the same label for {_percent(near[role])} of the texts, and the map shows"
        f" {_percent(shown[role])} of the variance"
        for role, name in _ROLES
    )
    figure = Drawing(_HALF + 66, "Map of test texts, before and after", f"{alt}.")
    for i, (role, name) in enumerate(_ROLES):
        axes = figure.panel(1 + i * (_HALF + 10), 26, _HALF, _HALF)
        of = points[points["role"] == role]
        _frame(axes, of[["x", "y"]].to_numpy(float))
        right = (of["label"] == of["neighbour"]).to_numpy()
        for some, colour, size in ((right, GOOD, 2.6), (~right, BAD, 3.0)):
            axes.plot(of["x"][some], of["y"][some], "o", ms=size, color=colour, mew=0, alpha=0.75)
        figure.text(
            (1 + i * (_HALF + 10)) / WIDTH, 1 - 10 / (_HALF + 66), name, size=10, weight="bold", color=INK, va="center"
        )
        share = f"{_percent(near[role])} next to one of their class"
        figure.text((1 + i * (_HALF + 10)) / WIDTH, 1 - 25 / (_HALF + 66), share, size=9, color=MUTED, va="center")
    legend = f"nearest text:{GAP}"
    figure.text(1 / WIDTH, 9 / (_HALF + 66), legend, size=9, color=MUTED, va="center")
    figure.text(66 / WIDTH, 9 / (_HALF + 66), "● same class", size=9, color=GOOD, va="center")
    figure.text(142 / WIDTH, 9 / (_HALF + 66), "● another class", size=9, color=BAD, va="center")
    return figure


@or_nothing
def similarities(table: pd.DataFrame) -> Drawing:
    """How the cosines of pairs of one class (blue) and of two classes (grey) are spread, base above tuned."""
    table = with_columns(table, "role", "kind", "low", "high", "value")
    bins = table[table["kind"].isin(["same", "different"])].dropna(subset=["low", "high", "value"])
    bins = not_empty(bins, "the embedding table has no shares of pairs")
    apart = number(table, "separation")
    alt = ". ".join(
        f"{name}: a pair of one class is more alike than a pair of two {_percent(apart[role])} of the time"
        for role, name in _ROLES
    )
    tall, foot = 92, 44
    height = foot + 2 * (tall + 30)
    figure = Drawing(height, "Cosine of pairs of one class and of two, before and after", f"{alt}.")
    left, right = float(bins["low"].min()), float(bins["high"].max())
    for i, (role, name) in enumerate(_ROLES):
        axes = figure.panel(4, foot + (1 - i) * (tall + 30), WIDTH - 8, tall)
        of = bins[bins["role"] == role]
        top = float(of["value"].max()) if of["value"].any() else 1.0
        axes.set(xlim=(left, right), ylim=(0, top * 1.05), yticks=[])
        edge = (right - left) * 14 / (WIDTH - 8)  # a tick closer than its label is wide would be cut off
        ticks = MaxNLocator(nbins=7).tick_values(left, right)
        axes.set_xticks([t for t in ticks if left + edge <= t <= right - edge])
        axes.grid(axis="x", color=FAINT, linewidth=0.7)
        for kind, colour in (("different", BASE), ("same", GOOD)):
            part = of[of["kind"] == kind].sort_values("low")
            edges, values = _steps(part)
            axes.fill_between(edges, values, color=colour, alpha=0.22, linewidth=0)
            axes.plot(edges, values, color=colour, linewidth=1.6)
        if i == 0:
            axes.set_xticklabels([])
        heading = f"{name}: the pair of one class is the more alike {_percent(apart[role])} of the time"
        write(axes, (left, top * 1.2), heading, size=9.5)
    axes.set_xlabel(
        f"cosine of two texts{GAP}blue: one class{GAP}grey: two classes", fontsize=9, color=MUTED, labelpad=4
    )
    return figure


def number(table: pd.DataFrame, kind: str) -> dict[str, float]:
    """The one number of a kind, by role; NaN where it is missing."""
    table = with_columns(table, "role", "kind", "value")
    rows = table[table["kind"] == kind]
    known = dict(zip(rows["role"], rows["value"].astype(float), strict=True))
    return {role: known.get(role, float("nan")) for role, _ in _ROLES}


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if is_number(share) else "an unknown share"


def _frame(axes: Axes, places: np.ndarray) -> None:
    """A square around all places, with a faint frame and no ticks: the axes have no unit."""
    places = places if len(places) else np.zeros((1, 2))
    middle = (places.max(axis=0) + places.min(axis=0)) / 2
    half = max(float((places.max(axis=0) - places.min(axis=0)).max()) / 2, 1e-6) * 1.06
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half), xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=FAINT, linewidth=0.8)


def _steps(part: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The outline of shares by bin, with zero where a bin is empty."""
    if not len(part):
        return np.zeros(0), np.zeros(0)
    width = float((part["high"] - part["low"]).median())
    places, values = [], []
    end = None
    for low, high, value in part[["low", "high", "value"]].itertuples(index=False):
        if end is None or low > end + width / 2:
            if end is not None:
                places.append(end)
                values.append(0.0)
            places.append(low)
            values.append(0.0)
        places += [low, high]
        values += [value, value]
        end = high
    return np.asarray([*places, end]), np.asarray([*values, 0.0])


_MOST_BARS = 24  # of one section
_MOST_LABELS = 20  # of the matrix


@or_nothing
def acceptance(summary: Mapping[str, Any]) -> Drawing:
    """The share of accepted texts by label (or topic) and by each attribute of the plan, the lowest first.

    Args:
        summary: of a synthesize run: by_label, by_attribute.
    """
    parts = {"label": summary.get("by_label") or {}, **(summary.get("by_attribute") or {})}
    several = {name: counts for name, counts in parts.items() if counts and len(counts) > 1}
    shares = {name: _shares(counts or {}) for name, counts in (several or parts).items()}  # one value separates nothing
    sections = {name: part for name, part in shares.items() if part}
    rows = not_empty([row for part in sections.values() for row in part], "summary has no counts by label")
    alt = "; ".join(f"{name}: {', '.join(f'{n} {a} of {b}' for n, a, b in part)}" for name, part in sections.items())
    row, head = 18, 26
    figure = Drawing(row * len(rows) + head * len(sections) + 4, "Accepted texts by label and attribute", alt)
    margin = min(170.0, max(width_of(clip(name, 26)) for name, *_ in rows) + 10)
    wide, tall = WIDTH - margin - 62, row * len(rows) + head * len(sections)
    axes = figure.panel(margin, 2, wide, tall)
    axes.set(xlim=(0, 1), ylim=(tall, 0), xticks=[], yticks=[])
    y = 0.0
    for name, part in sections.items():
        write(axes, (-margin / wide, y + 15), name.upper(), size=8, color=MUTED, weight="bold")
        y += head
        for text, accepted, asked in part:
            write(axes, (-8 / wide, y + row / 2), clip(text, 26), size=9.5, align=("right", "center"))
            axes.barh(y + row / 2, 1, 9, color=FAINT)
            axes.barh(y + row / 2, accepted / asked, 9, color=GOOD)
            write(axes, (1 + 6 / wide, y + row / 2), f"{accepted} of {asked}", size=9, color=MUTED)
            y += row
    return figure


@or_nothing
def confusion(summary: Mapping[str, Any]) -> Drawing:
    """Of the texts written for a label (rows), how many the blind look sorted under which (columns); agreement in blue,
    the rest in orange. Of many labels those that are confused most.
    """
    table = {name: row for name, row in (summary.get("confusion") or {}).items() if row}
    not_empty(table, "blind is not set, so no second call sorted the texts unseen")
    return _label_grid(table, "Labels by a second look", "texts sorted under the label they were written for")


@or_nothing
def answers(table: Mapping[str, Mapping[str, int]], title: str) -> Drawing:
    """Of the texts of a class (rows), how many were answered with which (columns): right ones in blue, the rest in
    orange. Of many classes those that are confused most."""
    not_empty(table, "no answers to single texts were kept")
    return _label_grid(table, title, "texts answered right")


def _label_grid(table: Mapping[str, Mapping[str, int]], title: str, what: str) -> Drawing:
    names = list(dict.fromkeys([*table, *(said for row in table.values() for said in row)]))
    counts = np.array([[table.get(a, {}).get(b, 0) for b in names] for a in names])
    alt = f"{int(np.trace(counts))} of {counts.sum()} {what}."
    wrong = counts - np.diag(np.diag(counts))
    worst = np.argsort(-(wrong.sum(0) + wrong.sum(1)), kind="stable")[:_MOST_LABELS]
    shown = np.sort(worst)
    names, counts = [names[i] for i in shown], counts[np.ix_(shown, shown)]
    margin = min(150.0, max(width_of(clip(n, 22), 9) for n in names) + 8)
    side = min(26.0, (WIDTH - margin - 8) / len(names))
    figure = Drawing(side * len(names) + margin + 8, title, alt)
    axes = figure.panel(margin, 4, side * len(names), side * len(names))
    axes.set(xlim=(0, len(names)), ylim=(len(names), 0), xticks=[], yticks=[])
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for i, name in enumerate(names):
        write(axes, (-6 / side, i + 0.5), clip(name, 22), size=9, align=("right", "center"))
        told = axes.text(i + 0.5, -5 / side, clip(name, 22), size=9, color=INK, parse_math=False)
        told.set(rotation=90, ha="center", va="bottom")
        for j in range(len(names)):
            axes.add_patch(_cell(j, i, (GOOD if i == j else BAD) if counts[i, j] else FAINT, shares[i, j]))
            if counts[i, j] and side >= 12:
                write(axes, (j + 0.5, i + 0.5), str(counts[i, j]), size=min(9, 0.45 * side), align=("center", "center"))
    return figure


def _cell(x: float, y: float, colour: str, share: float) -> Any:
    """So faint that ink stands out on it, on a light page and on a dark one."""
    from matplotlib.patches import Rectangle

    return Rectangle((x + 0.04, y + 0.04), 0.92, 0.92, facecolor=colour, alpha=0.12 + 0.3 * share, linewidth=0)


def _shares(counts: Mapping[str, Mapping[str, int]]) -> list[tuple[str, int, int]]:
    rows = [(name, c.get("accepted") or 0, c["asked"]) for name, c in counts.items() if c.get("asked")]
    return sorted(rows, key=lambda r: r[1] / r[2])[:_MOST_BARS]


__all__ = ["accept_reject", "class_balance", "forest", "label_counts", "label_noise", "loss_curve", "masked_shares"]
__all__ += ["embedding_maps", "per_class", "score_by_cost", "score_by_rows", "similarities", "to_svg"]
_MOST_ROWS = 40
_ENDS = 10  # rows at either end of a long list


@or_nothing
def accept_reject(summary: Mapping[str, Any]) -> Drawing:
    """What became of the examples asked for: accepted, and rejected by reason."""
    reasons = sorted((summary.get("reasons") or {}).items(), key=lambda pair: -pair[1])[:_MOST_ROWS]
    rows = [("asked for", summary.get("asked")), ("accepted", summary.get("accepted")), *reasons]
    rows = not_empty([(n, int(v)) for n, v in rows if v is not None], "summary has no counts")
    colours = [BASE if n == "asked for" else GOOD if n == "accepted" else BAD for n, _ in rows]
    names = [n if n in ("asked for", "accepted") else f"rejected: {n}" for n, _ in rows]
    alt = ", ".join(f"{n} {v}" for n, (_, v) in zip(names, rows, strict=True))
    return _bars("Synthetic examples", alt, names, [v for _, v in rows], colours, [f"{v:,}" for _, v in rows])


@or_nothing
def label_counts(summary: Mapping[str, Any]) -> Drawing:
    """Synthetic examples by label: accepted, on top of asked for."""
    by_label = not_empty(dict(summary.get("by_label") or {}), "summary has no by_label")
    labels = sorted(by_label, key=lambda name: -by_label[name].get("accepted", 0))[:_MOST_ROWS]
    asked = [by_label[name].get("asked", 0) for name in labels]
    accepted = [by_label[name].get("accepted", 0) for name in labels]
    notes = [f"{a} of {b}" for a, b in zip(accepted, asked, strict=True)]
    alt = "Accepted of asked: " + ", ".join(f"{n} {note}" for n, note in zip(labels, notes, strict=True))
    return _bars("Synthetic examples by label", alt, labels, accepted, [GOOD] * len(labels), notes, behind=asked)


@or_nothing
def class_balance(labels: Iterable[object]) -> Drawing:
    """How many texts each label has; of many labels the largest and the smallest."""
    counts = not_empty(Counter(str(x) for x in labels if x is not None and x == x).most_common(), "no row has a label")
    alt = f"{len(counts)} labels, from {counts[-1][1]} to {counts[0][1]} texts."
    rows = [(name, n, f"{n:,}") for name, n in counts]
    if len(rows) > 2 * _ENDS + 4:
        rows[_ENDS:-_ENDS] = [(f"… {len(rows) - 2 * _ENDS} more …", 0, "")]
    names, values, notes = zip(*rows, strict=True)
    return _bars("Texts by label", alt, names, values, [GOOD] * len(rows), notes)


@or_nothing
def chunk_lengths(tokens: Sequence[int]) -> Drawing:
    """How many chunks have how many tokens, in eight steps."""
    values = not_empty(list(tokens), "there are no chunks")
    step = max(8, -(-(max(values) + 1) // 64) * 8)
    counts = Counter(n // step for n in values)
    names = [f"{i * step}\u2013{(i + 1) * step - 1} tokens" for i in range(max(counts) + 1)]
    numbers = [counts[i] for i in range(len(names))]
    alt = f"{len(values)} chunks, from {min(values)} to {max(values)} tokens."
    return _bars("Chunks by length", alt, names, numbers, [GOOD] * len(names), [f"{n:,}" for n in numbers])


@or_nothing
def label_noise(confused: pd.DataFrame, most: int = 10) -> Drawing:
    """Pairs of classes that the guide confuses most: the share of their texts that are nearer to the other's centroid,
    those of the left one in blue, those of the right one in grey.

    Args:
        confused: the table of that name of `gisttools.mining.LabelNoise`.
        most: pairs shown, the worst.
    """
    confused = with_columns(confused, "label", "other", "there", "back", "texts", "share")
    confused = confused[confused["share"] > 0]
    table = not_empty(confused, "no text is nearer to another class than to its own, or there are no labels").head(
        min(most, _MOST_ROWS)
    )
    alt = f"{len(confused)} pairs of classes share texts by their centroids. " + "; ".join(
        f"{r.label} and {r.other}: {r.there} and {r.back} of {r.texts}" for r in table.itertuples()
    )
    row, foot = 42, 26
    figure = Drawing(row * len(table) + foot, "Classes that the guide confuses", alt)
    axes = figure.panel(4, foot, WIDTH - 8, row * len(table))
    top = float(table["share"].max())
    per_point = top / (WIDTH - 52)  # the share stands to the right of the longest bar
    axes.set(xlim=(0, (WIDTH - 8) * per_point), ylim=(row * len(table), 0), xticks=[], yticks=[])
    for i, r in enumerate(table.itertuples()):
        y, there, back = row * i, r.there / r.texts, r.back / r.texts
        write(axes, (0, y + 12), clip(r.label, 30), size=9.5, color=GOOD)
        write(
            axes, ((WIDTH - 8) * per_point, y + 12), clip(r.other, 30), size=9.5, color=MUTED, align=("right", "center")
        )
        axes.barh(y + 28, there, 9, color=GOOD)
        axes.barh(y + 28, back, 9, left=there, color=BASE)
        if there and back:
            axes.plot([there, there], [y + 23.5, y + 32.5], color=PAPER, linewidth=1.5, solid_capstyle="butt")
        write(axes, (there + back + 5 * per_point, y + 28), f"{100 * r.share:.0f} %", size=9, color=MUTED)
    note = "texts nearer to the other class, of all texts of both"
    write(axes, (0, row * len(table) + 10), note, size=9, color=MUTED)
    return figure


@or_nothing
def per_class(items: pd.DataFrame) -> Drawing:
    """Accuracy of base and tuned by class: the classes that changed most, best change first.

    Args:
        items: rows of a task, with gold, base_correct and tuned_correct; where there are several tasks, the task is
            named before each class.
    """
    items = with_columns(items, "gold", "base_correct", "tuned_correct")
    items = not_empty(items.dropna(subset=["gold", "base_correct", "tuned_correct"]), "no classification task was run")
    if "task" in items and items["task"].nunique() > 1:
        items = items.assign(gold=items["task"].astype(str) + ": " + items["gold"].astype(str))
    means = 100 * items.groupby("gold")[["base_correct", "tuned_correct"]].mean()
    change = means["tuned_correct"] - means["base_correct"]
    chosen = change.reindex(change.abs().sort_values(ascending=False, kind="stable").index[:_MOST_ROWS])
    means = means.loc[chosen.sort_values(ascending=False, kind="stable").index]
    up, down = int((change > 0).sum()), int((change < 0).sum())
    alt = f"{up} classes better, {down} worse, {len(change) - up - down} equal. " + ", ".join(
        f"{label} {r.base_correct:.0f} to {r.tuned_correct:.0f}" for label, r in means.head(20).iterrows()
    )
    row, height = 20, 58 + 20 * len(means)
    figure = Drawing(height, "Accuracy by class", alt)
    names, margin = _names(means.index)
    axes = figure.panel(margin, 34, WIDTH - margin - 46, height - 58)
    grid(axes, "x")
    axes.set_xlim(min(0.0, means.min().min()) if means.min().min() < 50 else 50, 100)
    left, right = axes.get_xlim()
    axes.set(ylim=(row * len(means), 0), yticks=[])
    per_point = (right - left) / (WIDTH - margin - 46)
    for i, (name, (base, tuned)) in enumerate(zip(names, means.to_numpy(), strict=True)):
        y, colour = row * (i + 0.5), GOOD if tuned >= base else BAD
        write(axes, (left - 8 * per_point, y), name, align=("right", "center"))
        axes.plot([base, tuned], [y, y], color=colour, linewidth=2.4, alpha=0.55, zorder=2, clip_on=False)
        axes.plot(base, y, "o", markersize=6, color=BASE, markerfacecolor=PAPER, markeredgewidth=1.6, clip_on=False)
        axes.plot(tuned, y, "o", markersize=6.5, color=colour, zorder=3, clip_on=False)
        write(
            axes,
            (right + 38 * per_point, y),
            signed((tuned - base) / 100),
            size=9,
            color=colour,
            align=("right", "center"),
        )
    axes.set_xlabel(f"accuracy{GAP}○ base{GAP}● tuned", fontsize=9, color=MUTED, labelpad=4)
    return figure


def _bars(
    title: str, alt: str, names: Sequence[str], values: Sequence[int], colours: Sequence[str], notes: Sequence[str],
    behind: Sequence[int] = (),
) -> Drawing:  # fmt: skip
    row, height = 20, 12 + 20 * len(names)
    names, margin = _names(names)
    figure = Drawing(height, title, alt)
    room = max(width_of(n, 9) for n in notes) + 10
    axes = figure.panel(margin, 6, WIDTH - margin - room, height - 12)
    top = max([*values, *behind, 1])
    axes.set(xlim=(0, top), ylim=(row * len(names), 0), xticks=[], yticks=[])
    per_unit = top / (WIDTH - margin - room)
    for i, (name, value, colour, note) in enumerate(zip(names, values, colours, notes, strict=True)):
        y, end = row * (i + 0.5), value
        if behind:
            axes.barh(y, behind[i], 11, color=FAINT)
            end = max(value, behind[i])
        axes.barh(y, value, 11, color=colour)
        write(axes, (-8 * per_unit, y), name, align=("right", "center"))
        write(axes, (end + 6 * per_unit, y), note, size=9, color=MUTED)
    return figure


def _names(names: Iterable[object]) -> tuple[list[str], float]:
    """Row names short enough for a phone, and the margin they need in points."""
    short = [clip(n, 28) for n in names]
    return short, min(180.0, max(width_of(n) for n in short) + 10)
