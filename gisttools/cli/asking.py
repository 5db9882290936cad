"""Asks the person at the terminal whether texts may leave this machine, where there is a person."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def asking_here() -> Iterator[None]:
    """Inside, runs ask here before they send texts to another machine. Nobody is asked with `--json`, without a
    terminal, and in one of several processes."""
    from gisttools.workflow import asking

    with asking(_ask if _somebody_there() else None):
        yield


def _somebody_there() -> bool:
    root = click.get_current_context().find_root()
    terminal = sys.stdin.isatty() and sys.stderr.isatty()
    return terminal and not root.params.get("as_json") and os.environ.get("WORLD_SIZE", "1") == "1"


def _ask(question: str) -> bool:
    return click.confirm(question, default=False, err=True)
