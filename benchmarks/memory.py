"""What a training of a larger student takes: memory at its peak and seconds a step, by what of it is trained and how.

The students have the shape of models in use and random weights, so no hub is needed: BERT base (0.11 B parameters, as
bge-base), BERT large (0.34 B, as bge-large), XLM-R large (0.56 B, as multilingual-e5-large and bge-m3). Each is trained
by `finetune` for some steps on labelled texts of about 60 tokens. Memory is what comes on top of the process before
there is a model: weights, gradients, optimiser and activations; on a GPU, what the device holds at its peak. Each
training is a process of its own. Prints a table and, last, one JSON line.

    python benchmarks/memory.py [--students base large xlmr] [--ways ...] [--batch 16] [--steps 2]
        [--device cpu]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from gpu import MINILM, Clock, sentences

STUDENTS = {"base": (12, 768, 30522), "large": (24, 1024, 30522), "xlmr": (24, 1024, 250002)}  # layers, width, words
WAYS = {
    "all weights": {"freeze_layers": 0},
    "all weights, 4 texts at a time": {"freeze_layers": 0, "mini_batch_size": 4},
    "half of the layers frozen": {},
    "half frozen, 4 texts at a time": {"mini_batch_size": 4},
    "adapters (LoRA 16)": {"lora_rank": 16},
    "adapters, 4 texts at a time": {"lora_rank": 16, "mini_batch_size": 4},
    "adapters, gradient_checkpointing": {"lora_rank": 16, "gradient_checkpointing": True},
}
CLASSES = 4


def student_of(shape: str, folder: Path, device: str):
    """A sentence encoder of that shape with random weights and MiniLM's words."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel

    from gisttools.models import open_model

    layers, width, words = STUDENTS[shape]
    config = BertConfig(
        vocab_size=words, hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // 64,
        intermediate_size=4 * width,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    open_model(MINILM, device="cpu").tokenizer.save_pretrained(folder)
    module = Transformer(str(folder))
    return SentenceTransformer(modules=[module, Pooling(width)], device=device)


def measure(shape: str, way: str, batch: int, steps: int, device: str) -> dict:
    """Gigabytes on top of the process before there was a model, and seconds a step after the first."""
    import torch
    from sides import labelled_store

    from gisttools.training import GISTLoss, LossOptions, TrainSettings, finetune

    torch.set_num_threads(1)
    lines = sentences(3 * 8 * batch)
    texts = [" ".join(lines[i : i + 3]) for i in range(0, len(lines), 3)]
    store = labelled_store(texts, [f"label {i % CLASSES}" for i in range(len(texts))], 0)
    options, before = dict(WAYS[way]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loss_options = LossOptions(temperature=0.05, mini_batch_size=options.pop("mini_batch_size", None))
    clock = Clock(device)
    with tempfile.TemporaryDirectory() as folder:
        student = student_of(shape, Path(folder) / "start", device)
        settings = TrainSettings(
            batch_size=batch, max_steps=steps, keep_start=0.0, learning_rate=1e-6, train_on="labelled", **options
        )
        done = finetune(GISTLoss(student, store, loss_options), Path(folder) / "model", settings)
        peak = clock.peak_mb() or (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        parameters = sum(w.numel() for w in student.parameters())
    return {
        "parameters": parameters,
        "gb": round(peak / 1024, 2),
        "seconds_a_step": round(done.seconds / done.steps, 1),
        "precision": done.precision,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", nargs="+", choices=STUDENTS, default=list(STUDENTS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="what is trained, and how")
    parser.add_argument("--batch", type=int, default=16, help="texts a step")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    o = parser.parse_args()
    if o.one:
        print(json.dumps(measure(*json.loads(o.one))))
        return
    figures = []
    print(f"{'student':<9}{'B':>6}  {'what is trained':<36}{'GB':>7}{'s a step':>10}  computes in")
    for shape in o.students:
        for way in o.ways:
            command = [sys.executable, __file__, "--one", json.dumps([shape, way, o.batch, o.steps, o.device])]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{shape}, {way} failed:\n{done.stderr[-3000:]}")
            found = json.loads(done.stdout.splitlines()[-1])
            figures.append({"student": shape, "way": way, **found})
            size = found["parameters"] / 1e9
            print(
                f"{shape:<9}{size:>6.2f}  {way:<36}{found['gb']:>7.2f}{found['seconds_a_step']:>10.1f}  "
                f"{found['precision']}",
                flush=True,
            )
    print(json.dumps({"benchmark": "memory", "batch": o.batch, "device": o.device, "figures": figures}))


if __name__ == "__main__":
    main()
