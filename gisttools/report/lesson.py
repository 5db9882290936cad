"""Draws the pictures of `0_how_gist_works`: a batch as the guide sees it, mask, temperature, margin, trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from gisttools.common import signed
from gisttools.report.drawing import (
    BAD,
    BASE,
    FAINT,
    GAP,
    GOOD,
    INK,
    MUTED,
    PAPER,
    WIDTH,
    Drawing,
    clip,
    grid,
    not_empty,
    or_nothing,
    with_columns,
    write,
)

_BLUES = LinearSegmentedColormap.from_list("guide", [PAPER, "#bcd8ee", GOOD, "#083a63"])
_BLOCKS = {
    "ap": "anchor – other positives",
    "aa": "anchor – other anchors",
    "pp": "positive – other positives",
    "an": "anchor – negatives",
}


@or_nothing
def guide_matrix(cosines: ArrayLike, masked: ArrayLike, labels: Sequence[str]) -> Drawing:
    """The guide's cosines of anchors (rows) and positives (columns), and what the threshold takes out.

    Args:
        cosines: (B, B); the diagonal is each anchor with its own positive.
        masked: bool (B, B), candidates that the guide finds nearer than the anchor's own positive.
        labels: of the B rows, equal ones side by side.
    """
    not_empty(labels, "the batch has no row")
    cosines, masked = np.asarray(cosines), np.asarray(masked)
    same = np.equal.outer(np.asarray(labels), np.asarray(labels)) & ~np.eye(len(labels), dtype=bool)
    alt = (
        f"Guide cosines of {len(labels)} anchors and positives. Of {same.sum()} false negatives the guide masks "
        f"{(masked & same).sum()}; of {(~same).sum() - len(labels)} others {(masked & ~same).sum()}."
    )
    side, left, foot = WIDTH - 104, 100, 42
    figure = Drawing(side + foot + 22, "What the guide sees in one batch", alt)
    axes = figure.panel(left, foot, side, side)
    axes.imshow(cosines, cmap=_BLUES, vmin=0, vmax=1, aspect="auto")
    axes.set(xticks=[], yticks=[])
    per_point = len(labels) / side
    for i in range(len(labels)):
        axes.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=1.4))
    for marker, where, face in (("X", masked, BAD), ("o", same & ~masked, "none")):
        rows, columns = np.nonzero(where)
        axes.scatter(columns, rows, s=34, marker=marker, facecolor=face, edgecolor=BAD, linewidth=1.2, zorder=3)
    _groups(axes, labels, per_point)
    _legend(figure, 24, [("■", INK, "own positive"), ("✖", BAD, "taken out"), ("○", BAD, "same label, not seen")])
    _legend(figure, 9, [("", MUTED, "darker: the guide finds them more alike")])
    figure.text(left / WIDTH, 1 - 9 / (side + foot + 22), "positives →", size=9, color=MUTED, va="center")
    return figure


def quality_table(found: Mapping[str, Mapping[str, float | None]]) -> str:
    """How right the guide's mask is on several sets of rows (`gisttools.training.mask_quality`), as lines of text."""
    table = pd.DataFrame({name: dict(told) for name, told in found.items()}).T
    counts = {c: table[c].astype(int) for c in ("masked", "same_label") if c in table}
    return table.assign(**counts).round(2).to_string()


@or_nothing
def mask_blocks(masked: Mapping[str, ArrayLike], same_label: Mapping[str, ArrayLike]) -> Drawing:
    """The four blocks of candidates, cell by cell: what counts, what the guide takes out, what only labels can.

    Args:
        masked: bool (B, B) of each block ap, aa, pp, an: taken out by the guide.
        same_label: bool (B, B) of each block: the candidate has the anchor's label.
    """
    not_empty([name for name in _BLOCKS if np.size(masked.get(name, ()))], "the batch has no candidate")
    shares = []
    side = (WIDTH - 16) / 2
    height = 2 * (side + 26) + 26
    figure = Drawing(height, "The mask, block by block", "")
    for i, (name, title) in enumerate(_BLOCKS.items()):
        guide, label = np.asarray(masked[name]), np.asarray(same_label[name])
        own = np.eye(len(guide), dtype=bool) & (name != "an")
        cells = np.select([own, guide, label], [3, 1, 2], 0)
        axes = figure.panel(2 + (i % 2) * (side + 12), 26 + (1 - i // 2) * (side + 26), side, side)
        axes.imshow(cells, cmap=ListedColormap([FAINT, GOOD, BAD, PAPER]), vmin=0, vmax=3, aspect="auto")
        axes.set(xticks=[], yticks=[])
        for line in np.arange(len(guide) + 1) - 0.5:
            axes.axhline(line, color=PAPER, linewidth=0.8)
            axes.axvline(line, color=PAPER, linewidth=0.8)
        shares.append(f"{title}: {100 * (cells == 1).sum() / (~own).sum():.0f} % by the guide")
        axes.set_title(title, fontsize=10, color=INK, loc="left", pad=6)
    figure.alt = "; ".join(shares)
    _legend(figure, 9, [("■", BASE, "counts"), ("■", GOOD, "guide takes out"), ("■", BAD, "only labels would"),
                        ("□", MUTED, "itself")])  # fmt: skip
    return figure


@or_nothing
def temperatures(weights: Mapping[float, ArrayLike], cosines: ArrayLike) -> Drawing:
    """How hard each candidate of one anchor is pushed away, at several temperatures.

    Args:
        weights: by temperature the softmax over the candidates, (C,).
        cosines: of the student, (C,), in the same order.
    """
    order = np.argsort(-not_empty(np.asarray(cosines), "the anchor has no candidate"))
    not_empty(weights, "no temperature was tried")
    first = {t: float(np.sort(np.asarray(w))[::-1][:3].sum()) for t, w in weights.items()}
    alt = "; ".join(f"temperature {t:g}: the three nearest have {100 * s:.0f} %" for t, s in first.items())
    tall = 66
    figure = Drawing(len(weights) * (tall + 26) + 26, "Temperature: who is pushed", alt)
    top = 105 * max(float(np.max(np.asarray(w))) for w in weights.values())
    for i, (temperature, weight) in enumerate(weights.items()):
        axes = figure.panel(38, 30 + (len(weights) - 1 - i) * (tall + 26), WIDTH - 42, tall)
        grid(axes)
        axes.bar(np.arange(len(order)), 100 * np.asarray(weight)[order], color=GOOD, width=0.8)
        axes.set(xticks=[], xlim=(-0.8, len(order) - 0.2), ylim=(0, top))
        axes.yaxis.set_major_formatter("{x:.0f} %")
        axes.locator_params(axis="y", nbins=3)
        told = f"temperature {temperature:g}{GAP}three nearest: {100 * first[temperature]:.0f} % of the push"
        axes.set_title(told, fontsize=10, color=INK, loc="left", pad=5)
    figure.text(38 / WIDTH, 14 / (figure.get_figheight() * 72), "candidates, the nearest to the anchor first →",
                size=9, color=MUTED, va="center")  # fmt: skip
    return figure


@or_nothing
def margins(margin: ArrayLike, false_negatives: ArrayLike, others: ArrayLike) -> Drawing:
    """Share of candidates taken out at each margin: of those with the anchor's label, and of the rest.

    Args:
        margin: (M,)
        false_negatives, others: shares 0 to 1, (M,).
    """
    x = not_empty(np.asarray(margin), "no margin was tried")
    caught, lost = 100 * np.asarray(false_negatives), 100 * np.asarray(others)
    at = int(np.abs(x).argmin())
    alt = f"At margin 0 the guide takes out {caught[at]:.0f} % of the false negatives and {lost[at]:.0f} % of the rest."
    figure = Drawing(206, "Margin: what is taken out", alt)
    axes = figure.panel(38, 34, WIDTH - 46, 150)
    grid(axes)
    axes.axvline(0, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2.5)))
    for y, colour, name, va in ((caught, GOOD, "same label: false negatives", 6), (lost, BASE, "other labels", -9)):
        axes.plot(x, y, color=colour, linewidth=2)
        axes.plot(x[at], y[at], "o", color=colour, markersize=6)
        axes.annotate(f"{y[at]:.0f} %", (x[at], y[at]), xytext=(6, va), textcoords="offset points", color=colour,
                      fontsize=9, weight="bold")  # fmt: skip
        axes.annotate(name, (x[0], 100), xytext=(8, -10 if colour == GOOD else -24), textcoords="offset points",
                      color=colour, fontsize=10, va="center")  # fmt: skip
    axes.set(ylim=(0, 104), xlim=(x[0], x[-1]))
    axes.yaxis.set_major_formatter("{x:.0f} %")
    axes.set_xlabel("margin", fontsize=9, color=MUTED)
    return figure


@or_nothing
def trainings(names: Sequence[str], comparison: pd.DataFrame) -> Drawing:
    """What each of several trainings gained on test texts, with its interval. Their losses are means over different
    candidates, so they are not drawn side by side.

    Args:
        names: of the trainings.
        comparison: as of an evaluation with these names as variants: base, tuned, difference, low, high (0 to 1).
    """
    comparison = with_columns(comparison, "variant", "base", "tuned", "difference", "low", "high")
    scored = comparison.dropna(subset=["base", "difference"]).set_index("variant")
    names = not_empty([name for name in names if name in scored.index], "no training was scored")
    rows = scored.loc[names]
    alt = "; ".join(f"{name}: {signed(r.difference)} points ({signed(r.low)} to {signed(r.high)})"
                    for name, r in zip(rows.index, rows.itertuples(), strict=True))  # fmt: skip
    row = 30
    figure = Drawing(62 + row * len(rows), "Trainings", alt)
    colours = dict.fromkeys(names, INK) | {names[0]: BASE, names[-1]: GOOD}
    axes = figure.panel(100, 34, WIDTH - 150, row * len(rows))
    axes.set_title(f"accuracy on test texts, points over the start ({100 * rows['base'].iloc[0]:.1f})", fontsize=10,
                   color=INK, loc="left", pad=8, x=-100 / (WIDTH - 150))  # fmt: skip
    ends = np.append(rows[["low", "high", "difference"]].stack().to_numpy(float), 0.0)  # an interval may be missing
    axes.set(ylim=(len(rows), 0), yticks=[], xlim=(100 * ends.min(), max(100 * ends.max(), 0.1)))
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    for i, (name, r) in enumerate(rows.iterrows()):
        axes.plot([100 * r["low"], 100 * r["high"]], [i + 0.5] * 2, color=colours[name], linewidth=2.4, alpha=0.5)
        axes.plot(100 * r["difference"], i + 0.5, "o", color=colours[name], markersize=7)
        for text, x, ha in ((name, -8, "right"), (signed(r["difference"]), WIDTH - 150 + 42, "right")):
            axes.annotate(clip(text, 20), (0, i + 0.5), xycoords=("axes fraction", "data"), xytext=(x, 0),
                          textcoords="offset points", ha=ha, va="center", color=colours[name], fontsize=10)  # fmt: skip
    axes.set_xlabel("points, with 95 % interval over texts and draws", fontsize=9, color=MUTED)
    return figure


def _groups(axes: Axes, labels: Sequence[str], per_point: float) -> None:
    """The labels next to their rows, and faint lines between them."""
    labels = list(labels)
    for name in dict.fromkeys(labels):
        first, count = labels.index(name), labels.count(name)
        write(
            axes,
            (-0.5 - 6 * per_point, first + count / 2 - 0.5),
            clip(name, 18),
            size=9,
            color=INK,
            align=("right", "center"),
        )
        if first:
            axes.axhline(first - 0.5, color=MUTED, linewidth=0.8)
            axes.axvline(first - 0.5, color=MUTED, linewidth=0.8)


def _legend(figure: Drawing, y: float, parts: Sequence[tuple[str, str, str]]) -> None:
    """Signs and what they mean, from the left, `y` points above the foot."""
    x = 4.0
    for sign, colour, text in parts:
        told = f"{sign} {text}".strip()
        figure.text(x / WIDTH, y / (figure.get_figheight() * 72), told, size=9, color=colour, va="center")
        x += 5.2 * len(told) + 12
