"""What a GPU brings: the loss on given vectors, whole steps, and the guide's vectors, beside sentence-transformers.

Nothing but the embedded models and this repository is read, so it runs wherever a GPU is: `make bench-gpu`.

loss    forward and backward on given vectors (D = 384, guide 768, one negative a row) at each of `--batches`, of
        `gist_loss` and of `CachedGISTEmbedLoss`; milliseconds, and the memory of the device at the peak
step    one step of a training, all-MiniLM-L6-v2 as student and guide, at each of `--steps-at`: `finetune` as it comes,
        its guide's vectors made before, and sentence-transformers' trainer with CachedGISTEmbedLoss in bfloat16
        (float16 where the GPU has none), its guide in the loop; seconds a step after the first two
guide   texts a second of a build into an empty `VectorCache`, and of `SentenceTransformer.encode`

Each measurement is a process of its own; what runs out of memory is said. Prints tables and, last, one JSON line.
Without a GPU it says so and ends; `--device cpu` tries the script itself, at sizes that say nothing.

    python benchmarks/gpu.py [--parts loss step guide] [--batches 1024 4096 16384] [--steps-at 1024 4096]
        [--mini-batch 256] [--texts 50000] [--device cuda]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from loss import CACHED, OURS, D, G, _ours, _peer_cached

MINILM = "embedded:all-MiniLM-L6-v2"
STEPS, TIMED_FROM = 6, 2  # of a training; the first ones also make kernels and pools
GENERAL = Path(__file__).parents[1] / "gisttools" / "training" / "general.txt"


def sentences(count: int) -> list[str]:
    """So many different texts of about 20 words: two halves of sentences that the package has."""
    lines = GENERAL.read_text(encoding="utf-8").splitlines()
    pairs = itertools.islice(itertools.permutations(range(len(lines)), 2), 0, count * 7, 7)
    return [f"{lines[a][: len(lines[a]) // 2]} {lines[b][len(lines[b]) // 2 :]}" for a, b in pairs]


class Clock:
    """Seconds of work on a device, which answers before it has done it; and its memory at the peak."""

    def __init__(self, device: str) -> None:
        import torch

        self.cuda = torch.cuda if device.startswith("cuda") else None

    def now(self) -> float:
        """When all that was asked for is done."""
        if self.cuda:
            self.cuda.synchronize()
        return time.perf_counter()

    def peak_mb(self) -> float | None:
        """Of the device; None on a CPU."""
        return self.cuda.max_memory_allocated() / 2**20 if self.cuda else None


def measure_loss(side: str, batch: int, device: str) -> dict:
    """Milliseconds and peak memory of one side's forward and backward."""
    import torch

    torch.manual_seed(0)
    students = [torch.randn(batch, D, device=device, requires_grad=True) for _ in range(3)]
    guides = [torch.randn(batch, G, device=device) for _ in range(3)]
    run, clock, times = {OURS: _ours, CACHED: _peer_cached}[side](students, guides), Clock(device), []
    for _ in range(5):
        for x in students:
            x.grad = None
        started = clock.now()
        loss = run()
        loss.backward()
        times.append(clock.now() - started)
    return {"ms": 1e3 * statistics.median(times[1:]), "peak_mb": clock.peak_mb(), "loss": float(loss.detach())}


def measure_step(side: str, batch: int, mini: int, device: str) -> dict:
    """Seconds a step of a whole training, and peak memory."""
    from datasets import Dataset

    texts = sentences(3 * batch * STEPS)
    rows = {"anchor": texts[0::3], "positive": texts[1::3]}
    clock = Clock(device)
    with tempfile.TemporaryDirectory() as folder:
        if side == OURS:
            seconds = _our_steps(rows | {"negatives": [[t] for t in texts[2::3]]}, batch, mini, Path(folder))
        else:
            seconds = _their_steps(Dataset.from_dict(rows | {"negative": texts[2::3]}), batch, mini, device, folder)
    return {"seconds_a_step": seconds, "peak_mb": clock.peak_mb()}


def _our_steps(rows: dict, batch: int, mini: int, folder: Path) -> float:
    """Of a long and a short training, what the long one took more."""
    import pyarrow as pa

    from gisttools.data import make_triplets_from_columns
    from gisttools.models import VectorCache, open_model
    from gisttools.training import GISTLoss, GuideStore, LossOptions, TrainSettings, finetune

    columns = {name: pa.array(values) for name, values in rows.items()}
    table = make_triplets_from_columns(columns, len(rows["anchor"]))
    store = GuideStore.build(table, VectorCache(MINILM, folder=folder / "cache"))
    seconds = []
    for steps in (TIMED_FROM, STEPS):
        loss = GISTLoss(open_model(MINILM), store, LossOptions(mini_batch_size=mini))
        settings = TrainSettings(batch_size=batch, max_steps=steps, train_on="triplets")
        seconds.append(finetune(loss, folder / f"model{steps}", settings).seconds)
    return (seconds[1] - seconds[0]) / (STEPS - TIMED_FROM)


def _their_steps(table, batch: int, mini: int, device: str, folder: str) -> float:
    import torch
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import CachedGISTEmbedLoss
    from transformers import TrainerCallback

    from gisttools.models import open_model

    clock, ends = Clock(device), []

    class Steps(TrainerCallback):
        def on_train_begin(self, args, state, control, **_):
            ends.append(clock.now())

        def on_step_end(self, args, state, control, **_):
            ends.append(clock.now())

    bf16 = device.startswith("cuda") and torch.cuda.is_bf16_supported()
    arguments = SentenceTransformerTrainingArguments(
        output_dir=folder, max_steps=STEPS, per_device_train_batch_size=batch, learning_rate=5e-5, save_strategy="no",
        report_to="none", disable_tqdm=True, bf16=bf16, fp16=device.startswith("cuda") and not bf16,
        use_cpu=device == "cpu",
    )  # fmt: skip
    student, guide = open_model(MINILM, device=device), open_model(MINILM, device=device)
    loss = CachedGISTEmbedLoss(student, guide, mini_batch_size=mini)
    SentenceTransformerTrainer(
        model=student, args=arguments, train_dataset=table, loss=loss, callbacks=[Steps()]
    ).train()
    return (ends[-1] - ends[TIMED_FROM]) / (STEPS - TIMED_FROM)


def measure_guide(side: str, count: int, device: str) -> dict:
    """Texts a second."""
    from gisttools.models import GuideOptions, VectorCache, open_model

    texts, clock = sentences(count), Clock(device)
    with tempfile.TemporaryDirectory() as folder:
        if side == OURS:
            cache = VectorCache(GuideOptions(name=MINILM), folder=Path(folder))
            cache.embed(texts[:64])
            started = clock.now()
            cache.embed(texts)
        else:
            model = open_model(MINILM, device=device)
            model.encode(texts[:64], show_progress_bar=False)
            started = clock.now()
            model.encode(texts, batch_size=256, show_progress_bar=False)
        return {"texts_a_second": count / (clock.now() - started), "peak_mb": clock.peak_mb()}


MEASURES = {"loss": measure_loss, "step": measure_step, "guide": measure_guide}


def measured(part: str, *arguments) -> dict | str:
    """What a part says in a process of its own, or that memory ran out."""
    command = [sys.executable, __file__, "--one", json.dumps([part, *arguments])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    if "out of memory" in done.stderr or done.returncode in (-9, 137):
        return "out of memory"
    sys.exit(f"{part} {arguments} failed:\n{done.stderr[-3000:]}")


def told(found: dict | str) -> str:
    """A cell of a table."""
    if isinstance(found, str):
        return found
    return ", ".join(f"{name} {value:,.4g}" for name, value in found.items() if value is not None and name != "loss")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--batches", type=int, nargs="+", default=[1024, 4096, 16384])
    parser.add_argument("--steps-at", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--mini-batch", type=int, default=256, help="texts embedded at a time")
    parser.add_argument("--texts", type=int, default=50_000, help="of the guide's part")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    o = parser.parse_args()
    if o.one:
        part, *arguments = json.loads(o.one)
        print(json.dumps(MEASURES[part](*arguments)))
        return
    import torch

    if o.device.startswith("cuda") and not torch.cuda.is_available():
        print("No GPU is here, and nothing was measured. --device cpu tries the script itself.")
        return
    name = torch.cuda.get_device_name() if o.device.startswith("cuda") else o.device
    cells = {
        "loss": [(side, batch, o.device) for batch in o.batches for side in (OURS, CACHED)],
        "step": [(side, batch, o.mini_batch, o.device) for batch in o.steps_at for side in (OURS, CACHED)],
        "guide": [(side, o.texts, o.device) for side in (OURS, "encode")],
    }
    figures = []
    print(f"{name}, torch {torch.__version__}")
    for part in o.parts:
        for side, size, *more in cells[part]:
            found = measured(part, side, size, *more)
            figures.append({"part": part, "side": side, "size": size, "found": found})
            print(f"{part:<7}{side:<22}{size:>8,}  {told(found)}", flush=True)
    print(json.dumps({"benchmark": "gpu", "device": name, "mini_batch": o.mini_batch, "figures": figures}))


if __name__ == "__main__":
    main()
