"""Texts a second of a guide's vectors: an empty VectorCache against SentenceTransformer.encode on the same texts.

Three texts in ten are copies, as in triplet tables, where a text stands in several rows. Each measurement runs in a
process of its own; the sides take turns; opening the model is not counted, writing the vectors to disk is. Prints a
table of medians and, last, one JSON line.

    python benchmarks/guide.py [--model embedded:all-MiniLM-L6-v2] [--revision COMMIT] [--texts FILE] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

INTENTS = Path(__file__).resolve().parents[1] / "data" / "support_intents"
SIDES = {
    "encode": "SentenceTransformer.encode",
    "float32": "VectorCache, float32",
    "auto": "VectorCache, as it comes",
}
SHARE_OF_COPIES = 0.3


def measure(side: str, model: str, revision: str | None, file: Path | None) -> dict[str, float]:
    import numpy as np

    from gisttools.models import GuideOptions, VectorCache, open_model

    texts = read_texts(file)
    random = np.random.default_rng(0)
    copies = random.choice(texts, round(len(texts) * SHARE_OF_COPIES / (1 - SHARE_OF_COPIES))).tolist()
    asked = random.permutation(np.array([*texts, *copies], dtype=object)).tolist()
    reference = open_model(model, revision)
    with tempfile.TemporaryDirectory(prefix="gisttools-") as folder:
        if side == "encode":
            reference.encode(asked[:8])  # warm up
            run = lambda: reference.encode(asked, normalize_embeddings=True, show_progress_bar=False)  # noqa: E731
        else:
            cache = VectorCache(GuideOptions(name=model, revision=revision, precision=side), folder=Path(folder))
            list(cache.guide.stream(asked[:8]))
            run = lambda: cache.embed(asked)  # noqa: E731
        started = time.perf_counter()
        vectors = run()
        seconds = time.perf_counter() - started
    known = reference.encode(asked[:200], normalize_embeddings=True, show_progress_bar=False)
    moved = np.abs(vectors[:200] @ vectors[:200].T - known @ known.T)
    return {"texts": len(asked), "different": len(texts), "seconds": seconds, "cosine_moved": float(moved.max())}


def read_texts(file: Path | None) -> list[str]:
    """Different texts: of a file with one text or one JSON object with "text" a line, or of data/support_intents."""
    files = [file] if file else [INTENTS / "train.jsonl", INTENTS / "test.jsonl"]
    lines = [line for f in files for line in f.read_text(encoding="utf-8").split("\n") if line.strip()]
    return list(dict.fromkeys(json.loads(line)["text"] if line.startswith("{") else line for line in lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded:all-MiniLM-L6-v2")
    parser.add_argument("--revision")
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.model, args.revision, args.texts)))
        return
    runs: dict[str, list[dict]] = {side: [] for side in SIDES}
    for _ in range(args.repeats):
        for side, seen in runs.items():
            done = subprocess.run(
                [sys.executable, __file__, "--one", side, *sys.argv[1:]], capture_output=True, text=True
            )
            if done.returncode:
                sys.exit(done.stderr)
            seen.append(json.loads(done.stdout.splitlines()[-1]))
    texts, different = (runs["encode"][0][key] for key in ("texts", "different"))
    print(f"{texts} texts, {different} different, {args.model}; median of {args.repeats}")
    print(f"{'side':<28}{'texts/s':>9}{'least':>9}{'most':>9}{'faster':>8}{'cosine moved':>14}")
    figures, peer = {}, statistics.median(run["seconds"] for run in runs["encode"])
    for side, seen in runs.items():
        seconds = sorted(run["seconds"] for run in seen)
        middle, moved = statistics.median(seconds), max(run["cosine_moved"] for run in seen)
        figures[side] = {
            "texts_per_second": round(texts / middle, 1),
            "faster": round(peer / middle, 2),
            "moved": moved,
        }
        print(
            f"{SIDES[side]:<28}{texts / middle:>9.1f}{texts / seconds[-1]:>9.1f}{texts / seconds[0]:>9.1f}"
            f"{peer / middle:>7.2f}x{moved:>14.1e}"
        )
    print(json.dumps({"benchmark": "guide", "model": args.model, "texts": texts, "different": different, **figures}))


if __name__ == "__main__":
    main()
