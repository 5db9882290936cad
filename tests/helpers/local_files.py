"""Small evaluation folders of every kind, made of the caretaker's texts, and mteb's own tasks over the same rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from gisttools.data.labelled import read_labelled
from gisttools.data.options import ReadOptions


def write(path: Path, rows: list[dict]) -> Path:
    """Rows as JSONL, CSV, TSV or Parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pandas as pd

        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def rows_of(kind: str, caretaker: Path) -> dict[str, list[dict]]:
    """The rows of each file, by its name without ending."""
    test, train = (read_labelled(caretaker, ReadOptions(split=split)) for split in ("test", "train"))
    one, rng = test.texts, np.random.default_rng(0)
    other = [one[i] for i in rng.permutation(len(one))]
    if kind == "sts":
        scores = (rng.integers(0, 21, len(one)) / 2 - 3).tolist()
        return {"test": [{"text_a": a, "text_b": b, "score": s} for a, b, s in zip(one, other, scores, strict=True)]}
    if kind == "pair_classification":
        return {
            "test": [
                {"sentence1": a, "sentence2": b, "label": int(i % 3 == 0)}
                for i, (a, b) in enumerate(zip(one, other, strict=True))
            ]
        }
    if kind == "reranking":
        queries = [" ".join(text.split()[:3]) for text in one[:12]]
        return {
            "test": [
                {"query": q, "positive": one[i : i + 1 + i % 2], "negative": one[i + 3 : i + 9]}
                for i, q in enumerate(queries)
            ]
        }
    if kind == "retrieval":
        return {
            "corpus": [
                {"_id": f"d{i}", "title": text.split()[0] if i % 4 == 0 else "", "text": text}
                for i, text in enumerate(one)
            ],
            "queries": [{"_id": f"q{i}", "text": " ".join(text.split()[:3])} for i, text in enumerate(one)],
            "qrels/test": [  # for every sixth query there is none
                {"query-id": f"q{i}", "corpus-id": f"d{j}", "score": s}
                for i in range(len(one))
                if i % 6 != 5
                for j, s in ((i, 2), ((i + 7) % len(one), 1), ((i + 9) % len(one), 0))
            ],
        }
    sets = {"train": train, "test": test}
    if kind == "multilabel_classification":
        names = sorted(set(test.labels))
        return {
            split: [
                {"text": t, "label": sorted({label, names[i % 2]})}
                for i, (t, label) in enumerate(zip(data.texts, data.labels, strict=True))
            ]
            for split, data in sets.items()
        }
    rows = {s: [{"text": t, "label": x} for t, x in zip(d.texts, d.labels, strict=True)] for s, d in sets.items()}
    return {"test": rows["test"]} if kind == "clustering" else rows


def make_folder(kind: str, caretaker: Path, folder: Path, ending: str = ".jsonl") -> Path:
    """A folder with the files of a kind."""
    for name, rows in rows_of(kind, caretaker).items():
        write(folder / f"{name}{ending}", rows)
    return folder
