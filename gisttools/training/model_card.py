"""Writes the model card: what a tuned model was made of, in the form the hub reads."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from gisttools.common import anonymous, card_languages, licence_fields
from gisttools.data import count_rows, is_hub_name, parse_hub_name
from gisttools.models import EMBEDDED, prompts_in_words, prompts_of
from gisttools.training.loss import CITATION
from gisttools.training.options import LossOptions, MadeFrom, TrainSettings
from gisttools.training.trained import Trained, masked_means

_ALWAYS_SHOWN = {"loss_temperature", "batch_size", "learning_rate", "seed", "mask_same_label"}
_NOT_SHOWN = {"triplets", "student", "guide", "licence", "dev", "guide_key_variable", "tracking", "checkpoint_minutes"}


def write_card(trained: Trained, made_from: MadeFrom) -> Path:
    """Write `README.md` into the model's folder.

    With it the folder is ready for the hub; `gisttools share` sends it, with the scores of an evaluation.

    Args:
        trained: what the training left.
        made_from: names and licence; also with further options, as the parameters of `3_finetune` have them.
    """
    store, history, student = trained.store, trained.history, made_from.student
    data = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "feature-extraction", "gist"],
        base_model=base_model_of(student),
        datasets=[found for t in made_from.triplets if (found := _data_set(t))] or None,
        language=card_languages(row["language"] for row in count_rows(store.table, "language")) or None,
        **licence_fields(made_from.licence),
    )
    masked = {block: share for block, share in masked_means(history).items() if share is not None}
    card = ModelCard.from_template(
        data,
        template_path=str(Path(__file__).with_name("card.md.j2")),
        title=f"{_short(student)} tuned with GIST",
        p=made_from,
        student=anonymous(student),
        matryoshka_dims=trained.settings.matryoshka_dims,
        guide=store.guide_id,
        date=datetime.now(UTC).date().isoformat(),
        prompts=prompts_of(trained.student),
        student_prompts=prompts_in_words(trained.prompts),
        guide_prompts=prompts_in_words(store.guide_prompts),
        dimension=trained.student.get_embedding_dimension(),
        rows=len(store.table),
        negatives=store.negatives_per_row,
        sets=count_rows(store.table, "task_name", "source", "source_revision"),
        fingerprint=store.fingerprint,
        parameters=_shown(trained, made_from),
        steps=trained.steps,
        seconds=round(trained.seconds),
        precision=trained.precision,
        loss=trained.trend.words(),
        masked=", ".join(f"{block} {100 * share:.0f} %" for block, share in masked.items()),
        development=trained.development.to_dict("records"),
        best_step=trained.best_step,
        average=trained.average,
        citation=CITATION,
    )
    path = trained.folder / "README.md"
    card.save(path)
    return path


def _shown(trained: Trained, made_from: MadeFrom) -> dict[str, object]:
    """The options that are not what their defaults are, and those that everybody asks for."""
    usual = {**LossOptions.defaults(), **TrainSettings.defaults(), **made_from.defaults()}
    told = {**trained.options(), **made_from.model_dump(), "learning_rate": trained.rate.value}
    return {
        name: value
        for name, value in told.items()
        if name not in _NOT_SHOWN and (value != usual.get(name) or name in _ALWAYS_SHOWN)
    }


_PACKAGED = {"all-MiniLM-L6-v2": "sentence-transformers/all-MiniLM-L6-v2"}  # embedded models that are one of the hub's


def base_model_of(student: str) -> str | None:
    """The model on the hub that a student is; None where it is none, or nobody knows."""
    if student.startswith(EMBEDDED):
        return _PACKAGED.get(student.removeprefix(EMBEDDED))
    return student.partition("@")[0] if is_hub_name(student) else None


def _data_set(name: str) -> str | None:
    """The data set on the hub that a name of triplets stands for, if it is one."""
    found = parse_hub_name(name) if is_hub_name(name) else None
    return found.path if found else None


def _short(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].rpartition(":")[2]
