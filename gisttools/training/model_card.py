"""The model card: what a tuned model was made of, in the form the hub reads."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from gisttools.data import count_rows
from gisttools.training.loss import BLOCKS, CITATION
from gisttools.training.store import GuideStore
from gisttools.training.train import Trained

_ALWAYS_SHOWN = {"loss_temperature", "batch_size", "learning_rate", "seed", "mask_same_label"}
_NOT_SHOWN = {"triplets", "student", "guide", "licence", "dev", "guide_key_variable", "tracking", "checkpoint_minutes"}


def write_card(trained: Trained, store: GuideStore, parameters: Any) -> Path:
    """Write `README.md` into the model's folder; `parameters` are those of the notebook.

    With it the folder is ready for the hub: `SentenceTransformer(folder).push_to_hub(name)`, or `hf upload`.
    """
    p, history = parameters, trained.history
    data = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "feature-extraction", "gist"],
        base_model=p.student if _on_hub(p.student) else None,
        datasets=[t.partition("@")[0] for t in p.triplets if _on_hub(t)] or None,
        license=p.licence,
    )
    defaults = type(p)()
    told = {
        name: value
        for name, value in p.model_dump().items()
        if name not in _NOT_SHOWN and (value != getattr(defaults, name) or name in _ALWAYS_SHOWN)
    }
    card = ModelCard.from_template(
        data,
        template_path=str(Path(__file__).with_name("card.md.j2")),
        title=f"{_short(p.student)} tuned with GIST",
        p=p,
        guide=store.guide_id,
        date=datetime.now(UTC).date().isoformat(),
        dimension=trained.student.get_embedding_dimension(),
        rows=len(store.table),
        negatives=store.negatives_per_row,
        sets=count_rows(store.table, "task_name", "source", "source_revision"),
        fingerprint=store.fingerprint,
        parameters=told,
        steps=trained.steps,
        seconds=round(trained.seconds),
        precision=trained.precision,
        first_loss=f"{history['loss'].iloc[0]:.3f}",
        final_loss=f"{history['loss'].iloc[-1]:.3f}",
        masked=_shares(history),
        development=trained.development.to_dict("records"),
        best_step=trained.best_step,
        citation=CITATION,
    )
    path = trained.folder / "README.md"
    card.save(path)
    return path


def _shares(history: Any) -> str:
    means = history[[f"masked_{b}" for b in BLOCKS]].mean()
    return ", ".join(f"{b} {100 * means[f'masked_{b}']:.0f} %" for b in BLOCKS if means[f"masked_{b}"] >= 0)


def _on_hub(name: str) -> bool:
    return name.partition("@")[0].count("/") == 1 and not Path(name).exists() and not Path(name).suffix


def _short(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].rpartition(":")[2]
