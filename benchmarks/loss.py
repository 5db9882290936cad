"""Forward and backward of the GIST loss on given vectors: gist_loss beside sentence-transformers' GISTEmbedLoss.

D = 384, guide 768, one negative a row. Each measurement runs in a process of its own, so that peak memory is its own;
time is the best of the repeats. Prints a table and, last, one JSON line.

    python benchmarks/loss.py [--batches 32 256 1024]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

REPEATS = {32: 20, 256: 5}  # larger batches: once


def measure(side: str, batch: int) -> dict[str, float]:
    import torch

    torch.manual_seed(0)
    students = [torch.randn(batch, 384, requires_grad=True) for _ in range(3)]
    guides = [torch.randn(batch, 768) for _ in range(3)]
    run = {"gisttools": _ours, "sentence-transformers": _peer}[side](students, guides)
    small = [torch.randn(4, 384, requires_grad=True) for _ in range(3)]
    _ours(small, [torch.randn(4, 768) for _ in range(3)])().backward()  # warm up thread pools
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(REPEATS.get(batch, 1)):
        started = time.perf_counter()
        loss = run()
        loss.backward()
        times.append(time.perf_counter() - started)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": min(times), "extra_mb": (after - before) / 1024, "loss": float(loss.detach())}


def _ours(students, guides):
    from gisttools.loss import gist_loss

    return lambda: gist_loss(
        *students, guide_anchor=guides[0], guide_positive=guides[1], guide_negatives=guides[2][:, None]
    )


def _peer(students, guides):
    import torch
    from sentence_transformers.sentence_transformer.losses import GISTEmbedLoss

    from gisttools.models import open_model

    class Handed(torch.nn.Module):
        """Answers with vectors that it was handed."""

        def __init__(self, key):
            super().__init__()
            self.key, self.tokenizer, self.max_seq_length = key, tokenizer, 512

        def forward(self, features):
            return {"sentence_embedding": features[self.key]}

    tokenizer = open_model("embedded:all-MiniLM-L6-v2", device="cpu").tokenizer
    loss = GISTEmbedLoss(Handed("student"), Handed("guide"))
    return lambda: loss([{"student": s, "guide": g} for s, g in zip(students, guides, strict=True)], None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--one", nargs=2, metavar=("SIDE", "BATCH"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one[0], int(args.one[1]))))
        return
    print(" batch    peer ms    ours ms   faster   peer MB   ours MB  difference")
    figures = []
    for batch in args.batches:
        row = {}
        for side in ("sentence-transformers", "gisttools"):
            command = [sys.executable, __file__, "--one", side, str(batch)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row[side] = json.loads(done.stdout.splitlines()[-1])
        peer, ours = row["sentence-transformers"], row["gisttools"]
        faster = peer["seconds"] / ours["seconds"]
        print(
            f"{batch:>6} {1e3 * peer['seconds']:>10.1f} {1e3 * ours['seconds']:>10.1f} {faster:>7.1f}x "
            f"{peer['extra_mb']:>9.0f} {ours['extra_mb']:>9.0f} {ours['loss'] - peer['loss']:>11.1e}"
        )
        figures.append({"batch": batch, "faster": round(faster, 1), **row})
    print(json.dumps({"benchmark": "loss", "figures": figures}))


if __name__ == "__main__":
    main()
