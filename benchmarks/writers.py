"""What texts of an LLM are worth next to real ones, by writer and by how many real texts there are.

The real texts are those of Banking77's train split that a strong writer has paraphrased ten times each (`--texts`, rows
of seed, text, label); a label has so many of them as `--real` says, the fewer always a part of the more. What is
trained on, each for equally many steps and with the defaults of `3_finetune` (labels as positives, held on general
texts): the real texts (one a label alone has no positive, and is the untouched student); all paraphrases of them alone
(written); those that `sift` accepts (sifted), or accepts by the centres of labels in place of the classifier (centres);
real and written; real and sifted; and where a fifth of the written texts got another label on purpose (swapped): as
they are, sifted, and with those that `sift` is sure of moved to their label (relabelled).
"as many real" has the real texts and, in place of the accepted ones, as many further real ones of each label.

Scores, by items: classifiers of 8 real texts a label (from the whole train split, as mteb draws them), and a classifier
on the real texts that there are. `--part dev` asks 1,500 train texts that are nobody's seed, `--part test` the test
split. Each training is a process of its own, and its result a file in `--folder`: what was stopped goes on.

`--judges` trains nothing: by each way of judging labels, which share of the written texts is kept, and of those whose
label was swapped, stopped.

`--writer NAME --model FILE` lets a small LLM write, ten texts a label from one or three of the real texts (three where
there are more), the labels' names and the two labels nearest to each, by `--prompt`; its arms are then of these texts.

    python benchmarks/writers.py --texts banking77_chatgpt.jsonl.gz --folder DIR [--real 1 3 10] [--arms real ...]
        [--seeds 0 1 2] [--steps 100] [--rate 5e-4] [--part dev] [--workers 1] [--table] [--judges]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from quality import STUDENT
from scoring import PENALTY, few_shot, interval

SET = "Banking77Classification"
ARMS = (
    "real", "written", "sifted", "centres", "real + written", "real + sifted", "as many real",
    "real + swapped", "real + swapped, sifted", "real + swapped, relabelled",
)  # fmt: skip
SWAPPED = 0.2
ASKED = 1500
Pairs = list[tuple[str, str]]


def of_writer(file: str, real: int) -> tuple[Pairs, list[dict]]:
    """The real texts with their labels, so many a label; and the rows that were written of them."""
    from gisttools.data import read_rows

    rows = [dict(row) for row in read_rows(Path(file))]
    seeds: dict[str, list[str]] = {}
    for row in rows:
        if row["seed"] not in seeds.setdefault(row["label"], []):
            seeds[row["label"]].append(row["seed"])
    rng = np.random.default_rng(0)
    kept = {name: [seeds[name][i] for i in rng.permutation(len(seeds[name]))[:real]] for name in sorted(seeds)}
    pairs = [(text, name) for name, texts in kept.items() for text in texts]
    known = {text for text, _ in pairs}
    return pairs, [row for row in rows if row["seed"] in known]


def task_of(pairs: Pairs):
    """What a user would tell an LLM: the names of the labels as lines, the real texts, and the two nearest labels."""
    from gisttools.models import GuideOptions, VectorCache
    from gisttools.synthesis import Task

    guide, of = VectorCache(GuideOptions(name=STUDENT[0], revision=STUDENT[1])), {}
    for text, name in pairs:
        of.setdefault(name, []).append(text)
    names = sorted(of)
    centres = np.stack([guide.embed([n.replace("_", " "), *of[n]]).mean(0) for n in names])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    nearest = np.argsort(-(centres @ centres.T - 2 * np.eye(len(names))), axis=1)[:, :2]
    labels = {
        name: {
            "about": f"The customer writes about this: {name.replace('_', ' ').strip()}.",
            "seeds": tuple(of[name]),
            "confusable": tuple(names[j] for j in near),
        }
        for name, near in zip(names, nearest, strict=True)
    }
    return Task(
        name="banking77",
        kind="classification",
        description="Questions of customers to the chat of a bank that lives in an app.",
        domain="the support chat of a bank that lives in an app",
        language="eng-Latn",
        personas=("a customer of the bank", "a customer in a hurry", "a customer who is new", "a worried customer"),
        labels=labels,
    )


def write(o: argparse.Namespace, real: int, file: Path) -> None:
    """Let a small LLM write `--per-label` texts a label from so many real ones; leaves rows of text and label."""
    from gisttools.models import GuideOptions, VectorCache
    from gisttools.synthesis import LLM, LLMOptions, SynthesisOptions, generate, serve_local

    task = task_of(of_writer(o.texts, real)[0])
    guide = VectorCache(GuideOptions(name=STUDENT[0], revision=STUDENT[1]))
    started = time.monotonic()
    with serve_local(o.model, threads=o.threads, log=o.folder / "server.log") as server:
        asked = LLMOptions(base_url=server.base_url, model=server.model, timeout=900.0)
        llm = LLM(asked, cache=o.folder / "llm.sqlite")
        wanted = SynthesisOptions(rows=o.per_label * len(task.labels), attempts=1.0, prompt=o.prompt)
        done = generate(task, llm, guide, wanted)
    rows = [
        {"seed": None, "text": row["anchor"], "label": row["anchor_label"]}
        for table in (done.accepted, done.rejected)
        for row in table
        if row["anchor"] and row["anchor_label"]
    ]
    told = {"texts": len(rows), "minutes": round((time.monotonic() - started) / 60, 1), **done.summary}
    file.with_suffix(".summary.json").write_text(json.dumps(told, default=str), encoding="utf-8")
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print({key: told[key] for key in ("texts", "minutes", "accepted", "asked", "reasons", "calls")}, file=sys.stderr)


def with_swaps(rows: list[dict]) -> list[dict]:
    """A fifth of the rows under another label, drawn at random."""
    rng, names = np.random.default_rng(1), sorted({row["label"] for row in rows})
    swapped = set(rng.permutation(len(rows))[: round(SWAPPED * len(rows))].tolist())
    return [
        row | {"label": rng.choice([n for n in names if n != row["label"]])} if i in swapped else row
        for i, row in enumerate(rows)
    ]


def sifted(rows: list[dict], real: Pairs, asked: list[str], **checks: object) -> Pairs:
    """What `sift` accepts of the rows, judged by the untouched student."""
    from gisttools.models import GuideOptions, VectorCache
    from gisttools.synthesis import Checks, Known, read_written, sift

    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "written.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        seed = "seed=seed" if any(row["seed"] for row in rows) else "seed="
        written = read_written([file], ["text=text", "label=label", seed])
        guide = VectorCache(GuideOptions(name=STUDENT[0], revision=STUDENT[1]))
        known = Known(eval_texts=asked, labelled=real)
        found = sift(written, guide, checks=Checks(**checks), known=known).accepted
    return sorted(set(zip(found["anchor"][:], found["anchor_label"][:], strict=True)))


def written_by(o: argparse.Namespace, real: int) -> Path:
    """The file of what a small LLM wrote: of three real texts a label where there are more."""
    return o.folder / f"{o.writer}-{min(real, 3)}.jsonl"


def trained_on(arm: str, real: Pairs, rows: list[dict], asked: list[str], more: Pairs) -> Pairs:
    """The texts of an arm; `more`: real texts that nobody was shown."""
    if arm == "as many real":
        wanted = Counter(label for _, label in sifted(rows, real, asked))
        rng = np.random.default_rng(2)
        of = {name: [pair for pair in more if pair[1] == name] for name in sorted(wanted)}
        return real + [of[name][i] for name in of for i in rng.permutation(len(of[name]))[: wanted[name]]]
    given = with_swaps(rows) if "swapped" in arm else rows
    checks = {"centres": {"label_by": "centroids"}, "relabelled": {"correct_labels": True}}
    if told := next((name for name in ("sifted", "centres", "relabelled") if name in arm), None):
        written = sifted(given, real, asked, **checks.get(told, {}))
    else:
        written = [(row["text"], row["label"]) for row in given] if arm != "real" else []
    return (real if "real" in arm else []) + written


def run_one(arm: str, real: int, seed: int, o: argparse.Namespace, file: Path) -> None:
    """Train and score; leaves `file`."""
    import torch
    from quality import texts_of
    from sides import labelled_store
    from sklearn.linear_model import LogisticRegression
    from trials import guard

    from gisttools.models import GuideOptions, VectorCache, open_model
    from gisttools.training import GISTLoss, LossOptions, Retention, TrainSettings, finetune, general_texts

    torch.set_num_threads(1)
    pairs, rows = of_writer(o.texts, real)
    if o.writer:
        rows = [json.loads(line) for line in written_by(o, real).read_text(encoding="utf-8").splitlines()]
    everything = {text for text, _ in of_writer(o.texts, 10**9)[0]}
    train = [(t, n.strip()) for t, n in zip(*texts_of(SET, "train"), strict=True) if t not in everything]
    order = np.random.default_rng(0).permutation(len(train))
    if o.part == "dev":
        asked, draws = [train[i] for i in order[:ASKED]], [train[i] for i in order[ASKED:]]
    else:
        asked, draws = list(zip(*texts_of(SET, "test"), strict=True)), train + of_writer(o.texts, 10**9)[0]
    model, facts = open_model(*STUDENT, device="cpu"), {"texts": 0, "cpu_seconds": 0.0}
    if arm != "base" and (arm, real) != ("real", 1):  # a text alone has no positive: there is nothing to train on
        shown = set(order[:ASKED].tolist()) if o.part == "dev" else set()
        more = [pair for i, pair in enumerate(train) if i not in shown]
        texts = trained_on(arm, pairs, rows, [text for text, _ in asked], more)
        started = time.process_time()
        store = labelled_store([t for t, _ in texts], [n for _, n in texts], seed)
        start = VectorCache(GuideOptions(name=STUDENT[0], revision=STUDENT[1], precision="float32"))
        told = {} if o.rate is None else {"learning_rate": o.rate}
        settings = TrainSettings(max_steps=o.steps, seed=seed, train_on="labelled", **told)
        with tempfile.TemporaryDirectory() as scratch:
            finetune(
                GISTLoss(model, store, LossOptions(temperature=0.05)), Path(scratch) / "model", settings,
                retention=Retention(general_texts(), start),
            )  # fmt: skip
        facts = {"texts": len(texts), "cpu_seconds": time.process_time() - started}
    model.eval()
    few = few_shot(model, tuple(zip(*draws, strict=True)), tuple(zip(*asked, strict=True)), by_text=True)

    def vectors(side: Pairs):
        return model.encode([t for t, _ in side], normalize_embeddings=True, show_progress_bar=False)

    fitted = LogisticRegression(C=PENALTY, max_iter=1000).fit(vectors(pairs), [n for _, n in pairs])
    right = fitted.predict(vectors(asked)) == np.array([n for _, n in asked])
    told = {**facts, "few": few.tolist(), "real": right.astype(float).tolist(), "guard": guard(model)}
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(told), encoding="utf-8")
    partial.replace(file)


def judges(o: argparse.Namespace) -> list[dict]:
    """Print what each label check keeps of the right and stops of the swapped; the figures."""
    from gisttools.models import GuideOptions, VectorCache
    from gisttools.synthesis.label_checks import MISMATCH, LabelCentroids, LabelClassifier, NearestLabelled

    guide, figures = VectorCache(GuideOptions(name=STUDENT[0], revision=STUDENT[1])), []
    print(f"{'real a label':>12} {'judged by':<12}{'of right ones kept':>19}{'of swapped ones stopped':>25}"
          f"{'of stopped ones moved':>23}{'to their label':>16}")  # fmt: skip
    for real in o.real:
        pairs, rows = of_writer(o.texts, real)
        told = [row["label"] for row in with_swaps(rows)]
        wrong = np.array([name != row["label"] for name, row in zip(told, rows, strict=True)])
        names = sorted({name for _, name in pairs})
        known, labels = guide.embed([text for text, _ in pairs]), [name for _, name in pairs]
        lines = guide.embed([name.replace("_", " ") for name in names])
        both, is_text = np.concatenate([known, lines]), [True] * len(labels) + [False] * len(names)
        vectors = guide.embed([row["text"] for row in rows])
        checks = {
            "classifier": LabelClassifier(both, labels + names, is_text),
            "centroids": LabelCentroids(both, labels + names, is_text),
            "nearest": NearestLabelled(known, labels),
        }
        for by, check in checks.items():
            reasons = [check.judge(v, name) for v, name in zip(vectors, told, strict=True)]
            stopped = np.array([reason is not None for reason in reasons])
            kept, found = 100 * float((~stopped)[~wrong].mean()), 100 * float(stopped[wrong].mean())
            figures.append({"real": real, "by": by, "kept": kept, "stopped": found})
            of_moved = ""
            if by == "classifier":
                of = [i for i, reason in enumerate(reasons) if reason == MISMATCH]
                surely = {i: name for i in of if (name := check.surely(vectors[i])) is not None}
                right = 100 * float(np.mean([rows[i]["label"] == name for i, name in surely.items()]))
                figures[-1] |= {"moved": 100 * len(surely) / len(of), "moved_right": right}
                of_moved = f"{figures[-1]['moved']:>21.1f} %{right:>14.1f} %"
            print(f"{real:>12} {by:<12}{kept:>17.1f} %{found:>23.1f} %{of_moved}", flush=True)
    return figures


def rate_of(o: argparse.Namespace) -> str:
    """In words; what the project trains at where nothing is set is its default."""
    return "default" if o.rate is None else f"{o.rate:g}"


def file_of(o: argparse.Namespace, arm: str, real: int, seed: int) -> Path:
    """Of a result."""
    by = f"{o.writer}+" if o.writer and arm not in ("base", "real") else ""
    return o.folder / f"{o.part}-{real}-{by}{arm.replace(' ', '').replace(',', '+')}-{seed}-{o.steps}-{rate_of(o)}.json"


def table(o: argparse.Namespace) -> list[dict]:
    """Print what there is; the figures behind it."""
    figures = []
    for real in o.real:
        found = {}
        for arm in ("base", *o.arms):
            files = [file_of(o, arm, real, seed if arm != "base" else 0) for seed in o.seeds]
            if all(file.exists() for file in files):
                found[arm] = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        print(f"\n{real} real texts a label, {o.part}, seeds {o.seeds}, {o.steps} steps at {rate_of(o)}")
        print(f"{'trained on':<24}{'texts':>7}{'8 a label':>10}{'over real':>26}{'on the real':>12}{'over real':>26}"
              f"{'STSB':>7}")  # fmt: skip
        for arm, results in found.items():
            row = {"real": real, "arm": arm, "texts": results[0]["texts"]}
            cells = f"{arm:<24}{results[0]['texts']:>7,}"
            for score in ("few", "real"):
                mean = 100 * float(np.mean([r[score] for r in results]))
                row[score], over = {"mean": mean}, ""
                if "real" in found and arm != "real":
                    one, other = ([{score: np.array(r[score])} for r in found[x]] for x in ("real", arm))
                    gap = interval(score, one, other)
                    points = [100 * x for x in (gap.difference, gap.low, gap.high)]
                    row[score]["over_real"] = points
                    over = "{:+.1f} ({:+.1f} to {:+.1f})".format(*points)
                cells += f"{mean:>{10 if score == 'few' else 12}.1f}{over:>26}"
            print(cells + f"{np.mean([r['guard'] for r in results]):>7.1f}")
            figures.append(row)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", required=True, help="what the writer wrote: rows of seed, text, label")
    parser.add_argument("--real", type=int, nargs="+", default=[1, 3, 10])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rate", type=float, help="where it is left out, the project's own")
    parser.add_argument("--part", choices=["dev", "test"], default="dev")
    parser.add_argument("--folder", type=Path, help="keeps results, so that a stopped benchmark goes on")
    parser.add_argument("--writer", help="name of a small LLM's texts, in place of those of --texts")
    parser.add_argument("--model", help="with --writer: a GGUF file, or the name of an embedded LLM, that writes them")
    parser.add_argument("--prompt", default="classification_several")
    parser.add_argument("--per-label", type=int, default=10, help="texts that it is asked for")
    parser.add_argument("--threads", type=int, default=1, help="of the LLM")
    parser.add_argument("--judges", action="store_true", help="train nothing, and tell what label checks keep and stop")
    parser.add_argument("--workers", type=int, default=1, help="trainings at a time, a core each")
    parser.add_argument("--table", action="store_true", help="print what there is and run nothing")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    o = parser.parse_args()
    if o.judges:
        print(json.dumps({"benchmark": "writers", "judges": judges(o)}))
        return
    if o.folder is None:
        parser.error("--folder is needed")
    o.folder.mkdir(parents=True, exist_ok=True)
    if o.one:
        arm, real, seed = o.one[0], int(o.one[1]), int(o.one[2])
        run_one(arm, real, seed, o, file_of(o, arm, real, seed))
        return

    for real in sorted({min(real, 3) for real in o.real}) if o.model else []:
        if not written_by(o, real).exists():
            write(o, real, written_by(o, real))

    def run(cell: tuple[str, int, int]) -> None:
        arm, real, seed = cell
        if file_of(o, arm, real, seed).exists():
            return
        same = ["--texts", o.texts, "--part", o.part, "--folder", str(o.folder), "--steps", str(o.steps)]
        same += ["--writer", o.writer] if o.writer else []
        same += [] if o.rate is None else ["--rate", str(o.rate)]
        command = [sys.executable, __file__, *same, "--one", arm, str(real), str(seed)]
        environment = {"OMP_WAIT_POLICY": "passive", **os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise SystemExit(f"{cell} failed:\n{done.stderr[-3000:]}")
        print(f"  {cell}", file=sys.stderr, flush=True)

    if not o.table:
        cells = [(arm, real, seed) for seed in o.seeds for real in o.real for arm in o.arms]
        cells = [("base", real, 0) for real in o.real] + cells
        with ThreadPoolExecutor(o.workers) as pool:
            list(pool.map(run, cells))
    print(json.dumps({"benchmark": "writers", "part": o.part, "seeds": o.seeds, "figures": table(o)}))


if __name__ == "__main__":
    main()
