"""Reads texts that an LLM wrote elsewhere, each with what is known of it: its label, the real text that it was made of,
the passage that answers it, a positive, negatives.

Which column is which is found by the usual names (`gisttools.data.columns`) or told, as `text=generation`. What a row
lacks is said by the reason that it is left out for; a file of which no row could be used is refused.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gisttools.common import DataError, MissingError, ParameterError, did_you_mean, problems
from gisttools.data import (
    LABEL_COLUMNS,
    LONGEST,
    MODEL_COLUMNS,
    PASSAGE_COLUMNS,
    SEED_COLUMNS,
    WRITTEN_COLUMNS,
    LabelledTexts,
    RowFile,
    anchor_and_positive,
    find_nested,
    has_halves,
    ids_in,
    is_triplet_shaped,
    language_code,
    negative_columns,
    normalise,
    plain_name,
    tell_left_out,
)
from gisttools.synthesis.llm.asking import REFUSED, UNANSWERED
from gisttools.synthesis.records import CUSTOM_ID, Record, files_in, records
from gisttools.synthesis.task import PATTERN, Label, Task

Shape = Literal["labels", "passages", "seeds", "pairs"]
ROLES = ("text", "label", "seed", "passage", "positive", "negative", "model")
_FAILED = (*REFUSED, *UNANSWERED, "length")  # how calls end that gave no text to use
_HEAD = 1000  # rows that tell the columns
_NEGATIVE = "negative"
_GIVEN: dict[Shape, str] = {"labels": "label", "passages": "passage", "seeds": "seed", "pairs": "positive"}
_NUMBERED = re.compile(r"[-_/#:. ]*\d+$")
_USUAL: dict[str, Sequence[str]] = {
    "model": MODEL_COLUMNS,
    "label": LABEL_COLUMNS,
    "passage": PASSAGE_COLUMNS,
    "seed": SEED_COLUMNS,
    "text": WRITTEN_COLUMNS,
}
# in this order, so that what has a name of its own is no text
_LOOKED_FOR = {
    "labels": ("model", "label", "seed", "text"),
    "pairs": ("model",),
    "given": ("model", "passage", "seed", "text"),
}
_KINDS: dict[Shape, str] = {"labels": "classification", "passages": "retrieval", "seeds": "sts", "pairs": "retrieval"}


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenText:
    """One text.

    Attributes:
        place: file and row, as `paraphrases.jsonl:17`.
        revision: the file and its checksum.
        text: what was written; of a call that failed the reason.
        label, positive, negatives: as far as the file tells.
        given: the real text that it was made of, or the passage that answers it.
        model: who wrote it; empty where nobody says.
        finish, tokens: as in `Reply`, of answers of a batch.
        reason: why it cannot be used, as `no-text`; None where it can.
    """

    place: str
    revision: str
    text: str
    label: str | None = None
    given: str | None = None
    positive: str | None = None
    negatives: tuple[str, ...] = ()
    model: str = ""
    finish: str = "stop"
    tokens: tuple[int, int] = (0, 0)
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class WrittenTexts:
    """Texts of some files, all of one shape.

    Attributes:
        texts: in the order of the files and rows.
        shape: what stands beside the text: its label, the passage that answers it, the real text (seed) that it was
            made of, or a positive that was written as well.
        files: name -> rows, revision, columns (role -> name).
    """

    texts: tuple[WrittenText, ...]
    shape: Shape
    files: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        """That of the only file, or of the first and how many more."""
        first, *more = self.files
        stem = first.partition(".")[0]
        return f"{stem} and {len(more)} more" if more else stem

    @property
    def every_text(self) -> list[str]:
        """All texts of the files, those beside the written ones included."""
        every = ((t.text, t.given, t.positive, *t.negatives) for t in self.texts)
        return list(dict.fromkeys(text for several in every for text in several if text))

    @property
    def _usable(self) -> list[WrittenText]:
        return [t for t in self.texts if t.reason is None and t.finish not in _FAILED]

    def task(self, *, domain: str | None = None, language: str | None = None) -> Task:
        """A task that such texts are of, where no description tells: labels by their names alone, with the seeds of the
        files; pairs of retrieval, or of sentences that say the same where texts were made of seeds.

        Args:
            domain: where such texts come from, in a few words.
            language: as eng-Latn; the one that most texts are in if None. Texts in another one are rejected.

        Raises:
            ParameterError: there is no such language.
            DataError: there is only one label.
        """
        if language is not None and not re.fullmatch(PATTERN, language):
            raise ParameterError(f"language is {language!r}, no language and script such as eng-Latn or deu-Latn.")
        usable = self._usable
        labels = dict.fromkeys(t.label for t in usable if t.label is not None)
        if self.shape == "labels" and len(labels) < 2:
            raise DataError(f"{self.name}: the only label is {next(iter(labels))!r}; at least two are needed.")
        others = [t.given or t.positive or t.text for t in usable]
        return self.with_seeds(
            Task(
                name=self.name,
                kind=_KINDS[self.shape],
                description=f"Texts of {domain or self.name}.",
                domain=domain or f"texts called {self.name!r}",
                language=language or language_code([t.text for t in usable]) or "eng-Latn",
                labels={name: Label(about=in_plain_words(name)) for name in labels},
                passages=tuple(dict.fromkeys(others)) if self.shape in ("passages", "pairs") else (),
                texts=tuple(dict.fromkeys(others)) if self.shape == "seeds" else (),
            )
        )

    def sources(self, task: Task) -> list[LabelledTexts]:
        """The texts that can be used, file by file, as a data card tells of them."""
        found = []
        for name, facts in self.files.items():
            own = [t for t in self._usable if t.revision == facts["revision"]]
            found.append(
                LabelledTexts(
                    texts=[t.text for t in own],
                    labels=[t.label for t in own if t.label is not None],
                    source=name,
                    split="written",
                    revision=str(facts["revision"]).rpartition("@")[2],
                    language=task.language,
                    task_name=task.name,
                    task_type=task.spec.task_type,
                )
            )
        return found

    def with_seeds(self, task: Task) -> Task:
        """The task with the seeds of labelled texts among those of its labels. One that stands under several labels is
        a seed of none."""
        labels: dict[str, set[str]] = {}
        for name, label in task.labels.items():
            for text in label.seeds:
                labels.setdefault(normalise(text), set()).add(name)
        seeds: dict[str, dict[str, str]] = {name: {} for name in task.labels}
        for t in self.texts if task.labels else ():
            if t.given and t.label in seeds:
                form = normalise(t.given)
                labels.setdefault(form, set()).add(t.label)
                seeds[t.label].setdefault(form, t.given)
        own = {name: [s for form, s in found.items() if len(labels[form]) == 1] for name, found in seeds.items()}
        known = {name: set(map(normalise, label.seeds)) for name, label in task.labels.items()}
        new = {
            name: label.model_copy(
                update={"seeds": (*label.seeds, *(s for s in own[name] if normalise(s) not in known[name]))}
            )
            for name, label in task.labels.items()
        }
        return task.model_copy(update={"labels": new}) if new else task


def in_plain_words(label: str) -> str:
    """A label's name as a line: `card_arrival` is "card arrival"."""
    return " ".join(re.sub(r"[_/\-]+", " ", label).split()) or label


def read_written(
    files: Sequence[str | Path],
    columns: Iterable[str] = (),
    *,
    labelled: bool | None = None,
    encoding: str | None = None,
) -> WrittenTexts:
    """Read texts that an LLM wrote elsewhere: rows of JSONL, CSV, TSV, Parquet, XLSX or `save_to_disk`, as Data
    Designer, distilabel and curator leave them, and the output files of OpenAI's and Anthropic's batches.

    Args:
        files: or folders of them; all of one shape.
        columns: which column is what, as `text=generation`; the others are found by their usual names. What can be
            told: text (what the LLM wrote), label, seed (the real text that it was made of), passage (the real text
            that answers it), positive and negative (written as well), model. A value inside an object is named with
            points (`response.text`), `seed=` says that there is none, and `label=custom_id` takes a batch's ids
            without the number at their end. A list of texts counts as so many rows.
        labelled: whether texts must have labels; None: where there is a column of them.
        encoding: as in `gisttools.data.read_parts`.

    Raises:
        MissingError: a file is not there, whatever else is wrong with others.
        ParameterError: `columns` names what is no role.
        DataError: a file is broken, has no such column, no rows, or none that could be used; of all files at once. Or
            files are of several shapes.
    """
    told = _told(columns)
    texts: list[WrittenText] = []
    found: dict[str, dict[str, Any]] = {}
    shapes: dict[str, Shape] = {}
    wrong: list[str] = []
    absent = False
    several: dict[Path, None] = {}
    for path in files:
        try:
            several |= dict.fromkeys(files_in(Path(path).expanduser()))
        except (MissingError, DataError) as error:
            absent = absent or isinstance(error, MissingError)
            wrong.append(str(error))
    for file in several:
        name = file.name if file.name not in found else str(file)
        try:
            part = _File(name, told, labelled).read(file, encoding)
        except DataError as error:
            wrong.append(str(error))
            continue
        texts += part.texts
        shapes[name], found[name] = part.shape, dict(part.files[name])
    if len(set(shapes.values())) > 1:
        wrong.append(f"files are of several shapes: {', '.join(f'{n} holds {s}' for n, s in shapes.items())}")
    if wrong:
        said = wrong[0] if len(wrong) == 1 else problems(f"texts: {len(wrong)} problem(s)", wrong)
        raise MissingError(said) if absent else DataError(said)
    if not found:
        raise ParameterError("No files of texts are named. Name one at least.")
    return WrittenTexts(texts=tuple(texts), shape=next(iter(shapes.values())), files=found)


def _told(columns: Iterable[str]) -> dict[str, str]:
    """Role -> column; an empty one where there is none."""
    pairs = [(text, *text.partition("=")[::2]) for text in columns]
    wrong = [f"{text!r} is no ROLE=COLUMN" for text, _, _ in pairs if "=" not in text]
    wrong += [
        f"{role!r} is no role.{did_you_mean(role, ROLES)} Roles: {', '.join(ROLES)}"
        for text, role, _ in pairs
        if "=" in text and role.strip() not in ROLES
    ]
    if wrong:
        raise ParameterError(problems("columns of texts:", wrong, "Write them as text=generation."))
    return {role.strip(): column.strip() for _, role, column in pairs}


@dataclass(frozen=True)
class _Columns:
    """Which column is what; `negatives` may be several."""

    roles: dict[str, str]
    negatives: list[str]
    shape: Shape


class _File:
    """Reads one file; `name` is what errors and places call it."""

    def __init__(self, name: str, told: Mapping[str, str], labelled: bool | None) -> None:
        self._name, self._told, self._labelled = name, told, labelled

    def read(self, path: Path, encoding: str | None) -> WrittenTexts:
        """Raises DataError with all that is wrong."""
        with RowFile(path, encoding) as file:
            rows = records(file, {column.partition(".")[0] for column in self._told.values()})
            head = list(itertools.islice(rows, _HEAD))
            columns = self._columns(head)
            read = [(r, t) for r in itertools.chain(head, rows) for t in _texts_of(r, columns)]
            revision = f"{path.name}@{file.revision}"
        texts = tuple(self._text(r, t, columns.shape, revision) for r, t in read)
        self._refuse_unusable(texts, columns)
        told = {**columns.roles, **({_NEGATIVE: ", ".join(columns.negatives)} if columns.negatives else {})}
        facts = {"rows": len(texts), "revision": revision, "columns": told}
        return WrittenTexts(texts=texts, shape=columns.shape, files={self._name: facts})

    def _text(self, record: Record, cells: Mapping[str, Any], shape: Shape, revision: str) -> WrittenText:
        text, label = cells.get("text"), _label(cells.get("label"))
        beside = label if shape == "labels" else cells.get(_GIVEN[shape])
        given = cells.get("seed") if shape in ("labels", "seeds") else cells.get("passage")
        halves = any(isinstance(t, str) and has_halves(t) for t in (label, given))
        failed = record.finish in _FAILED  # the filters say how
        return WrittenText(
            place=f"{self._name}:{record.row}",
            revision=revision,
            text=record.why or (text if isinstance(text, str) else ""),
            label=label if shape == "labels" and not halves else None,
            given=given if _is_text(given) and not halves else None,
            positive=cells["positive"] if shape == "pairs" and _is_text(cells.get("positive")) else None,
            negatives=tuple(t for t in cells.get(_NEGATIVE, ()) if _is_text(t)),
            model=(record.model or str(cells.get("model") or "")).encode(errors="replace").decode(),
            finish=record.finish,
            tokens=record.tokens,
            reason=None if failed else _reason(text, beside, f"no-{_GIVEN[shape]}", halves=halves),
        )

    def _refuse_unusable(self, texts: Sequence[WrittenText], columns: _Columns) -> None:
        """Raise where not one row can be used, or texts are ids."""
        if not texts:
            raise DataError(f"{self._name} holds no rows. Is it the right file?")
        if all(t.reason is not None or t.finish in _FAILED for t in texts):
            reasons = Counter(t.reason or t.finish for t in texts)
            told = ", ".join(f"{reason} {n:,}" for reason, n in reasons.most_common())
            where = ", ".join(f"{role} from {column!r}" for role, column in columns.roles.items())
            raise DataError(f"{self._name}: none of {len(texts):,} rows can be used ({told}); read were {where}.")
        if kind := ids_in(t.text for t in texts if t.reason is None and t.finish not in _FAILED):
            raise DataError(
                f"{self._name}: {columns.roles['text']!r} has {kind} in place of texts, such as {texts[0].text!r:.60}. "
                "Name the column of texts: text=COLUMN, in texts_columns (in Python columns)."
            )

    def _columns(self, head: Sequence[Record]) -> _Columns:
        names = self._names(head)
        found = _found(names, self._told, self._labelled)
        if "seed" not in self._told and "seed" in found.roles and not _holds_texts(head, found.roles["seed"]):
            del found.roles["seed"]  # a number that an LLM was started with
        lacks = [role for role in ("text", _GIVEN[found.shape]) if role not in found.roles]
        if lacks:
            raise DataError(self._refusal([_none_of(role) for role in lacks], names))
        tell_left_out(self._name, [n for n in names if n not in {*found.roles.values(), *found.negatives}])
        return found

    def _names(self, head: Sequence[Record]) -> list[str]:
        """Of the columns with values, among which all are that are told."""
        answered = [r for r in head if r.finish not in _FAILED] or head
        names = list(dict.fromkeys(name for r in answered for name in r.cells))
        plain = {n for r in answered for n, cell in r.cells.items() if isinstance(cell, str | int | float)}
        names = [n for n in names if n in plain or not any(other.startswith(f"{n}.") for other in names)]
        if not names:
            raise DataError(f"{self._name} holds no rows. Is it the right file?")
        lacking = [
            f"no column {column!r} ({role}).{did_you_mean(column, names)}"
            for role, column in self._told.items()
            if column and column not in names
        ]
        if lacking:
            raise DataError(self._refusal(lacking, names))
        return names

    def _refusal(self, lines: Sequence[str], names: Sequence[str]) -> str:
        title = f"{self._name}: {len(lines)} problem(s) with its columns"
        ask = "Say which one is meant as text=COLUMN, label=COLUMN, ... in texts_columns (in Python columns)."
        return problems(title, lines, f"Columns found: {', '.join(names)}. {ask}")


def _none_of(role: str) -> str:
    usual: dict[str, Sequence[str]] = {"text": WRITTEN_COLUMNS, "label": LABEL_COLUMNS}
    if role in usual:
        return f"no {role}: none of the usual columns ({', '.join(usual[role])})"
    return f"no {role}: nothing stands beside the texts that a row could be made with (label, seed, passage, positive)"


def _found(names: Sequence[str], told: Mapping[str, str], labelled: bool | None) -> _Columns:
    """The columns that are told, and others by their usual names."""
    roles = {role: column for role, column in told.items() if column and role != _NEGATIVE}
    left = [n for n in names if n not in told.values()]
    labelled = _has_labels(left, told) if labelled is None else labelled
    free = not labelled and not {"text", "seed", "passage", "positive"} & set(told)
    pair = _pair(left) if free else {}
    roles |= pair
    for role in _LOOKED_FOR["labels" if labelled else "pairs" if pair else "given"]:
        untaken = [n for n in left if n not in roles.values()]
        column = find_nested(untaken, _USUAL[role]) if role not in told else None
        if column is not None:
            roles[role] = column
    if labelled:
        return _Columns(roles, [], "labels")
    return _beside(roles, list(filter(None, [told[_NEGATIVE]])) if _NEGATIVE in told else negative_columns(left))


def _beside(roles: Mapping[str, str], negatives: list[str]) -> _Columns:
    """What makes a row of the text, where no label does; the other columns beside it are left out."""
    shapes: tuple[Shape, ...] = ("passages", "pairs", "seeds")
    shape: Shape = next((s for s in shapes if _GIVEN[s] in roles), "seeds")
    unused = {_GIVEN[s] for s in shapes if s != shape} | {"label"}
    return _Columns({r: c for r, c in roles.items() if r not in unused}, negatives, shape)


def _pair(names: Sequence[str]) -> dict[str, str]:
    """Role -> column of an anchor and its positive; empty where there are none."""
    anchor, positive = anchor_and_positive(names)
    if anchor is None or positive is None:
        return {}
    if anchor.lower() == "anchor":  # distilabel's: what the others were made of
        return {"seed": anchor, "text": positive}
    return {"text": anchor, "passage" if positive.lower() in PASSAGE_COLUMNS else "positive": positive}


def _has_labels(names: Sequence[str], told: Mapping[str, str]) -> bool:
    """Whether rows are labelled texts, where nobody says; those with nothing at all beside the text should be."""
    if told.get("label") or told.get("passage") or told.get("positive"):
        return bool(told.get("label"))
    if is_triplet_shaped(names):
        return False
    beside = (*SEED_COLUMNS, *PASSAGE_COLUMNS)
    return find_nested(names, LABEL_COLUMNS) is not None or not (told.get("seed") or find_nested(names, beside))


def _texts_of(record: Record, columns: _Columns) -> Iterator[dict[str, Any]]:
    """The cells of a row by role, one for each of its texts."""
    cells = {role: record.cells.get(column) for role, column in columns.roles.items()}
    if columns.roles.get("label") == CUSTOM_ID:
        cells["label"] = _NUMBERED.sub("", str(cells["label"] or ""))
    if columns.negatives:
        cells[_NEGATIVE] = [t for name in columns.negatives for t in _several(record.cells.get(name))]
    for text in _several(cells.get("text")) or [None]:
        for positive in _several(cells.get("positive")) or [None]:
            yield {**cells, "text": text, "positive": positive}


def _several(value: object) -> list[Any]:
    if hasattr(value, "tolist"):
        value = value.tolist()
    return value if isinstance(value, list) else [value]


def _label(value: object) -> str | None:
    """The one label of a cell; None where there is none, or there are several."""
    found = _several(value)
    return plain_name(found[0]) if len(found) == 1 and not isinstance(found[0], dict | list | bytes) else None


def _reason(text: object, beside: object, lacks: str, *, halves: bool) -> str | None:
    """Why a row cannot be used; None where it can."""
    if not _is_text(text):
        return "no-text"
    if not _is_text(beside):
        return lacks
    if len(str(text)) > LONGEST:
        return "too-long"
    return "unreadable" if halves else None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _holds_texts(head: Sequence[Record], column: str) -> bool:
    return any(_is_text(r.cells.get(column)) for r in head)
