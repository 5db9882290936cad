"""One trial of how to train on labelled texts, on held-out training texts: a plain loop with exchangeable parts.

What won here became the default of `3_finetune`; what did not is listed in `benchmarks/README.md`. all-MiniLM-L6-v2 is
trained on three quarters of a set's train part, and asked about up to 1,000 texts of the last quarter (near copies on
one side): classifiers fitted on 8 texts a label and on 1,500 texts; STSBenchmark (every second test pair) is the guard.
Vectors are computed in bfloat16. Prints a JSON line for each share of the start's weights.

    python benchmarks/trials.py Banking77Classification [--loss sincere|lout|proxy] [--classes 16] [--texts 4]
        [--steps 100] [--rate 2e-4] [--retain 0] [--general words|FILE] [--confusable] [--temperature 0.05]
        [--dropout 0] [--shares 0 0.3 0.5] [--seconds 120] [--freeze 0]

`--retain` is the weight of general texts, 8 a step. `--seconds` trains for so many CPU seconds in place of steps;
`--freeze 3` leaves the embeddings and the first three layers as they were.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from quality import GUARD, STUDENT, Cell, parts_of
from scoring import few_shot, linear


def sincere(z, y, temperature):
    """The mean over positives of log(e^p + sum of e^n) - p (arXiv 2309.14277)."""
    scores, same = z @ z.T / temperature, y[:, None] == y[None, :]
    positives = same & ~torch.eye(len(y), dtype=torch.bool)
    against = scores.masked_fill(same, float("-inf")).logsumexp(1, keepdim=True)
    each = (F.softplus(against - scores) * positives).sum(1)
    has = positives.any(1)
    return (each[has] / positives.sum(1)[has]).mean()


def lout(z, y, temperature):
    """Supervised contrastive loss, L_out (arXiv 2004.11362)."""
    itself = torch.eye(len(y), dtype=torch.bool)
    scores = (z @ z.T / temperature).masked_fill(itself, -1e9)
    positives = (y[:, None] == y[None, :]) & ~itself
    share = ((scores - scores.logsumexp(1, keepdim=True)) * positives).sum(1)
    has = positives.any(1)
    return -(share[has] / positives.sum(1)[has]).mean()


class Classes:
    """Batches of some classes with some texts each; a class is drawn by the root of its size, or with its nearest."""

    def __init__(self, y, classes: int, texts: int, seed: int, near=None) -> None:
        self.rng, self.near, self.left = np.random.default_rng(seed), near, {}
        self.rows = {c: np.flatnonzero(y == c) for c in np.unique(y)}
        self.count = min(classes, len(self.rows))
        self.texts = classes * texts // self.count
        sizes = np.sqrt([len(self.rows[c]) for c in self.rows])
        self.share = sizes / sizes.sum()

    def draw(self) -> list[int]:
        """The rows of one batch."""
        if self.near is None:
            chosen = self.rng.choice(len(self.rows), self.count, replace=False, p=self.share).tolist()
        else:
            chosen = []
            while len(chosen) < self.count:
                first = self.rng.choice(len(self.rows), p=self.share)
                group = np.argsort(-self.near[first])[:4]
                chosen += [c for c in group if c not in chosen][: self.count - len(chosen)]
        return [row for c in chosen for row in self._of(c)]

    def _of(self, c: int) -> list[int]:
        found = []
        while len(found) < min(self.texts, len(self.rows[c])):
            if not self.left.get(c):
                self.left[c] = self.rng.permutation(self.rows[c]).tolist()
            row = self.left[c].pop()
            found += [] if row in found else [row]
        return found


def words(model, count: int = 4000) -> list[str]:
    """Random words of the student's vocabulary, 3 to 18 at a time."""
    known = sorted(w for w in model.tokenizer.get_vocab() if w.isalpha() and len(w) > 1)
    rng = random.Random(5)
    return [" ".join(rng.choices(known, k=rng.randint(3, 18))) for _ in range(count)]


def train(model, texts, labels, o) -> tuple[int, float]:
    """Train in place; steps and CPU seconds."""
    from gisttools.training.embedding import embed_columns

    def embed(some):
        with torch.autocast("cpu", torch.bfloat16):
            vectors = embed_columns(model, [model.preprocess(some)])[0]
        return F.normalize(vectors.float(), dim=1)

    torch.manual_seed(o.seed)
    names, y = np.unique(labels, return_inverse=True)
    frozen(model, o.freeze)
    parameters, proxies, near = [p for p in model.parameters() if p.requires_grad], None, None
    if o.confusable or o.loss == "proxy":
        vectors = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        centroids = np.stack([vectors[y == c].mean(0) for c in range(len(names))])
        centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
        near = centroids @ centroids.T if o.confusable else None
        proxies = torch.nn.Parameter(torch.tensor(centroids)) if o.loss == "proxy" else None
    groups = [{"params": parameters, "lr": o.rate}] + [{"params": [proxies], "lr": 1e-2}] * (proxies is not None)
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    began = time.process_time()

    def passed(step: int) -> float:
        """The share of the training that is over."""
        return (time.process_time() - began) / o.seconds if o.seconds else step / o.steps

    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min((passed(s) + 0.01) / 0.1, max(0.0, (1 - passed(s)) / 0.9))
    )
    general = (words(model) if o.general == "words" else Path(o.general).read_text().splitlines()) if o.retain else []
    start = torch.tensor(model.encode(general, normalize_embeddings=True, show_progress_bar=False)) if general else None
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = o.dropout
        if hasattr(module, "dropout_prob"):
            module.dropout_prob = o.dropout
    batches, rng = Classes(y, o.classes, o.texts, o.seed, near), np.random.default_rng(o.seed)
    for step in itertools.count():
        if passed(step) >= 1:
            break
        rows = batches.draw()
        z, of = embed([texts[i] for i in rows]), torch.tensor(y[rows])
        if o.loss == "proxy":
            loss = F.cross_entropy(z @ F.normalize(proxies, dim=1).T / o.temperature, of)
        else:
            loss = {"sincere": sincere, "lout": lout}[o.loss](z, of, o.temperature)
        if start is not None:
            some = rng.integers(len(general), size=8)
            loss = loss + o.retain * (1 - (embed([general[i] for i in some]) * start[some]).sum(1)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    model.eval()
    return step, time.process_time() - began


def frozen(model, layers: int | None) -> None:
    """Leave the embeddings and so many of the first layers as they are; None: train all."""
    if layers is not None:
        transformer = model.transformers_model
        for part in (transformer.embeddings, *transformer.encoder.layer[:layers]):
            part.requires_grad_(False)


def guard(model) -> float:
    """Spearman's correlation (0 to 100) on every second test pair of STSBenchmark."""
    from gisttools.data import load_task, mteb_task, split_of
    from gisttools.evaluation import spearman

    task = mteb_task(GUARD)
    load_task(task)
    data = split_of(task, "default", "test")
    one, other = (
        model.encode(data[side][::2], normalize_embeddings=True, show_progress_bar=False)
        for side in ("sentence1", "sentence2")
    )
    return 100 * float(spearman((one * other).sum(1), np.asarray(data["score"][::2])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set")
    parser.add_argument("--loss", choices=["sincere", "lout", "proxy"], default="sincere")
    for name, value in (("classes", 16), ("texts", 4), ("steps", 100), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    for name, value in (("rate", 2e-4), ("retain", 0.0), ("temperature", 0.05), ("dropout", 0.0)):
        parser.add_argument(f"--{name}", type=float, default=value)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--freeze", type=int)
    parser.add_argument("--general", default="gisttools/training/general.txt")
    parser.add_argument("--confusable", action="store_true")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.3, 0.5])
    o = parser.parse_args()
    from gisttools.models import open_model
    from gisttools.training import averaged

    torch.set_num_threads(1)
    known, asked = parts_of(
        Cell(set=o.set, side="", seed=0, rate=0, seconds=0, labels=None, part="dev", student=STUDENT[0])
    )
    model = open_model(*STUDENT, device="cpu")
    start, steps, seconds = copy.deepcopy(model), 0, 0.0
    if o.steps:
        steps, seconds = train(model, *known, o)
    rows = np.random.default_rng(9).permutation(len(known[0]))[:1500]
    some = tuple([side[i] for i in rows] for side in known)
    for share in o.shares:
        mixed = averaged([(model, 1 - share), (start, share)])
        scores = {"few": few_shot(mixed, some, asked), "all": 100 * float(linear(mixed, some, asked).mean())}
        found = {name: round(value, 1) for name, value in {**scores, "guard": guard(mixed)}.items()}
        print(
            json.dumps({**vars(o), "shares": share, "steps": steps, "cpu_seconds": round(seconds), **found}), flush=True
        )


if __name__ == "__main__":
    main()
