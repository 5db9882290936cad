"""What synthetic texts of a real LLM are worth: the ten labels of Banking77 that are confused most, written by a 1.5B
instruct model from a line and three seeds a label, against as many real texts.

The ten labels: starting from the pair that a nearest-centre classifier on all-MiniLM-L6-v2's vectors confuses most in
the train split (each text without itself in its centre), the label most confused with those so far is added until there
are ten. Their lines stand in banking_ten.yaml; the prompt holds no other train text than the seeds.

Measured: how many texts pass the filters and why others do not; whether they have the label they were asked for (by
logistic regression on the guide's vectors of all real train texts of the ten labels, a judge that no filter uses); and
the accuracy on the ten labels' test texts, by mteb's own few-shot classification, of all-MiniLM-L6-v2 as it came and
trained on synthetic rows, on as many real ones, and on both, the same number of steps, three seeds. Differences are
paired by seed and test text. Needs the hub's data and a GGUF file; a run that was stopped goes on where it was.

    python benchmarks/synthetic.py --model qwen2.5-coder-1.5b-instruct-q4_k_m.gguf [--rows 200] [--prompt NAME]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from quality import STUDENT
from scoring import interval, score

from gisttools.data import ReadOptions, read_labelled, read_triplets, write_triplets
from gisttools.mining import triplets_from_labelled
from gisttools.models import GuideOptions, VectorCache, open_model
from gisttools.synthesis import LLM, Known, LLMOptions, SynthesisOptions, generate, read_task, serve_local
from gisttools.training import GISTLoss, GuideStore, LossOptions, TrainSettings, finetune

GUIDE = ("sentence-transformers/all-mpnet-base-v2", "9a3225965996d404b775526de6dbfe85d3368642")
SOURCE, HERE = "Banking77Classification", Path(__file__).parent
ARMS = ("base", "synthetic", "real", "both")


def vectors_of(model: tuple[str, str]) -> VectorCache:
    """Of a model by name and commit."""
    return VectorCache(GuideOptions(name=model[0], revision=model[1]))


def task_and_texts():
    """The task with its seeds, and the real texts of its labels: {split: [(text, label)]}."""
    task = read_task(HERE / "banking_ten.yaml")
    real = {}
    for split in ("train", "test"):
        found = read_labelled(SOURCE, ReadOptions(split=split))
        real[split] = [(t, n) for t, n in zip(found.texts, found.labels, strict=True) if n in task.labels]
    labels = {}
    for name, label in task.labels.items():
        texts = [text for text, of in real["train"] if of == name]
        labels[name] = label.model_copy(update={"seeds": tuple(random.Random(f"0/{name}").sample(texts, 3))})
    return task.model_copy(update={"labels": labels}), real


def write(task, real, guide: VectorCache, options, folder: Path) -> dict:
    """The synthetic rows, where they are not there yet; the summary of their making."""
    if not (folder / "summary.json").exists():
        with serve_local(options.model, threads=options.threads, log=folder / "server.log") as server:
            asked = LLMOptions(base_url=server.base_url, model=server.model, timeout=900.0)
            llm = LLM(asked, cache=folder / "llm.sqlite")
            outcome = generate(
                task,
                llm,
                guide,
                SynthesisOptions(rows=options.rows, attempts=options.attempts, prompt=options.prompt),
                known=Known(eval_texts=[text for text, _ in real["test"]]),
            )
        write_triplets(outcome.accepted, folder / "synthetic.parquet")
        write_triplets(outcome.rejected, folder / "rejected.parquet")
        (folder / "summary.json").write_text(json.dumps(outcome.summary), encoding="utf-8")
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def agreement(real, guide: VectorCache, folder: Path) -> dict[str, float]:
    """Share of texts that the judge gives the label they were asked for: accepted, all that were written, real ones."""
    from sklearn.linear_model import LogisticRegression

    judge = LogisticRegression(max_iter=1000, C=10.0)
    judge.fit(guide.embed([t for t, _ in real["train"]]), [name for _, name in real["train"]])
    accepted, rejected = (read_triplets(folder / f"{name}.parquet") for name in ("synthetic", "rejected"))
    readable = {
        "label-mismatch",
        "off-topic",
        "near-duplicate",
        "guide-order",
        "over-quota",
        "no-partner",
        "blind-label",
    }
    pairs = {"accepted": list(zip(accepted["anchor"][:], accepted["anchor_label"][:], strict=True))}
    pairs["written"] = pairs["accepted"] + [
        (r["anchor"], r["anchor_label"]) for r in rejected if r["reject_reason"] in readable
    ]
    pairs["real test texts"] = real["test"]
    return {
        name: float(np.mean(judge.predict(guide.embed([t for t, _ in part])) == np.array([n for _, n in part])))
        for name, part in pairs.items()
    }


def tables(task, real, guide: VectorCache, folder: Path) -> None:
    """real.parquet, as many rows of each label as there are synthetic ones, mined as the paper does; both."""
    synthetic = read_triplets(folder / "synthetic.parquet")
    quota, rng, chosen = Counter(synthetic["anchor_label"][:]), random.Random(1), []
    for name in task.labels:
        chosen += [(t, name) for t in rng.sample([t for t, n in real["train"] if n == name], quota[name])]
    import pandas as pd

    mined = triplets_from_labelled(read_labelled(pd.DataFrame(chosen, columns=["text", "label"])), guide)
    write_triplets(mined, folder / "real.parquet")
    from datasets import concatenate_datasets

    write_triplets(concatenate_datasets([synthetic, mined]), folder / "both.parquet")


def run_one(arm: str, seed: int, options, folder: Path) -> None:
    """Train one arm and score it; leaves its items and, last, its numbers."""
    student = open_model(*STUDENT, device="cpu")
    if arm != "base":
        store = GuideStore.build(read_triplets(folder / f"{arm}.parquet"), vectors_of(GUIDE))
        loss = GISTLoss(student, store, LossOptions(temperature=0.05, mask_same_label=True))
        settings = TrainSettings(max_steps=options.steps, batch_size=32, learning_rate=5e-5, seed=seed)
        with tempfile.TemporaryDirectory() as scratch:
            finetune(loss, Path(scratch) / "model", settings)
    scores, items = score(student, [], [str(folder / "banking_ten")])
    np.savez_compressed(folder / f"{arm}-{seed}.npz", **items)
    (folder / f"{arm}-{seed}.json").write_text(json.dumps(scores), encoding="utf-8")


def report(summary: dict, agree: dict, seeds: list[int], folder: Path) -> dict:
    """Print what came out; the figures behind it."""
    rows = {(a, s): json.loads((folder / f"{a}-{s}.json").read_text(encoding="utf-8")) for a in ARMS for s in seeds}
    items = {key: dict(np.load(folder / f"{key[0]}-{key[1]}.npz")) for key in rows}
    print(f"{summary['accepted']} of {summary['asked']} calls accepted; rejected: {summary['reasons']}")
    print("label as asked for, by the judge: " + ", ".join(f"{n} {v:.1%}" for n, v in agree.items()))
    task = "banking_ten"
    figures = {"benchmark": "synthetic", "model": summary["llm_model"], "prompt": summary["prompt_id"]}
    figures |= {k: summary[k] for k in ("accepted", "asked", "reasons", "diversity", "calls", "tokens_out")}
    figures |= {"agreement": agree, "scores": {}, "differences": []}
    for arm in ARMS:
        values = [rows[arm, s][task] for s in seeds]
        figures["scores"][arm] = values
        print(f"{arm:<12}{np.mean(values):>8.2f} ± {np.std(values, ddof=1) if len(seeds) > 1 else 0:.2f}")
    for one, other in (
        ("base", "synthetic"),
        ("base", "real"),
        ("base", "both"),
        ("synthetic", "real"),
        ("real", "both"),
    ):
        found = interval(task, [items[one, s] for s in seeds], [items[other, s] for s in seeds])
        points = [100 * x for x in (found.difference, found.low, found.high)]
        print(f"{one + ' > ' + other:<22}{points[0]:+.2f} ({points[1]:+.2f} to {points[2]:+.2f})")
        figures["differences"].append({"from": one, "to": other, "points": points, "method": found.method})
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="path of a GGUF file, or the name of an embedded LLM", required=True)
    parser.add_argument("--rows", type=int, default=200, help="synthetic rows wanted")
    parser.add_argument("--attempts", type=float, default=4.0)
    parser.add_argument("--prompt", default="classification_from_ideas")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2, help="of the LLM")
    parser.add_argument("--folder", type=Path, help="keeps what was done", default=Path("synthetic_benchmark"))
    parser.add_argument("--one", nargs=2, metavar=("ARM", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.folder.resolve()
    if options.one:
        run_one(options.one[0], int(options.one[1]), options, folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    task, real = task_and_texts()
    minilm, guide = vectors_of(STUDENT), vectors_of(GUIDE)
    summary = write(task, real, minilm, options, folder)
    agree = agreement(real, guide, folder)
    tables(task, real, guide, folder)
    for split, pairs in real.items():
        target = folder / "banking_ten" / f"{split}.jsonl"
        target.parent.mkdir(exist_ok=True)
        target.write_text("".join(json.dumps({"text": t, "label": n}) + "\n" for t, n in pairs), encoding="utf-8")
    for arm in ARMS:
        for seed in options.seeds:
            if not (folder / f"{arm}-{seed}.json").exists():
                same = ["--model", options.model, "--steps", str(options.steps), "--folder", str(folder)]
                subprocess.run([sys.executable, __file__, *same, "--one", arm, str(seed)], check=True)
    print(json.dumps(report(summary, agree, options.seeds, folder)))


if __name__ == "__main__":
    main()
