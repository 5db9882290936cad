"""The figures of the report and the notebooks: one function a figure, each answering with a matplotlib `Figure`.

They use no pyplot, so nothing global changes. Scores are drawn times 100, as points.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from gisttools.common import signed
from gisttools.report.curves import loss_curve, masked_shares
from gisttools.report.drawing import (
    BAD,
    BASE,
    FAINT,
    GOOD,
    MUTED,
    PAPER,
    WIDTH,
    Drawing,
    clip,
    grid,
    not_empty,
    to_svg,
    width_of,
    write,
)  # fmt: skip
from gisttools.report.forest import forest
from gisttools.report.gain_figures import score_by_cost, score_by_rows
from gisttools.report.maps import embedding_maps, similarities

__all__ = ["accept_reject", "class_balance", "forest", "label_counts", "label_noise", "loss_curve", "masked_shares"]
__all__ += ["embedding_maps", "per_class", "score_by_cost", "score_by_rows", "similarities", "to_svg"]
_MOST_ROWS = 40
_ENDS = 10  # rows at either end of a long list
_GAP = "\u2003"  # a wide space, which SVG does not fold into one


def accept_reject(summary: Mapping[str, Any]) -> Figure:
    """What became of the examples asked for: accepted, and rejected by reason."""
    reasons = sorted((summary.get("reasons") or {}).items(), key=lambda pair: -pair[1])[:_MOST_ROWS]
    rows = [("asked for", summary.get("asked")), ("accepted", summary.get("accepted")), *reasons]
    rows = not_empty([(n, int(v)) for n, v in rows if v is not None], "summary has no counts")
    colours = [BASE if n == "asked for" else GOOD if n == "accepted" else BAD for n, _ in rows]
    names = [n if n in ("asked for", "accepted") else f"rejected: {n}" for n, _ in rows]
    alt = ", ".join(f"{n} {v}" for n, (_, v) in zip(names, rows, strict=True))
    return _bars("Synthetic examples", alt, names, [v for _, v in rows], colours, [f"{v:,}" for _, v in rows])


def label_counts(summary: Mapping[str, Any]) -> Figure:
    """Synthetic examples by label: accepted, on top of asked for."""
    by_label = not_empty(dict(summary.get("by_label") or {}), "summary has no by_label")
    labels = sorted(by_label, key=lambda name: -by_label[name].get("accepted", 0))[:_MOST_ROWS]
    asked = [by_label[name].get("asked", 0) for name in labels]
    accepted = [by_label[name].get("accepted", 0) for name in labels]
    notes = [f"{a} of {b}" for a, b in zip(accepted, asked, strict=True)]
    alt = "Accepted of asked: " + ", ".join(f"{n} {note}" for n, note in zip(labels, notes, strict=True))
    return _bars("Synthetic examples by label", alt, labels, accepted, [GOOD] * len(labels), notes, behind=asked)


def class_balance(labels: Iterable[object]) -> Figure:
    """How many texts each label has; of many labels the largest and the smallest."""
    counts = not_empty(Counter(str(x) for x in labels if x is not None and x == x).most_common(), "no row has a label")
    alt = f"{len(counts)} labels, from {counts[-1][1]} to {counts[0][1]} texts."
    rows = [(name, n, f"{n:,}") for name, n in counts]
    if len(rows) > 2 * _ENDS + 4:
        rows[_ENDS:-_ENDS] = [(f"… {len(rows) - 2 * _ENDS} more …", 0, "")]
    names, values, notes = zip(*rows, strict=True)
    return _bars("Texts by label", alt, names, values, [GOOD] * len(rows), notes)


def label_noise(confused: pd.DataFrame, most: int = 10) -> Figure:
    """Pairs of classes that the guide confuses most: the share of their texts that are nearer to the other's centroid,
    those of the left one in blue, those of the right one in grey.

    Args:
        confused: the table of that name of `gisttools.mining.LabelNoise`.
        most: pairs shown, the worst.

    Raises:
        DataError: no pair is confused.
    """
    table = not_empty(confused, "no text is nearer to another class than to its own").head(min(most, _MOST_ROWS))
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
        write(axes, 0, y + 12, clip(r.label, 30), size=9.5, color=GOOD)
        write(axes, (WIDTH - 8) * per_point, y + 12, clip(r.other, 30), size=9.5, color=MUTED, ha="right")
        axes.barh(y + 28, there, 9, color=GOOD)
        axes.barh(y + 28, back, 9, left=there, color=BASE)
        if there and back:
            axes.plot([there, there], [y + 23.5, y + 32.5], color=PAPER, linewidth=1.5, solid_capstyle="butt")
        write(axes, there + back + 5 * per_point, y + 28, f"{100 * r.share:.0f} %", size=9, color=MUTED)
    note = "texts nearer to the other class, of all texts of both"
    write(axes, 0, row * len(table) + 10, note, size=9, color=MUTED)
    return figure


def per_class(items: pd.DataFrame) -> Figure:
    """Accuracy of base and tuned by class: the classes that changed most, best change first.

    Args:
        items: rows of a task, with gold, base_correct and tuned_correct; where there are several tasks, the task is
            named before each class.
    """
    items = not_empty(items, "items has no rows")
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
        write(axes, left - 8 * per_point, y, name, ha="right")
        axes.plot([base, tuned], [y, y], color=colour, linewidth=2.4, alpha=0.55, zorder=2, clip_on=False)
        axes.plot(base, y, "o", markersize=6, color=BASE, markerfacecolor=PAPER, markeredgewidth=1.6, clip_on=False)
        axes.plot(tuned, y, "o", markersize=6.5, color=colour, zorder=3, clip_on=False)
        write(axes, right + 38 * per_point, y, signed((tuned - base) / 100), size=9, color=colour, ha="right")
    axes.set_xlabel(f"accuracy{_GAP}○ base{_GAP}● tuned", fontsize=9, color=MUTED, labelpad=4)
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
        write(axes, -8 * per_unit, y, name, ha="right")
        write(axes, end + 6 * per_unit, y, note, size=9, color=MUTED)
    return figure


def _names(names: Iterable[object]) -> tuple[list[str], float]:
    """Row names short enough for a phone, and the margin they need in points."""
    short = [clip(n, 28) for n in names]
    return short, min(180.0, max(width_of(n) for n in short) + 10)
