"""Tells what a command found: lines for people, or with `--json` one JSON document for programs; and the exit status.

A command returns an `Answer` and prints nothing but progress. With `--json` whatever is printed goes to stderr, and
stdout holds the document alone, also where the command fails: `{"error": kind, "message": ...}`.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import click

from gisttools import common

# exit statuses; docs/commands.md has the table
FAILED, USAGE, NO, STOPPED = 1, 2, 3, 130  # 128 + SIGINT, as shells have it
KINDS = ("ParameterError", "DataError", "MissingError", "ModelError", "EndpointError", "RunFailed")
HELP = "Print the answer as JSON, and progress on stderr: docs/commands.md."


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command found.

    Attributes:
        data: for programs: JSON values; also paths, times, iterators, which become lists, and functions, which are
            called where the document is made.
        lines: for people; read only where they are printed.
        status: the exit status; `NO` where the work was done and the answer is no.
    """

    data: object
    lines: Iterable[str] = ()
    status: int = 0


def tell(answer: Answer) -> None:
    """Print the lines of an answer."""
    for line in answer.lines:
        click.echo(line)


def document(data: object) -> str:
    """One JSON document; in ASCII where the standard output cannot hold its letters.

    >>> document({"score": math.nan, "rows": iter("ab"), "verdict": lambda: "HELPED"})
    '{"score": null, "rows": ["a", "b"], "verdict": "HELPED"}'
    """
    values = _plain(data)
    text = json.dumps(values, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # an old console, or a file name that is no text
        return json.dumps(values)
    return text


def _plain(value: object) -> object:
    """JSON's values: infinite numbers, which it does not know, are null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    if callable(value):
        return _plain(value())
    if isinstance(value, Iterable):
        return [_plain(one) for one in value]
    return str(value)


def kind(error: BaseException) -> str:
    """The word by which a program knows an error, one of those that docs/commands.md lists."""
    if isinstance(error, click.ClickException):
        return "UsageError"
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return "Stopped"
    if isinstance(error, OSError):
        return "OSError"
    if isinstance(error, common.GistError):
        return next((c.__name__ for c in type(error).__mro__ if c.__name__ in KINDS), "GistError")
    return "Bug"


@contextlib.contextmanager
def to_stderr() -> Iterator[None]:
    """Inside, what is printed goes to stderr, also by libraries and by processes that are started there."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def with_option(command: click.Command) -> click.Command:
    """The command, and those below it, with `--json` in their help. `main` takes the option out of the line itself."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            with_option(below)
    else:
        command.params.append(click.Option(["--json"], is_flag=True, expose_value=False, help=HELP))
    return command
