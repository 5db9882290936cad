"""Knows columns by their names, upper and lower case alike: one table for every reader, and for what messages list.

What a reader does not need is left out, and said once (`tell_left_out`).
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Sequence

from gisttools.common import did_you_mean

log = logging.getLogger(__name__)
_TOLD: set[str] = set()

TEXT_COLUMNS = ("text", "sentence", "utterance", "query", "content", "message")
LABEL_COLUMNS = ("label_text", "label", "intent", "category", "class", "labels")
ANCHOR_COLUMNS = ("anchor", "query", "question", "sentence1", "text1")
POSITIVE_COLUMNS = (
    "positive", "positives", "pos", "positive_passages", "answer", "answers", "sentence2", "text2",
)  # fmt: skip
# names that are an anchor and a positive only together: each alone may be anything
PAIRS = (
    ("title", "body"),
    ("title", "abstract"),
    ("query", "passage"),
    ("query", "document"),
    ("question", "passage"),
    ("question", "document"),
    ("text_a", "text_b"),
    ("sentence_a", "sentence_b"),
    ("sent1", "sent2"),
    ("question1", "question2"),
    ("user_query", "positive_document"),
)
SCORE_COLUMNS = ("label", "labels", "score", "scores", "similarity", "similarity_score", "is_duplicate")
TASK_COLUMNS = ("task_name", "task", "dataset_name", "dataset", "task_type", "task_id")
# of texts that an LLM wrote elsewhere: what it wrote, before all that it may have been shown; the real text that it was
# made of; the real text that answers it; who wrote it
WRITTEN_COLUMNS = (
    "generation", "generations", "generated_text", "synthetic_text", "paraphrase", "paraphrases", "input_text",
    *TEXT_COLUMNS, "texts", "response", "output", "completion",
)  # fmt: skip
SEED_COLUMNS = ("seed", "seed_text", "original", "original_text", "source_text")
PASSAGE_COLUMNS = ("passage", "document", "context")
MODEL_COLUMNS = ("model_name", "llm_model", "model", "generation_model")
_NEGATIVE = re.compile(r"(?:hard_)?(?:negatives?|negs?)[_ -]?(\d*)|negative_passages|hard_negative_documents?")
_TEXTS = ("anchor", "positive", "negative", "negatives", "anchor_label", "positive_label", "negative_labels")
_ALIKE = 0.85  # as a ratio of difflib; "negativ" and "anchor_lable" are, "negative_id" is not
KNOWN = (
    f"an anchor column ({', '.join(ANCHOR_COLUMNS)}), a positive column ({', '.join(POSITIVE_COLUMNS)}) or a pair of "
    f"columns ({', '.join(' and '.join(pair) for pair in PAIRS)}), and, if there are any, negatives (negative, "
    "negatives, neg, hard_negative, negative_1, negative_2, neg_1, ...)"
)


def find_column(names: Iterable[object], usual: Sequence[str]) -> str | None:
    """The first of some usual names that there is, as it is written there."""
    by_name = {str(name).lower(): name for name in names}
    found = next((by_name[name] for name in usual if name in by_name), None)
    return found  # type: ignore[return-value]


def warn_once(logger: logging.Logger, told: str) -> None:
    """Warn of a file, which many may read again, once in this process; of a DataFrame, which has no name, each time."""
    if told not in _TOLD or told.startswith("DataFrame"):
        _TOLD.add(told)
        logger.warning("%s", told)


def find_nested(names: Sequence[str], usual: Sequence[str]) -> str | None:
    """As `find_column`, also for names with points in them, that stand for a value inside another one: `response.text`
    is known by its last part where no whole name is."""
    whole = find_column(names, usual)
    last = {name.rpartition(".")[2]: name for name in reversed(names)}
    inner = find_column(last, usual)
    return whole if whole is not None or inner is None else last[inner]


def labelled_columns(
    where: object, names: Sequence[object], text_column: str | None = None, label_column: str | None = None
) -> tuple[dict[str, str], list[str]]:
    """The columns of texts and labels, by "text" and "label", and a line for each that there is none for.

    A column that was named must be there; else the first of the usual names counts, if it is not the other's.
    """
    found: dict[str, str] = {}
    wrong: list[str] = []
    named = {"text": text_column, "label": label_column}
    usual = {"text": TEXT_COLUMNS, "label": LABEL_COLUMNS}
    listed = ", ".join(map(str, names)) or "none"
    for role, name in named.items():
        others = [n for n in names if n not in [v for r, v in named.items() if r != role]]
        column = find_column(others, usual[role]) if name is None else name if name in names else None
        if column is not None:
            found[role] = column
            continue
        why = (
            f"none of the usual {role} columns ({', '.join(usual[role])})."
            if name is None
            else f"no column {name!r}.{did_you_mean(name, map(str, names))}"
        )
        ask = f"Columns found: {listed}. Which one is the {role}? Set {role}_column to it."
        wrong.append(f"{where} has {why} {ask}")
    return found, wrong


def anchor_and_positive(names: Sequence[object]) -> tuple[str | None, str | None]:
    """The columns of anchor and positive; None for what there is none for."""
    anchor, positive = find_column(names, ANCHOR_COLUMNS), find_column(names, POSITIVE_COLUMNS)
    if anchor is not None and positive is not None:
        return anchor, positive
    pairs = ((find_column(names, (first,)), find_column(names, (second,))) for first, second in PAIRS)
    return next(((a, p) for a, p in pairs if a is not None and p is not None), (anchor, positive))


def is_triplet_shaped(columns: Sequence[object]) -> bool:
    """Whether columns of these names hold triplets, or pairs: there is an anchor and a positive among them. A pair of
    `PAIRS` next to a label is a labelled text in two parts."""
    anchor, positive = anchor_and_positive(columns)
    if anchor is None or positive is None:
        return False
    strong = str(anchor).lower() in ANCHOR_COLUMNS and str(positive).lower() in POSITIVE_COLUMNS
    return strong or find_column(columns, LABEL_COLUMNS) is None


def may_be_scored(anchor: str, positive: str) -> bool:
    """Whether columns of these names hold pairs that may be positives or not, where a score or truth value says so."""
    names = anchor.lower(), positive.lower()
    return names[0] in ("sentence1", "text1") or names in PAIRS


def negative_columns(names: Iterable[object]) -> list[str]:
    """The columns of negatives, by their numbers."""
    numbered = [(int(m[1] or 0), str(n)) for n in names if (m := _NEGATIVE.fullmatch(str(n).lower()))]
    return [name for _, name in sorted(numbered, key=lambda pair: pair[0])]


def misspelt(names: Iterable[object]) -> list[str]:
    """Names that are nearly those of a triplet's texts or labels: to leave them out would lose what is meant."""
    return [str(n) for n in names if difflib.get_close_matches(str(n).lower(), _TEXTS, n=1, cutoff=_ALIKE)]


def tell_left_out(where: object, names: Iterable[object]) -> None:
    """Say once which columns of a source are of no use."""
    listed = [repr(str(name)) for name in names]
    if listed:
        warn_once(log, f"{where}: columns left out: {', '.join(listed[:20])}{', ...' if len(listed) > 20 else ''}")
