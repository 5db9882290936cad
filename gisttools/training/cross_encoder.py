"""Trains a cross-encoder on rows with hard negatives: a reranker for what the student finds.

By binary cross-entropy of each query's positive (1) and negatives (0), in sentence-transformers' own trainer.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder

from gisttools.common import DataError
from gisttools.training.options import RerankerOptions
from gisttools.training.train import choose_precision

_WARMUP = 0.1  # of the steps


def train_reranker(
    model: CrossEncoder, table: Dataset, folder: str | Path, options: RerankerOptions | None = None
) -> dict[str, Any]:
    """Train a cross-encoder in place and write it to a folder, whole or not at all.

    Args:
        model: gives a pair one score; see `gisttools.models.open_cross_encoder`.
        table: rows with anchor, positive and negatives, as `2_convert` mines them; those without negatives count with
            their positive alone.
        folder: where it is written.
        options: the defaults if None.

    Returns:
        Facts as JSON values: pairs, positives, steps, loss (the mean of the last tenth of the steps).

    Raises:
        DataError: no row has a negative.
    """
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
    from transformers import PrinterCallback, set_seed

    options = options or RerankerOptions()
    pairs = pairs_of(table)
    at_once = options.batch_size * int(os.environ.get("WORLD_SIZE", 1))
    steps = options.steps or -(-len(pairs) // at_once)
    set_seed(options.seed)
    with tempfile.TemporaryDirectory(prefix="gisttools-") as scratch:
        arguments = CrossEncoderTrainingArguments(
            output_dir=scratch,
            max_steps=steps,
            per_device_train_batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            warmup_steps=max(1, round(_WARMUP * steps)),
            seed=options.seed,
            bf16=choose_precision("auto", model) == "bfloat16",
            use_cpu=model.device.type == "cpu",
            save_strategy="no",
            report_to="none",
            logging_steps=max(1, steps // 20),
            disable_tqdm=True,
            dataloader_pin_memory=torch.cuda.is_available(),
        )
        arguments._n_gpu = min(arguments.n_gpu, 1)  # several in one process would be wrapped in a DataParallel
        trainer = CrossEncoderTrainer(
            model=model, args=arguments, train_dataset=pairs, loss=BinaryCrossEntropyLoss(model)
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        losses = [float(told["loss"]) for told in trainer.state.log_history if "loss" in told]
    model.eval()
    whole = Path(folder).with_name(f"{Path(folder).name}.partial")
    shutil.rmtree(whole, ignore_errors=True)
    model.save_pretrained(str(whole))
    shutil.rmtree(folder, ignore_errors=True)
    whole.replace(folder)
    positives = int(np.sum(pairs["label"][:]))
    last = losses[-max(1, len(losses) // 10) :]
    return {"pairs": len(pairs), "positives": positives, "steps": steps, "loss": round(float(np.mean(last)), 4)}


def pairs_of(table: Dataset) -> Dataset:
    """query, passage and label (1.0 where the passage answers, else 0.0) of all rows; each pair once.

    Raises:
        DataError: no row has a negative.
    """
    found: dict[tuple[str, str], float] = {}
    columns = ["anchor", "positive", "negatives"]
    rows: list[Mapping[str, Any]] = table.select_columns(columns).with_format("arrow")[:].to_pylist()
    for row in rows:
        for passage in row["negatives"] or ():
            found.setdefault((row["anchor"], passage), 0.0)
    if not found:
        raise DataError(
            f"None of {len(rows):,} rows has a negative, and a cross-encoder learns from what does not answer. Mine "
            "some: 2_convert with strategy hard."
        )
    found |= {(row["anchor"], row["positive"]): 1.0 for row in rows}
    queries, passages = zip(*found, strict=True)
    return Dataset.from_dict({"query": list(queries), "passage": list(passages), "label": list(found.values())})
