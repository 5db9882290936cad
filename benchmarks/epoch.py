"""Whole trainings on the same triplets: `GuideStore.build` + `finetune` against sentence-transformers' trainer.

The peer is SentenceTransformerTrainer with GISTEmbedLoss, its guide in the loop. Triplets are mined once from
Banking77's train split and kept under --folder. Both sides get the same rows in the same order (the batches of a
`BatchPlan`), the same steps, learning rate (no warm-up) and seed. A side's time starts with its student open and ends
with the model saved: opening the guide and embedding all texts into an empty cache is part of ours. Ours is measured in
float32 as the peer is, and with its defaults (bfloat16 where the hardware has it). The peer's defaults are float32.

    python benchmarks/epoch.py [--case a b small] [--steps 5] [--rounds 1] [--folder FOLDER]

a: 640 triplets, 3 epochs, batch 32. b: 1,280 triplets, 1 epoch, batch 128. Both need the hub, or a filled HF_HOME:
student all-MiniLM-L6-v2, guide all-mpnet-base-v2. small: data/support_intents and the embedded model as student and
guide, the default where the hub's models are missing. With --steps both sides stop early; their full time is then
extrapolated from the time a step.

A last pair of short runs compares the loss curves in float32 where the two losses are the same function: dropout is off
on both sides (micro-batches draw it in another order), no two rows share a text and labels are not used (only ours
masks equal texts and labels), and texts are what the student's tokenizer leaves of them (the peer's guide reads these,
ours the raw ones). Prints tables and, last, one JSON line. Each side runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEER, EQUAL, DEFAULTS = "sentence-transformers", "gisttools, float32", "gisttools, defaults"
TEMPERATURE, LEARNING_RATE, SEED = 0.01, 5e-5, 42
MINED_TEXTS = 4000  # of the train split; enough for all cases, and the guide embeds them in two minutes


@dataclass(frozen=True)
class Case:
    """One training. Models are pairs of name and revision."""

    rows: int
    epochs: int
    batch: int
    student: tuple[str, str | None] = (
        "sentence-transformers/all-MiniLM-L6-v2",
        "8b3219a92973c328a8e22fadcfa821b5dc75636a",
    )
    guide: tuple[str, str | None] = (
        "sentence-transformers/all-mpnet-base-v2",
        "9a3225965996d404b775526de6dbfe85d3368642",
    )

    @property
    def steps(self) -> int:
        return self.epochs * -(-self.rows // self.batch)


_EMBEDDED = ("embedded:all-MiniLM-L6-v2", None)
CASES = {
    "a": Case(640, 3, 32),
    "b": Case(1280, 1, 128),
    "small": Case(256, 1, 32, student=_EMBEDDED, guide=_EMBEDDED),
}


def mined(name: str, folder: Path) -> Path:
    """The triplets of a case; mined the first time."""
    if name == "small":
        return ROOT / "data" / "support_intents" / "triplets.jsonl"
    path = folder / "banking77.parquet"
    if not path.exists():
        import numpy as np

        from gisttools.data import LabelledTexts, read_labelled, write_triplets
        from gisttools.mining import triplets_from_labelled
        from gisttools.models import VectorCache

        data = read_labelled("Banking77Classification")
        some = np.random.default_rng(SEED).permutation(len(data))[:MINED_TEXTS]
        data = LabelledTexts([data.texts[i] for i in some], [data.labels[i] for i in some], data.source, data.split)
        table = triplets_from_labelled(data, VectorCache(guide_options(CASES[name])))
        write_triplets(table, path)
    return path


def guide_options(case, precision="auto"):
    """The guide of a case: its name and revision."""
    from gisttools.models import GuideOptions

    name, revision = case.guide
    return GuideOptions(name=name, revision=revision, precision=precision)


def without_shared_texts(table):
    """Rows, taken in their order, such that no text stands in two of them."""
    seen, rows = set(), []
    for i, row in enumerate(table):
        texts = {t.strip().lower() for t in (row["anchor"], row["positive"], *row["negatives"])}
        if len(texts) == 2 + len(row["negatives"]) and not texts & seen:
            seen |= texts
            rows.append(i)
    return table.select(rows)


def run_here(side: str, name: str, triplets: str, rows: int, steps: int, agreement: bool) -> dict:
    """One training in this process: seconds in all, seconds a step, loss of each step."""
    from gisttools.data import read_triplets
    from gisttools.models import open_model

    case = CASES[name]
    table = read_triplets(triplets)
    table = (without_shared_texts(table) if agreement else table).select(range(rows))
    student = open_model(*case.student, device="cpu")
    if agreement:
        _dropout_off(student)
        table = _as_the_peers_guide_reads_it(table, student.tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        train = _peer if side == PEER else _ours
        started = time.monotonic()
        found = train(side, case, table, student, steps, agreement, Path(folder))
        return {**found, "seconds": time.monotonic() - started, "steps": steps}


def _ours(side, case, table, student, steps, agreement, folder) -> dict:
    from gisttools.models import VectorCache
    from gisttools.training import GISTLoss, GuideStore, LossOptions, TrainSettings, finetune

    precision = "float32" if side == EQUAL else "auto"
    started = time.monotonic()
    cache = VectorCache(guide_options(case, precision), folder=folder / "cache")
    store = GuideStore.build(table, cache)
    guide_seconds = time.monotonic() - started
    settings = TrainSettings(
        batch_size=case.batch, max_steps=steps, learning_rate=LEARNING_RATE, warmup_ratio=0.0, seed=SEED,
        precision=precision,
    )  # fmt: skip
    loss = GISTLoss(student, store, LossOptions(temperature=TEMPERATURE, mask_same_label=not agreement))
    trained = finetune(loss, folder / "model", settings)
    return {
        "guide_seconds": guide_seconds,
        "training_seconds": trained.seconds,
        "precision": trained.precision,
        "loss": trained.history["loss"].tolist(),
    }


def _peer(side, case, table, student, steps, agreement, folder) -> dict:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import GISTEmbedLoss
    from transformers import PrinterCallback, TrainerCallback

    from gisttools.models import open_model
    from gisttools.training import BatchPlan

    class Clock(TrainerCallback):
        def on_train_begin(self, args, state, control, **_):
            self.started = time.monotonic()

    clock = Clock()
    plan = BatchPlan([0] * len(table), batch_size=case.batch, steps=steps, seed=SEED)
    columns = {"anchor": table["anchor"][:], "positive": table["positive"][:]}
    columns["negative"] = [negatives[0] for negatives in table["negatives"][:]]
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder), max_steps=steps, per_device_train_batch_size=case.batch, learning_rate=LEARNING_RATE,
        warmup_steps=0, seed=SEED, batch_sampler=lambda *_, **__: plan, logging_steps=1, save_strategy="no",
        report_to="none", disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False,
    )  # fmt: skip
    loss = GISTEmbedLoss(student, open_model(*case.guide, device="cpu"), temperature=TEMPERATURE)
    data = Dataset.from_dict(columns)
    trainer = SentenceTransformerTrainer(
        model=student, args=arguments, train_dataset=data, loss=loss, callbacks=[clock]
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    student.save(str(folder / "model"))
    return {
        "guide_seconds": 0.0,
        "training_seconds": time.monotonic() - clock.started,
        "precision": "float32",
        "loss": [row["loss"] for row in trainer.state.log_history if "loss" in row],
    }


def _dropout_off(student) -> None:
    import torch

    for module in student.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def _as_the_peers_guide_reads_it(table, tokenizer):
    """The texts as decoded from the student's tokens; a store reads the raw ones, and a guide scores them apart."""

    def decoded(text: str) -> str:
        return tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True)

    def row(given: dict) -> dict:
        negatives = [decoded(text) for text in given["negatives"]]
        return {"anchor": decoded(given["anchor"]), "positive": decoded(given["positive"]), "negatives": negatives}

    return table.map(row)


def run_side(**spec) -> dict:
    """`run_here` in a process of its own; idle threads sleep, for spinning ones would take the time of the others."""
    command = [sys.executable, __file__, "--one", json.dumps(spec)]
    environment = {"OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false", **os.environ}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{spec} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(name: str, path: Path, cap: int | None, rounds: int) -> dict:
    """Times of the three sides over whole trainings, taken in turns."""
    case = CASES[name]
    steps = min(cap or case.steps, case.steps)
    print(f"\ncase {name}: {case.rows} triplets, {case.epochs} epoch(s), batch {case.batch}, {case.steps} steps")
    if steps < case.steps:
        print(f"each side ran {steps} steps; its full time is extrapolated from the time a step")
    runs: dict[str, list] = {side: [] for side in (PEER, EQUAL, DEFAULTS)}
    for _ in range(rounds):
        for side, found in runs.items():
            spec = {"side": side, "name": name, "triplets": str(path), "rows": case.rows, "steps": steps}
            found.append(run_side(**spec, agreement=False))
    print(f"{'side':<24} {'all, s':>8} {'guide, s':>9} {'s a step':>9} {'precision':>9} {'loss':>16} {'faster':>8}")
    figures = {}
    for side, found in runs.items():
        middle = {k: statistics.median(r[k] for r in found) for k in ("seconds", "guide_seconds", "training_seconds")}
        step = middle["training_seconds"] / steps
        whole = middle["seconds"] + (case.steps - steps) * step
        first = found[0]
        figures[side] = {"whole_seconds": whole, "step_seconds": step, **middle, "steps": steps, "loss": first["loss"]}
        figures[side]["faster"] = round(figures[PEER]["whole_seconds"] / whole, 2)
        curve = f"{first['loss'][0]:.3f} to {first['loss'][-1]:.3f}"
        print(
            f"{side:<24} {whole:>8.1f} {middle['guide_seconds']:>9.1f} {step:>9.3f} {first['precision']:>9} "
            f"{curve:>16} {figures[side]['faster']:>7.1f}x"
        )
    return {"case": name, **asdict(case), "all_steps": case.steps, "sides": figures}


def compare_curves(name: str, path: Path, steps: int) -> dict | None:
    """The largest difference of the two loss curves where both losses are the same function."""
    from gisttools.data import read_triplets

    case = CASES[name]
    rows = min(len(without_shared_texts(read_triplets(path))), steps * case.batch)
    if rows < case.batch:
        print(f"no comparison of loss curves: only {rows} rows share no text, a batch holds {case.batch}")
        return None
    spec = {"name": name, "triplets": str(path), "rows": rows, "steps": steps, "agreement": True}
    peer, ours = (run_side(side=side, **spec)["loss"] for side in (PEER, EQUAL))
    difference = max(abs(p - o) for p, o in zip(peer, ours, strict=True))
    print(
        f"loss curves over {steps} steps, float32, no dropout, {rows} rows of distinct texts: largest difference "
        f"{difference:.1e}\n  {PEER:<22}{' '.join(f'{x:.5f}' for x in peer)}\n"
        f"  {EQUAL:<22}{' '.join(f'{x:.5f}' for x in ours)}"
    )
    return {"steps": steps, "rows": rows, "largest_difference": difference, "peer": peer, "ours": ours}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=CASES, help="default: a b with the hub's models, else small")
    parser.add_argument("--steps", type=int, help="end both sides after so many steps and extrapolate")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--curve-steps", type=int, default=5, help="steps of the comparison of loss curves; 0: none")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "gisttools-epoch")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(run_here(**json.loads(args.one))))
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    figures = []
    for name in args.case or (["a", "b"] if _hub_models_are_here() else ["small"]):
        path = mined(name, args.folder)
        figure = compare(name, path, args.steps, args.rounds)
        figure["curves"] = compare_curves(name, path, args.curve_steps) if args.curve_steps else None
        figures.append(figure)
    print(json.dumps({"benchmark": "epoch", "rounds": args.rounds, "figures": figures}))


def _hub_models_are_here() -> bool:
    from huggingface_hub import try_to_load_from_cache

    return all(
        isinstance(try_to_load_from_cache(model, "modules.json", revision=revision), str)
        for model, revision in (CASES["a"].student, CASES["a"].guide)
    )


if __name__ == "__main__":
    main()
