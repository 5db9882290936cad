"""One list of every kind of input that the documentation names, as tiny files: texts to train on, and tests.

A new kind of either is a line here; `tests/test_kinds_of_input.py` sends each through every notebook.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa

from gisttools.data.labelled import read_labelled
from gisttools.data.options import ReadOptions
from helpers.local_files import make_folder, write

_PACKED = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True)
class Training:
    """A kind of source for `2_convert`.

    Attributes:
        name: of the kind.
        said: how docs/data.md names it.
        files: the files' paths, and their rows made of texts and their labels.
        folder: what `sources` names in place of the files.
        more: further parameters of the conversion.
        triplets: whether `3_finetune` takes it without a conversion.
    """

    name: str
    said: str
    files: Mapping[str, Callable[[list[tuple[str, str]]], list[dict]]]
    folder: str = ""
    more: Mapping[str, object] = field(default_factory=dict)
    triplets: bool = False

    def make(self, folder: Path, caretaker: Path) -> list[str]:
        """Write it; what `sources` takes."""
        train = read_labelled(caretaker, ReadOptions(split="train"))
        texts = list(zip(train.texts, train.labels, strict=True))
        for name, rows in self.files.items():
            _write(folder / name, rows(texts))
        return [str(folder / name) for name in ([self.folder] if self.folder else self.files)]


def _write(path: Path, rows: list[dict]) -> None:
    """As `write`, also a JSON array and packed."""
    packing = _PACKED.get(path.suffix)
    plain = path.with_suffix("") if packing else path
    if plain.suffix == ".xlsx":
        plain.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_excel(plain, index=False)
    elif plain.suffix == ".json":
        plain.parent.mkdir(parents=True, exist_ok=True)
        plain.write_text(json.dumps(rows), encoding="utf-8")
    else:
        write(plain, rows)
    if packing:
        with pa.CompressedOutputStream(str(path), packing) as stream:
            stream.write(plain.read_bytes())
        plain.unlink()


def _labelled(texts: list[tuple[str, str]]) -> list[dict]:
    return [{"text": text, "label": label} for text, label in texts]


def _named(*names: str) -> Callable[[list[tuple[str, str]]], list[dict]]:
    """Rows with these columns: an anchor, a text of its label, then texts of other labels, one a column."""

    def rows(texts: list[tuple[str, str]]) -> list[dict]:
        return [dict(zip(names, [anchor, positive, *negatives], strict=False)) for anchor, positive, negatives in
                _triplets(texts)]  # fmt: skip

    return rows


def _triplets(texts: list[tuple[str, str]]) -> list[tuple[str, str, list[str]]]:
    """One for each text: it, the next of its label, three of other labels."""
    found = []
    for i, (text, label) in enumerate(texts):
        turned = [*texts[i + 1 :], *texts[:i]]
        others = [t for t, other in turned if other != label]
        found.append((text, next(t for t, other in turned if other == label), others[:3]))
    return found


def _tevatron(texts: list[tuple[str, str]]) -> list[dict]:
    def passages(found: list[str]) -> list[dict]:
        return [{"docid": str(i), "title": "", "text": text} for i, text in enumerate(found)]

    return [{"query_id": str(i), "query": a, "positive_passages": passages([p]), "negative_passages": passages(n)}
            for i, (a, p, n) in enumerate(_triplets(texts))]  # fmt: skip


def _medi(texts: list[tuple[str, str]]) -> list[dict]:
    say = "Represent the message:"
    return [{"query": [say, a], "pos": [say, p], "neg": [say, n[0]], "task_name": "messages"}
            for a, p, n in _triplets(texts)]  # fmt: skip


def _scored(texts: list[tuple[str, str]]) -> list[dict]:
    return [row for a, p, n in _triplets(texts)
            for row in ({"sentence1": a, "sentence2": p, "score": 4.5}, {"sentence1": a, "sentence2": n[0], "score": 1})
            ]  # fmt: skip


def _lists(texts: list[tuple[str, str]]) -> list[dict]:
    return [{"anchor": a, "positive": p, "negatives": n} for a, p, n in _triplets(texts)]


def _of_several_labels(texts: list[tuple[str, str]]) -> list[dict]:
    return [{"text": text, "label": [label, "urgent"] if i % 3 else [label]} for i, (text, label) in enumerate(texts)]


def _corpus(texts: list[tuple[str, str]]) -> list[dict]:
    return [{"_id": f"d{i}", "title": "", "text": text} for i, (text, _) in enumerate(texts)]


def _queries(texts: list[tuple[str, str]]) -> list[dict]:
    return [{"_id": f"q{i}", "text": f"{text}?"} for i, (text, _) in enumerate(texts)]


def _judged(texts: list[tuple[str, str]]) -> list[dict]:
    return [{"query-id": f"q{i}", "corpus-id": f"d{i}", "score": 1} for i in range(len(texts))]


def _llamaindex(texts: list[tuple[str, str]]) -> dict:
    parts = {"queries": {row["_id"]: row["text"] for row in _queries(texts)}}
    parts["corpus"] = {row["_id"]: row["text"] for row in _corpus(texts)}
    return {**parts, "relevant_docs": {row["query-id"]: [row["corpus-id"]] for row in _judged(texts)}, "mode": "text"}


_TABLE = "`texts.csv`, `.tsv`, `.jsonl`, `.json`, `.parquet`, also `.gz` and `.zst`"
_SETS = "any of these with the columns of triplets"
_ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".csv.gz", ".jsonl.zst")
TRAINING = (
    Training("labelled files", _TABLE, {f"texts{i}{e}": _labelled for i, e in enumerate(_ENDINGS)}),
    Training("labelled workbook", "the first sheet of a workbook", {"texts.xlsx": _labelled}),
    Training("labelled folder", "a folder", {"mine/train.csv": _labelled}, folder="mine"),
    Training("labelled, columns named", "or named: `text_column`, `label_column`", {
        "t.csv": lambda texts: [{"words": t, "kind": label} for t, label in texts]},
        more={"text_column": "words", "label_column": "kind"}),
    Training("labelled, numbers", "a number as a label is its plain name", {
        "t.jsonl": lambda texts: [{"text": t, "label": len(label)} for t, label in texts]}),
    Training("several labels", "Multi-label tasks", {"t.jsonl": _of_several_labels}),
    Training("hard negatives mined", "`strategy: hard`", {"t.csv": _labelled},
             more={"strategy": "hard", "negatives": 2, "margin": 1.0}),
    Training("pairs", _SETS, {"p.csv": _named("anchor", "positive"), "p.parquet": _named("question", "answer")},
             triplets=True),
    Training("pairs with mined negatives", "**Pairs and searches.**", {"p.csv": _named("anchor", "positive")},
             more={"strategy": "hard", "negatives": 2, "hard_from": "both"}),
    Training("search in BEIR's layout", "BEIR's folder", {
        "s/corpus.jsonl": _corpus, "s/queries.jsonl": _queries, "s/qrels/train.tsv": _judged}, folder="s"),
    Training("search in LlamaIndex's layout", "LlamaIndex's JSON", {"train.json": _llamaindex},
             more={"strategy": "hard", "margin": 0.99}),
    Training("scored pairs", "scored pairs from `threshold` up", {"p.csv": _scored}, more={"threshold": 4.0}),
    Training("triplets", "`anchor/positive/negative`", {"t.csv": _named("anchor", "positive", "negative")},
             triplets=True),
    Training("query, pos, neg", "`query/pos/neg`", {"t.csv": _named("query", "pos", "neg")}, triplets=True),
    Training("numbered negatives", _SETS, {
        "t.tsv": _named("query", "positive", "negative_1", "negative_2", "negative_3")}, triplets=True),
    Training("lists of negatives", _SETS, {"t.jsonl": _lists, "u.jsonl.gz": _lists}, triplets=True),
    Training("passages", "Tevatron's passages", {"t.jsonl": _tevatron}, triplets=True),
    Training("instructions", "MEDI's pairs", {"t.jsonl": _medi}, triplets=True),
)  # fmt: skip


@dataclass(frozen=True)
class Tests:
    """A kind of test for `4_evaluate`: `type` is how docs/evaluation.md calls it, `kind` how the code does."""

    type: str
    kind: str
    ending: str

    @property
    def name(self) -> str:
        return f"{self.kind}{self.ending}"

    def make(self, folder: Path, caretaker: Path) -> str:
        """Write it; what `files` takes. There is a `dev` next to each `test`."""
        made = make_folder(self.kind, caretaker, folder / self.kind, self.ending)
        for test in [p for p in made.rglob("*") if p.name == f"test{self.ending}"]:
            test.with_name(f"dev{self.ending}").write_bytes(test.read_bytes())
        return f"{made}#clustering" if self.kind == "clustering" else str(made)


TESTS = (
    Tests("classification", "classification", ".csv"),
    Tests("multi-label classification", "multilabel_classification", ".jsonl"),
    Tests("clustering", "clustering", ".tsv"),
    Tests("pair classification", "pair_classification", ".csv"),
    Tests("STS", "sts", ".parquet"),
    Tests("retrieval", "retrieval", ".jsonl"),
    Tests("reranking", "reranking", ".parquet"),
)
