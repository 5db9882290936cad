"""Labels as positives, and the guide's place among them, where labels are few, many, wrong or several a text.

all-MiniLM-L6-v2 is trained for `--steps` steps as `3_finetune` does where nothing is set, with one thing changed at a
time, on at most `--most` texts of a set's train part. All arms embed 64 texts a step, at one learning rate. Asked are
up to 1,000 held-out training texts (near copies on one side), by classifiers that are fitted on 8 texts a label;
STSBenchmark (every second test pair) is the guard. Conditions:

- two: AmazonCounterfactual (en), two classes.
- many: Banking77, hwu64 and AmazonCounterfactual as three sets, 143 classes of 3 to 550 texts, by a power law.
- noise 10, noise 30: hwu64, this percentage of the labels that are trained on swapped for others at random. The
  classifiers that score get the right ones.
- several: hwu64, a text's scenario and action as two labels, such as "alarm" and "query"; asked is both together.

Arms: triplets whose label mates are masked, with half as many rows a step (the former default); labels as positives
(the default), and that with the guide as mask, as mask for texts that its cross-fitted check suspects, as weights of
the positives, or as the one that chooses classes that it confuses to meet; texts that it suspects left out, all of them
or those that it suspects by a margin; classes drawn by more of their size than its root. The guide is
all-mpnet-base-v2.

Each training is a process of its own, and its result a file in `--folder`: what was stopped goes on. Prints a table.

    python benchmarks/labels.py --hwu64 FOLDER --folder DIR [--conditions two ...] [--arms positive ...] [--seeds 0 1]
        [--steps 60] [--rate 2e-4] [--most 3000] [--table] [--suspects]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from quality import STUDENT, Cell, parts_of

GUIDE = ("sentence-transformers/all-mpnet-base-v2", "9a3225965996d404b775526de6dbfe85d3368642")
CONDITIONS = ("two", "many", "noise 10", "noise 30", "several")
ARMS = {
    "triplets": ({"same_label": "mask"}, {"train_on": "triplets", "batch_size": 32, "dropout": False}),
    "positive": ({}, {}),
    "guide masks": ({"guide_masks": "all"}, {}),
    "suspects": ({"guide_masks": "unlabelled"}, {}),
    "weights": ({"positive_temperature": 0.15}, {}),
    "confusable": ({}, {"meet": "confusable"}),
    "dropped": ({}, {}),
    "dropped 0.2": ({}, {}),
    "dropped 0.3": ({}, {}),
    "as one set": ({}, {}),
    "by size^0.75": ({}, {}),
    "by size": ({}, {}),
}
POWERS = {"by size^0.75": 0.75, "by size": 1.0}
UNGUIDED = ("triplets", "positive", "as one set", *POWERS)
JOINT = " | "  # between the labels of a text


def texts_of(condition: str, hwu64: str, most: int):
    """What is trained on, with the right labels, and what is asked."""
    sets = {
        "two": ["AmazonCounterfactualClassification"],
        "many": ["Banking77Classification", f"hwu64={hwu64}", "AmazonCounterfactualClassification"],
    }.get(condition, [f"hwu64={hwu64}"])
    known, asked = ([], []), ([], [])
    for name in sets:
        cell = Cell(set=name, side="", seed=0, rate=0, seconds=0, labels=None, part="dev", student=STUDENT[0])
        for whole, part in zip((known, asked), parts_of(cell), strict=True):
            whole[0].extend(part[0])
            whole[1].extend(f"{name.split('=')[0]} {label}" for label in part[1])
    rng = np.random.default_rng(0)
    kept = rng.permutation(len(known[0]))
    if condition == "many":
        kept = kept[_power_law([known[1][i] for i in kept], rng)]
    return [tuple([side[i] for i in rows] for side in part) for part, rows in (
        (known, kept[:most]), (asked, rng.permutation(len(asked[0]))[:1000]))]  # fmt: skip


def _power_law(labels: list[str], rng: np.random.Generator) -> np.ndarray:
    """Places of the texts that are kept: of the largest classes all, of the others ever fewer, of the last one."""
    names, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts - rng.random(len(counts)))
    places = []
    for rank, c in enumerate(order):
        size = max(1, round(counts[order[0]] / (1 + rank) ** 1.2))
        places.append(np.flatnonzero(np.asarray(labels) == names[c])[:size])
    return np.sort(np.concatenate(places))


def with_noise(labels: list[str], share: float) -> list[str]:
    """This share of the labels swapped for others, drawn at random."""
    rng, names, found = np.random.default_rng(1), sorted(set(labels)), list(labels)
    for i in rng.permutation(len(labels))[: round(share * len(labels))]:
        found[i] = rng.choice([name for name in names if name != labels[i]])
    return found


def as_several(label: str) -> str:
    """A label of hwu64 as scenario and action."""
    return JOINT.join(label.split()[-1].split("_", 1))


def run_one(condition: str, arm: str, seed: int, o: argparse.Namespace, file: Path) -> None:
    """Train and score; leaves `file`."""
    import torch
    from scoring import few_shot
    from sides import labelled_store
    from trials import guard

    from gisttools.mining import labels_to_repair
    from gisttools.models import GuideOptions, VectorCache, open_model
    from gisttools.training import (
        GISTLoss,
        LossOptions,
        Retention,
        TrainSettings,
        class_batches,
        finetune,
        general_texts,
    )

    torch.set_num_threads(1)
    known, asked = texts_of(condition, o.hwu64, o.most)
    texts, labels = known
    if condition.startswith("noise"):
        labels = with_noise(labels, int(condition.split()[1]) / 100)
    elif condition == "several":
        labels = [as_several(label) for label in labels]
    guide = None if arm in UNGUIDED else VectorCache(GuideOptions(name=GUIDE[0], revision=GUIDE[1]))
    if arm.startswith("dropped") and condition != "several":
        found = labels_to_repair(texts, labels, guide)
        least = float(arm.partition(" ")[2] or 0)
        doubted = set(found["text"][found["suggested_score"] - found["score"] >= least])
        kept = [i for i, text in enumerate(texts) if text not in doubted]
        texts, labels = ([side[i] for i in kept] for side in (texts, labels))
    if arm in POWERS:
        class_batches.POWER = POWERS[arm]
    store = labelled_store(texts, labels, seed, guide, several=condition == "several")
    if arm == "suspects":
        suspected = set() if condition == "several" else set(labels_to_repair(texts, labels, guide)["text"])
        rows = store.labelled_texts()
        unsure = [text in suspected for text in rows.training_columns()["text"]]
        rows.label_ids[unsure] = -1  # unknown: no positive, and no negative where the guide masks
    loss_options, settings = ARMS[arm]
    model = open_model(*STUDENT, device="cpu")
    start = VectorCache(GuideOptions(name=STUDENT[0], revision=STUDENT[1], precision="float32"))
    loss = GISTLoss(model, store, LossOptions(temperature=0.05, **loss_options))
    chosen = TrainSettings(
        **{
            "max_steps": o.steps,
            "learning_rate": o.rate,
            "seed": seed,
            "keep_start": 0.3,
            "train_on": "labelled",
            **settings,
        }
    )
    held, started = Retention(general_texts(), start), time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        sets = (
            [name.split()[0] for name in labels] if condition == "many" and arm not in ("as one set", *POWERS) else []
        )
        numbers = np.unique(sets, return_inverse=True)[1] if sets else None
        finetune(loss, Path(scratch) / "model", chosen, retention=held, set_of_row=numbers)
    seconds = time.process_time() - started
    model.eval()
    right = few_shot(model, known, asked, by_text=True)
    partial = file.with_suffix(".partial")
    partial.write_text(
        json.dumps({"right": right.tolist(), "asked": list(asked[1]), "guard": guard(model), "cpu_seconds": seconds}),
        encoding="utf-8",
    )
    partial.replace(file)


def table(o: argparse.Namespace) -> None:
    """Print what there is."""
    from gisttools.evaluation import crossed_interval

    for condition in o.conditions:
        heads = f"{'8 a label':>10}{'beside positive':>28}{'mean of classes':>17}{'STSBenchmark':>14}{'CPU s':>7}"
        print(f"\n{condition}: {'arm':<14}{heads}")
        found = {}
        for arm in o.arms:
            files = [file_of(o, condition, arm, seed) for seed in o.seeds]
            if all(file.exists() for file in files):
                found[arm] = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        for arm, results in found.items():
            right = np.array([r["right"] for r in results])
            beside = ""
            if "positive" in found and arm != "positive":
                gap = crossed_interval(np.array([r["right"] for r in found["positive"]]), right)
                beside = f"{100 * gap.difference:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
            guard, seconds = (np.mean([r[key] for r in results]) for key in ("guard", "cpu_seconds"))
            of_class = [
                right.mean(0)[np.array(results[0]["asked"]) == name].mean() for name in set(results[0]["asked"])
            ]
            told = (
                f"{100 * right.mean():>10.1f}{beside:>28}{100 * np.mean(of_class):>17.1f}{guard:>14.1f}{seconds:>7.0f}"
            )
            print(f"{'':<{len(condition) + 2}}{arm:<14}{told}")


def suspects(o: argparse.Namespace) -> None:
    """Print which share of the right and of the wrong labels the cross-fitted check suspects, by guide and student."""
    from gisttools.mining import labels_to_repair
    from gisttools.models import GuideOptions, VectorCache

    for condition in [c for c in o.conditions if c != "several"]:
        (texts, right), _ = texts_of(condition, o.hwu64, o.most)
        told = with_noise(right, int(condition.split()[1]) / 100) if condition.startswith("noise") else right
        wrong = np.array([one != other for one, other in zip(told, right, strict=True)])
        for name, revision in (GUIDE, STUDENT):
            found = set(labels_to_repair(texts, told, VectorCache(GuideOptions(name=name, revision=revision)))["text"])
            doubted = np.array([text in found for text in texts])
            shares = [f"{100 * doubted[side].mean():.1f} % of {side.sum():,}" for side in (~wrong, wrong) if side.any()]
            print(
                f"{condition}, {name}: suspected are {' right and '.join(shares)} {'wrong' if wrong.any() else 'right'}"
            )


def file_of(o: argparse.Namespace, condition: str, arm: str, seed: int) -> Path:
    """Of a result."""
    return o.folder / f"{condition}-{arm}-{seed}-{o.steps}-{o.rate:g}-{o.most}.json".replace(" ", "_")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hwu64", required=True, help="folder with train.jsonl and test.jsonl")
    parser.add_argument("--folder", type=Path, required=True, help="keeps results, so that a stopped benchmark goes on")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--most", type=int, default=3000)
    parser.add_argument("--table", action="store_true", help="print what there is and run nothing")
    parser.add_argument("--suspects", action="store_true", help="print which labels the check suspects, and end")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    o = parser.parse_args()
    o.folder.mkdir(parents=True, exist_ok=True)
    if o.one:
        condition, arm, seed = o.one
        run_one(condition, arm, int(seed), o, file_of(o, condition, arm, int(seed)))
        return
    if o.suspects:
        suspects(o)
        return
    for seed in () if o.table else o.seeds:
        for condition in o.conditions:
            for arm in o.arms:
                if not file_of(o, condition, arm, seed).exists():
                    given = ["--one", condition, arm, str(seed)]
                    subprocess.run([sys.executable, __file__, *sys.argv[1:], *given], check=True)
                    print(f"{condition}, {arm}, {seed}", file=sys.stderr, flush=True)
    table(o)


if __name__ == "__main__":
    main()
