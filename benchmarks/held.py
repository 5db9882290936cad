"""One trial of how general texts hold a student: so many a step, this long, by this weight.

all-MiniLM-L6-v2 is trained as `3_finetune` does where nothing is set, on three quarters of a set's train part, and
asked about up to 1,000 texts of the last quarter (near copies on one side): classifiers fitted on 8 texts a label, and
STSBenchmark (every second test pair) as the guard. Prints a JSON line.

    python benchmarks/held.py Banking77Classification [--texts 8] [--words 99] [--weight 8] [--steps 60] [--rate 3e-4]
        [--batch 64]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from quality import STUDENT, Cell, parts_of
from scoring import few_shot
from sides import labelled_store
from trials import guard


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set")
    parser.add_argument("--texts", type=int, default=8, help="general texts a step; 0: none")
    parser.add_argument("--words", type=int, default=99, help="the longest of them")
    parser.add_argument("--weight", type=float, default=8.0)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--batch", type=int, default=64)
    o = parser.parse_args()
    from gisttools.models import GuideOptions, VectorCache, open_model
    from gisttools.training import (
        GISTLoss,
        LossOptions,
        Retention,
        RetentionOptions,
        TrainSettings,
        finetune,
        general_texts,
    )

    torch.set_num_threads(1)
    known, asked = parts_of(
        Cell(set=o.set, side="", seed=0, rate=0, seconds=0, labels=None, part="dev", student=STUDENT[0])
    )
    held = None
    if o.texts:
        start = VectorCache(GuideOptions(name=STUDENT[0], revision=STUDENT[1], precision="float32"))
        texts = [text for text in general_texts() if len(text.split()) <= o.words]
        held = Retention(texts, start, RetentionOptions(weight=o.weight, texts_a_step=o.texts))
    model = open_model(*STUDENT, device="cpu")
    settings = TrainSettings(max_steps=o.steps, learning_rate=o.rate, seed=0, batch_size=o.batch)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        loss = GISTLoss(model, labelled_store(*known, seed=0), LossOptions(temperature=0.05))
        finetune(loss, Path(scratch) / "model", settings, retention=held)
    seconds = time.process_time() - started
    model.eval()
    scores = {"few": round(few_shot(model, known, asked), 1), "guard": round(guard(model), 1)}
    print(json.dumps({**vars(o), **scores, "cpu_seconds": round(seconds)}))


if __name__ == "__main__":
    main()
