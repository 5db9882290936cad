"""Overlap of 200,000 training texts with 20,000 evaluation texts: gisttools against datasketch's MinHashLSH.

Sentences are drawn from a seeded vocabulary by Zipf's law. Among the training texts some are planted: evaluation texts
as they stand, in other case and with other spaces, with a letter changed, with a word changed. Which of those are
within the threshold is known from their own trigrams, so that what is missed and what is falsely caught are counted.
datasketch is used the usual way, one text at a time with its default hashing, and on a part of the texts; its CPU
seconds for all texts are extrapolated, not measured. Each side runs in a process of its own. Prints a table and, last,
one JSON line.

    python benchmarks/hygiene.py [--texts 200000] [--others 20000] [--part 0.05] [--threshold 0.8]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time

SIDES = {
    "overlap": "gisttools find_overlap, exact and near",
    "duplicates": "gisttools find_duplicates, training texts",
    "datasketch": "datasketch MinHashLSH, a part",
}
KINDS = ("exact", "case", "letter", "word")
PLANTED = 0.02  # of the training texts, of each kind


def sentences(n: int, seed: int) -> list[str]:
    words_of = random.Random(0)
    syllables = [c + v + e for c in "bdfgklmnprstvwz" for v in "aeiou" for e in ("", "n", "r", "st")]
    words = sorted({"".join(words_of.choices(syllables, k=words_of.randint(1, 3))) for _ in range(20_000)})
    words_of.shuffle(words)
    weights = [1 / (rank + 3) for rank in range(len(words))]
    draw, found = random.Random(seed), {}
    while len(found) < n:
        found[" ".join(draw.choices(words, weights, k=draw.randint(5, 18))).capitalize() + "."] = None
    return list(found)


def plant(texts: list[str], others: list[str]) -> list[tuple[str, str, str]]:
    """Put changed copies of `others` in place of some of `texts`; returns (text, other, kind)."""
    draw, planted = random.Random(2), []
    places = iter(draw.sample(range(len(texts)), len(KINDS) * round(PLANTED * len(texts))))
    for kind in KINDS:
        for _ in range(round(PLANTED * len(texts))):
            other = text = draw.choice(others)
            if kind == "case":
                text = text.upper().replace(" ", "  ", 2)
            elif kind == "letter":
                at = draw.randrange(len(text))
                text = text[:at] + "q" + text[at + 1 :]
            elif kind == "word":
                words = text.split()
                words[draw.randrange(len(words))] = "xyquav"
                text = " ".join(words)
            texts[next(places)] = text
            planted.append((text, other, kind))
    return planted


def measure(side: str, n: int, m: int, threshold: float) -> dict:
    from gisttools.data import Tiers, find_duplicates, find_overlap, jaccard, normalise, trigrams

    texts, others = sentences(n, 1), sentences(m, 3)
    planted = plant(texts, others)
    before = peak_mb()
    started, worked = time.perf_counter(), time.process_time()
    if side == "overlap":
        hits = find_overlap(texts, others, Tiers(near=threshold))
        found = dict(zip(hits["text"], hits["other"], strict=True))
    elif side == "duplicates":
        hits = find_duplicates(texts, Tiers(near=threshold))
        found = {}
    else:
        from datasketch import MinHash, MinHashLSH

        def sketch(text: str) -> MinHash:
            digest = MinHash(num_perm=128)
            for shingle in trigrams(normalise(text)):
                digest.update(shingle.encode())
            return digest

        index = MinHashLSH(threshold=threshold, num_perm=128)
        for number, text in enumerate(others):
            index.insert(number, sketch(text))
        found = {text: others[hits[0]] for text in texts if (hits := index.query(sketch(text)))}
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    figures = {"texts": n, "others": m, "seconds": round(seconds, 2), "hits": len(found) or len(hits)}
    figures |= {"cpu_seconds": round(cpu, 2), "peak_mb": peak_mb(), "peak_mb_before": before}
    if side != "duplicates":
        near = {k: {t for t, o, kind in planted if kind == k and _alike(t, o) >= threshold} for k in KINDS}
        figures["planted_within"] = {k: len(v) for k, v in near.items()}
        figures["recall"] = {k: round(len(v & found.keys()) / max(len(v), 1), 4) for k, v in near.items()}
        figures["false"] = sum(jaccard(normalise(t), normalise(o)) < threshold for t, o in found.items())
    return figures


def _alike(text: str, other: str) -> float:
    from gisttools.data import jaccard, normalise

    return jaccard(normalise(text), normalise(other))


def peak_mb() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=200_000)
    parser.add_argument("--others", type=int, default=20_000)
    parser.add_argument("--part", type=float, default=0.05, help="of both, for datasketch")
    parser.add_argument("--threshold", type=float, default=0.8)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--one", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        part = args.part if args.one == "datasketch" else 1
        print(json.dumps(measure(args.one, round(args.texts * part), round(args.others * part), args.threshold)))
        return
    heads = ("texts", "others", "seconds", "CPU s", "for all", "peak MB", "hits", "false")
    print(f"{'side':<42}" + "".join(f"{head:>9}" for head in heads) + "  recall")
    figures = {}
    for side in args.sides:
        done = subprocess.run([sys.executable, __file__, "--one", side, *sys.argv[1:]], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        f = figures[side] = json.loads(done.stdout.splitlines()[-1])
        f["cpu_seconds_for_all"] = round(f["cpu_seconds"] * (args.texts + args.others) / (f["texts"] + f["others"]), 1)
        for_all = f"{f['cpu_seconds_for_all']:.1f}{'' if f['texts'] == args.texts else '*'}"
        cells = (
            f["texts"],
            f["others"],
            f["seconds"],
            f["cpu_seconds"],
            for_all,
            f["peak_mb"],
            f["hits"],
            f.get("false", ""),
        )
        recall = ", ".join(f"{kind} {share:.4f}" for kind, share in f.get("recall", {}).items())
        print(f"{SIDES[side]:<42}" + "".join(f"{cell:>9}" for cell in cells) + f"  {recall}")
    print("* extrapolated from a part by the number of texts, not measured")
    print(json.dumps({"benchmark": "hygiene", "threshold": args.threshold, **figures}))


if __name__ == "__main__":
    main()
