"""Small folders of every kind of task, models that are alike, and a child process that evaluates and may be killed."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from gisttools.evaluation.evaluating import Findings

TOPICS = {
    "lift": [
        "the lift stands still",
        "doors of the elevator do not open",
        "the elevator shakes",
        "lift button is dark",
    ],
    "heat": ["radiator stays cold", "no warm water today", "the heating hums loudly", "boiler shows an error"],
    "keys": ["I lost my front door key", "the lock is stuck", "need a second key please", "key broke in the lock"],
}


def write_rows(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def sts_folder(folder: Path) -> Path:
    """Nine pairs of sentences with scores."""
    texts = [text for group in TOPICS.values() for text in group]
    rows = [
        {"sentence1": texts[i], "sentence2": texts[(i + step) % 12], "score": 5.0 - i * step % 5}
        for i, step in [(0, 1), (1, 4), (4, 1), (5, 3), (8, 1), (9, 5), (2, 1), (6, 6), (10, 1)]
    ]
    write_rows(folder / "test.jsonl", rows)
    return folder


def search_folder(folder: Path) -> Path:
    """Twelve documents, six queries."""
    texts = [text for group in TOPICS.values() for text in group]
    write_rows(folder / "corpus.jsonl", [{"_id": f"d{i}", "text": text} for i, text in enumerate(texts)])
    queries = ["lift is broken", "elevator doors", "cold radiator", "water is not warm", "lost key", "stuck lock"]
    write_rows(folder / "queries.jsonl", [{"_id": f"q{i}", "text": text} for i, text in enumerate(queries)])
    judged = [(0, 0), (1, 1), (2, 4), (3, 5), (4, 8), (5, 9)]
    rows = [{"query-id": f"q{q}", "corpus-id": f"d{d}", "score": 1} for q, d in judged]
    write_rows(folder / "qrels" / "test.jsonl", rows)
    return folder


def label_folder(folder: Path) -> Path:
    """Three classes of four train and four test texts."""
    rows = [{"text": text, "label": label} for label, texts in TOPICS.items() for text in texts]
    write_rows(folder / "train.jsonl", rows)
    write_rows(folder / "test.jsonl", [{**row, "text": f"please: {row['text']}"} for row in rows])
    return folder


def shaken(model, seed: int, by: float = 0.2):
    """A copy of a static model whose weights were moved at random: what another training seed might give."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in other.parameters():
            weight += by * weight.std() * torch.randn(weight.shape, generator=generator)
    return other


def compare(out: Path, folders: Sequence[str]) -> Findings:
    """Evaluate the embedded model against a shaken one, on all tasks of the folders."""
    from gisttools.evaluation.evaluating import evaluate
    from gisttools.evaluation.tasks import task_sources
    from gisttools.models.loading import open_model

    base = open_model("embedded:wordllama-256")
    return evaluate({"base": base, "tuned": shaken(base, 1)}, task_sources(files=folders), out)


def main() -> None:
    """`evaluation_folders.py OUT FOLDER...`: compare; before a task called `slow...` is scored by the tuned model, the
    process says so and waits to be killed."""
    import time

    from gisttools.evaluation import evaluating

    out, score = Path(sys.argv[1]), evaluating.score

    def slow(model, source, cache, **told):
        if source.name.startswith("slow") and model.name == "tuned":
            (out / "waiting").touch()
            time.sleep(600)
        return score(model, source, cache, **told)

    evaluating.score = slow
    compare(out, sys.argv[2:])


if __name__ == "__main__":
    main()
