"""Mining of labelled texts with given vectors, against the paper's procedure and mine_hard_negatives; at scale.

    python benchmarks/mining.py [--case a] [--rounds 1]   # 10,003 texts in 77 classes, the sides in turns
    python benchmarks/mining.py --case b                  # 1,000,000 vectors of dimension 384 in 1,000 classes
    python benchmarks/mining.py --case c                  # 200,060 in 2 classes, `hard`, approximate, with its recall
    python benchmarks/mining.py --case s                  # as c, on the seeded topics

Case a has the labels of Banking77's train split where the hub's copy is at hand (else 77 classes of equal size). The
vectors are seeded topics, dimension 384; mining reads nothing else of the texts. Those of case c are all-MiniLM-L6-v2's
of Banking77's train split, each moved 20 times by seeded noise to a cosine of about 0.9, in two classes by intent;
where the hub's copy is missing, topics serve there too. `exact` mines 2,000 anchors exactly and scales their seconds to
all.

`paper`: the matrix of all N x N cosines by torch's CosineSimilarity, held whole, and filled row against all, as
N x N x D would not fit; then masks row by row. `peer`: sentence-transformers' mine_hard_negatives on the same anchors
and the positives that our `hard` picked, one negative, relative margin 0.05, with embeddings that a model hands out.

Each side runs in a process of its own. Seconds are of mining alone, and CPU seconds of all its threads, for a machine
where other jobs run too; memory is the peak on top of what the process held before. Prints a table and, last, one
JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

SIDES = {
    "a": ["paper", "gistembed", "peer", "hard"],
    "b": ["gistembed"],
    "c": ["hard", "exact"],
    "s": ["hard", "exact"],
}
SIZES = {"a": (10_003, 77), "b": (1_000_000, 1_000), "c": (200_000, 2), "s": (200_000, 2)}
D = 384
_SAMPLED = 2000  # anchors of `exact`


def measure(case: str, side: str, quick: bool) -> dict:
    """Seconds, peak memory and what was found by one side; runs in a process of its own."""
    texts, labels, vectors = data(case, quick)
    prepare, run = {"paper": _paper, "peer": _peer, "gistembed": _ours, "hard": _ours, "exact": _ours}[side](
        side, texts, labels, vectors
    )
    held = _now_mb()
    prepare()  # what is loaded on first use
    with Peak() as peak:
        started, cpu = time.perf_counter(), time.process_time()
        found = run()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    if side == "exact":
        times = len(texts) / min(len(texts), _SAMPLED)
        seconds, cpu = seconds * times, cpu * times
    return {"seconds": seconds, "cpu_seconds": cpu, "extra_mb": peak.mb - held, "peak_mb": peak.mb, **found}


def data(case: str, quick: bool):
    """Texts, labels and unit vectors: eight topics a class (64 where the classes are few), each a direction in a space
    of 48 common directions and some noise of its own, so that neighbours exist as among embeddings."""
    import numpy as np

    found = _moved_banking77(quick) if case == "c" else None
    if found is not None:
        return found
    n, classes = SIZES[case]
    n = n // 20 if quick else n
    rng = np.random.default_rng(0)
    labels = _banking77() if case == "a" and not quick else None
    if labels is None:
        labels = np.sort(np.arange(n) % classes)
    rng.shuffle(labels)
    n, topics = len(labels), 8 if classes > 8 else 64 * 16
    base = rng.normal(size=(48, D)).astype(np.float32)
    centres = rng.normal(size=(classes * topics, 48)).astype(np.float32)
    vectors = np.empty((n, D), dtype=np.float32)
    for begin in range(0, n, 50_000):
        part = labels[begin : begin + 50_000]
        own = centres[part * topics + rng.integers(0, topics, len(part))]
        own = own + 0.7 * rng.normal(size=own.shape).astype(np.float32)
        noisy = own @ base + 2.0 * rng.normal(size=(len(part), D)).astype(np.float32)
        vectors[begin : begin + 50_000] = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
    return [f"text {i}" for i in range(n)], [f"label {c}" for c in labels], vectors


def _moved_banking77(quick: bool):
    import numpy as np

    try:
        from gisttools.data import read_labelled
        from gisttools.models import GuideOptions, VectorCache

        read = read_labelled("Banking77Classification")
        commit = "8b3219a92973c328a8e22fadcfa821b5dc75636a"
        guide = VectorCache(GuideOptions(name="sentence-transformers/all-MiniLM-L6-v2", revision=commit))
    except Exception:  # no hub, no cache: topics serve
        return None
    vectors = guide.embed(read.texts)
    rng, times = np.random.default_rng(0), 1 if quick else 20
    labels = np.repeat(np.unique(np.array(read.labels), return_inverse=True)[1] % 2, times)
    vectors = np.repeat(vectors, times, axis=0)
    for begin in range(0, len(vectors), 50_000):
        part = vectors[begin : begin + 50_000]
        part += 0.48 / np.sqrt(D) * rng.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    order = rng.permutation(len(vectors))
    return [f"text {i}" for i in range(len(vectors))], [f"label {c}" for c in labels[order]], vectors[order]


def _banking77():
    import numpy as np

    try:
        from gisttools.data import read_labelled

        labels = read_labelled("Banking77Classification").labels
    except Exception:  # no hub, no cache: the sizes of a fixed draw serve
        return None
    return np.unique(np.array(labels), return_inverse=True)[1]


def _ours(side, texts, labels, vectors):
    from gisttools.mining import MiningOptions, mine

    exact = {"strategy": "hard", "search": "exact", "limit": _SAMPLED}
    options = MiningOptions(**(exact if side == "exact" else {"strategy": side}))

    def run():
        mined = mine(texts, labels, vectors, options)
        return {"rows": len(mined.anchors), "recall": mined.recall, "dropped": mined.dropped}

    return lambda: mine(texts[:8], list("aabbaabb"), vectors[:8], options), run


def _paper(side, texts, labels, vectors):
    import numpy as np
    import torch

    def run():
        rng = np.random.default_rng(1029)
        all_vectors, cosine = torch.from_numpy(vectors), torch.nn.CosineSimilarity(dim=-1)
        matrix = np.empty((len(vectors), len(vectors)), dtype=np.float32)
        for i, row in enumerate(all_vectors):  # rows put by one after another kept hold of their temporaries
            matrix[i] = cosine(row[None], all_vectors).numpy()
        y, rows = np.array(labels), 0
        for i in range(len(y)):
            same = np.flatnonzero(y == y[i])
            same = same[same != i]
            nearest = same[np.argsort(-matrix[i, same])[:100]]
            weights = np.exp(matrix[i, nearest] / 0.05)
            rng.choice(nearest, p=weights / weights.sum())
            rng.choice(np.flatnonzero(y != y[i]))
            rows += 1
        return {"rows": rows}

    return lambda: None, run


def _peer(side, texts, labels, vectors):
    import numpy as np
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    from gisttools.mining import MiningOptions, mine

    number = {t: i for i, t in enumerate(texts)}

    class Handed(SentenceTransformer):
        def __init__(self):
            super().__init__(modules=[__import__("torch").nn.Identity()], device="cpu")

        def encode(self, sentences, **_):
            return vectors[[number[t] for t in sentences]]

        encode_query = encode_document = encode

    mined = mine(texts, labels, vectors, MiningOptions(strategy="hard"))
    pairs = Dataset.from_dict(
        {"anchor": [texts[i] for i in mined.anchors], "positive": [texts[i] for i in mined.positives]}
    )

    def run():
        found = mine_hard_negatives(
            pairs, Handed(), corpus=texts, num_negatives=1, relative_margin=0.05, range_max=200,
            sampling_strategy="top", as_triplets=True, verbose=False, batch_size=1024,
        )  # fmt: skip
        wrong = np.mean([labels[number[r["anchor"]]] == labels[number[r["negative"]]] for r in found])
        return {"rows": len(found), "negatives_of_own_class": float(wrong)}

    return lambda: None, run


class Peak:
    """The largest resident memory while it is open, in MB, looked at every 20 ms (the process's own peak would also
    hold what came before)."""

    def __enter__(self) -> Peak:
        self.mb, self._done = _now_mb(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.mb = max(self.mb, _now_mb())

    def __exit__(self, *_) -> None:
        self._done.set()
        self._thread.join()


def _now_mb() -> float:
    path = Path("/proc/self/statm")
    if path.exists():
        return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    import psutil

    return psutil.Process().memory_info().rss / 2**20


def run_side(case: str, side: str, quick: bool) -> dict:
    command = [sys.executable, __file__, "--one", case, side, *(["--quick"] if quick else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{side} of case {case} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=SIDES, default="a")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the texts")
    parser.add_argument("--one", nargs=2, metavar=("CASE", "SIDE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*args.one, args.quick)))
        return
    found: dict[str, list[dict]] = {side: [] for side in SIDES[args.case]}
    for _ in range(args.rounds):
        for side, rounds in found.items():
            rounds.append(run_side(args.case, side, args.quick))
    figures = []
    print(f"{'side':<10} {'seconds':>9} {'CPU s':>9} {'extra MB':>9} {'peak MB':>9} {'rows':>9}")
    for side, rounds in found.items():
        row = {k: statistics.median(r[k] for r in rounds) for k in ("seconds", "cpu_seconds", "extra_mb", "peak_mb")}
        figures.append({"side": side, **rounds[-1], **row})
        more = {k: v for k, v in rounds[-1].items() if k not in (*row, "rows") and v}
        print(
            f"{side:<10} {row['seconds']:>9.2f} {row['cpu_seconds']:>9.2f} {row['extra_mb']:>9.0f} "
            f"{row['peak_mb']:>9.0f} {rounds[-1]['rows']:>9} {more}"
        )
    print(json.dumps({"benchmark": "mining", "case": args.case, "rounds": args.rounds, "figures": figures}))


if __name__ == "__main__":
    main()
