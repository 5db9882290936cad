"""Figures of many recipes: each against the baseline, and what each parameter does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from gisttools.common import signed
from gisttools.evaluation import Leaderboard, effect_table
from gisttools.report.drawing import BAD, FAINT, GOOD, MUTED, PAPER, WIDTH, Drawing, clip, not_empty, write

_MOST_ROWS = 40
_ROW, _HEAD, _FOOT, _VALUES = 35, 24, 38, 46  # points; _VALUES: room for the numbers to the right
_WIDE = WIDTH - 2 - _VALUES
_NAME = 62  # characters of a name that fit
_GAP = "\u2003"
_LOOKS = {"helped": (GOOD, "o", GOOD), "hurt": (BAD, "D", BAD), "not shown": (MUTED, "o", PAPER)}


class _Line(NamedTuple):
    name: str
    difference: float
    low: float
    high: float
    verdict: str
    group: str = ""


def recipes_forest(board: Leaderboard) -> Drawing:
    """Each recipe's difference to the baseline with its interval, the best first."""
    table = board.table.head(_MOST_ROWS)
    lines = [_Line(f"{r.rank}  {r.recipe}", r.difference, r.low, r.high, r.verdict) for r in table.itertuples()]
    left = f", the first {_MOST_ROWS} of {len(board.table)}" if len(board.table) > _MOST_ROWS else ""
    return _forest(lines, f"Recipes against the baseline{left}", "points")


def effects_forest(board: Leaderboard) -> Drawing:
    """The effect of each parameter's values over its first, with intervals, parameter by parameter.

    Raises:
        DataError: no parameter varies alone.
    """
    table = effect_table(board.effects)
    table = not_empty(table[table["difference"].notna()], "no recipes differ in one parameter alone").head(_MOST_ROWS)
    lines = [_line_of(r) for r in table.itertuples()]
    return _forest(lines, "Effects of parameters", "points")


def _line_of(row) -> _Line:
    group = f"{row.parameter}, over {row.against}" + (f" (with {row.along})" if row.along else "")
    return _Line(row.value, row.difference, row.low, row.high, row.verdict, group)


def _forest(lines: Sequence[_Line], title: str, unit: str) -> Drawing:
    table = pd.DataFrame(lines)
    groups = [name for name in dict.fromkeys(table["group"]) if name]
    tall = _ROW * len(table) + _HEAD * len(groups)
    alt = "; ".join(
        f"{r.group + ': ' if r.group else ''}{r.name}: {signed(r.difference)} ({signed(r.low)} to {signed(r.high)})"
        for r in table.head(20).itertuples()
    )
    figure = Drawing(tall + _FOOT + 6, title, alt)
    axes = figure.panel(2, _FOOT, _WIDE, tall + 4)
    ends = 100 * table[["difference", "low", "high"]].to_numpy(float)
    low, high = min(np.nanmin(ends), 0.0), max(np.nanmax(ends), 0.0)
    pad = max(0.06 * (high - low), 0.2)
    left, right = low - pad, high + pad
    point = (right - left) / _WIDE
    axes.set(xlim=(left, right), ylim=(tall + 4, 0), yticks=[])
    edge = 16 * point  # a tick closer than its label is wide would be cut off
    ticks = [t for t in MaxNLocator(nbins=6).tick_values(left, right) if left + edge <= t <= right - edge]
    axes.set_xticks(ticks)
    for tick in ticks:
        axes.axvline(tick, color=FAINT, linewidth=0.6, zorder=0)
    y, before = 0.0, ""
    for r in table.itertuples():
        if r.group != before:
            write(axes, left, y + 13, clip(r.group, _NAME), size=9, color=MUTED, weight="bold", backed=True)
            y, before = y + _HEAD, r.group
        line, marker, fill = _LOOKS.get(r.verdict, _LOOKS["not shown"])
        write(axes, left, y + 8, clip(r.name, _NAME), size=9.5, backed=True)
        write(axes, right + (_VALUES - 3) * point, y + 22, signed(r.difference), weight="bold", color=line, ha="right")
        axes.plot([0, 0], [y + 15, y + 29], color=MUTED, linewidth=0.9, zorder=1)
        if np.isfinite(r.low):
            axes.plot([100 * r.low, 100 * r.high], [y + 22] * 2, color=line, linewidth=2, solid_capstyle="round")
        axes.plot(100 * r.difference, y + 22, marker, ms=6.5, color=line, mfc=fill, mew=1.6)
        y += _ROW
    axes.set_xlim(left, right)
    axes.set_xlabel(f"{unit}{_GAP}● helped{_GAP}○ not shown{_GAP}◆ hurt", fontsize=9, color=MUTED, labelpad=5)
    return figure
