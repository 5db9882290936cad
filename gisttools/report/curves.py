"""Draws curves: loss and masked shares over training steps, scores over rows trained on and what was paid for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gisttools.common import dollars, signed
from gisttools.evaluation import GainCurve
from gisttools.report.drawing import (
    BASE,
    FAINT,
    GOOD,
    INK,
    MUTED,
    PAPER,
    WIDTH,
    Drawing,
    NothingToDrawError,
    clip,
    grid,
    not_empty,
    or_nothing,
    width_of,
    with_columns,
    write,
)

BLOCKS = {
    "masked_ap": "anchor – other positives",
    "masked_aa": "anchor – other anchors",
    "masked_pp": "positive – other positives",
    "masked_an": "anchor – negatives",
}
_MOST_POINTS = 400


@or_nothing
def loss_curve(history: pd.DataFrame, development: pd.DataFrame | None = None, saved: int | None = None) -> Drawing:
    """Training loss by step, raw and smoothed; below it the development score with its best step, if there is one.

    `saved` is the step whose weights were kept: a thin line marks it.
    """
    history = with_columns(history, "step", "loss")
    table = thin(not_empty(history[history["loss"].notna()], "history has no loss"))
    smooth = _smooth(table["loss"])
    first, last = smooth.iloc[0], smooth.iloc[-1]
    alt = f"Smoothed loss goes from {first:.3g} to {last:.3g} over {int(table['step'].max())} steps."
    alt += f" The weights of step {saved} were saved." if saved is not None else ""
    development = with_columns(development, "step", "dev_score").dropna(subset=["dev_score"])
    scored = len(development) > 0
    if scored:
        best = development.loc[development["dev_score"].idxmax()]
        alt += f" The development score is best at step {int(best['step'])}: {100 * best['dev_score']:.1f}."
    title, below = ("Training loss and development score", 130) if scored else ("Training loss", 0)  # points
    figure = Drawing(190 + below + 14 * scored, title, alt)
    axes = figure.panel(38, 34 + below, WIDTH - 80, 140)
    grid(axes)
    axes.plot(table["step"], table["loss"], color=GOOD, linewidth=0.8, alpha=0.35)
    axes.plot(table["step"], smooth, "-" if len(table) > 1 else "o", color=GOOD, linewidth=2)
    axes.set_ylim(bottom=0)
    _label(axes, table["step"].iloc[-1], last, f"{last:.2f}")
    if saved is not None:
        _saved(axes, saved)
    if scored:
        axes.set_title("loss", fontsize=10, color=INK, loc="left", pad=7)
        _development(figure.panel(38, 34, WIDTH - 80, 84), development, best, axes.get_xlim())
    else:
        axes.set_xlabel("step", fontsize=9, color=MUTED)
    return figure


def _development(axes: Axes, development: pd.DataFrame, best: pd.Series, limits: tuple[float, float]) -> None:
    grid(axes)
    axes.set_xlim(limits)
    axes.plot(development["step"], 100 * development["dev_score"], "o-", color=GOOD, linewidth=1.5, markersize=3)
    axes.plot(best["step"], 100 * best["dev_score"], "o", color=GOOD, markersize=7)
    axes.margins(y=0.35)
    _label(axes, best["step"], 100 * best["dev_score"], f"{100 * best['dev_score']:.1f}", above=True)
    axes.set_title("development score, the best step kept", fontsize=10, color=INK, loc="left", pad=7)
    axes.set_xlabel("step", fontsize=9, color=MUTED)


def _saved(axes: Axes, step: int) -> None:
    """A thin line at the step that was kept, with its name at the top."""
    left, right = axes.get_xlim()
    axes.axvline(step, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2.5)), zorder=1)
    late = step > (left + right) / 2
    axes.annotate(
        f"step {step:,} saved", (step, 1), xycoords=("data", "axes fraction"), xytext=(-5 if late else 5, -7),
        textcoords="offset points", ha="right" if late else "left", va="center", color=MUTED, fontsize=9,
    )  # fmt: skip


def _label(axes: Axes, x: float, y: float, text: str, above: bool = False) -> None:
    axes.annotate(
        text, (x, y), xytext=(0, 11) if above else (6, 0), textcoords="offset points", ha="center" if above else "left",
        color=GOOD, fontsize=10, weight="bold", va="center", annotation_clip=False,
    )  # fmt: skip


@or_nothing
def masked_shares(history: pd.DataFrame) -> Drawing:
    """Share of candidates masked in each block of the loss, by step: four small panels on one scale."""
    history = thin(with_columns(history, "step", "loss"))
    shares = {c: 100 * pd.to_numeric(history[c]) for c in BLOCKS if c in history and history[c].notna().any()}
    not_empty(shares, "history has no masked shares")
    alt = "Mean share masked: " + ", ".join(f"{BLOCKS[c]} {s.mean():.1f} %" for c, s in shares.items())
    figure = Drawing(250, "Share of candidates masked, by block", alt)
    top = max(5.0, 1.08 * max(s.max() for s in shares.values()))
    width = (WIDTH - 76) / 2
    for i, (column, name) in enumerate(BLOCKS.items()):
        axes = figure.panel(34 + (i % 2) * (width + 34), 146 if i < 2 else 28, width, 80)
        grid(axes)
        axes.set_ylim(0, top)
        axes.set_xlim(history["step"].min(), max(history["step"].max(), history["step"].min() + 1))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.yaxis.set_major_formatter("{x:.0f} %")
        axes.set_title(name, fontsize=10, color=INK, loc="left", pad=7)
        if column in shares:
            axes.plot(history["step"], shares[column], color=GOOD, linewidth=0.8, alpha=0.35)
            axes.plot(history["step"], _smooth(shares[column]), color=GOOD, linewidth=2)
        else:
            axes.set_xticks([])
            axes.text(0.5, 0.5, "not in this run", transform=axes.transAxes, ha="center", fontsize=9, color=MUTED)
    return figure


def thin(history: pd.DataFrame) -> pd.DataFrame:
    """At most `_MOST_POINTS` rows: a long history is averaged over equal stretches, or the page would grow with it."""
    if len(history) <= _MOST_POINTS:
        return history
    stretch = np.arange(len(history)) * _MOST_POINTS // len(history)
    return history[["step", "loss", *(c for c in BLOCKS if c in history)]].groupby(stretch).mean()


def _smooth(values: pd.Series) -> pd.Series:
    return values.rolling(max(1, len(values) // 20), min_periods=1, center=True).mean()


_HEIGHT, _LEFT, _BOTTOM = 280, 36, 52  # points
_WIDE, _TALL = WIDTH - _LEFT - 6, _HEIGHT - _BOTTOM - 28
_ROOM = 0.07  # next to the outer sizes, as a share of what lies between them
_LOG_FROM = 4.0  # the axis is logarithmic where the largest value is so many times the smallest
_NO_SIZE = "no size was trained on and scored"
_MARK, _WIDEST_GAIN = "more data no longer pays →", "+00.0"


@or_nothing
def score_by_rows(curve: GainCurve) -> Drawing:
    """The score by rows trained on: each seed, their mean with the interval of its gain over the baseline, the
    baseline as a line, and the size after which more rows no longer pay."""
    not_empty(curve.table, _NO_SIZE)
    labels = [f"{n:,}" for n in curve.sizes]
    return _draw(curve, [float(n) for n in curve.sizes], labels, "rows trained on", "by rows")


@or_nothing
def score_by_cost(curve: GainCurve) -> Drawing:
    """The same by US dollars for the rows, those that the filters rejected included; where they are not known, or
    nothing was paid, a line that says so (`GainCurve.priced`, `GainCurve.no_price`)."""
    not_empty(curve.table, _NO_SIZE)
    if not curve.priced:
        raise NothingToDrawError(curve.no_price())
    costs = curve.table["cost_usd"].tolist()
    part = "" if (curve.table["priced_rows"] >= curve.table["rows"]).all() else ", of those that name a price"
    return _draw(curve, costs, [dollars(c) for c in costs], f"US dollars for the rows{part}", "by dollars")


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
            near = r.x + 0.02 + 0.011 * np.arange(len(seeds))
            axes.plot(near, seeds, "o", ms=3.2, color=colour, alpha=0.5, mew=0, zorder=4)
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
        write(axes, (1 + _ROOM, y), curve.verdict(), size=9.5, align=("right", "center"))
        return
    if curve.enough == 0:
        axes.axvspan(-_ROOM, 1 + _ROOM, color=FAINT, alpha=0.4, linewidth=0, zorder=0)
        write(axes, (-_ROOM + 0.015, y), curve.verdict(), size=9.5)
        return
    last, after = table["x"][~table["beyond"]].max(), table["x"][table["beyond"]].min()
    at = min(last + 0.075, (last + after) / 2)
    axes.axvspan(at, 1 + _ROOM, color=FAINT, alpha=0.4, linewidth=0, zorder=0)
    axes.axvline(at, color=INK, linewidth=0.9, zorder=1)
    room = (1 + _ROOM - at) / (1 + 2 * _ROOM) * _WIDE
    inside = width_of(_MARK, 9.5) + 6 < room
    write(
        axes, (at + (0.015 if inside else -0.015), y), _MARK, size=9.5, align=("left" if inside else "right", "center")
    )


def _name(axes: Axes, curve: GainCurve, table: pd.DataFrame, labels: Sequence[str]) -> None:
    """The baseline, and as many sizes with their gains as there is room for, the largest first."""
    bottom, top = axes.get_ylim()
    point = (top - bottom) / _TALL
    base = 100 * curve.base
    write(axes, (1 + _ROOM, base - 8 * point), f"baseline {base:.1f}", size=9, color=MUTED, align=("right", "center"))
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
        write(
            axes,
            (r.x, 100 * above + 9 * point),
            signed(r.gain),
            weight="bold",
            color=colour,
            align=("center", "center"),
        )
    axes.set_xticks(*zip(*ticks, strict=True))
