"""Writes a search as a folder of files, corpus, queries and judgements in BEIR's layout, which an evaluation scores."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gisttools.common import DataError, digest, problems
from gisttools.data.characters import is_blank, normalise
from gisttools.data.chunks import Chunk
from gisttools.data.folders import some


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked, and the chunks that answer it.

    Attributes:
        text: the question.
        answers: ids of chunks, at least one; as a mapping with a grade, a whole number from 1.
    """

    text: str
    answers: Collection[str] | Mapping[str, int]

    @property
    def id(self) -> str:
        """16 hex digits of the text."""
        return digest(self.text)

    @property
    def grades(self) -> dict[str, int]:
        """The grade of each answer, 1 where none is told."""
        if isinstance(self.answers, Mapping):
            return {str(chunk): grade for chunk, grade in self.answers.items()}
        return dict.fromkeys(map(str, self.answers), 1)


def write_retrieval(
    folder: str | Path, chunks: Iterable[Chunk], questions: Iterable[Question], *, split: str = "test"
) -> Path:
    """Write `corpus.jsonl` (all chunks, with their headings as titles), `queries.jsonl` and `qrels/<split>.tsv` into a
    new folder, which appears whole or not at all; `gisttools.data.eval_folder` and `4_evaluate` read it.

    Args:
        folder: it must not exist, or be empty.
        chunks: what is searched.
        questions: of the part to test on.
        split: that is scored.

    Raises:
        DataError: the folder holds something, ids of chunks repeat, a question is blank, comes twice (but for case and
            spaces), has no answer, or one that is no chunk or has no grade from 1; all problems at once.
    """
    folder, chunks, questions = Path(folder), list(chunks), list(questions)
    found = _problems(chunks, questions)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        found.append(f"{folder} is there already and not empty")
    if found:
        raise DataError(problems(f"{folder}: {len(found)} problem(s)", found, "Correct these, then write it again."))
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / "qrels").mkdir(parents=True)
        _write_lines(partial / "corpus.jsonl", ({"_id": c.id, "title": c.heading, "text": c.text} for c in chunks))
        _write_lines(partial / "queries.jsonl", ({"_id": q.id, "text": q.text} for q in questions))
        rows = (f"{q.id}\t{chunk}\t{grade}\n" for q in questions for chunk, grade in q.grades.items())
        judged = "query-id\tcorpus-id\tscore\n" + "".join(rows)
        (partial / "qrels" / f"{split}.tsv").write_text(judged, encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _write_lines(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _problems(chunks: Sequence[Chunk], questions: Sequence[Question]) -> list[str]:
    known = Counter(chunk.id for chunk in chunks)
    forms = Counter(normalise(question.text) for question in questions)
    grades = list(itertools.chain.from_iterable(question.grades.items() for question in questions))
    checks: dict[str, list] = {
        "ids of chunks come more than once": _repeated(known),
        "ids of chunks hold a tab, a line end or a quote, or are blank": [n for n in known if not _is_plain(n)],
        "questions are blank": [q.text for q in questions if is_blank(q.text)],
        "questions come more than once": _repeated(forms),
        "questions have no answer": [q.text for q in questions if not q.answers],
        "answers are no chunk": [chunk for chunk, _ in grades if chunk not in known],
        "grades are no whole numbers from 1": [grade for _, grade in grades if not _is_grade(grade)],
    }
    if not questions:
        return ["there are no questions"]
    return [f"{what}: {some(values)}" for what, values in checks.items() if values]


def _repeated(counts: Counter[str]) -> list[str]:
    return [name for name, n in counts.items() if n > 1]


def _is_plain(name: str) -> bool:
    """Can that stand in a line of a TSV as it is?"""
    return bool(name) and name == name.strip() and not any(c in name for c in '\t\r\n"')


def _is_grade(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
