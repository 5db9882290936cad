"""Draws figures and turns them into SVG: one palette, one canvas measured in points, text that stays text.

Colours are written into the SVG as CSS variables with the light colour as fallback, so that a page can turn a figure
dark, and the figure still reads well on its own.
"""

from __future__ import annotations

import hashlib
import html
import io
import re
import textwrap
import unicodedata
import warnings
from collections.abc import Callable, Sized
from functools import wraps
from typing import Literal, ParamSpec, TypeVar

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gisttools.common import DataError

T = TypeVar("T", bound=Sized)
P = ParamSpec("P")
WIDTH = 360.0  # points; a phone shows about 350 pixels, so text keeps its size there
INK, MUTED, FAINT, PAPER = "#1f2328", "#646b75", "#dcdfe4", "#fefefe"
BASE, GOOD, BAD = "#858d98", "#0b6bb8", "#c2500f"  # grey, blue and orange stay apart in all common colour blindness
GAP = "\u2003"  # a wide space, which SVG does not fold into one
# of a verdict: colour of the line, marker, colour inside
LOOKS = {"helped": (GOOD, "o", GOOD), "hurt": (BAD, "D", BAD), "not shown": (MUTED, "o", PAPER)}
_VARIABLES = {
    INK: "--fig-ink", MUTED: "--fig-muted", FAINT: "--fig-faint", PAPER: "--fig-paper",
    BASE: "--fig-base", GOOD: "--fig-good", BAD: "--fig-bad",
}  # fmt: skip
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "gisttools", "text.parse_math": False}


class Drawing(Figure):
    """A matplotlib figure that knows its title and its alternative text, and shows itself in a notebook."""

    def __init__(self, height: float, title: str, alt: str) -> None:
        super().__init__(figsize=(WIDTH / 72, height / 72), facecolor=PAPER)
        FigureCanvasAgg(self)
        self.title, self.alt = clean(title), clean(alt)

    def panel(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """Axes in a box given in points, without a frame, ticks or grid."""
        tall = self.get_figheight() * 72
        axes = self.add_axes((left / WIDTH, bottom / tall, width / WIDTH, height / tall), facecolor="none")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=9, labelcolor=MUTED, pad=4)
        return axes

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")
            self.savefig(buffer, format="png", dpi=130)
        return buffer.getvalue()


def to_svg(figure: Figure) -> str:
    """Inline SVG of a figure: no size of its own, no font of its own, ids that no other figure of the page has.

    Title and alternative text are read from a `Drawing`; a plain figure gets its suptitle as both.
    """
    title = getattr(figure, "title", None) or figure.get_suptitle() or "Figure"
    alt = getattr(figure, "alt", None) or title
    buffer = io.StringIO()
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the browser has the glyphs that matplotlib's font lacks
        figure.savefig(buffer, format="svg", facecolor="none", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    prefix = "f" + hashlib.sha256((title + text).encode()).hexdigest()[:8]
    view_box = text.partition('viewBox="')[2].partition('"')[0]
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<[^>]+>", lambda tag: _retag(tag.group(), prefix), body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{view_box}" '
        f'role="img" aria-labelledby="{prefix}-title {prefix}-desc" '
        "style=\"font-family: system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; stroke-linejoin: round\">"
        f'<title id="{prefix}-title">{html.escape(title)}</title><desc id="{prefix}-desc">{html.escape(alt)}</desc>'
        + re.sub(r"\n\s*", "\n", body).strip()
    )


def write(
    axes: Axes, at: tuple[float, float], text: str, *, size: float = 10, color: str = INK,
    align: tuple[str, str] = ("left", "center"), weight: str = "normal", backed: bool = False,
) -> None:  # fmt: skip
    """Text at data coordinates that is never read as mathematics; `align`: across and up; `backed` hides the lines
    behind it."""
    box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5} if backed else None
    ha, va = align
    axes.text(*at, clean(text), size=size, color=color, ha=ha, va=va, weight=weight, parse_math=False, bbox=box)


def grid(axes: Axes, axis: Literal["x", "y"] = "y") -> None:
    """Faint lines behind the data, across one axis."""
    axes.grid(axis=axis, color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)


class NothingToDrawError(DataError):
    """What a figure would show is not there; `or_nothing` makes a figure of it that says so."""


def not_empty(found: T, what: str) -> T:
    """`found`, or a `NothingToDrawError` that says why there is nothing to draw."""
    if not len(found):
        raise NothingToDrawError(f"Nothing to draw: {what}.")
    return found


def or_nothing(draw: Callable[P, Drawing]) -> Callable[P, Drawing]:
    """The same figure; where it has nothing to show, a line in its place that says so.

    A set without labels or a task without items is no mistake, so a picture of them must not end a notebook.
    """

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Drawing:
        try:
            return draw(*args, **kwargs)
        except NothingToDrawError as reason:
            return _note(str(reason))

    return drawn


def _note(text: str) -> Drawing:
    """A figure of a few words."""
    lines = textwrap.wrap(clean(text), 62)
    figure = Drawing(14 * len(lines) + 8, "Nothing to draw", text)
    for i, line in enumerate(reversed(lines)):
        y = (11 + 14 * i) / (14 * len(lines) + 8)
        figure.text(2 / WIDTH, y, line, size=9.5, color=MUTED, va="center", parse_math=False)
    return figure


def with_columns(table: pd.DataFrame | None, *names: str) -> pd.DataFrame:
    """The table with these columns, empty ones where it lacks them: a step that had nothing to write leaves none."""
    table = pd.DataFrame() if table is None else table
    return table.reindex(columns=[*table.columns, *(name for name in names if name not in table)])


def clean(text: object) -> str:
    """Text without what XML cannot hold: control characters and lone surrogates."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in str(text))


def clip(text: object, length: int) -> str:
    """At most `length` characters, the last one an ellipsis where some were cut."""
    text = clean(text)
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def width_of(text: str, size: float = 10) -> float:
    """About how wide a text is, in points; system fonts differ, so it is a generous guess."""
    return sum(1.05 if unicodedata.east_asian_width(c) in "WF" else 0.57 for c in text) * size


def _retag(tag: str, prefix: str) -> str:
    """One tag with ids of its own, the page's font, and colours as variables; texts between tags are left alone."""
    tag = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', tag)
    tag = re.sub(r'(url\(|href=")#', rf"\1#{prefix}-", tag)
    tag = re.sub(r"font: (?:(\d+|bold) )?([\d.]+)px [^;\"]+", _font, tag)
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, f"var({variable}, {colour})")
    return tag


def _font(match: re.Match) -> str:
    weight = f"; font-weight: {match.group(1)}" if match.group(1) else ""
    return f"font-size: {match.group(2)}px{weight}"
