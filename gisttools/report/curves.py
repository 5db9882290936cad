"""Figures over training steps: the loss, and the share of candidates masked in each block of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gisttools.report.drawing import GOOD, INK, MUTED, WIDTH, Drawing, grid, not_empty

BLOCKS = {
    "masked_ap": "anchor – other positives",
    "masked_aa": "anchor – other anchors",
    "masked_pp": "positive – other positives",
    "masked_an": "anchor – negatives",
}
_MOST_POINTS = 400


def loss_curve(history: pd.DataFrame, development: pd.DataFrame | None = None, saved: int | None = None) -> Figure:
    """Training loss by step, raw and smoothed; below it the development score with its best step, if there is one.

    `saved` is the step whose weights were kept: a thin line marks it.
    """
    table = thin(not_empty(history[history["loss"].notna()], "history has no loss"))
    smooth = _smooth(table["loss"])
    first, last = smooth.iloc[0], smooth.iloc[-1]
    alt = f"Smoothed loss goes from {first:.3g} to {last:.3g} over {int(table['step'].max())} steps."
    alt += f" The weights of step {saved} were saved." if saved is not None else ""
    scored = development is not None and len(development) > 0
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


def masked_shares(history: pd.DataFrame) -> Figure:
    """Share of candidates masked in each block of the loss, by step: four small panels on one scale."""
    history = thin(history)
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
