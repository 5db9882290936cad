"""Rows of foreign triplet sets as rows of the triplet table: which column holds what, and what a list stands for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gisttools.common import DataError
from gisttools.triplets import triplet_id

Pairs = Literal["instruction", "texts"]
ANCHOR_COLUMNS = ("anchor", "query", "question", "sentence1", "text1")
POSITIVE_COLUMNS = (
    "positive", "positives", "pos", "positive_passages", "answer", "answers", "sentence2", "text2",
)  # fmt: skip
TASK_COLUMNS = ("task_name", "task", "dataset_name", "dataset", "task_type", "task_id")
_NEGATIVE = re.compile(r"(?:hard_)?(?:negatives?|negs?)_?(\d*)|negative_passages")
_SIDE_BY_SIDE = ("sentence1", "text1")  # names of scored pairs as well, of which not all are positives
_ANSWERS = ("answer", "answers")  # an answer with a number beside it may be a wrong one
_LABELLED = (("text", "sentence", "utterance"), ("label", "label_text", "intent", "category", "labels"))
_SCORES = ("label", "labels", "score", "scores", "similarity", "similarity_score")
_KEPT = ("anchor_label", "positive_label", "language")
KNOWN = (
    f"an anchor column ({', '.join(ANCHOR_COLUMNS)}), a positive column ({', '.join(POSITIVE_COLUMNS)}) and, if there "
    "are any, negatives (negative, negatives, neg, negative_1, negative_2, ...)"
)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Which column of a foreign set holds what. `pairs`: columns whose lists are one [instruction, text] pair.
    `instructions`: text column -> column of its instructions. `kept`: our column -> the set's column. `score`: of
    scored pairs, the column that must reach `threshold`."""

    anchor: str
    positive: str
    negatives: tuple[str, ...]
    pairs: frozenset[str]
    instructions: Mapping[str, str]
    task: str | None
    negative_labels: str | None
    kept: Mapping[str, str]
    score: str | None = None
    threshold: float | None = None


def is_triplet_shaped(columns: Sequence[str]) -> bool:
    """Whether columns of these names hold triplets, or pairs: there is an anchor and a positive among them."""
    names = {str(c).lower() for c in columns}
    return not names.isdisjoint(ANCHOR_COLUMNS) and not names.isdisjoint(POSITIVE_COLUMNS)


def find_shape(
    batch: Mapping[str, Sequence], where: str, pairs: Pairs | None = None, threshold: float | None = None
) -> Shape:
    """Which columns hold what, by their names (upper and lower case alike) and the first rows.

    A list of two strings may be an instruction and its text, or two texts. If every anchor of the first rows is such
    a list, they are pairs: an anchor is one text. Then lists of two positives or negatives are pairs as well, in
    every column where all lists have length two; else lists are texts. Lists of lists are always pairs.

    Args:
        batch: the first rows, column by column.
        where: what to call the set in errors.
        pairs: decides what lists of two strings are, where the rule guesses wrong.
        threshold: of scored pairs, the least score of a pair that counts as positive; other sets have no use for it.

    Raises:
        DataError: there is no anchor or no positive column, the pairs carry scores and no threshold is told (or a
            score is no number), or the anchors are lists of texts.
    """
    by_name = {str(c).lower(): c for c in batch}
    anchor = next((by_name[n] for n in ANCHOR_COLUMNS if n in by_name), None)
    positive = next((by_name[n] for n in POSITIVE_COLUMNS if n in by_name), None)
    if anchor is None or positive is None:
        what = " and ".join(w for w, c in (("anchor", anchor), ("positive", positive)) if c is None)
        raise DataError(
            f"{where} has no column known to hold the {what}. Its columns: {', '.join(map(str, batch)) or 'none'}. "
            f"Known are {KNOWN}. Rename its columns, or write a file of your own." + _labelled_hint(by_name)
        )
    scores = [by_name[n] for n in _SCORES if n in by_name]
    numbers = [c for c in scores if any(v is not None for v in batch[c]) and all(map(_is_score, batch[c]))]
    scored = (anchor.lower() in _SIDE_BY_SIDE and scores) or (positive.lower() in _ANSWERS and numbers)
    if scored and threshold is None:
        raise DataError(
            f"{where} holds pairs with a {scored[0]!r} column, so not every {anchor} and {positive} belong together. "
            "Set threshold to the least score of a pair that counts, or write the pairs that do into a file with the "
            "columns anchor and positive."
        )
    if scored and not numbers:
        seen = next((v for v in batch[scores[0]] if not _is_score(v)), None)
        raise DataError(f"{where}: {scores[0]!r} holds {seen!r}, which is no score. A threshold needs numbers.")
    numbered = [(m, c) for n, c in by_name.items() if (m := _NEGATIVE.fullmatch(n))]
    negatives = tuple(c for _, c in sorted(numbered, key=lambda mc: int(mc[0][1] or 0)))
    texts = (anchor, positive, *negatives)
    paired = frozenset(c for c in texts if pairs != "texts" and _all_twos(batch[c]))
    if pairs is None and anchor not in paired:
        paired = frozenset()
    if pairs == "instruction" and not paired:
        raise DataError(f"{where}: pairs is 'instruction', but no column holds lists of two strings. Leave pairs out.")
    if anchor not in paired and any(isinstance(v, list) and len(v) > 1 and _flat(v) for v in batch[anchor]):
        raise DataError(
            f"{where}: {anchor!r} holds lists of several texts, and an anchor is one text. If they are an instruction "
            "and its text, say pairs='instruction'."
        )
    instructions = {c: by_name[n] for c in texts for n in _instruction_names(c, anchor) if n in by_name}
    task = next((by_name[n] for n in TASK_COLUMNS if n in by_name), None)
    kept = {n: by_name[n] for n in _KEPT if n in by_name}
    if "task_type" in by_name and by_name["task_type"] != task:
        kept["task_type"] = by_name["task_type"]
    return Shape(
        anchor=anchor,
        positive=positive,
        negatives=negatives,
        pairs=paired,
        instructions=instructions,
        task=task,
        negative_labels=by_name.get("negative_labels"),
        kept=kept,
        score=numbers[0] if numbers and threshold is not None else None,
        threshold=threshold,
    )


def reaching(batch: Mapping[str, Sequence], shape: Shape) -> Mapping[str, Sequence]:
    """The rows of a batch whose score reaches the threshold (one without a score does not); all where none is set."""
    if shape.score is None:
        return batch
    scores = [float(v) if _is_score(v) and v not in (None, "") else None for v in batch[shape.score]]
    kept = [i for i, score in enumerate(scores) if score is not None and score >= shape.threshold]
    return {column: [values[i] for i in kept] for column, values in batch.items()}


def triplets_of(
    batch: Mapping[str, Sequence], shape: Shape, *, task_name: str, revision: str | None, instructions: bool = False
) -> Iterator[list[dict[str, Any]]]:
    """For each row of a batch its triplets, one for each positive; none where the row has no anchor or no positive.

    Texts are stripped of white space at both ends; empty negatives are left out.

    Args:
        batch: rows, column by column.
        shape: from `find_shape`.
        task_name: of rows that name no task.
        revision: what pins the set.
        instructions: put a text's instruction in front of it, else leave it out.
    """
    for i in range(len(batch[shape.anchor])):
        row = {c: values[i] for c, values in batch.items()}
        anchors = _texts(row, shape.anchor, shape, instructions)
        positives = [p for p in _texts(row, shape.positive, shape, instructions) if p]
        if len(anchors) != 1 or not anchors[0]:
            yield []
            continue
        given = [n for c in shape.negatives for n in _texts(row, c, shape, instructions)]
        labels = row[shape.negative_labels] if shape.negative_labels else None
        labels = labels if isinstance(labels, list) and len(labels) == len(given) else None
        negatives = [n for n in given if n]
        common = {
            "negatives": negatives,
            "negative_labels": [_name(x) for x, n in zip(labels, given, strict=True) if n] if labels else None,
            "task_name": (_name(row[shape.task]) if shape.task else None) or task_name,
            "source": "hub",
            "source_revision": revision,
            "status": "accepted",
            **{ours: _name(row[theirs]) for ours, theirs in shape.kept.items()},
        }
        yield [
            {"id": triplet_id(anchors[0], p, negatives), "anchor": anchors[0], "positive": p, **common}
            for p in dict.fromkeys(positives)
        ]


def _texts(row: Mapping[str, Any], column: str, shape: Shape, instructions: bool) -> list[str]:
    """The texts of a cell, stripped; an empty string where there is none."""
    value = _passages(row[column])
    if column in shape.pairs and not (isinstance(value, list) and len(value) == 2):
        value = []  # the other rows hold pairs, so nobody knows which of these strings is the text
    if column in shape.pairs and value:
        value = [value]
    told = row.get(shape.instructions[column]) if column in shape.instructions else None
    found = []
    for item in value if isinstance(value, list) else [value]:
        instruction, text = item if isinstance(item, list) and len(item) == 2 else (told, item)
        if not isinstance(text, str) or not text.strip():
            found.append("")
        elif instructions and isinstance(instruction, str) and instruction.strip():
            found.append(f"{instruction.strip()} {text.strip()}")
        else:
            found.append(text.strip())
    return found


def _passages(value: object) -> object:
    """A cell of Tevatron's passages ({docid, title, text}) as texts, the title in front; other cells as they are."""
    if isinstance(value, Mapping):
        lists = {k: v for k, v in value.items() if isinstance(v, list)}
        if not lists:  # one passage
            return _passage(value)
        size = max(map(len, lists.values()))  # older versions of the library turn a list of mappings inside out
        value = [{k: v[i] for k, v in lists.items() if i < len(v)} for i in range(size)]
    if isinstance(value, list):
        return [_passage(v) if isinstance(v, Mapping) else v for v in value]
    return value


def _passage(passage: Mapping[str, Any]) -> str:
    title, text = (str(passage.get(k) or "").strip() for k in ("title", "text"))
    return f"{title} {text}".strip() if text else ""


def _is_score(value: object) -> bool:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return not value
    return value is None or isinstance(value, bool | int | float)


def _labelled_hint(names: Mapping[str, str]) -> str:
    if all(any(n in names for n in usual) for usual in _LABELLED):
        return " These look like labelled texts: mine triplets from them (gisttools.labelled, the notebook 2_convert)."
    return ""


def _instruction_names(column: str, anchor: str) -> list[str]:
    names = [f"{column.lower()}_instruct", f"{column.lower()}_instruction"]
    return [*names, "instruction", "prompt"] if column == anchor else names


def _all_twos(values: Sequence) -> bool:
    """Whether the cells are lists of two strings, empty cells aside."""
    filled = [v for v in values if v is not None and v != []]
    return bool(filled) and all(isinstance(v, list) and len(v) == 2 and _flat(v) for v in filled)


def _flat(value: list) -> bool:
    return all(x is None or isinstance(x, str) for x in value)


def _name(value: object) -> str | None:
    return None if value is None or isinstance(value, list | dict) or not str(value).strip() else str(value).strip()
