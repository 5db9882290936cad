"""Forward and backward of the GIST loss on given vectors: gist_loss against sentence-transformers' two GIST losses.

D = 384, guide 768, one negative a row. The peers' losses get a model that hands them ready vectors, so that the loss
alone is timed; CachedGISTEmbedLoss scores 32 rows at a time, its default. Each measurement runs in a process of its
own, the sides take turns, and medians over the rounds are told. `difference` is the larger of the losses' difference
and the relative difference of the gradients' norms. Prints a table and, last, one JSON line.

    python benchmarks/loss.py [--batches 32 256 1024] [--rounds 3]
    python benchmarks/loss.py --scaling
    python benchmarks/loss.py --labels [--batches 64 256 1024 2048] [--classes 2 64]

At batch 1,024 GISTEmbedLoss needs 19 GB; where it is killed for memory, the table says so. `--scaling` measures
gist_loss alone at 1,024 to 16,384 rows, against the bare matrix products that it cannot do without, in blocks of 256
rows: for each of the four blocks (anchor-positive, anchor-anchor, positive-positive, anchor-negative) the student's
scores, the guide's scores, and the gradients of both factors of the student's. `--labels` takes the loss with
same_label "mask" and "positive" in turn, in one process, on rows whose labels are drawn; and of the same number of
labelled texts a batch of one column.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

OURS, PEER, CACHED, PRODUCTS = "gisttools", "GISTEmbedLoss", "CachedGISTEmbedLoss", "products"
LABELS = ("mask", "positive", "one column")
SCALING = [1024, 2048, 4096, 8192, 16384]
D, G = 384, 768


def measure(side: str, batch: int) -> dict[str, float]:
    """Seconds, extra peak memory, loss and gradient norm of one side; runs in a process of its own."""
    import torch

    _be_the_first_to_be_killed()
    torch.manual_seed(0)
    students = [torch.randn(batch, D, requires_grad=True) for _ in range(3)]
    guides = [torch.randn(batch, G) for _ in range(3)]
    run = {OURS: _ours, PEER: _peer, CACHED: _peer_cached, PRODUCTS: _products}[side](students, guides)
    warm = [torch.randn(4, D, requires_grad=True) for _ in range(3)], [torch.randn(4, G) for _ in range(3)]
    _ours(*warm)().backward()  # thread pools
    before, times = _peak_mb(), []
    while not times or (sum(times) < 1 and len(times) < 50):
        for x in students:
            x.grad = None
        started = time.perf_counter()
        loss = run()
        if loss.requires_grad:
            loss.backward()
        times.append(time.perf_counter() - started)
    norm = sum(float(x.grad.square().sum()) for x in students) ** 0.5 if side != PRODUCTS else 0.0
    seconds = statistics.median(times[1:] or times)
    return {"seconds": seconds, "extra_mb": _peak_mb() - before, "loss": float(loss.detach()), "norm": norm}


def _ours(students, guides):
    from gisttools.training import gist_loss

    return lambda: gist_loss(
        *students, guide_anchor=guides[0], guide_positive=guides[1], guide_negatives=guides[2][:, None]
    )


def labels(batches: list[int], classes: list[int], rounds: int) -> list[dict]:
    """CPU milliseconds of "mask", "positive" and labelled texts, and with a guide their extra peak memory."""
    print(f"{'batch':>6} {'classes':>8} {'guide':>6}", *(f"{side:>11}" for side in LABELS), f"{'ratio':>6}")
    figures = []
    for batch in batches:
        for of_classes in classes:
            for guided in (True, False):
                row = _in_a_process("--one-labels", str(batch), str(of_classes), str(int(guided)), str(rounds), "all")
                figures.append({"batch": batch, "classes": of_classes, "guided": guided, **row})
                times, guide = [f"{row[side]:>11.2f}" for side in LABELS], "yes" if guided else "no"
                print(f"{batch:>6} {of_classes:>8} {guide:>6}", *times, f"{row['ratio']:>6.2f}", flush=True)
        memory = {side: _in_a_process("--one-labels", str(batch), str(classes[0]), "1", "0", side) for side in LABELS}
        figures.append({"batch": batch, "guided": True, "extra_mb": memory})
        print(f"{batch:>6} {'MB':>15}", *(f"{memory[side]:>11.1f}" for side in LABELS), flush=True)
    return figures


def _in_a_process(*arguments: str):
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure_labels(batch: int, classes: int, guided: bool, rounds: int, only: str) -> dict[str, float] | float:
    """Median CPU milliseconds of all sides in turn; or of one of them the extra peak memory."""
    _be_the_first_to_be_killed()
    sides = _label_sides(batch, classes, guided)
    if only != "all":
        _label_sides(8, 2, guided)[only]().backward()  # thread pools
        before = _peak_mb()
        for _ in range(3):
            sides[only]().backward()
        return _peak_mb() - before
    times: dict[str, list[float]] = {side: [] for side in sides}
    while len(times["mask"]) < 3 * rounds or sum(times["mask"]) < rounds:
        for side, run in sides.items():
            started = time.process_time()
            run().backward()
            times[side].append(time.process_time() - started)
    median = {side: 1e3 * statistics.median(x[1:]) for side, x in times.items()}
    # of neighbours in time, which a machine that slows down for others slows down alike
    pairs = zip(times["positive"][1:], times["mask"][1:], strict=True)
    return {**median, "ratio": statistics.median(positive / mask for positive, mask in pairs)}


def _label_sides(batch: int, classes: int, guided: bool):
    import torch

    from gisttools.training import gist_loss

    torch.manual_seed(0)
    students = [torch.randn(batch, D, requires_grad=True) for _ in range(3)]
    guides = [torch.randn(batch, G) for _ in range(3)]
    anchors = torch.randint(0, classes, (batch, 1))
    label_ids = torch.cat([anchors, anchors, (anchors + 1) % classes], 1)
    text_ids = torch.arange(3 * batch).view(batch, 3)
    names = ("guide_anchor", "guide_positive", "guide_negatives")
    guide = dict(zip(names, (guides[0], guides[1], guides[2][:, None]), strict=True)) if guided else {}
    one = {"guide_anchor": guides[0]} if guided else {}

    def of_triplets(how):
        return gist_loss(*students, **guide, text_ids=text_ids, label_ids=label_ids, same_label=how)

    def one_column():
        ids = {"text_ids": text_ids[:, :1], "label_ids": label_ids[:, :1]}
        return gist_loss(students[0], **one, **ids, same_label="positive")

    runs = (lambda: of_triplets("mask"), lambda: of_triplets("positive"), one_column)
    return dict(zip(LABELS, runs, strict=True))


def _peer(students, guides):
    from sentence_transformers.sentence_transformer.losses import GISTEmbedLoss

    loss = GISTEmbedLoss(*_handed())
    return lambda: loss([{"student": s, "guide": g} for s, g in zip(students, guides, strict=True)], None)


def _peer_cached(students, guides):
    from sentence_transformers.sentence_transformer.losses import CachedGISTEmbedLoss

    loss = CachedGISTEmbedLoss(*_handed())
    return lambda: loss([{"student": s, "guide": g} for s, g in zip(students, guides, strict=True)], None)


def _handed():
    """Student and guide for the peers: models that answer with the vectors that the features hold."""
    import torch

    from gisttools.models import open_model

    class Handed(torch.nn.Module):
        def __init__(self, key):
            super().__init__()
            self.key, self.tokenizer, self.max_seq_length = key, tokenizer, 512

        def __getitem__(self, _):  # the peer looks at the first module, to refuse static models
            return self

        def forward(self, features):
            return {"sentence_embedding": features[self.key]}

    tokenizer = open_model("embedded:all-MiniLM-L6-v2", device="cpu").tokenizer
    return Handed("student"), Handed("guide")


def _products(students, guides):
    import torch

    a, p, n = (x.detach() for x in students)
    candidates, guide_candidates = torch.cat([p, a, n]), torch.cat([guides[1], guides[0], guides[2]])

    def run():
        for begin in range(0, len(a), 256):
            rows = slice(begin, begin + 256)
            for left, right, guide_left, guide_right in (
                (a[rows], candidates, guides[0][rows], guide_candidates),
                (p[rows], p, guides[1][rows], guides[1]),
            ):
                scores = left @ right.T
                guide_left @ guide_right.T
                scores @ right
                scores.T @ left
        return torch.zeros(())

    return run


def _peak_mb() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _be_the_first_to_be_killed() -> None:
    """Where memory runs out, Linux shall end this process and no other."""
    path = Path("/proc/self/oom_score_adj")
    if path.exists():
        path.write_text("1000")


def run_side(side: str, batch: int) -> dict[str, float] | str:
    """What `measure` says in a process of its own, or why it says nothing."""
    command = [sys.executable, __file__, "--one", side, str(batch)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    if done.returncode in (-9, 137) or "not enough memory" in done.stderr or "allocate memory" in done.stderr:
        return "out of memory"
    sys.exit(f"{side} at batch {batch} failed:\n{done.stderr}")


def in_turns(sides: list[str], batch: int, rounds: int) -> dict[str, dict[str, float] | str]:
    """The medians of each side over the rounds; a side that runs out of memory is asked once."""
    found: dict[str, list] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            if "out of memory" not in found[side]:
                found[side].append(run_side(side, batch))
    return {
        side: "out of memory"
        if "out of memory" in rows
        else {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for side, rows in found.items()
    }


def compare(batches: list[int], rounds: int) -> list[dict]:
    print(f"{'batch':>6} {'side':<20} {'ms':>9} {'extra MB':>9} {'ours is faster':>15} {'difference':>11}")
    figures = []
    for batch in batches:
        row = in_turns([PEER, CACHED, OURS], batch, rounds)
        ours = row[OURS]
        for side, found in row.items():
            if isinstance(found, str):
                print(f"{batch:>6} {side:<20} {found}")
                continue
            found["ours_is_faster"] = round(found["seconds"] / ours["seconds"], 2)
            difference = max(abs(found["loss"] - ours["loss"]), abs(found["norm"] / ours["norm"] - 1))
            told = "" if side == OURS else f"{found['ours_is_faster']:>14.1f}x {difference:>11.1e}"
            print(f"{batch:>6} {side:<20} {1e3 * found['seconds']:>9.1f} {found['extra_mb']:>9.0f} {told}")
        figures.append({"batch": batch, **row})
    return figures


def scaling(batches: list[int], rounds: int) -> list[dict]:
    print(f"{'batch':>6} {'s':>8} {'ns a pair':>10} {'to first':>9} {'extra MB':>9} {'products, s':>12} {'ratio':>6}")
    figures = []
    for batch in batches:
        row = in_turns([PRODUCTS, OURS], batch, rounds)
        ours, products = row[OURS], row[PRODUCTS]["seconds"]
        pair, ratio = 1e9 * ours["seconds"] / batch**2, ours["seconds"] / products
        figures.append({"batch": batch, "ns_a_pair": pair, "ratio": ratio, "products_seconds": products, **ours})
        first = pair / figures[0]["ns_a_pair"]
        print(
            f"{batch:>6} {ours['seconds']:>8.2f} {pair:>10.1f} {first:>9.2f} {ours['extra_mb']:>9.0f} "
            f"{products:>12.2f} {ratio:>6.2f}"
        )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", help="default: 32 256; with --scaling 1,024 to 16,384")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scaling", action="store_true", help="gist_loss alone, against its bare matrix products")
    parser.add_argument("--labels", action="store_true", help='same_label "positive" against "mask"')
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 64], help="with --labels")
    parser.add_argument("--one-labels", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=2, metavar=("SIDE", "BATCH"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one[0], int(args.one[1]))))
        return
    if args.one_labels:
        batch, classes, guided, rounds = (int(x) for x in args.one_labels[:4])
        print(json.dumps(measure_labels(batch, classes, bool(guided), rounds, args.one_labels[4])))
        return
    if args.labels:
        figures = labels(args.batches or [64, 256, 1024], args.classes, args.rounds)
        print(json.dumps({"benchmark": "loss", "labels": True, "rounds": args.rounds, "figures": figures}))
        return
    figures = scaling(args.batches or SCALING, args.rounds) if args.scaling else compare(
        args.batches or [32, 256], args.rounds
    )  # fmt: skip
    print(json.dumps({"benchmark": "loss", "scaling": args.scaling, "rounds": args.rounds, "figures": figures}))


if __name__ == "__main__":
    main()
