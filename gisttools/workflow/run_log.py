"""Writes a run's `log.txt`, without secrets, and finds in it what was warned of."""

from __future__ import annotations

import logging
from pathlib import Path

from gisttools.common import NOTICES
from gisttools.workflow.manifest import scrub

_WARNS = " WARNING "  # in a line of the log


class _WithoutSecrets(logging.Formatter):
    def __init__(self, form: str, variables: list[str]) -> None:
        super().__init__(form)
        self._variables = variables

    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record), self._variables)


def log_to(path: Path, variables: list[str], *, under_runner: bool) -> None:
    """Send what the package logs to a run's `log.txt`, and no longer to that of an earlier run in this kernel; under
    the runner warnings also to where it shows them from."""
    logger = logging.getLogger("gisttools")
    for handler in [h for h in logger.handlers if isinstance(h, logging.FileHandler)]:
        logger.removeHandler(handler)
        handler.close()
    wanted = [(path, logging.INFO, "%(asctime)s %(levelname)s %(name)s: %(message)s")]
    if under_runner:
        wanted.append((path.with_name(NOTICES), logging.WARNING, "! %(message)s"))
    for file, level, form in wanted:
        handler = logging.FileHandler(file, encoding="utf-8", errors="replace", delay=True)
        handler.setLevel(level)
        handler.setFormatter(_WithoutSecrets(form, variables))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def warnings_in(log_file: Path, most: int = 20) -> list[str]:
    """What was warned of, each once, as the run's log has it."""
    try:
        lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    told = [line.partition(_WARNS)[2].partition(": ")[2] for line in lines if _WARNS in line]
    return list(dict.fromkeys(told))[:most]
