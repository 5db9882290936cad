"""Figures of what more rows bring: the score against the rows trained on, and against the dollars paid for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gisttools.common import DataError, signed
from gisttools.evaluation import GainCurve, dollars
from gisttools.report.drawing import BASE, FAINT, GOOD, INK, MUTED, PAPER, WIDTH, Drawing, clip, grid, width_of, write

_HEIGHT, _LEFT, _BOTTOM = 280, 36, 52  # points
_WIDE, _TALL = WIDTH - _LEFT - 6, _HEIGHT - _BOTTOM - 28
_ROOM = 0.07  # beside the outer sizes, as a share of what lies between them
_LOG_FROM = 4.0  # the axis is logarithmic where the largest value is so many times the smallest
_MARK, _WIDEST_GAIN = "more data no longer pays →", "+00.0"


def score_by_rows(curve: GainCurve) -> Drawing:
    """The score by rows trained on: each seed, their mean with the interval of its gain over the baseline, the
    baseline as a line, and the size after which more rows no longer pay."""
    labels = [f"{n:,}" for n in curve.sizes]
    return _draw(curve, [float(n) for n in curve.sizes], labels, "rows trained on", "by rows")


def score_by_cost(curve: GainCurve) -> Drawing:
    """The same by US dollars for the rows, those that the filters rejected included.

    Raises:
        DataError: the dollars are not known, or nothing was paid (`GainCurve.priced`, `GainCurve.no_price`).
    """
    if not curve.priced:
        raise DataError(curve.no_price())
    costs = curve.table["cost_usd"].tolist()
    part = "" if (curve.table["priced_rows"] >= curve.table["rows"]).all() else ", of those that name a price"
    return _draw(curve, costs, [f"${dollars(c)}" for c in costs], f"US dollars for the rows{part}", "by dollars")


def _draw(curve: GainCurve, xs: Sequence[float], labels: Sequence[str], what: str, by: str) -> Drawing:
    alt = f"Baseline {100 * curve.base:.1f}. " + "; ".join(
        f"{label}: {100 * r.score:.1f} ({signed(r.gain)}, {signed(r.low)} to {signed(r.high)})"
        for label, r in zip(labels, curve.table.itertuples(), strict=True)
    )
    figure = Drawing(_HEIGHT, f"{curve.task}, {curve.metric} {by}: {curve.verdict()}", f"{alt}. {curve.verdict()}.")
    axes = figure.panel(_LEFT, _BOTTOM, _WIDE, _TALL)
    grid(axes)
    table = curve.table.assign(
        x=_places(xs),
        low=curve.table["score"] - curve.table["gain"] + curve.table["low"],
        high=curve.table["score"] - curve.table["gain"] + curve.table["high"],
        beyond=False if curve.enough is None else curve.table["rows"] > curve.enough,
    )
    axes.set(xlim=(-_ROOM, 1 + _ROOM), ylim=_limits(curve.base, table))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    axes.axhline(100 * curve.base, color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
    axes.plot(table["x"], 100 * table["score"], color=BASE, linewidth=1.2, zorder=2)
    for r in table.itertuples():
        colour, seeds = MUTED if r.beyond else GOOD, 100 * np.asarray(r.seed_scores)
        axes.plot([r.x, r.x], [100 * r.low, 100 * r.high], color=colour, linewidth=2, solid_capstyle="round", zorder=3)
        if len(seeds) > 1:
            beside = r.x + 0.02 + 0.011 * np.arange(len(seeds))
            axes.plot(beside, seeds, "o", ms=3.2, color=colour, alpha=0.5, mew=0, zorder=4)
        axes.plot(r.x, 100 * r.score, "o", ms=7, color=colour, mfc=PAPER if r.beyond else colour, mew=1.8, zorder=5)
    _mark(axes, curve, table)
    _name(axes, curve, table, labels)
    axes.set_xlabel(what, fontsize=9, color=MUTED, labelpad=4)
    several = int(table["seeds"].max())
    legend = f"● mean of {several} seeds, dots: each seed" if several > 1 else "● one seed"
    for y, text, look in (
        (_HEIGHT - 11, clip(f"{curve.task}, {curve.metric}", 52), {"size": 10, "color": INK, "weight": "bold"}),
        (9, f"{legend}\u2003┃ 95 % interval of the gain", {"size": 9, "color": MUTED}),
    ):
        figure.text(2 / WIDTH, y / _HEIGHT, text, va="center", parse_math=False, fontdict=None, **look)
    return figure


def _places(xs: Sequence[float]) -> np.ndarray:
    """Where the sizes stand, from 0 to 1; on a logarithmic scale where they differ by far."""
    values = np.asarray(xs, dtype=float)
    if values.min() > 0 and values.max() >= _LOG_FROM * values.min():
        values = np.log(values)
    span = values.max() - values.min()
    return (values - values.min()) / span if span > 0 else np.full(len(values), 0.5)


def _limits(base: float, table: pd.DataFrame) -> tuple[float, float]:
    """Room for all of it, for the baseline's name below and two lines of text above."""
    ends = [table["low"], table["high"], table["score"], table["seed_scores"].explode(), [base]]
    values = 100 * np.concatenate([np.asarray(e, dtype=float) for e in ends])
    low, high = np.nanmin(values), np.nanmax(values)
    point = max(high - low, 1.0) / (_TALL - 58)
    return low - 16 * point, high + 42 * point


def _mark(axes: Axes, curve: GainCurve, table: pd.DataFrame) -> None:
    """The verdict; where more rows no longer pay, in front of a shade over all larger sizes."""
    bottom, top = axes.get_ylim()
    y = top - 8 * (top - bottom) / _TALL
    if not table["beyond"].any():
        write(axes, 1 + _ROOM, y, curve.verdict(), size=9.5, ha="right")
        return
    if curve.enough == 0:
        axes.axvspan(-_ROOM, 1 + _ROOM, color=FAINT, alpha=0.4, linewidth=0, zorder=0)
        write(axes, -_ROOM + 0.015, y, curve.verdict(), size=9.5)
        return
    last, after = table["x"][~table["beyond"]].max(), table["x"][table["beyond"]].min()
    at = min(last + 0.075, (last + after) / 2)
    axes.axvspan(at, 1 + _ROOM, color=FAINT, alpha=0.4, linewidth=0, zorder=0)
    axes.axvline(at, color=INK, linewidth=0.9, zorder=1)
    room = (1 + _ROOM - at) / (1 + 2 * _ROOM) * _WIDE
    inside = width_of(_MARK, 9.5) + 6 < room
    write(axes, at + (0.015 if inside else -0.015), y, _MARK, size=9.5, ha="left" if inside else "right")


def _name(axes: Axes, curve: GainCurve, table: pd.DataFrame, labels: Sequence[str]) -> None:
    """The baseline, and as many sizes with their gains as there is room for, the largest first."""
    bottom, top = axes.get_ylim()
    point = (top - bottom) / _TALL
    base = 100 * curve.base
    write(axes, 1 + _ROOM, base - 8 * point, f"baseline {base:.1f}", size=9, color=MUTED, ha="right")
    ticks: list[tuple[float, str]] = []
    free = 2.0
    for r, label in reversed(list(zip(table.itertuples(), labels, strict=True))):
        half = (max(width_of(label, 9), width_of(_WIDEST_GAIN)) + 4) / 2 * (1 + 2 * _ROOM) / _WIDE
        if r.x + half > free:
            continue
        free = r.x - half
        ticks.append((r.x, label))
        above = np.nanmax([r.high, r.score])
        colour = MUTED if r.beyond else GOOD
        write(axes, r.x, 100 * above + 9 * point, signed(r.gain), weight="bold", color=colour, ha="center")
    axes.set_xticks(*zip(*ticks, strict=True))
