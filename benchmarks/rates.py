"""Which learning rate suits which kind of student: a static one, a transformer, adapters in one (LoRA).

A third of support_intents' train split is held out as development data (every third text of a label); triplets are
mined from the rest under the embedded MiniLM, and each rate trains the student for a few steps. Scored on the third by
mteb's classification. The test split is not looked at. Offline.

    python benchmarks/rates.py --kind transformer --rates 1e-6 1e-5 2e-5 5e-5 1e-4 2e-4 1e-3 1e-2 [--steps 40]

Also how many held-out texts it takes to tell two rates apart: the difference in accuracy of a classifier fitted on the
trained texts, text by text, has a standard deviation; its standard error over n texts is that by the root of n.

    python benchmarks/rates.py --kind static --rates 3e-3 1e-2 3e-2 --steps 100 --batch 64 --seeds 0 \
        --data Banking77Classification --limit 3000
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sentence_transformers import SentenceTransformer
from sklearn.linear_model import LogisticRegression

from gisttools.common import GistError
from gisttools.data import read_labelled
from gisttools.mining import triplets_from_labelled
from gisttools.models import VectorCache, open_model
from gisttools.training import DevelopmentScore, GISTLoss, GuideStore, LossOptions, TrainSettings, finetune

MINILM, WORDLLAMA = "embedded:all-MiniLM-L6-v2", "embedded:wordllama-256"
STUDENTS = {"static": WORDLLAMA, "transformer": MINILM, "lora": MINILM}
HELD_OUT = 3


def split(folder: Path, data: str, limit: int | None) -> pd.DataFrame:
    """The rows that are trained on; every third text of a label goes to `dev.jsonl`, the others to `train.jsonl`."""
    texts, seen = read_labelled(data), Counter()
    table = pd.DataFrame({"text": texts.texts, "label": texts.labels})
    if limit is not None:
        table = table.sample(limit, random_state=0).sort_index()
    held = []
    for label in table["label"]:
        held.append(seen[label] % HELD_OUT == 0)
        seen[label] += 1
    for name, part in (("dev", table[held]), ("train", table[~np.array(held)])):
        part.to_json(folder / f"{name}.jsonl", orient="records", lines=True)
    return table[~np.array(held)]


def right(student: SentenceTransformer, folder: Path) -> list[int]:
    """Which held-out texts a classifier on the student's vectors labels rightly, fitted on the trained ones."""
    train, dev = (pd.read_json(folder / f"{name}.jsonl", lines=True, dtype=str) for name in ("train", "dev"))
    vectors = [student.encode(part["text"].tolist(), normalize_embeddings=True) for part in (train, dev)]
    fitted = LogisticRegression(C=10.0, max_iter=300).fit(vectors[0], train["label"])
    return (fitted.predict(vectors[1]) == dev["label"].to_numpy()).astype(int).tolist()


def told_apart(figures: list[dict], rates: list[float]) -> str:
    """What neighbouring rates differ by, and the texts that it takes to see half of that as a standard error."""
    lines = ["", f"{'rates':<20}{'difference':>12}{'sd by text':>12}{'texts':>8}"]
    for one, other in itertools.combinations(rates, 2):
        pairs = [(a["right"], b["right"]) for a in figures for b in figures if (a["rate"], b["rate"]) == (one, other)]
        pairs = [(a, b) for a, b in pairs if a and b]
        if pairs:
            apart = np.concatenate([np.array(b) - np.array(a) for a, b in pairs])
            mean, sd = abs(apart.mean()), apart.std()
            need = f"{(2 * sd / mean) ** 2:>8,.0f}" if mean else f"{'-':>8}"
            lines.append(f"{f'{one:g} {other:g}':<20}{100 * mean:>12.1f}{sd:>12.2f}{need}")
    return "\n".join(lines)


def run_one(
    rate: float, seed: int, options: argparse.Namespace, store: GuideStore, dev: DevelopmentScore
) -> dict[str, Any]:
    """The development score after training at this rate, or why there is none."""
    student = open_model(options.student or STUDENTS[options.kind], device="cpu")
    loss = GISTLoss(student, store, LossOptions(temperature=0.05))
    rank = options.rank if options.kind == "lora" else None
    settings = TrainSettings(
        max_steps=options.steps, batch_size=options.batch, learning_rate=rate, seed=seed, lora_rank=rank
    )
    with tempfile.TemporaryDirectory() as scratch:
        try:
            trained = finetune(loss, Path(scratch) / "model", settings)
        except GistError as error:
            return {"rate": rate, "seed": seed, "score": None, "right": None, "why": str(error).splitlines()[0]}
        score, found = 100 * dev(student)["dev_score"], right(student, Path(dev.names[0]))
        return {"rate": rate, "seed": seed, "score": score, "right": found, "why": trained.headline()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=STUDENTS, default="transformer")
    parser.add_argument("--student", help="another one of that kind")
    parser.add_argument("--rates", type=float, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rank", type=int, default=16, help="of the adapters")
    parser.add_argument("--data", default="data/support_intents", help="labelled texts: a folder, or an MTEB task")
    parser.add_argument("--limit", type=int, help="texts of it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        table = split(Path(scratch), options.data, options.limit)
        guide, dev = VectorCache(MINILM), DevelopmentScore([scratch])
        store = GuideStore.build(triplets_from_labelled(read_labelled(table), guide), guide)
        start = 100 * dev(open_model(options.student or STUDENTS[options.kind], device="cpu"))["dev_score"]
        print(f"{options.kind}: {len(store.table)} triplets, {start:.1f} before training")
        figures = [run_one(rate, seed, options, store, dev) for rate in options.rates for seed in options.seeds]
    for rate in options.rates:
        found = [f for f in figures if f["rate"] == rate]
        scores = [f["score"] for f in found if f["score"] is not None]
        told = ", ".join(f"{s:.1f}" for s in scores) or "none"
        print(f"{rate:<10g}{told:<16}{found[0]['why']}")
    print(told_apart(figures, options.rates))
    figures = [{name: value for name, value in f.items() if name != "right"} for f in figures]
    print(json.dumps({"benchmark": "rates", "kind": options.kind, "start": start, "runs": figures}))


if __name__ == "__main__":
    main()
