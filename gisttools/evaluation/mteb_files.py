"""Writes scores as mteb keeps them, so that `mteb.ResultCache` reads them and its leaderboard can take them.

    mteb/results/<model>/<revision>/<Task>.json       what mteb's `TaskResult` holds
    mteb/results/<model>/<revision>/model_meta.json   what mteb's `ModelMeta` holds

Tasks of mteb alone are written: it looks up every task by its name, and folders of one's own have none there. A model
that is not of the hub is called `local/<name>`, for mteb's names have an organisation; `renamed_results` gives it the
name that it has on the hub once it is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper
from mteb.results import TaskResult

from gisttools.common import model_name, whole_file, write_whole
from gisttools.data import is_hub_name
from gisttools.evaluation.models import REGISTRY, ScoredModel
from gisttools.evaluation.scores import KeptScores

if TYPE_CHECKING:
    from mteb import AbsTask

MTEB_FOLDER = "mteb"  # of a run; what `mteb.ResultCache(cache_path=...)` is given
META = "model_meta.json"
_LOCAL = "local"


def write_mteb_result(folder: Path, model: ScoredModel, task: AbsTask, kept: KeptScores) -> Path:
    """Write one model's scores on one task.

    Args:
        folder: gets `mteb/`.
        model: that was scored.
        task: of mteb; its data need not be loaded.
        kept: what it scored.

    Returns:
        The file of the task.
    """
    meta = _meta(model)
    place = folder / MTEB_FOLDER / "results" / meta.model_name_as_path() / str(meta.revision)
    place.mkdir(parents=True, exist_ok=True)
    if not (place / META).exists():
        write_whole(place / META, _as_json(meta))
    result = TaskResult.from_task_results(task, _scores(kept), evaluation_time=0.0)
    # how long it took is not known: vectors are kept, and shared between tasks
    result = result.model_copy(update={"evaluation_time": None})
    file = place / f"{task.metadata.name}.json"
    with whole_file(file) as partial:
        result.to_disk(partial)
    return file


def renamed_results(folder: Path, model: str, revision: str) -> Iterator[tuple[str, str]]:
    """The files of one model below a folder (`<model>/<revision>/`) as they are for the name and the commit that it has
    on the hub: each with its path below `results/`."""
    for file in sorted(folder.glob("*.json")):
        text = file.read_text(encoding="utf-8")
        if file.name == META:
            text = json.dumps({**json.loads(text), "name": model, "revision": revision}, indent=1)
        yield f"{model.replace('/', '__')}/{revision}/{file.name}", text


def _scores(kept: KeptScores) -> Mapping[str, Mapping[str, dict[str, Any]]]:
    """By split and subset. Of the first split all that mteb said is kept, of others every metric."""
    found: dict[str, dict[str, dict[str, Any]]] = {kept.split: {name: dict(raw) for name, raw in kept.raw.items()}}
    for row in kept.rows:
        if row.split is not None and row.split != kept.split:
            part = found.setdefault(row.split, {}).setdefault(row.subset, {})
            part[row.metric] = row.score
            if row.is_main:
                part["main_score"] = row.score
    return found


def _meta(model: ScoredModel) -> ModelMeta:
    """What mteb is told of a model. No place of this machine is in it."""
    from mteb.models.model_implementations import MODEL_REGISTRY

    name = model.name.removeprefix(REGISTRY).partition("@")[0]
    revision = _as_path(model.revision)
    if model.kind == "registry" and name in MODEL_REGISTRY:
        return MODEL_REGISTRY[name].model_copy(update={"revision": revision})
    told: dict[str, Any] = {
        "name": name if model.kind == "model" and is_hub_name(name) else f"{_LOCAL}/{_as_path(model_name(name))}",
        "revision": revision if model.kind != "endpoint" else model.key,  # that of an endpoint is its address
        "embed_dim": model.dimension,
        "use_instructions": bool(model.prompts),
        "training_datasets": None if model.training_sets is None else set(model.training_sets),
        "similarity_fn_name": ScoringFunction.COSINE,
    }
    if (inner := model.transformer) is not None:
        weights = list(inner.parameters())
        told |= {
            "loader": SentenceTransformerEncoderWrapper,
            "framework": ["Sentence Transformers", "PyTorch"],
            "n_parameters": sum(w.numel() for w in weights),
            "memory_usage_mb": sum(w.numel() * w.element_size() for w in weights) / 2**20,
            "max_tokens": inner.max_seq_length,
            "similarity_fn_name": ScoringFunction.from_str(str(inner.similarity_fn_name or "cosine")),
            "open_weights": True,
        }
    return ModelMeta.create_empty(overwrites=told)


def _as_json(meta: ModelMeta) -> str:
    told = meta.to_dict()
    told["training_datasets"] = sorted(told["training_datasets"]) if told["training_datasets"] is not None else None
    return json.dumps(told, default=str, indent=1)


def _as_path(text: str) -> str:
    """As the name of a folder."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "unknown"
