"""Figures of a synthesis: what share of the texts is accepted, by label and attribute; where a second look differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from gisttools.report.drawing import BAD, FAINT, GOOD, MUTED, PAPER, WIDTH, Drawing, clip, not_empty, width_of, write

_MOST_ROWS = 24  # of one section
_MOST_LABELS = 20  # of the matrix
_BLUES = LinearSegmentedColormap.from_list("blues", [PAPER, GOOD])
_ORANGES = LinearSegmentedColormap.from_list("oranges", [PAPER, BAD])


def acceptance(summary: Mapping[str, Any]) -> Figure:
    """The share of accepted texts by label (or topic) and by each attribute of the plan, the lowest first.

    Args:
        summary: of a synthesize run: by_label, by_attribute.

    Raises:
        DataError: nothing was asked for.
    """
    parts = {"label": summary.get("by_label") or {}, **(summary.get("by_attribute") or {})}
    several = {name: counts for name, counts in parts.items() if len(counts) > 1}  # one value tells nothing apart
    sections = {name: _shares(counts) for name, counts in (several or parts).items()}
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
        write(axes, -margin / wide, y + 15, name.upper(), size=8, color=MUTED, weight="bold")
        y += head
        for text, accepted, asked in part:
            write(axes, -8 / wide, y + row / 2, clip(text, 26), size=9.5, ha="right")
            axes.barh(y + row / 2, 1, 9, color=FAINT)
            axes.barh(y + row / 2, accepted / asked, 9, color=GOOD)
            write(axes, 1 + 6 / wide, y + row / 2, f"{accepted} of {asked}", size=9, color=MUTED)
            y += row
    return figure


def confusion(summary: Mapping[str, Any]) -> Figure:
    """Of the texts written for a label (rows), how many the blind look sorted under which (columns); agreement in blue,
    the rest in orange. Of many labels those that are confused most.

    Raises:
        DataError: there was no blind look.
    """
    table = not_empty(summary.get("confusion") or {}, "there was no blind look (parameter blind)")
    names = list(dict.fromkeys([*table, *(said for row in table.values() for said in row)]))
    counts = np.array([[table.get(a, {}).get(b, 0) for b in names] for a in names])
    alt = f"{int(np.trace(counts))} of {counts.sum()} texts sorted under the label they were written for."
    wrong = counts - np.diag(np.diag(counts))
    worst = np.argsort(-(wrong.sum(0) + wrong.sum(1)), kind="stable")[:_MOST_LABELS]
    shown = np.sort(worst)
    names, counts = [names[i] for i in shown], counts[np.ix_(shown, shown)]
    margin = min(150.0, max(width_of(clip(n, 22), 9) for n in names) + 8)
    side = min(26.0, (WIDTH - margin - 8) / len(names))
    figure = Drawing(side * len(names) + margin + 8, "Labels by a second look", alt)
    axes = figure.panel(margin, 4, side * len(names), side * len(names))
    axes.set(xlim=(0, len(names)), ylim=(len(names), 0), xticks=[], yticks=[])
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for i, name in enumerate(names):
        write(axes, -6 / side, i + 0.5, clip(name, 22), size=9, ha="right")
        axes.text(i + 0.5, -5 / side, clip(name, 22), size=9, rotation=90, ha="center", va="bottom", parse_math=False)
        for j in range(len(names)):
            colours = _BLUES if i == j else _ORANGES
            axes.add_patch(_cell(j, i, colours(0.1 + 0.8 * shares[i, j]) if counts[i, j] else FAINT, counts[i, j]))
            if counts[i, j] and side >= 12:
                ink = PAPER if shares[i, j] > 0.55 else "#1f2328"
                write(axes, j + 0.5, i + 0.5, str(counts[i, j]), size=min(9, 0.45 * side), color=ink, ha="center")
    return figure


def _cell(x: float, y: float, colour: Any, count: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x + 0.04, y + 0.04), 0.92, 0.92, facecolor=colour, alpha=1 if count else 0.35, linewidth=0)


def _shares(counts: Mapping[str, Mapping[str, int]]) -> list[tuple[str, int, int]]:
    rows = [(name, c["accepted"], c["asked"]) for name, c in counts.items() if c["asked"]]
    return sorted(rows, key=lambda r: r[1] / r[2])[:_MOST_ROWS]
