"""What the guide and the labels bring: the same triplets, the same number of steps, several seeds, scored by mteb.

Arms: the student as it came (base); trained unguided; under the guide as in the GISTEmbed paper (gist); under the guide
with the labels of the rows (labels); the same, held near its start on general texts (held, by `Retention`).
all-MiniLM-L6-v2 is trained under all-mpnet-base-v2 on the train splits of Banking77 and AmazonCounterfactual (en) and
scored on their test splits; STSBenchmark is the guard. Learning rate and hold were chosen on held-out train texts and
the validation splits. `--equal-time` adds sentence-transformers' GISTEmbedLoss for as many seconds as the labelled arm
took, the vectors of its guide included. `--clean` leaves out training rows that overlap a test text, equal or nearly
(`gisttools.data.overlap`), as `2_convert` does.

Each training has a process of its own, and its result a file in `--folder`: a benchmark that was stopped goes on where
it was. Intervals are over seeds and test items together (`gisttools.evaluation.crossed_interval`; over items alone with
one seed), on STSBenchmark over seeds. Without the hub's data, or with `--small`, embedded models and the texts of
data/support_intents stand in: minutes become seconds, and the numbers say little. Prints tables and, last, a JSON line.

    python benchmarks/quality.py [--seeds 0 1 2] [--steps 150] [--arms unguided gist labels held] [--equal-time]
        [--clean]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

BASE, PEER, LABELS = "base", "sentence-transformers", "labels"
ARMS = ("unguided", "gist", LABELS, "held")
HUB = "sentence-transformers/"


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Models, data and settings of one size of the benchmark."""

    student: tuple[str, str | None]
    guide: tuple[str, str | None]
    sources: tuple[str, ...]
    tasks: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    general: tuple[str, str, str] | None = None  # data set, configuration (and split), revision of the texts held to
    steps: int
    batch_size: int
    learning_rate: float
    temperature: float
    clean: bool = False


FULL = Setup(
    student=(f"{HUB}all-MiniLM-L6-v2", "8b3219a92973c328a8e22fadcfa821b5dc75636a"),
    guide=(f"{HUB}all-mpnet-base-v2", "9a3225965996d404b775526de6dbfe85d3368642"),
    sources=("Banking77Classification", "AmazonCounterfactualClassification"),
    tasks=("Banking77Classification", "AmazonCounterfactualClassification"),
    guards=("STSBenchmark",),
    general=("mteb/MLQuestions", "corpus", "99f13956087b5c2e21beeec8022a5f0f86d9f577"),
    steps=150,
    batch_size=64,
    learning_rate=1e-4,
    temperature=0.05,
)
SUPPORT = str(Path(__file__).parents[1] / "data" / "support_intents")
SMALL = Setup(
    student=("embedded:wordllama-256", None),
    guide=("embedded:all-MiniLM-L6-v2", None),
    sources=(SUPPORT,),
    files=(SUPPORT,),
    steps=30,
    batch_size=32,
    learning_rate=1e-2,
    temperature=0.05,
)


def run_one(setup: Setup, arm: str, seed: int, steps: int, budget: float, folder: Path) -> None:
    """Train one arm and score it; leaves its items as `<arm>-<seed>.npz` and, last, its numbers as JSON."""
    from gisttools.models import open_model

    name, revision = setup.student
    student = open_model(name, revision, device="cpu")
    facts = {"steps": 0, "seconds": 0.0}
    if arm == PEER:
        facts = train_peer(setup, student, seed, budget)
    elif arm != BASE:
        facts = train(setup, student, arm, seed, steps)
    scores, items = score(setup, student)
    np.savez_compressed(folder / f"{arm}-{seed}.npz", **items)
    text = json.dumps({"arm": arm, "seed": seed, "asked_steps": steps, "clean": setup.clean, **facts, "scores": scores})
    partial = folder / f"{arm}-{seed}.partial"
    partial.write_text(text, encoding="utf-8")
    partial.replace(folder / f"{arm}-{seed}.json")


def triplets(setup: Setup):
    """The same table for every arm and seed: the paper's mining, one negative a row. Also the guide's cache."""
    from gisttools.data import eval_sets
    from gisttools.mining import convert
    from gisttools.models import VectorCache

    guide, known = VectorCache(named(setup.guide)), {}
    if setup.clean:
        known = eval_sets(setup.tasks, setup.files, subsets=["en"] if setup.tasks else None)
    return convert(setup.sources, guide, eval_sets=known).triplets, guide


def named(model: tuple[str, str | None], precision="auto"):
    """Name and revision of a model, as a guide."""
    from gisttools.models import GuideOptions

    return GuideOptions(name=model[0], revision=model[1], precision=precision)


def train(setup: Setup, student, arm: str, seed: int, steps: int) -> dict:
    from gisttools.models import VectorCache
    from gisttools.training import GISTLoss, GuideStore, LossOptions, Retention, TrainSettings, finetune

    table, guide = triplets(setup)
    store = GuideStore.build(table, None if arm == "unguided" else guide)
    loss = GISTLoss(
        student, store, LossOptions(temperature=setup.temperature, mask_same_label=arm not in ("unguided", "gist"))
    )
    retention = None
    if arm == "held":
        retention = Retention(general_texts(setup, table), VectorCache(named(setup.student, precision="float32")))
    settings = TrainSettings(max_steps=steps, batch_size=setup.batch_size, learning_rate=setup.learning_rate, seed=seed)
    with tempfile.TemporaryDirectory() as scratch:
        trained = finetune(loss, Path(scratch) / "model", settings, retention=retention)
    facts = {"steps": trained.steps, "seconds": round(trained.seconds, 1), "precision": trained.precision}
    return {**facts, "guide_seconds": guide_seconds(setup, table) if arm == LABELS else 0.0}


def general_texts(setup: Setup, table) -> list[str]:
    """Sentences of 5 to 35 words from a set that is no task here; the anchors where the setup names none."""
    if setup.general is None:
        return list(dict.fromkeys(table["anchor"][:]))
    from datasets import load_dataset

    name, part, revision = setup.general
    passages = load_dataset(name, part, split=part, revision=revision)["text"]
    found = dict.fromkeys(s.strip() for p in passages for s in p.split(". ") if 5 <= len(s.split()) <= 35)
    return sorted(found)[:: max(1, len(found) // 4000)]


def guide_seconds(setup: Setup, table) -> float:
    """Seconds that the guide's vectors of all texts cost, from 256 of them: the cache may have held them already."""
    from gisttools.models import VectorCache

    texts = sorted({*table["anchor"][:], *table["positive"][:], *(n for ns in table["negatives"][:] for n in ns)})
    sample = np.random.default_rng(0).permutation(texts)[:256].tolist()
    with tempfile.TemporaryDirectory() as scratch:
        guide = VectorCache(named(setup.guide), folder=Path(scratch))
        started = time.monotonic()
        guide.embed(sample)
        return round((time.monotonic() - started) * len(texts) / len(sample), 1)


def train_peer(setup: Setup, student, seed: int, budget: float) -> dict:
    """sentence-transformers' own loss and trainer, as many steps as fit into `budget` seconds (by a trial of 3)."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import GISTEmbedLoss

    from gisttools.models import open_model
    from gisttools.training import choose_precision

    table, _ = triplets(setup)
    columns = {"anchor": table["anchor"][:], "positive": table["positive"][:]}
    data = Dataset.from_dict({**columns, "negative": [n[0] for n in table["negatives"][:]]})
    guide = open_model(*setup.guide, device="cpu")
    bf16 = choose_precision("auto", student) == "bfloat16"

    def steps_of(model, steps: int) -> float:
        with tempfile.TemporaryDirectory() as scratch:
            arguments = SentenceTransformerTrainingArguments(
                output_dir=scratch,
                max_steps=steps,
                per_device_train_batch_size=setup.batch_size,
                learning_rate=setup.learning_rate,
                warmup_steps=0.1,
                bf16=bf16,
                use_cpu=True,
                seed=seed,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            )
            loss = GISTEmbedLoss(model, guide, temperature=setup.temperature)
            trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, loss=loss)
            started = time.monotonic()
            trainer.train()
            return time.monotonic() - started

    name, revision = setup.student
    steps = max(1, int(budget / (steps_of(open_model(name, revision, device="cpu"), 3) / 3)))
    seconds = steps_of(student, steps)
    return {"steps": steps, "seconds": round(seconds, 1), "budget": round(budget, 1)}


def score(setup: Setup, student) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Main scores (0 to 100) by task; by task, the share of draws that got each item right, or an STS set's cosines."""
    import mteb

    from gisttools.data import load_task, split_of
    from gisttools.evaluation import task_sources

    sources = task_sources(setup.tasks, setup.files, subsets=["en"] if setup.tasks else None, guards=setup.guards)
    scores, items = {}, {}
    for source in sources:
        task = source.make()
        name, kind = task.metadata.name, task.metadata.type
        if kind not in ("Classification", "STS"):
            continue
        load_task(task)
        with tempfile.TemporaryDirectory() as scratch:  # no cache: models of a path share one key
            options = {"batch_size": 64, "show_progress_bar": False}
            quiet = {"show_progress_bar": False, "co2_tracker": False}
            done = mteb.evaluate(student, task, cache=None, prediction_folder=scratch, encode_kwargs=options, **quiet)
            saved = json.loads((Path(scratch) / task.prediction_file_name).read_text(encoding="utf-8"))
        ((split, (part,)),) = done.task_results[0].scores.items()
        subset = part["hf_subset"]
        data = split_of(task, subset, split)
        scores[name] = 100 * part["main_score"]
        if kind == "STS":
            items[name] = np.asarray(saved[subset][split]["cosine_scores"])
            items[f"{name}.gold"] = np.asarray(data["score"])
        else:
            answers = np.asarray(saved[subset][split])
            items[name] = (answers == np.asarray(data[task.label_column_name])).mean(0)
    return scores, items


def interval(task: str, one: list, other: list):
    """`other` minus `one`, paired by seed: arrays of items, one a seed."""
    from gisttools.evaluation import crossed_interval, draws_interval, metric_bootstrap, spearman

    if f"{task}.gold" not in one[0]:
        return crossed_interval(*(np.stack([x[task] for x in side]) for side in (one, other)))
    gold = one[0][f"{task}.gold"]
    if len(one) == 1:
        return metric_bootstrap(one[0][task], other[0][task], gold, spearman)
    return draws_interval(*([float(spearman(x[task], gold)) for x in side] for side in (one, other)))


def report(setup: Setup, arms: list[str], seeds: list[int], folder: Path) -> dict:
    """Print the tables of what lies in `folder`; the figures behind them."""
    read = {(a, s): json.loads((folder / f"{a}-{s}.json").read_text(encoding="utf-8")) for a in arms for s in seeds}
    items = {key: dict(np.load(folder / f"{key[0]}-{key[1]}.npz")) for key in read}
    tasks = list(read[BASE, seeds[0]]["scores"])
    print("mean score and, after the sign, the standard deviation over seeds")
    print(f"{'arm':<22}" + "".join(f"{t[:22]:>24}" for t in tasks) + f"{'steps':>8}{'seconds':>9}")
    figures = {}
    for arm in arms:
        values = {t: [read[arm, s]["scores"][t] for s in seeds] for t in tasks}
        spread = {t: float(np.std(v, ddof=1)) if len(v) > 1 else None for t, v in values.items()}
        steps, seconds = (round(float(np.mean([read[arm, s][k] for s in seeds])), 1) for k in ("steps", "seconds"))
        cells = [f"{np.mean(values[t]):.2f}" + (f" ± {spread[t]:.2f}" if len(seeds) > 1 else "") for t in tasks]
        print(f"{arm:<22}" + "".join(f"{c:>24}" for c in cells) + f"{steps:>8.0f}{seconds:>9.0f}")
        figures[arm] = {
            "scores": {t: {"mean": round(float(np.mean(v)), 3), "by_seed": v} for t, v in values.items()},
            "steps": steps,
            "seconds": seconds,
        }
    pairs = [(BASE, a) for a in arms[1:]] + [(a, b) for a, b in pairwise(a for a in arms[1:] if a != PEER)]
    pairs += [(PEER, LABELS)] if PEER in arms and LABELS in arms else []
    print("\ndifferences in points, 95 % intervals")
    differences = []
    for one, other in pairs:
        cells = []
        for task in tasks:
            found = interval(task, [items[one, s] for s in seeds], [items[other, s] for s in seeds])
            points = [100 * x for x in (found.difference, found.low, found.high)]
            cells.append(f"{points[0]:+.2f} ({points[1]:+.2f} to {points[2]:+.2f})")
            row = {"from": one, "to": other, "task": task, "method": found.method}
            differences.append({**row, **dict(zip(("difference", "low", "high"), points, strict=True))})
        print(f"{one + ' > ' + other:<34}" + "".join(f"{c:>28}" for c in cells))
    return {
        "benchmark": "quality",
        "student": setup.student[0],
        "seeds": seeds,
        "arms": figures,
        "differences": differences,
    }


def have_hub_data() -> bool:
    """Whether models and data can be read; says what is missing where they cannot."""
    from gisttools.common import GistError
    from gisttools.data import load_task, mteb_task, read_labelled
    from gisttools.models import open_model

    try:
        for source in FULL.sources:
            read_labelled(source)
        load_task(mteb_task(FULL.guards[0]))
        for name, revision in (FULL.student, FULL.guide):
            open_model(name, revision, device="cpu")
    except GistError as error:
        print(f"The hub's data or models are missing, so the small version runs instead. {error}\n")
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="optimiser steps of each arm")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--folder", type=Path, help="keeps results, so that a stopped benchmark goes on")
    parser.add_argument("--equal-time", action="store_true")
    parser.add_argument("--clean", action="store_true", help="leave out rows that overlap a test text")
    parser.add_argument("--small", action="store_true", help="embedded models on data/support_intents")
    parser.add_argument("--one", nargs=3, metavar=("ARM", "SEED", "BUDGET"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.equal_time and (args.small or LABELS not in args.arms):
        parser.error(f"--equal-time needs the arm {LABELS}, whose seconds are the budget, and no static student")
    full = not (args.small or (not args.one and not have_hub_data()))
    setup = replace(FULL if full else SMALL, clean=args.clean)
    steps = args.steps or setup.steps
    if args.one:
        run_one(setup, args.one[0], int(args.one[1]), steps, float(args.one[2]), args.folder)
        return
    folder = args.folder or Path(tempfile.mkdtemp(prefix="gisttools-quality-"))
    folder.mkdir(parents=True, exist_ok=True)
    arms = [BASE, *args.arms] + [PEER] * (args.equal_time and full)
    print(f"{setup.student[0]} under {setup.guide[0]}, {steps} steps of {setup.batch_size}; results in {folder}\n")
    for seed in args.seeds:
        for arm in arms:
            result, first = folder / f"{arm}-{seed}.json", folder / f"{BASE}-{args.seeds[0]}.json"
            if arm == BASE and first.exists() and not result.exists():  # no seed in it: scored once
                result.with_suffix(".npz").write_bytes(first.with_suffix(".npz").read_bytes())
                result.write_bytes(first.read_bytes())
            if result.exists():
                check_kept(result, arm, steps, args.clean)
                continue
            budget = 0.0
            if arm == PEER:
                ours = json.loads((folder / f"{LABELS}-{seed}.json").read_text(encoding="utf-8"))
                budget = ours["seconds"] + ours["guide_seconds"]
            command = [sys.executable, __file__, "--one", arm, str(seed), str(budget), "--folder", str(folder)]
            command += ["--steps", str(steps)] + ["--small"] * (not full) + ["--clean"] * args.clean
            environment = {"OMP_WAIT_POLICY": "passive", **os.environ}
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                sys.exit(f"{arm}, seed {seed}, failed:\n{done.stderr[-3000:]}")
    print(json.dumps(report(setup, arms, args.seeds, folder)))


def check_kept(result: Path, arm: str, steps: int, clean: bool) -> None:
    """Kept results of another number of steps, or of other rows, are not mixed in."""
    kept = json.loads(result.read_text(encoding="utf-8"))
    seen, asked = (kept["asked_steps"], kept.get("clean", False)), (steps, clean)
    if arm != BASE and seen != asked:
        sys.exit(f"{result} has (steps, clean) = {seen}, asked are {asked}. Give another --folder, or delete it.")


if __name__ == "__main__":
    main()
