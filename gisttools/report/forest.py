"""The forest plot: the difference on every task with its interval, targets first, guards with the loss allowed."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gisttools.common import is_number, is_true, signed
from gisttools.report.drawing import BAD, FAINT, GOOD, MUTED, PAPER, WIDTH, Drawing, clip, not_empty, write

MOST = 40
_ROW, _HEAD, _FOOT, _PLOT = 34, 22, 38, WIDTH - 48  # points; differences stand to the right of the plot
_GAP = "\u2003"  # a wide space, which SVG does not fold into one
_LOOKS = {"helped": (GOOD, "o", GOOD), "hurt": (BAD, "D", BAD), "not shown": (MUTED, "o", PAPER)}


def forest(comparison: pd.DataFrame, most: int = MOST) -> Figure:
    """Differences (tuned − base, in points) with their intervals, one row a task, target tasks first.

    Args:
        comparison: the table of an evaluate run: task, difference, low, high, verdict, is_target; where they are known,
            also subset, trained_on and allowed_loss (of guards, drawn as a dashed line).
        most: rows drawn; of more the first targets and the guards that lost most.

    Raises:
        DataError: no row has a difference.
    """
    table = not_empty(comparison[comparison["difference"].notna()], "comparison has no row with a difference")
    groups = _groups(table.to_dict("records"), most)
    rows = [r for _, part in groups for r in part]
    height = 6 + _FOOT + _ROW * len(rows) + _HEAD * len(groups)
    told = pd.Series([r["verdict"] for r in rows]).value_counts()
    alt = "Difference in points with interval. " + "; ".join(
        f"{clip(_name(r), 60)}: {signed(r['difference'])} ({signed(r['low'])} to {signed(r['high'])})"
        for r in rows[:12]
    )
    figure = Drawing(height, f"Difference by task: {', '.join(f'{n} {v}' for v, n in told.items())}", alt)
    axes = figure.panel(2, _FOOT, _PLOT, height - 4 - _FOOT)
    tall = height - 4 - _FOOT
    left, right = _scale(axes, rows, tall)
    y = 0.0
    for name, part in groups:
        write(axes, left, y + 10, name.upper(), size=8, color=MUTED, weight="bold")
        y += _HEAD
        for r in part:
            _draw(axes, r, y, left, right)
            y += _ROW
    allowed = any(is_number(r.get("allowed_loss")) for r in rows)
    legend = [f"points, tuned − base{_GAP}● helped", "○ not shown", "◆ hurt", *(["┆ allowed loss"] if allowed else [])]
    axes.set_xlabel(("\u2002" if allowed else _GAP).join(legend), fontsize=9, color=MUTED, labelpad=5)
    return figure


def _groups(rows: list[dict[str, Any]], most: int) -> list[tuple[str, list[dict[str, Any]]]]:
    """Named groups of at most `most` rows in all; targets take at most all but three of them where there are guards."""
    targets = sorted((r for r in rows if is_true(r["is_target"])), key=lambda r: -r["difference"])
    guards = sorted((r for r in rows if not is_true(r["is_target"])), key=lambda r: -r["difference"])
    room = most - min(len(guards), max(3, most - len(targets)))
    shown, kept = targets[:room], guards[len(guards) - min(len(guards), most - min(len(targets), room)) :]
    titles = (("Target tasks", shown, targets), ("Guards" if targets else "Tasks", kept, guards))
    return [
        (title if len(part) == len(whole) else f"{title}, {len(part)} of {len(whole)}", part)
        for title, part, whole in titles
        if part
    ]


def _scale(axes: Axes, rows: list[dict[str, Any]], tall: float) -> tuple[float, float]:
    """Limits with room around all intervals, zero and the allowed losses; ticks as faint lines."""
    axes.set_ylim(tall, 0)
    ends = [100 * r[c] for r in rows for c in ("difference", "low", "high") if is_number(r[c])]
    ends += [-100 * r["allowed_loss"] for r in rows if is_number(r.get("allowed_loss"))]
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


def _draw(axes: Axes, r: dict[str, Any], y: float, left: float, right: float) -> None:
    line, marker, fill = _LOOKS.get(r["verdict"], _LOOKS["not shown"])
    write(axes, left, y + 7, clip(_name(r), 34) + (" †" if is_true(r.get("trained_on")) else ""), backed=True)
    end = right + (WIDTH - _PLOT - 4) / _PLOT * (right - left)
    write(axes, end, y + 20, signed(r["difference"]), weight="bold", color=line, ha="right")
    if is_number(r.get("allowed_loss")):
        at = -100 * r["allowed_loss"]
        axes.plot([at, at], [y + 12, y + 29], color=MUTED, linewidth=1.1, linestyle=(0, (2.5, 2)), zorder=2)
    if is_number(r["low"]) and is_number(r["high"]):
        axes.plot([100 * r["low"], 100 * r["high"]], [y + 20] * 2, color=line, linewidth=2, solid_capstyle="round")
    axes.plot(100 * r["difference"], y + 20, marker, ms=6.5, color=line, mfc=fill, mew=1.6)


def _name(r: dict[str, Any]) -> str:
    subset = r.get("subset")
    return f"{r['task']} ({subset})" if isinstance(subset, str) and subset not in ("", "default") else str(r["task"])
