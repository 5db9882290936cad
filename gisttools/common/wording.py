"""Writes numbers and names for readers. What is missing reads `not run`; scores are shown times 100."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Mapping
from numbers import Real
from pathlib import PurePath
from typing import Final, TypeGuard

from gisttools.common.files import digest

NOT_RUN: Final = "not run"
_WIDE = 100  # characters: Jupyter breaks longer lines within a word
_LONGEST = 120  # characters of a value
# a text that reads like no text: nothing, a truth value, a number, several
_MISREAD = re.compile(
    r"^(none|true|false|[+-]?[\d.]+(e[+-]?\d+)?|\s.*|.*\s|)$|[,\[\]\"]|[\x00-\x1f]", re.IGNORECASE | re.DOTALL
)


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and math.isfinite(value)


def is_true(value: object) -> bool:
    try:
        return bool(value == True)  # noqa: E712 (numpy's truth values are meant too)
    except TypeError:  # pandas' NA is neither true nor false
        return False


def score(value: object) -> str:
    """A share of 0..1 as points with one decimal."""
    return f"{100 * float(value):.1f}" if is_number(value) else NOT_RUN


def signed(value: object) -> str:
    """A difference of shares as points with its sign."""
    if not is_number(value):
        return NOT_RUN
    text = f"{100 * float(value):+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def p_value(value: object) -> str:
    if not is_number(value):
        return NOT_RUN
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def share(part: object, whole: object) -> str:
    """A part of a whole in per cent; empty where there is no whole."""
    return f"{100 * part / whole:.1f} %" if is_number(part) and is_number(whole) and whole else ""


def dollars(value: object) -> str:
    """A price with two digits that count, never in powers of ten."""
    if not is_number(value):
        return "not known"
    if value >= 1 or value == 0:
        return f"${value:,.2f}"
    return f"${value:.{1 - math.floor(math.log10(value))}f}" if value >= 1e-6 else "under $0.000001"


def count(value: object) -> str:
    return f"{int(value):,}" if is_number(value) else NOT_RUN


def plural(value: object, unit: str) -> str:
    """`1 query`, `2,000 queries`, `3 classes`."""
    if is_number(value) and int(value) == 1:
        return f"1 {unit}"
    many = unit[:-1] + "ies" if unit.endswith("y") else unit + ("es" if unit.endswith("s") else "s")
    return f"{count(value)} {many}"


def duration(seconds: object) -> str:
    if not is_number(seconds):
        return NOT_RUN
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def model_name(name: object) -> str:
    """A model's name without the folders before it; a run's `model` folder is named after its run."""
    text = str(name or NOT_RUN)
    parts = PurePath(text).parts
    if not parts or (text.count("/") < 2 and not text.startswith(("/", ".")) and parts[-1] != "model"):
        return text
    return parts[-2] if parts[-1] == "model" and len(parts) > 1 else parts[-1]


def trained_as(student: object, rows: Mapping[str, object]) -> str:
    """A training by what it began as and what its rows were: its run's id says nothing to a reader.

    >>> trained_as("embedded:wordllama-256", {"labelled": 476, "llm": 1037})
    'wordllama-256 trained on 476 labelled and 1,037 LLM rows'
    """
    told = " and ".join(f"{count(n)} {'LLM' if kind == 'llm' else kind}" for kind, n in rows.items()) or "its own"
    return f"{model_name(student).removeprefix('embedded:')} trained on {told} rows"


def unit(task_type: object) -> str:
    """What an item of such a task is called."""
    kind = str(task_type or "").lower()
    if "cluster" in kind:
        return "draw"
    if "retrieval" in kind or "rerank" in kind:
        return "query" if "retrieval" in kind else "ranking"
    return "pair" if "pair" in kind or "sts" in kind else "test text"


def plain(value: object, length: int = 200) -> str:
    """A setting as text: numbers without noise, yes and no, `not recorded` for nothing; long ones are cut."""
    if value is None:
        return "not recorded"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


_ERRNO = re.compile(r"\[(?:Errno|WinError) -?\d+\]\s*")
_PATH = re.compile(r"(?<![\w:/.…])(?:~?/|[A-Za-z]:\\)(?:[^\s/\\'\"<>|]+[/\\])+([^\s/\\'\"<>|,;:)\]]+)")


def folded(text: str) -> str:
    """The text with its lines broken between words, for a notebook."""
    wrap = textwrap.TextWrapper(_WIDE, break_long_words=False, break_on_hyphens=False).wrap
    return "\n".join(part for line in text.splitlines() for part in wrap(line) or [""])


def anonymous(text: str) -> str:
    """A text without what only the machine that it was written on understands: places of files, numbers of errors.

    >>> anonymous("cannot read /home/me/data/mine.csv: [Errno 2] No such file; see https://a.org/b/c and data/x.csv")
    'cannot read …/mine.csv: No such file; see https://a.org/b/c and data/x.csv'
    """
    return _PATH.sub(r"…/\1", _ERRNO.sub("", text))


def value_name(value: object) -> str:
    """A parameter's value as people write it. Values that differ have names that differ: a text that reads like
    something else is quoted, and of a very long one the middle is left out, and a hash says which it is.

    >>> value_name(None), value_name("none"), value_name(0.05), value_name(["a", "b"]), value_name("a, b")
    ('none', '"none"', '0.05', '[a, b]', '"a, b"')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(value_name(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{value_name(k)}: {value_name(v)}" for k, v in value.items()) + "}"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, str) and _MISREAD.search(value):
        value = json.dumps(value, ensure_ascii=False)
    text = str(value).encode("utf-8", "replace").decode("utf-8")  # JSON can name half a surrogate pair, no file can
    return shortened(text, _LONGEST)


def shortened(text: str, most: int) -> str:
    """A text without its middle where it is longer than `most`; texts that differ stay different, by a hash."""
    if len(text) <= most:
        return text
    mark = f"…{digest(text, 2)}…"
    left = (most - len(mark) + 1) // 2
    return f"{text[:left]}{mark}{text[len(text) - (most - len(mark) - left) :]}"
