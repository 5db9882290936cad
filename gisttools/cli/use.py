"""Uses what a run left: `gisttools predict` labels texts, `search` finds them, `check` says if a model got worse."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gisttools.cli.answers import NO, Answer
from gisttools.cli.asking import asking_here
from gisttools.cli.complete import Remembering, complete_run
from gisttools.common import DataError, ParameterError, quiet_libraries, signed, whole_file

if TYPE_CHECKING:
    from gisttools.data import Chunks, Documents
    from gisttools.models import Classifier, VectorCache

_ADDED = ("predicted", "probability")  # to the columns
_AT_ONCE = 4096
_NONE = ""  # "none of these", in a table
_WIDTH = 160
_SMALLEST = 8  # tokens of a chunk


@click.command(cls=Remembering, short_help="Label the texts of a file with a model that a run left.")
@click.argument("model", shell_complete=complete_run)
@click.argument("texts")
@click.option("--text", "column", metavar="COLUMN", help="The column of the texts, where it has no usual name.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Answers of a lower probability stay empty: none of these.",
)
@click.option(
    "--none-of-these", "measured", is_flag=True, help="With the threshold that was measured on the test texts."
)
@click.option(
    "--label-next", "next_ones", type=click.IntRange(min=1), metavar="N",
    help="Only the N texts that are worth a label of yours, the most so first: unsure ones, of many kinds.",
)  # fmt: skip
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A .csv or .jsonl; else it is printed.",
)
def predict(
    model: str,
    texts: str,
    column: str | None,
    threshold: float | None,
    measured: bool,
    next_ones: int | None,
    out: Path | None,
) -> Answer:
    """Label TEXTS, a file of texts (.csv, .jsonl, .parquet, .txt, ... or - for lines of standard input), with MODEL: a
    folder with a classifier, an evaluate run, or latest."""
    from gisttools.models import Classifier
    from gisttools.workflow import model_folder

    if out is not None and out.suffix not in (".csv", ".jsonl"):
        raise ParameterError(f"--out is {out}; name a .csv or a .jsonl file.")
    quiet_libraries()
    rows, name = text_rows(texts, column)
    folder = model_folder(model)
    classifier = Classifier.load(folder)
    if measured and threshold is None:
        if classifier.about.get("threshold") is None:
            raise ParameterError(f"No threshold was measured for {model}. Give one: --threshold 0.5.")
        threshold = classifier.about["threshold"]
    if next_ones is not None:
        rows = [rows[place] for place in classifier.label_next([str(row[name]) for row in rows], next_ones)]
    columns = [*dict.fromkeys(key for row in rows for key in row), *_ADDED]
    answers = _answers(classifier, rows, name, threshold)
    if out is None:
        return Answer(data=answers, lines=_csv(answers, columns))
    # half a character in another column is written as its escape
    with whole_file(out) as path, path.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
        for line in _jsonl(answers) if out.suffix == ".jsonl" else _csv(answers, columns):
            file.write(f"{line}\n")
    told = f"{out}: {len(rows):,} texts, labelled by {folder}"
    return Answer(data={"file": out, "texts": len(rows), "model": folder}, lines=[told])


def text_rows(texts: str, column: str | None) -> tuple[list[dict[str, Any]], str]:
    """The rows of a file, and the name of the column that holds the texts; `-` is standard input, a text a line.

    Raises:
        DataError: which column that is cannot be told, rows have no text that can be read, or there are columns already
            that would be added.
    """
    from gisttools.data import TEXT_COLUMNS, find_column, is_lines, read_lines, read_rows

    if texts == "-":
        return _readable([{"text": line.rstrip("\r\n")} for line in sys.stdin if line.strip()], "text", texts), "text"
    if is_lines(texts):
        return [{"text": line} for line in read_lines(texts) if line.strip()], "text"
    rows = list(read_rows(texts))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    found = column if column in columns else None if column else find_column(columns, TEXT_COLUMNS)
    if found is None:
        asked = f"{texts} has no column {column!r}. " if column else f"{texts}: "
        raise DataError(
            f"{asked}Columns found: {', '.join(columns) or 'none'}. Which one is the text? Say --text NAME."
        )
    if taken := [name for name in _ADDED if name in columns]:
        raise DataError(
            f"{texts} has a column {' and a column '.join(taken)} already. Rename what would be overwritten."
        )
    return _readable(rows, found, texts), found


def _readable(rows: list[dict[str, Any]], column: str, texts: str) -> list[dict[str, Any]]:
    """The rows. Raises DataError where a text is none, or holds half a character."""
    from gisttools.data import has_halves

    cells = [row.get(column) for row in rows]
    wrong = {
        "have no text": [not str("" if cell is None else cell).strip() for cell in cells],
        "hold no text but a list or an object": [isinstance(cell, list | dict | bytes) for cell in cells],
        "hold half a character": [isinstance(cell, str) and has_halves(cell) for cell in cells],
    }
    found = []
    for what, which in wrong.items():
        if numbers := [i for i, one in enumerate(which, 1) if one]:
            found.append(f"{len(numbers)} rows {what} in {column!r} (rows {', '.join(map(str, numbers[:5]))})")
    if found:
        raise DataError(f"{texts}: {'; '.join(found)}. Leave them out.")
    return rows


def _answers(
    classifier: Classifier, rows: Sequence[dict[str, Any]], name: str, threshold: float | None
) -> Iterator[dict[str, Any]]:
    least = classifier.threshold if threshold is None else threshold
    for begin in range(0, len(rows), _AT_ONCE):
        part = rows[begin : begin + _AT_ONCE]
        told = classifier.predict_proba([str(row[name]) for row in part])
        for row, place, most in zip(part, told.argmax(axis=1), told.max(axis=1), strict=True):
            label = classifier.labels[place] if most >= least else _NONE
            yield row | dict(zip(_ADDED, (label, round(float(most), 4)), strict=True))


def _jsonl(answers: Iterator[dict[str, Any]]) -> Iterator[str]:
    return (json.dumps(row, ensure_ascii=False, default=str) for row in answers)


def _csv(answers: Iterator[dict[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    for row in answers:
        writer.writerow(row)
        yield buffer.getvalue().removesuffix("\n")
        buffer.seek(0)
        buffer.truncate()


@click.command(cls=Remembering, short_help="Find the texts of a folder that answer a question.")
@click.argument("model", shell_complete=complete_run)
@click.argument("documents", type=click.Path(exists=True, path_type=Path))
@click.argument("question")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="So many, the best first.")
@click.option("--text", "column", metavar="COLUMN", help="Of tables: the column of the texts.")
def search(model: str, documents: Path, question: str, top: int, column: str | None) -> Answer:
    """Find the passages of DOCUMENTS, a file or a folder, that answer QUESTION, by MODEL: a folder, an evaluate run,
    latest, or a name of the hub. Passages are embedded once; the next question takes no time."""
    from gisttools.data import has_halves, read_documents
    from gisttools.models import VectorCache, search as nearest
    from gisttools.workflow import model_named

    if has_halves(question):
        raise ParameterError(f"QUESTION is {question!r:.60}, which holds what is no character. Write it in UTF-8.")
    quiet_libraries()
    read = read_documents(documents, column=column)
    cache = VectorCache(model_named(model))
    chunks = _chunks(read, cache)
    found = [(chunks[hit.place], hit) for hit in nearest(cache, [c.passage for c in chunks], question, top=top)]
    rows: list[dict[str, Any]] = [
        {"file": c.file, "line": c.line, "score": hit.score, "heading": c.heading, "text": c.text} for c, hit in found
    ]
    return Answer(data=rows, lines=[f"{r['score']:.2f}  {r['file']}:{r['line']}  {_short(r['text'])}" for r in rows])


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def _chunks(documents: Documents, cache: VectorCache) -> Chunks:
    """Documents cut to what the model reads; nothing is dropped, for each place may be asked for."""
    from gisttools.data import ChunkOptions, count_words, make_chunks
    from gisttools.models import token_counter

    counter = token_counter(cache.guide)
    size = ChunkOptions().chunk_size
    if counter is not None and counter.most is not None:
        size = min(size, max(counter.most, _SMALLEST))
    options = ChunkOptions(chunk_size=size, drop_near_copies=None, drop_boilerplate=False)
    return make_chunks(documents, options, counter or count_words)


@click.command(cls=Remembering, short_help="Fail where a model is worse than that of an earlier run.")
@click.argument("model", shell_complete=complete_run)
@click.option(
    "--against",
    required=True,
    metavar="RUN",
    shell_complete=complete_run,
    help="The evaluate run to hold it against, or latest.",
)
@click.option(
    "--allowed-loss", type=float, default=0.5, show_default=True, metavar="POINTS", help="A loss that is no failure."
)
@click.option("--strict", is_flag=True, help="Fail too where a larger loss is not ruled out.")
@asking_here()
def check(model: str, against: str, allowed_loss: float, strict: bool) -> Answer:
    """Score MODEL (a finetune run, a folder, ...) on the tasks of an evaluate run, next to that run's tuned model.

    Ends with 3 where it is worse by its interval, and by more than is allowed."""
    from gisttools.workflow import check_against

    checked = check_against(model, against, allowed_loss)
    run, found = checked.run, checked.tasks
    words = {
        "worse": "WORSE",
        "open": f"not shown to be worse; a loss of more than {allowed_loss:g} is not ruled out",
        "held": f"not worse by more than {allowed_loss:g}",
    }
    failed = any(each.word == "worse" or (strict and each.word == "open") for each in found)
    tasks = [
        {"task": each.task, "word": each.word}
        | {name: getattr(each.row, name) for name in ("metric", "base", "tuned", "difference", "low", "high")}
        for each in found
    ]
    lines = [
        f"{each.task}: {100 * each.row.base:.1f} → {100 * each.row.tuned:.1f} ({signed(each.row.difference)} points, "
        f"{signed(each.row.low)} to {signed(each.row.high)}): {words[each.word]}"
        for each in found
    ]
    return Answer(
        data={
            "ok": not failed,
            "model": model,
            "against": {"run": checked.against.id, "model": checked.before},
            "allowed_loss": allowed_loss,
            "tasks": tasks,
            "notes": checked.notes,
            "run": run.id,
            "folder": run.folder,
        },
        lines=[*lines, *checked.notes, str(run.folder)],
        status=NO if failed else 0,
    )
