"""Seconds of a baseline and a tuned model on four tasks: bare mteb against gisttools, and a repeat of the latter.

Each measurement runs in a process of its own, the sides take turns; imports and opening the models are not counted,
loading the tasks' data is. gisttools begins with an empty cache, and saves predictions and intervals; a repeat finds
the cache of the run before. The tuned model is the baseline with its weights moved a little. Prints a table (next to
other work CPU seconds say more than wall seconds), then the scores of both sides, which must be the same to 1e-6, and,
last, one JSON line.

    python benchmarks/evaluation.py [--case small|full] [--model embedded:all-MiniLM-L6-v2] [--rounds 1]

small: four tasks of local folders, made of data/support_intents. full: Banking77Classification, STSBenchmark,
AmazonCounterfactualClassification (en) and MLQuestions with all-MiniLM-L6-v2 from the hub.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

INTENTS = Path(__file__).resolve().parents[1] / "data" / "support_intents"
HUB = ("sentence-transformers/all-MiniLM-L6-v2", "8b3219a92973c328a8e22fadcfa821b5dc75636a")
TASKS = ["Banking77Classification", "STSBenchmark", "AmazonCounterfactualClassification", "MLQuestions"]
SIDES = {"bare": "mteb.evaluate", "gisttools": "gisttools, empty cache", "repeat": "gisttools, repeated"}


def write_folders(home: Path) -> list[str]:
    """Folders of classification (with clustering), STS and retrieval over the same texts."""
    lines = {s: (INTENTS / f"{s}.jsonl").read_text(encoding="utf-8").splitlines() for s in ("train", "test")}
    rows = {split: [json.loads(line) for line in found] for split, found in lines.items()}
    for name, files in {
        "intents": rows,
        "alike": {
            "test": [
                {"sentence1": a["text"], "sentence2": b["text"], "score": float(a["label"] == b["label"])}
                for a, b in zip(rows["test"], rows["test"][1:] + rows["test"][:1], strict=True)
            ]
        },
        "find": {
            "corpus": [{"_id": f"d{i}", "text": row["text"]} for i, row in enumerate(rows["train"])],
            "queries": [{"_id": f"q{i}", "text": row["text"]} for i, row in enumerate(rows["test"])],
            "qrels": [
                {"query-id": f"q{i}", "corpus-id": f"d{j}", "score": 1}
                for i, query in enumerate(rows["test"])
                for j, row in enumerate(rows["train"])
                if query["label"] == row["label"]
            ],
        },
    }.items():
        (home / name).mkdir()
        for stem, content in files.items():
            text = "".join(json.dumps(row) + "\n" for row in content)
            (home / name / f"{stem}.jsonl").write_text(text, encoding="utf-8")
    return [str(home / name) for name in ("intents", "alike", "find")]


def models_of(case: str, name: str) -> dict:
    import torch

    from gisttools.models import open_model

    base = open_model(*(HUB if case == "full" else (name, None)))
    tuned = copy.deepcopy(base)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in tuned.parameters():
            weight += 0.02 * weight.std() * torch.randn(weight.shape, generator=generator)
    return {"base": base, "tuned": tuned}


def measure(side: str, case: str, name: str, home: Path) -> dict:
    import mteb

    from gisttools.common import quiet_libraries
    from gisttools.evaluation import ScoreCache, evaluate, task_sources

    quiet_libraries()
    folders = [str(home / folder) for folder in ("intents", "alike", "find")]
    models = models_of(case, name)
    sources = task_sources(TASKS, subsets=["en"]) if case == "full" else task_sources(files=folders)
    for model in models.values():
        model.encode(["A first text pays for what is set up once."], show_progress_bar=False)
    scores = {}
    started, worked = time.perf_counter(), time.process_time()
    if side == "bare":
        for source in sources:
            for role, model in models.items():
                options = {"batch_size": 64, "show_progress_bar": False}
                quiet = {"show_progress_bar": False, "co2_tracker": False}
                done = mteb.evaluate(model, source.make(), cache=None, encode_kwargs=options, **quiet)
                scores[f"{source.name}, {role}"] = done.task_results[0].get_score()
    else:
        with tempfile.TemporaryDirectory(prefix="gisttools-") as out:
            result = evaluate(models, sources, Path(out), cache=ScoreCache(home / "cache"))
            result.save(Path(out))
        main = result.scores[result.scores["is_main"]]
        scores = {f"{r.task}, {r.role}": r.score for r in main.itertuples()}
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - worked, "scores": scores}


def run(side: str, case: str, name: str, home: Path) -> dict:
    command = [sys.executable, __file__, "--one", side, "--home", str(home), "--case", case, "--model", name]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=("small", "full"), default="small")
    parser.add_argument("--model", default="embedded:all-MiniLM-L6-v2", help="of the small case")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--one", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.case, args.model, args.home)))
        return
    seen: dict[str, list[dict]] = {side: [] for side in SIDES}
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory(prefix="gisttools-") as home:
            write_folders(Path(home))
            for side, found in seen.items():
                found.append(run(side, args.case, args.model, Path(home)))
    middle, cpu = ({s: statistics.median(r[k] for r in found) for s, found in seen.items()} for k in ("seconds", "cpu"))
    print(f"two models on four tasks ({args.case}); median of {args.rounds}")
    print(f"{'side':<28}{'seconds':>10}{'vs bare':>14}{'CPU seconds':>14}{'vs bare':>14}")
    for side in SIDES:
        parts = [
            f"{part[side]:>{width}.1f}{part[side] / part['bare']:>13.2f}x" for part, width in ((middle, 10), (cpu, 14))
        ]
        print(f"{SIDES[side]:<28}{''.join(parts)}")
    bare, ours = seen["bare"][0]["scores"], seen["gisttools"][0]["scores"]
    for name, score in bare.items():
        print(f"{name:<52}{100 * score:>9.4f}{100 * ours[name]:>9.4f}")
    moved = max(abs(bare[name] - ours[name]) for name in bare)
    figures = {
        "seconds": {side: round(seconds, 2) for side, seconds in middle.items()},
        "cpu_seconds": {side: round(seconds, 2) for side, seconds in cpu.items()},
        "beside_bare": {k: round(v["gisttools"] / v["bare"], 3) for k, v in (("seconds", middle), ("cpu", cpu))},
        "largest_score_difference": moved,
        "scores": {name: round(100 * score, 3) for name, score in ours.items()},
    }
    print(json.dumps({"benchmark": "evaluation", "case": args.case, "rounds": args.rounds, **figures}))


if __name__ == "__main__":
    main()
