"""Notices what a column cannot be meant to hold: ids in place of texts, lists written as text in place of labels.

Nothing here is sure, so that each finding says what was seen and how to go on.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from gisttools.common import DataError
from gisttools.data.characters import cleaned, normalise

_LOOKED_AT = 1000  # texts
_FEWEST = 3  # texts from which a column of ids is one
_IDS = {
    "numbers": re.compile(r"[+-]?\d+(?:[.,]\d+)*"),
    "ids such as q7 or doc_12": re.compile(r"[A-Za-z]{1,12}[-_:#.]?\d+(?:[-_:.]\d+)*|\d+[-_:]\w{1,12}"),
    "UUIDs": re.compile(r"\{?[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\}?"),
    "hashes": re.compile(r"(?:\w{2,8}:)?(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{12,128}"),
    "addresses": re.compile(r"(?:[a-z][a-z0-9+.-]{1,9}://|www\.)\S+", re.IGNORECASE),
    "paths of files": re.compile(
        r"(?:[A-Za-z]:|~|\.{1,2}|[\w.@%+-]+)?(?:[/\\][\w.@%+-]+)+|[\w-]+\.[A-Za-z][A-Za-z0-9]{1,4}"
    ),
}
_JOINED = (";", "|", ",")
_MISSING = frozenset(["nan", "none", "null", "n/a", "na", "<na>", "nat", "undefined", "-"])
_MANY = 20  # rows from which as many labels as rows are suspicious
_NEARLY_ALL = 0.9


def ids_in(texts: Iterable[str]) -> str | None:
    """What the texts look like, if all of the first thousand are ids of one or several kinds: "numbers", "UUIDs", ...;
    None where they are texts, or too few to tell."""
    seen = list(dict.fromkeys(text.strip() for text in itertools.islice(texts, _LOOKED_AT)))
    if len(seen) < _FEWEST:
        return None
    kinds: Counter[str] = Counter()
    for text in seen:
        kind = next((name for name, pattern in _IDS.items() if len(text) < 300 and pattern.fullmatch(text)), None)
        if kind is None:
            return None
        kinds[kind] += 1
    return kinds.most_common(1)[0][0]


def refuse_ids(where: object, anchors: Sequence[str], positives: Sequence[str]) -> None:
    """Nothing, or an error where both columns of a set hold ids in place of texts.

    Raises:
        DataError: they do.
    """
    kinds = ids_in(anchors), ids_in(positives)
    if all(kinds):
        raise DataError(
            f"{where} holds {kinds[0]} in place of texts, such as {anchors[0]!r:.60} and {positives[0]!r:.60}. Put the "
            "texts that they stand for into the columns."
        )


def is_written_list(label: str) -> bool:
    """Whether a label is a list, tuple, set or mapping written as text, in JSON or as Python or NumPy write it."""
    text = label.strip()
    if len(text) < 2 or text[0] + text[-1] not in ("[]", "()", "{}"):
        return False
    for read in (json.loads, ast.literal_eval):
        try:
            return isinstance(read(text), list | tuple | set | dict)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
    return text[0] == "[" and ("," in text or text[1] in "'\"")


def wrong_labels(labels: Sequence[str], classes: Mapping[str, int]) -> list[str]:
    """What makes labels look as if another column, or another form, was meant; for an error."""
    found = []
    lists = [name for name in classes if is_written_list(name)]
    if lists:
        rows = [str(i) for i, label in enumerate(labels) if is_written_list(label)]
        form = "JSON" if '"' in lists[0] and "'" not in lists[0] else "text"
        found.append(
            f"labels are lists written as {form}, such as {lists[0]!r:.60}, in {len(rows)} row(s) "
            f"({', '.join(rows[:5])}). Save the file as JSONL or Parquet, where a cell can be a list, or write one "
            "label"
        )
    return found


def too_many_labels(labels: Sequence[str], classes: Mapping[str, int]) -> str | None:
    """That there are nearly as many labels as rows, as of ids or texts; None where there are fewer."""
    if len(labels) < _MANY or len(classes) < _NEARLY_ALL * len(labels):
        return None
    shown = ", ".join(repr(name)[:40] for name in itertools.islice(classes, 3))
    return f"there are {len(classes)} different labels in {len(labels)} rows ({shown}, ...), as of ids or texts"


def odd_labels(classes: Mapping[str, int]) -> list[str]:
    """What may be meant otherwise, for a warning."""
    found = []
    missing = [name for name in classes if name.strip().lower() in _MISSING]
    if missing:
        found.append(f"the label(s) {', '.join(map(repr, missing))} may stand for none; leave these cells empty if so")
    twice = [name for name in classes if name.endswith(".0") and name[:-2] in classes]
    looks: dict[str, list[str]] = {}
    for name in classes:
        looks.setdefault(normalise(cleaned(name)), []).append(name)
    alike = [names for names in looks.values() if len(names) > 1]
    if alike:
        shown = ", ".join(" and ".join(map(ascii, names)) for names in alike[:5])
        found.append(f"labels that read alike count as different ones: {shown}. Write them alike if they are one")
    if twice:
        found.append(f"the label(s) {', '.join(map(repr, twice[:5]))} are nearly those of others")
    joined = next((told for mark in _JOINED if (told := _joined(classes, mark))), None)
    return [*found, joined] if joined else found


def _joined(classes: Mapping[str, int], mark: str) -> str | None:
    """That labels seem to be several joined by a mark: their parts are labels too, or fewer than they are."""
    several = [name for name in classes if mark in name]
    parts = {part.strip() for name in several for part in name.split(mark)}
    alone = {name for name in classes if mark not in name}
    if len(several) < 2 or "" in parts or (parts.isdisjoint(alone) and len(parts) >= len(several)):
        return None
    return (
        f"{len(several)} labels such as {several[0]!r:.60} seem to be several joined by {mark!r}, and count as one "
        "each. Where a text has several labels, save lists (JSONL, Parquet)"
    )
