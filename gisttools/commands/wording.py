"""How the command says sizes, times and runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

COLOURS = {"ok": "green", "failed": "red", "running": "cyan", "unfinished": "yellow", "damaged": "red"}


def size(count: int) -> str:
    """A number of bytes, in decimal units.

    >>> size(999), size(1_500), size(90_868_376)
    ('999 B', '1.5 kB', '90.9 MB')
    """
    number, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 999.95:
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def seconds(count: float | None) -> str:
    """A duration; a dash where it is not known.

    >>> seconds(1.25), seconds(75), seconds(3700), seconds(None)
    ('1.2 s', '1 min 15 s', '1 h 1 min', '-')
    """
    if count is None:
        return "-"
    if count < 60:
        return f"{count:.1f} s"
    minutes, rest = divmod(round(count), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def status(name: str | None, width: int = 0) -> str:
    """A status, in its colour where there are colours."""
    return click.style(f"{name or 'gone':<{width}}", fg=COLOURS.get(name or ""))


def columns(rows: Iterable[Sequence[Any]], indent: str = "  ") -> list[str]:
    """Rows of cells as lines, all columns but the last padded to their widest cell."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1] if rows else []
    return [
        indent + "  ".join([*(f"{c:<{w}}" for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]
