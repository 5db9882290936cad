"""Parts the questions on documents into pairs to train on and a test, and lets people throw some out.

A test that an LLM wrote is called so wherever it goes: by its folder's name, and by a note.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from datasets import Dataset, concatenate_datasets

from gisttools.common import DataError, problems
from gisttools.data import COLUMNS, Question, ReadChunks, normalise, read_rows, triplet_id, write_retrieval
from gisttools.synthesis.result import SynthesisResult
from gisttools.synthesis.task import TEST, TRAIN

QUESTIONS_FILE = "questions.csv"
SYNTHETIC = "-synthetic-test"  # behind the name of the documents
THROWN_OUT = "thrown-out"
_KEPT, _GONE = ("", "yes", "y", "true", "1"), ("no", "n", "false", "0")
_SHOWN = 5


def questions_of(result: SynthesisResult, read: ReadChunks) -> pd.DataFrame:
    """The accepted questions, to be looked through: keep ("yes"), part, form, question, heading, text, chunk, also (ids
    of other chunks that answer it, where the LLM was asked: one a line)."""
    chunks = {chunk.id: chunk for chunk in read.chunks}
    rows = []
    for row in _rows(result.accepted):
        told, chunk = json.loads(row["attributes"]), chunks[row["seed_ids"][0]]
        also = "\n".join(row["seed_ids"][1:])
        rows.append(("yes", told["part"], told.get("form"), row["anchor"], chunk.heading, chunk.text, chunk.id, also))
    return pd.DataFrame(rows, columns=["keep", "part", "form", "question", "heading", "text", "chunk", "also"])


def read_thrown_out(file: str | Path) -> set[str]:
    """The questions of a `questions.csv` that somebody marked with "no" in its column `keep`, in their normal form.

    Raises:
        MissingError: there is no such file.
        DataError: it lacks a column, or `keep` holds something else than yes and no; all problems at once.
    """
    gone: set[str] = set()
    wrong: list[str] = []
    for number, row in enumerate(read_rows(file), 1):
        if lacking := [name for name in ("keep", "question") if name not in row]:
            raise DataError(f"{file} has no column {' and no column '.join(lacking)}. Edit a copy of {QUESTIONS_FILE}.")
        said = str(row["keep"] if row["keep"] is not None else "").strip().casefold()
        if said in _GONE:
            gone.add(normalise(str(row["question"])))
        elif said not in _KEPT:
            wrong.append(f"row {number}: keep is {row['keep']!r:.60}, neither yes nor no")
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        raise DataError(problems(f"{file}: {len(wrong)} problem(s)", wrong[:_SHOWN] + more, "Write yes or no."))
    return gone


def without(result: SynthesisResult, gone: Collection[str]) -> SynthesisResult:
    """The result with these questions (in their normal form) among the rejected rows, as thrown out."""
    out = np.array([normalise(text) in gone for text in result.accepted["anchor"][:]], dtype=bool)
    if not out.any():
        return result
    rows = result.accepted.select(np.flatnonzero(out))
    table = rows.with_format("arrow")[:]
    for name, value in (("status", "rejected"), ("reject_reason", THROWN_OUT)):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array([value] * len(table), pa.string()))
    parts = Counter(json.loads(row["attributes"])["part"] for row in _rows(rows))
    s = result.summary
    by_label = {name: {**n, "accepted": n["accepted"] - parts[name]} for name, n in s["by_label"].items()}
    changed = {
        "accepted": s["accepted"] - len(rows),
        "rejected": s["rejected"] + len(rows),
        "reasons": {**s["reasons"], THROWN_OUT: len(rows)},
        "by_label": by_label,
    }
    rejected = concatenate_datasets([result.rejected, Dataset(table)])
    kept = result.accepted.select(np.flatnonzero(~out))
    return replace(result, accepted=kept, rejected=rejected, summary={**s, **changed})


def training_pairs(accepted: Dataset, read: ReadChunks) -> Dataset:
    """The rows on chunks to train on; a row for each chunk that answers a question."""
    table = accepted.select([i for i, row in enumerate(_rows(accepted)) if _part(row) == TRAIN])
    passages, also = {chunk.id: chunk.passage for chunk in read.chunks}, []
    for row in table.with_format("arrow")[:].to_pylist():
        for name in row["seed_ids"][1:]:
            new = {"id": triplet_id(row["anchor"], passages[name], []), "positive": passages[name], "seed_ids": [name]}
            also.append({**row, **new, "guide_ap": None, "tokens_in": 0, "tokens_out": 0, "cost_usd": None})
    return concatenate_datasets([table, Dataset(pa.Table.from_pylist(also, schema=COLUMNS))]) if also else table


def save_documents(result: SynthesisResult, read: ReadChunks, folder: Path) -> Path | None:
    """Write what is made of documents beside the tables: `questions.csv`, `corpus.parquet` (the chunks to train on,
    from which negatives are mined), and the folder of the test with all chunks as its corpus, whose path is returned;
    None where no question to test with was accepted."""
    table = questions_of(result, read)
    # with a mark in front, by which Excel knows UTF-8
    table.to_csv(folder / QUESTIONS_FILE, index=False, encoding="utf-8-sig")
    read.save_corpus(folder)
    asked = [row for row in _rows(result.accepted) if _part(row) == TEST]
    if not asked:
        return None
    questions = [Question(text=row["anchor"], answers=row["seed_ids"]) for row in asked]
    return write_retrieval(folder / f"{_name(read.name)}{SYNTHETIC}", read.chunks, questions)


def _part(row: dict) -> str:
    return json.loads(row["attributes"])["part"]


def _rows(table: Dataset) -> Iterator[dict]:
    yield from table.select_columns(["anchor", "attributes", "seed_ids"]).with_format("arrow")[:].to_pylist()


def _name(name: str) -> str:
    """As a folder may be called, and a task: letters, digits, points and dashes."""
    return "".join(c if c.isalnum() or c in "._" else "-" for c in name).strip("-.") or "documents"
