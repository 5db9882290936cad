"""How two models lay out the same texts, drawn: a flat map of each, and how alike texts of one class and of two are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gisttools.report.drawing import BAD, BASE, FAINT, GOOD, INK, MUTED, WIDTH, Drawing, not_empty, write

_GAP = "\u2003"
_ROLES = (("base", "base"), ("tuned", "tuned"))
_HALF = (WIDTH - 12) / 2  # points of a panel, two side by side


def embedding_maps(table: pd.DataFrame) -> Figure:
    """Both maps side by side, one dot a text; orange where the nearest text in the whole space has another label.

    Args:
        table: from `gisttools.evaluation.embedding_map`.

    Raises:
        DataError: it holds no points.
    """
    points = not_empty(table[table["kind"] == "point"], "the embedding table has no points")
    near, shown = number(table, "neighbours"), number(table, "explained")
    alt = ". ".join(
        f"{name}: the nearest text has the same label for {100 * near[role]:.0f} % of the texts, and the map shows"
        f" {100 * shown[role]:.0f} % of the variance"
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
        share = f"{100 * near[role]:.0f} % beside one of their class"
        figure.text((1 + i * (_HALF + 10)) / WIDTH, 1 - 25 / (_HALF + 66), share, size=9, color=MUTED, va="center")
    legend = f"nearest text:{_GAP}"
    figure.text(1 / WIDTH, 9 / (_HALF + 66), legend, size=9, color=MUTED, va="center")
    figure.text(66 / WIDTH, 9 / (_HALF + 66), "● same class", size=9, color=GOOD, va="center")
    figure.text(142 / WIDTH, 9 / (_HALF + 66), "● another class", size=9, color=BAD, va="center")
    return figure


def similarities(table: pd.DataFrame) -> Figure:
    """How the cosines of pairs of one class (blue) and of two classes (grey) are spread, base above tuned.

    Raises:
        DataError: the table holds no such shares.
    """
    bins = not_empty(table[table["kind"].isin(["same", "different"])], "the embedding table has no shares of pairs")
    apart = number(table, "separation")
    alt = ". ".join(
        f"{name}: a pair of one class is more alike than a pair of two {100 * apart[role]:.0f} % of the time"
        for role, name in _ROLES
    )
    tall, foot = 92, 44
    height = foot + 2 * (tall + 30)
    figure = Drawing(height, "Cosine of pairs of one class and of two, before and after", f"{alt}.")
    left, right = float(bins["low"].min()), float(bins["high"].max())
    for i, (role, name) in enumerate(_ROLES):
        axes = figure.panel(4, foot + (1 - i) * (tall + 30), WIDTH - 8, tall)
        of = bins[bins["role"] == role]
        top = float(of["value"].max())
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
        heading = f"{name}: the pair of one class is the more alike {100 * apart[role]:.0f} % of the time"
        write(axes, left, top * 1.2, heading, size=9.5)
    axes.set_xlabel(
        f"cosine of two texts{_GAP}blue: one class{_GAP}grey: two classes", fontsize=9, color=MUTED, labelpad=4
    )
    return figure


def number(table: pd.DataFrame, kind: str) -> dict[str, float]:
    """The one number of a kind, by role; NaN where it is missing."""
    rows = table[table["kind"] == kind]
    known = dict(zip(rows["role"], rows["value"].astype(float), strict=True))
    return {role: known.get(role, float("nan")) for role, _ in _ROLES}


def _frame(axes: Axes, places: np.ndarray) -> None:
    """A square around all places, with a faint frame and no ticks: the axes have no unit."""
    middle = (places.max(axis=0) + places.min(axis=0)) / 2
    half = max(float((places.max(axis=0) - places.min(axis=0)).max()) / 2, 1e-6) * 1.06
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half), xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=FAINT, linewidth=0.8)


def _steps(part: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The outline of shares by bin, with zero where a bin is empty."""
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
