"""Reads decisions about labels back: a file with the columns text, label and new_label, as `2_convert` writes it.

A new_label that differs from label takes its place, an empty one drops the text, an equal one changes nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gisttools.common import DataError, did_you_mean, problems
from gisttools.data.characters import normalise
from gisttools.data.columns import find_column, warn_once
from gisttools.data.files import RowFile, plain_name

log = logging.getLogger(__name__)
_COLUMNS = {"text": ("text",), "label": ("label",), "new": ("new_label", "decision")}
_SHOWN = 5
Decisions = dict[tuple[str, str], str | None]


def read_decisions(path: str | Path) -> Decisions:
    """(text as `normalise` gives it, label) -> the new label, or None to drop the text; unchanged rows are left out.

    Raises:
        MissingError: there is no such file.
        DataError: it cannot be read, lacks a column, or says two things about one text; all problems at once.
    """
    with RowFile(path) as file:
        chosen = {role: find_column(file.columns, names) for role, names in _COLUMNS.items()}
        if lacks := [" or ".join(_COLUMNS[role]) for role, name in chosen.items() if name is None]:
            raise DataError(
                f"{path} has no column {', '.join(lacks)}. Columns found: {', '.join(file.columns)}. "
                "labels_to_repair.csv of a convert run has them: edit new_label there, or empty it to drop the text."
            )
        text, label, new = (str(chosen[role]) for role in _COLUMNS)
        rows = [row for part in file.parts([text, label, new]) for row in zip(*(part[c] for c in (text, label, new)),
                                                                              strict=True)]  # fmt: skip
    found: Decisions = {}
    wrong: list[str] = []
    for number, (said, old, changed) in enumerate(rows):
        name = plain_name(old)
        if not isinstance(said, str) or name is None:
            wrong += [f"row {number} has no text, or no label"] if (said, name) != (None, None) else []
            continue
        key, decision = (normalise(said), name), plain_name(changed)
        if found.setdefault(key, decision) != decision:
            wrong.append(f"row {number} decides {said!r:.60} otherwise than a row before it")
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        raise DataError(problems(f"{path}: {len(wrong)} problem(s), rows counted from 0", [*wrong[:_SHOWN], *more]))
    return {key: decision for key, decision in found.items() if decision != key[1]}


def decided(texts: Sequence[str], labels: Sequence[str], path: str | Path) -> list[str | None]:
    """The label of each text after the decisions; None where it is dropped. Decisions about no text here, and labels
    that no text had before, are told.

    Raises:
        MissingError, DataError: as `read_decisions`.
    """
    decisions = read_decisions(path)
    keys = [(normalise(text), label) for text, label in zip(texts, labels, strict=True)]
    if left := len(decisions.keys() - set(keys)):
        warn_once(log, f"{path}: {left} of {len(decisions)} decisions are about no text and label that stand there")
    known = Counter(labels)
    for name in dict.fromkeys(new for new in decisions.values() if new is not None and new not in known):
        warn_once(log, f"{path}: new_label {name!r} is no label of any text so far.{did_you_mean(name, known)}")
    return [decisions.get(key, key[1]) for key in keys]
