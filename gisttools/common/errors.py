"""Defines the errors of the package: each says what is wrong, the value seen, and what to do about it."""

from __future__ import annotations

import difflib
import os
import traceback
from collections.abc import Iterable

from gisttools.common.wording import folded


class GistError(Exception):
    """Base of all errors that gisttools raises on purpose."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows of it: the message alone; all of it where a runner keeps the notebook."""
        if os.environ.get("GISTTOOLS_STATUS_FILE"):
            return traceback.format_exception(self)
        return folded(f"{type(self).__name__}: {self}").splitlines()


class ParameterError(GistError):
    """A parameter is unknown, of the wrong type, or out of range."""


class DataError(GistError):
    """A table, file or data set is not what the step needs."""


class MissingError(GistError):
    """A file, run, task or package that was named does not exist here."""


class ModelError(GistError):
    """A model cannot be opened, or does not fit the data or another model."""


class EndpointError(GistError):
    """An LLM or embedding endpoint refuses, is unreachable, or answers nonsense."""


def problems(title: str, found: Iterable[str], fix: str = "") -> str:
    """One message that lists every problem found, so that nobody fixes them one run at a time.

    >>> print(problems("2 problems:", ["a is 1", "b is 2"], "Set both to 0."))
    2 problems:
      - a is 1
      - b is 2
    Set both to 0.
    """
    lines = [title, *(f"  - {p}" for p in found)]
    return "\n".join([*lines, fix] if fix else lines)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`' Did you mean "x"?'` where a known name is close, else an empty string."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


def first_line(error: BaseException) -> str:
    """The first line of what a library's error says, as a sentence; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".") + "."
