"""Writes a run's `log.txt`, without secrets, and finds in it what was warned of."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from gisttools.common import NOTICES, folded, in_notebook
from gisttools.workflow.manifest import scrub

_WARNS = " WARNING "  # in a line of the log
_WARNED = "! %(message)s"


class _WithoutSecrets(logging.Formatter):
    def __init__(self, form: str, variables: list[str]) -> None:
        super().__init__(form)
        self._variables = variables

    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record), self._variables)


class _Once(logging.Filter):
    """Lets a warning through the first time: who reads along has read it then."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        new = text not in self._told
        self._told.add(text)
        return new


class _BelowTheCell(logging.Handler):
    """Shows warnings where they are seen without a red ground, as progress is."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stdout.write(folded(self.format(record)) + "\n")


def log_to(path: Path, variables: list[str], *, under_runner: bool) -> None:
    """Send what the package logs to a run's `log.txt`, and no longer to that of an earlier run in this kernel; warnings
    also to where the runner shows them from, or below the cell of a notebook that is run by hand."""
    logger = logging.getLogger("gisttools")
    for handler in [h for h in logger.handlers if isinstance(h, logging.FileHandler | _BelowTheCell)]:
        logger.removeHandler(handler)
        handler.close()
    wanted: list[tuple[logging.Handler, int, str]] = [
        (_file(path), logging.INFO, "%(asctime)s %(levelname)s %(name)s: %(message)s")
    ]
    if under_runner:
        wanted.append((_file(path.with_name(NOTICES)), logging.WARNING, _WARNED))
    elif in_notebook():
        wanted.append((_BelowTheCell(), logging.WARNING, _WARNED))
    for new, level, form in wanted:
        new.setLevel(level)
        new.setFormatter(_WithoutSecrets(form, variables))
        if level == logging.WARNING:
            new.addFilter(_Once())
        logger.addHandler(new)
    logger.setLevel(logging.INFO)


def _file(path: Path) -> logging.FileHandler:
    return logging.FileHandler(path, encoding="utf-8", errors="replace", delay=True)


def warnings_in(log_file: Path, most: int = 20) -> list[str]:
    """What was warned of, each once, as the run's log has it."""
    try:
        lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    told = [line.partition(_WARNS)[2].partition(": ")[2] for line in lines if _WARNS in line]
    return list(dict.fromkeys(told))[:most]
