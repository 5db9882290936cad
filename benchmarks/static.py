"""How a static student is best trained on labelled texts, by held-out training texts; and beside a linear head.

One thing is changed at a time in a training as `3_finetune` does it where nothing is set (labels as positives, ten
passes, 64 texts a step, 1e-2). Scores: classifiers of 8 texts a label; one on all; STSBenchmark (every second pair).

    OMP_NUM_THREADS=1 python benchmarks/static.py --sets Banking77Classification hwu64=FOLDER data/support_intents
        [--student embedded:wordllama-256] [--ways default batch_256 head ...] [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from quality import parts_of, plain
from scoring import few_shot, linear
from sides import labelled_store
from trials import guard

WAYS: dict[str, tuple[dict, dict]] = {  # settings of the training, and of the loss
    "default": ({}, {}),
    "3 passes": ({"epochs": 3.0}, {}),
    "30 passes": ({"epochs": 30.0}, {}),
    "rate 5e-3": ({"learning_rate": 5e-3}, {}),
    "rate 3e-2": ({"learning_rate": 3e-2}, {}),
    "temperature 0.03": ({}, {"temperature": 0.03}),
    "temperature 0.1": ({}, {"temperature": 0.1}),
    "0.3 of the start": ({"keep_start": 0.3}, {}),
    "held": ({}, {}),
    "batch 128": ({"batch_size": 128}, {}),
    "batch 256": ({"batch_size": 256}, {}),
    "batch 128, 20 passes": ({"batch_size": 128, "epochs": 20.0}, {}),
    "batch 256, 20 passes": ({"batch_size": 256, "epochs": 20.0}, {}),
    "batch 512, 20 passes": ({"batch_size": 512, "epochs": 20.0}, {}),
}
HEAD, BASE = "head", "base"


def trained(way: str, name: str, texts: list[str], labels: list[str], seed: int):
    """The student after a training, or as it came."""
    from gisttools.models import GuideOptions, VectorCache, open_model
    from gisttools.training import GISTLoss, LossOptions, Retention, TrainSettings, finetune, general_texts
    from gisttools.training.cross_entropy import HeadOptions, train_head

    if way == HEAD:
        steps = round(10 * len(texts) / 64)  # as many as the default has
        with tempfile.TemporaryDirectory() as kept:
            options = HeadOptions(steps=steps, seed=seed)
            return train_head(lambda: open_model(name, device="cpu"), texts, labels, options, folder=Path(kept))[0]
    model = open_model(name, device="cpu")
    if way == BASE:
        return model
    told, of_loss = WAYS[way]
    start = VectorCache(GuideOptions(name=name, precision="float32"))
    with tempfile.TemporaryDirectory() as scratch:
        finetune(
            GISTLoss(model, labelled_store(texts, labels, seed), LossOptions(**{"temperature": 0.05} | of_loss)),
            Path(scratch) / "model",
            TrainSettings(seed=seed, train_on="labelled", **told),
            retention=Retention(general_texts(), start) if way == "held" else None,
        )
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--student", default="embedded:wordllama-256")
    parser.add_argument("--ways", nargs="+", choices=[BASE, *WAYS, HEAD], default=[BASE, "default", HEAD])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    o = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'set':<26}{'way':<24}{'8 a label':>10}{'all':>7}{'STSB':>7}{'CPU s':>7}")
    for name in o.sets:
        known, asked = parts_of(SimpleNamespace(set=name, labels=None, seed=0, part="dev"))
        for way in o.ways:
            found = []
            for seed in o.seeds if way != BASE else [0]:
                began = time.process_time()
                model = trained(way, o.student, list(known[0]), list(known[1]), seed)
                took = time.process_time() - began
                model.eval()
                all_labels = 100 * float(linear(model, known, asked).mean())
                found.append([few_shot(model, known, asked), all_labels, guard(model), took])
            few, every, held, took = np.mean(found, axis=0)
            print(f"{plain(name):<26}{way:<24}{few:>10.1f}{every:>7.1f}{held:>7.1f}{took:>7.0f}", flush=True)


if __name__ == "__main__":
    main()
