"""One model on one task: mteb runs it, unless the same model was scored on the same task before."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import mteb

from gisttools.common import DataError, GistError, MissingError
from gisttools.data import first_line, load_task, split_of
from gisttools.score_cache import KeptScores, ScoreCache, task_about
from gisttools.scored_models import ScoredModel
from gisttools.task_sources import TaskSource

_SEARCHES = ("Retrieval", "Reranking", "InstructionRetrieval", "InstructionReranking")


def kept_scores(model: ScoredModel, source: TaskSource, cache: ScoreCache) -> KeptScores | None:
    """What is kept of this model on this task; the task's data is not loaded for it."""
    return cache.load(model, task_about(source.make()))


def fits(model: ScoredModel, source: TaskSource) -> bool:
    """Can the model be scored on such a task? A search by words only on retrieval and reranking."""
    return not model.searches_only or source.make().metadata.type in _SEARCHES


def score(model: ScoredModel, source: TaskSource, cache: ScoreCache, *, batch_size: int) -> KeptScores:
    """Run the task, keep the scores and give them back.

    Raises:
        MissingError: the task's data cannot be loaded.
        DataError: a main score is not a number.
        Exception: whatever the model or the task's own code raises.
    """
    task = source.make()
    about = task_about(task)
    load_task(task)
    # a scratch folder, no cache of mteb's: it gives all models loaded from a path one cache key and one prediction file
    with tempfile.TemporaryDirectory(prefix="gisttools-") as scratch, model.counting(cache.vectors(model)) as meter:
        done = mteb.evaluate(
            model.encoder,
            task,
            cache=None,
            prediction_folder=scratch,
            encode_kwargs={"batch_size": batch_size, "show_progress_bar": False},
            show_progress_bar=False,
            co2_tracker=False,
        ).task_results
        saved = Path(scratch) / task.prediction_file_name
        predictions = saved.read_bytes() if saved.exists() else None
    if not done:
        raise MissingError(f"{source.name}: mteb has no access to the data of this private task. Leave it out.")
    result = done[0]
    _check_numbers(source.name, result.scores)
    split = next(iter(result.scores))
    cache.keep(
        model,
        about,
        {
            "rows": [
                row for s, parts in result.scores.items() for part in parts for row in _rows(task, s, part, about)
            ],
            "raw": {part["hf_subset"]: part for part in result.scores[split]},
            "split": split,
            "asked": meter.asked,
            "embedded": meter.embedded,
            "seconds": meter.seconds,
        },
        predictions,
    )
    kept = cache.load(model, about)
    if kept is None:
        raise MissingError(
            f"{cache.folder} does not keep what is written there. Is the disk full? Set GISTTOOLS_CACHE."
        )
    return kept


def one_line(error: BaseException) -> str:
    """What went wrong, in one line; of a lack of memory also what helps."""
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return f"out of memory ({first_line(error)[:200]}) Set batch_size lower."
    if isinstance(error, GistError):
        return " ".join(str(error).split())
    return f"{type(error).__name__}: {first_line(error)}"


def _check_numbers(name: str, scores: dict[str, list[dict]]) -> None:
    bad = [
        f"{split}, {part['hf_subset']}"
        for split, parts in scores.items()
        for part in parts
        if not math.isfinite(float(part["main_score"]))
    ]
    if bad:
        raise DataError(
            f"{name}: the main score is not a number ({'; '.join(bad)}). Are all gold values or all vectors equal, or "
            "does the model give vectors that are not finite?"
        )


def _rows(task: Any, split: str, part: dict, about: dict[str, Any]) -> list[dict]:
    subset, draws = part["hf_subset"], len(part.get("scores_per_experiment") or [1])
    data = split_of(task, subset, split)
    if isinstance(data, dict):  # of retrieval
        data = data.get("queries")
    common = {
        "task": task.metadata.name,
        "task_type": task.metadata.type,
        "split": split,
        "subset": subset,
        "n_items": None if data is None else len(data),
        "n_draws": draws,
        "revision": about["revision"],
        "mteb": about["mteb"],
    }
    main = task.metadata.main_score
    return [
        {**common, "metric": metric, "is_main": metric == main, "score": float(value)}
        for metric, value in part.items()
        if isinstance(value, int | float) and metric != "main_score"
    ]
