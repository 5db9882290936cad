"""What a training is worth where there are few labels, by its steps and by how much of the start is kept.

`--labels` texts of each label are drawn by the seed from three quarters of a set's train part: encoder and classifier
learn from these alone. Asked are up to 1,000 texts of the last quarter (near copies on one side), so that what wins can
become a default without a look at the test part. all-MiniLM-L6-v2, trained as it is where nothing is set but for
`--steps` and `--rate`; the share of the start's weights (`keep_start`) is varied after the training. Prints a JSON line
a seed and share.

    python benchmarks/few_labels.py AmazonCounterfactualClassification --labels 8 [--steps 10 30 100] [--rate 5e-4]
        [--seeds 0 1 2] [--shares 0 0.3 0.5 0.7 1]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch
from quality import STUDENT, Cell, few_of, parts_of, plain
from scoring import linear
from sides import labelled_store, ours_options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set")
    parser.add_argument("--labels", type=int, default=8)
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.3, 0.5, 0.7, 1.0])
    o = parser.parse_args()
    from gisttools.models import open_model
    from gisttools.training import GISTLoss, averaged, finetune

    torch.set_num_threads(1)
    known, asked = parts_of(
        Cell(set=o.set, side="", seed=0, rate=0, seconds=0, labels=None, part="dev", student=STUDENT[0])
    )
    for steps in o.steps:
        for seed in o.seeds:
            few = few_of(known, o.labels, seed)
            start, model = (open_model(*STUDENT, device="cpu") for _ in range(2))
            options, settings, retention = ours_options("ours", STUDENT, model)
            told = {"max_steps": steps, "learning_rate": o.rate, "seed": seed, "keep_start": 0.0}
            loss = GISTLoss(model, labelled_store(*few, seed), options)
            with tempfile.TemporaryDirectory() as scratch:
                finetune(loss, Path(scratch) / "model", settings.model_copy(update=told), retention=retention)
            model.eval()
            for share in o.shares:
                mixed = averaged([(model, 1 - share), (start, share)])
                right = round(100 * float(linear(mixed, few, asked).mean()), 2)
                line = {"set": plain(o.set), "labels": o.labels, "steps": steps, "rate": o.rate, "seed": seed}
                print(json.dumps(line | {"share": share, "accuracy": right}), flush=True)


if __name__ == "__main__":
    main()
