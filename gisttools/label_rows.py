"""Cells of a text and a label column as texts and labels: what is refused, all of it at once, and what is dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from gisttools.common import DataError, problems

LONGEST = 1_000_000  # characters of a text; beyond it something else than a text was read
_SHOWN = 5
_JOIN = " | "


@dataclass(kw_only=True)
class LabelRows:
    """Rows as they come, part by part: `add` takes cells, `finish` says what is wrong with all of them.

    A label is a string, a whole number (1.0 counts as 1), a bool or any other scalar, named as `str` does. A list is a
    set of labels. Columns where every list holds one label are single-label.
    """

    text_column: str
    label_column: str
    drop_empty: bool = False
    drop_unlabelled: bool = False
    texts: list[str] = field(default_factory=list)
    sets: list[tuple[str, ...]] = field(default_factory=list)
    dropped: Counter = field(default_factory=Counter)
    rows: int = 0
    _problems: dict[str, list[int]] = field(default_factory=dict)
    _problem_counts: Counter = field(default_factory=Counter)
    _names: dict = field(default_factory=dict)
    _known: dict = field(default_factory=dict)
    _ids: list = field(default_factory=list)

    def add(self, texts: Sequence, labels: Sequence, ids: Sequence | None = None) -> None:
        """Take the cells of some rows; `ids`, if there are any, are looked at in `finish`."""
        for row, (text, label) in enumerate(zip(texts, labels, strict=True), self.rows):
            wrong = wrong_text(text)
            if wrong == _EMPTY and self.drop_empty and not _is_other(text):
                self.dropped["empty text"] += 1
                continue
            found = self._set_of(label)
            if found == () and self.drop_unlabelled:
                self.dropped["no label"] += 1
                continue
            if wrong:
                self._problem(f"{self.text_column!r} {wrong}", row)
            if not found:
                self._problem(f"{self.label_column!r} is empty" if found == () else self._no_label(label), row)
            if found and not wrong:
                self.texts.append(text)
                self.sets.append(found)
        self.rows += len(texts)
        if ids is not None:
            import pyarrow as pa

            self._ids.append(pa.array([None if _missing(x) else str(x) for x in ids], pa.string()))

    def finish(self, where: str) -> None:
        """Nothing, or one error for everything that is wrong.

        Raises:
            DataError: cells are empty or nothing that can be used, ids come twice, or there are fewer than two labels.
        """
        found = [self._line(what, rows) for what, rows in self._problems.items()] + self._repeated()
        classes = sorted({name for names in self._known for name in names})
        if not found and len(classes) < 2:
            seen = f"is only the label {classes[0]!r}" if classes else "are no rows at all"
            left = f" ({dict(self.dropped)} dropped)" if self.dropped else ""
            found.append(f"there {seen}{left}; at least two classes are needed")
        if found:
            mend = (
                "Mend or drop these rows; drop_empty and drop_unlabelled leave out rows without a text or a label."
                if any(what.endswith(("empty", _EMPTY)) for what in self._problems)
                else "Mend or drop these rows."
            )
            raise DataError(problems(f"{where}: {len(found)} problem(s), rows counted from 0", found, mend))

    @property
    def label_sets(self) -> list[tuple[str, ...]] | None:
        """The sorted labels of each text, if any text has several; else None."""
        return self.sets if any(len(names) > 1 for names in self._known) else None

    @property
    def labels(self) -> list[str]:
        """One label for each text; several are joined by " | "."""
        joined = {names: _JOIN.join(names) for names in self._known}
        return [joined[names] for names in self.sets]

    def _set_of(self, value: object) -> tuple[str, ...] | None:
        """A cell's labels, sorted; () if it has none, None if it cannot be read. Equal ones are one object."""
        if hasattr(value, "tolist"):
            value = value.tolist()  # of NumPy
        if isinstance(value, list | tuple | set | frozenset):
            each = [self._set_of(v) for v in value if not isinstance(v, list | tuple | set | frozenset)]
            if len(each) < len(value) or None in each:
                return None
            return self._one({name for names in each for name in names})
        try:
            return self._names[type(value), value]  # by type: True, 1 and 1.0 are equal
        except TypeError:
            return None  # a mapping or the like
        except KeyError:
            names = set() if _missing(value) else {_name(value)}
        if _unencodable("".join(names)):
            return None
        return self._names.setdefault((type(value), value), self._one(names))

    def _one(self, names: set[str]) -> tuple[str, ...]:
        found = tuple(sorted(names))
        return self._known.setdefault(found, found) if found else ()

    def _no_label(self, value: object) -> str:
        return f"{self.label_column!r} is no label but a {type(value).__name__} that cannot be named"

    def _problem(self, what: str, row: int) -> None:
        self._problem_counts[what] += 1
        rows = self._problems.setdefault(what, [])
        if len(rows) < _SHOWN:
            rows.append(row)

    def _line(self, what: str, rows: list[int]) -> str:
        more = self._problem_counts[what] - len(rows)
        return f"{what} in row(s) {', '.join(map(str, rows))}{f' and {more} more' if more else ''}"

    def _repeated(self) -> list[str]:
        if not self._ids:
            return []
        import pyarrow as pa
        import pyarrow.compute as pc

        counted = pc.value_counts(pa.chunked_array(self._ids).drop_null())
        counts = counted.field("counts").to_numpy(zero_copy_only=False)
        twice = counted.filter(pa.array(counts > 1))
        if not len(twice):
            return []
        shown = ", ".join(f"{x['values']!r} ({x['counts']} times)" for x in twice[:_SHOWN].to_pylist())
        more = f" and {len(twice) - _SHOWN} more" if len(twice) > _SHOWN else ""
        return [f"ids come more than once: {shown}{more}; set id_column to None if they are no ids"]


_EMPTY = "is empty or no text"


def wrong_text(text: object) -> str | None:
    """Why a cell is no text to embed, or None."""
    if not isinstance(text, str) or not text or text.isspace():
        return _EMPTY
    if len(text) > LONGEST:
        return f"is longer than {LONGEST:,} characters"
    return "holds half a surrogate pair, which is no character" if _unencodable(text) else None


def _unencodable(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _is_other(text: object) -> bool:
    return not isinstance(text, str) and not _missing(text)


def _missing(value: object) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def _name(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
