"""Duplicates, and overlap between training tables and evaluation sets. For now by equal text; see `normalise`."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from datasets import Dataset


def normalise(text: str) -> str:
    """NFKC, no case, single spaces: texts equal under this are the same text."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def overlap(texts: Iterable[str], others: Iterable[str]) -> list[str]:
    """Those of `texts` that also stand in `others`, by `normalise`; each once, in order."""
    known = {normalise(t) for t in others}
    return list(dict.fromkeys(t for t in texts if normalise(t) in known))


def table_texts(table: Dataset) -> list[str]:
    """All texts of a triplet table, each once."""
    texts = [*table["anchor"][:], *table["positive"][:], *(n for ns in table["negatives"][:] for n in ns)]
    return list(dict.fromkeys(texts))


def drop_overlap(table: Dataset, eval_texts: Iterable[str]) -> tuple[Dataset, int]:
    """Leave out rows any text of which stands in `eval_texts`; also returns how many."""
    known = {normalise(t) for t in eval_texts}
    if not known:
        return table, 0
    rows = zip(table["anchor"][:], table["positive"][:], table["negatives"][:], strict=True)
    keep = [i for i, (a, p, ns) in enumerate(rows) if not known & {normalise(t) for t in (a, p, *ns)}]
    return table.select(keep), len(table) - len(keep)
