"""A training small enough for tests, shared by tests in this process and in others that are killed or run in pairs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from gisttools.data.triplets import make_triplets
from gisttools.models.loading import open_model
from gisttools.models.vectors import VectorCache
from gisttools.training.loss import GISTLoss
from gisttools.training.options import LossOptions, TrainSettings
from gisttools.training.store import GuideStore
from gisttools.training.train import finetune
from gisttools.training.trained import Trained

WORDLLAMA = "embedded:wordllama-256"
MINILM = "embedded:all-MiniLM-L6-v2"
TEXTS = {
    "late": ["my parcel is late", "it should have come on Monday", "still no delivery", "the courier never showed up"],
    "refund": ["where is my money", "refund not on my account", "I sent it back weeks ago", "waiting to be paid back"],
    "code": ["the voucher is refused", "discount does not apply", "promo code invalid", "ten percent off not working"],
}


def table(rows_per_label=4, ragged=False):
    """Triplets of three labels; ragged: rows of none, one or two negatives."""
    labels = list(TEXTS)
    rows = []
    for number, label in enumerate(labels):
        other = labels[(number + 1) % len(labels)]
        for i in range(rows_per_label):
            negatives = TEXTS[other][: i % 3 if ragged else 1]
            rows.append(
                {
                    "anchor": TEXTS[label][i],
                    "positive": TEXTS[label][(i + 1) % 4],
                    "negatives": negatives,
                    "anchor_label": label,
                    "positive_label": label,
                    "negative_labels": [other] * len(negatives),
                    "task_name": label,
                }
            )
    return make_triplets(rows)


def train(
    rows, guide: VectorCache | None, folder: Path, *, student=WORDLLAMA, sets=None, retention=None, development=None,
    checkpoints=None, soup=(), loss_options=None, **settings,
) -> Trained:  # fmt: skip
    """`finetune` on the CPU with settings that suit a few rows."""
    model, store = open_model(student, device="cpu"), GuideStore.build(rows, guide)
    loss = GISTLoss(model, store, LossOptions(**{"temperature": 0.05, **(loss_options or {})}))
    chosen = TrainSettings(**{"epochs": 4, "batch_size": 6, "learning_rate": 1e-2, **settings})
    return finetune(
        loss,
        folder,
        chosen,
        set_of_row=sets,
        retention=retention,
        development=development,
        checkpoints=checkpoints,
        soup=soup,
    )


def main() -> None:
    """In a process of its own: `training_rows.py '{"folder": ..., "student": ..., settings}'`."""
    given = json.loads(sys.argv[1])
    folder = Path(given.pop("folder"))
    checkpoints = given.pop("checkpoints", None)
    guide = VectorCache(MINILM, folder=folder / "guide")
    trained = train(table(), guide, folder / "model", checkpoints=checkpoints and Path(checkpoints), **given)
    weights = np.concatenate([w.detach().numpy().ravel() for w in trained.student.parameters()])
    rank = __import__("os").environ.get("RANK", "0")
    np.save(folder / f"weights_{rank}.npy", weights)
    trained.history.to_json(folder / f"history_{rank}.json")


if __name__ == "__main__":
    main()
