"""Scores a model on a task with mteb and keeps the result, so that an evaluation that was stopped goes on from there.

    <model>/vectors/             vectors of texts, see `gisttools.evaluation.models`
    <model>/scores/<task>.json   what mteb said, written last and whole
    <model>/predictions/<hash>   mteb's predictions, named by their content
    comparisons/<hash>.json      differences and intervals of results that have not changed since

A model is named by what decides its vectors, a task by its name, data, splits, subsets, settings and mteb's version.
All of it may be deleted at any time.
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mteb

import gisttools
from gisttools.common import (
    DataError,
    GistError,
    MissingError,
    cache_folder,
    digest,
    doing,
    first_line,
    known_secrets,
    redact,
    write_whole,
)
from gisttools.data import load_task, split_of
from gisttools.evaluation.comparison import Compared, Comparison, ScoreRow, TaskResult
from gisttools.evaluation.kept_vectors import Forward
from gisttools.evaluation.models import ScoredModel
from gisttools.evaluation.tasks import TaskSource

if TYPE_CHECKING:
    from mteb import AbsTask

log = logging.getLogger(__name__)
_FORMAT = 1  # of what is kept; another one is not read
_SETTINGS = (
    "n_experiments",
    "samples_per_label",
    "max_documents_per_cluster",
    "max_document_to_embed",
    "n_clusters",
    "max_fraction_of_documents_to_embed",
    "max_eval_samples",
    "seed",
    "k_mean_batch_size",
    "abstention_threshold",
)
# the code that a comparison depends on, next to the results
_COMPARING = (
    "evaluation/comparison.py", "evaluation/intervals.py", "evaluation/items.py", "evaluation/queries.py",
    "data/overlap.py",
)  # fmt: skip


@dataclass(frozen=True)
class KeptScores:
    """One model's scores on one task, as they stand on disk. `rows`: of the score table, without a role; `about`: what
    the task was; `asked`, `embedded` and `seconds`: of the run that made them."""

    about: dict[str, Any]
    rows: list[ScoreRow]
    raw: dict[str, Any]
    split: str
    predictions: Path | None
    asked: int
    embedded: int
    seconds: float
    digest: str  # of all that a comparison could see

    def result(self) -> TaskResult:
        """With the predictions read, by subset of the split."""
        told = json.loads(self.predictions.read_text(encoding="utf-8")) if self.predictions else {}
        by_subset = {s: p[self.split] for s, p in told.items() if s != "mteb_model_meta" and self.split in p}
        return TaskResult(raw=self.raw, predictions=by_subset, split=self.split, about=self.about)


class ScoreCache:
    """Finds and keeps scores. Any number of processes may use it at once.

    Args:
        folder: `cache_folder()/evaluations` if None.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "evaluations"

    def vectors(self, model: ScoredModel) -> Path:
        """Where the vectors of a model are kept."""
        return self.folder / model.key / "vectors"

    def load(self, model: ScoredModel, about: dict[str, Any]) -> KeptScores | None:
        """Scores of that model on the task that `about` describes; None where there are none, or they are damaged."""
        file = self._file(model, about)
        told = _read(file)
        if told is None or (isinstance(told, dict) and told.get("format") not in (_FORMAT, None)):
            return None
        try:
            if told["about"] != about or told["format"] != _FORMAT:
                return None
            path = self.folder / model.key / "predictions" / told["predictions"] if told["predictions"] else None
            if path is not None and not (path.is_file() and _named(path.read_bytes()) == path.stem):
                return None
            given = {k: told[k] for k in ("raw", "split", "asked", "embedded", "seconds", "digest")}
            return KeptScores(about, [ScoreRow(**row) for row in told["rows"]], predictions=path, **given)
        except (LookupError, TypeError, AttributeError, OSError) as error:
            log.warning("%s is damaged (%s); the task is scored again", file, first_line(error))
            return None

    def keep(
        self, model: ScoredModel, about: dict[str, Any], scores: dict[str, Any], predictions: bytes | None
    ) -> None:
        """Write what mteb said (`rows`, `raw`, `split`, `asked`, `embedded`, `seconds`) and its prediction file."""
        name = None
        if predictions:
            name = f"{_named(predictions)}.json"
            write_whole(self.folder / model.key / "predictions" / name, predictions)
        seen = json.dumps([about, scores["raw"], name], sort_keys=True, default=_plain).encode()
        rows = [{k: v for k, v in vars(row).items() if k != "role"} for row in scores["rows"]]
        told = {"format": _FORMAT, "model": model.name, "about": about, **scores, "rows": rows, "predictions": name}
        content = json.dumps({**told, "digest": _named(seen)}, default=_plain)
        write_whole(self._file(model, about), redact(content, known_secrets()))

    def comparison(self, results: list[KeptScores], seed: int) -> list[Compared] | None:
        """What `compare_seeds` gave for these results (the baseline first), if it did."""
        told = _read(file := self._comparison_file(results, seed))
        if not told or not isinstance(told, list):  # a comparison is never empty
            return None
        try:
            return [Compared(**{**t, "row": Comparison(**t["row"])}) for t in told]
        except (LookupError, TypeError, AttributeError) as error:
            log.warning("%s is damaged (%s); the comparison is made again", file, first_line(error))
            return None

    def keep_comparison(self, results: list[KeptScores], seed: int, compared: list[Compared]) -> None:
        """Write that."""
        told = [{**vars(c), "row": vars(c.row)} for c in compared]
        write_whole(self._comparison_file(results, seed), json.dumps(told, default=_plain))

    def _file(self, model: ScoredModel, about: dict[str, Any]) -> Path:
        key = _named(json.dumps(about, sort_keys=True, default=_plain).encode())
        return self.folder / model.key / "scores" / f"{key}.json"

    def _comparison_file(self, results: list[KeptScores], seed: int) -> Path:
        key = _named(json.dumps([seed, _code(), *(r.digest for r in results)]).encode())
        return self.folder / "comparisons" / f"{key}.json"


def task_about(task: AbsTask) -> dict[str, Any]:
    """What decides a model's scores on a task, without its data: the revision of a folder's task is their hash."""
    told = task.metadata
    settings = {name: getattr(task, name) for name in _SETTINGS if _is_plain(getattr(task, name, None))}
    return {
        "task": told.name,
        "type": told.type,
        "path": told.dataset.get("path"),
        "revision": told.dataset.get("revision"),
        "splits": list(task.eval_splits),
        "subsets": list(task.hf_subsets),
        "metric": told.main_score,
        "prompt": told.prompt,
        "settings": settings,
        "mteb": metadata.version("mteb"),
    }


@cache
def _code() -> str:
    package = Path(gisttools.__file__).parent
    return _named(b"".join((package / name).read_bytes() for name in _COMPARING))


def _named(content: bytes) -> str:
    """What content is called in the cache."""
    return digest(content, size=12)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s is damaged (%s); what it held is worked out again", path, first_line(error))
        return None


def _plain(value: Any) -> Any:
    """NumPy's numbers and truth values as Python's own."""
    return value.item() if hasattr(value, "item") else str(value)


def _is_plain(value: object) -> bool:
    return isinstance(value, bool | int | float | str)


_SEARCHES = ("Retrieval", "Reranking", "InstructionRetrieval", "InstructionReranking")


def kept_scores(model: ScoredModel, source: TaskSource, cache: ScoreCache) -> KeptScores | None:
    """What is kept of this model on this task; the task's data is not loaded for it."""
    return cache.load(model, task_about(source.make()))


def fits(model: ScoredModel, source: TaskSource) -> bool:
    """Can the model be scored on such a task? A search by words only on retrieval and reranking."""
    return not model.searches_only or source.make().metadata.type in _SEARCHES


def score(
    model: ScoredModel,
    source: TaskSource,
    cache: ScoreCache,
    *,
    batch_size: int,
    name: str = "",
    forward: Forward = lambda _: None,
) -> KeptScores:
    """Run the task, keep the scores and give them back.

    Args:
        model, source, cache: what is scored, on what, and where scores are kept.
        batch_size: texts embedded at a time.
        name: what the model is called in the progress.
        forward: told how many texts were embedded since it was last told.

    Raises:
        MissingError: the task's data cannot be loaded.
        DataError: a main score is not a number.
        Exception: whatever the model or the task's own code raises.
    """
    task = source.make()
    about = task_about(task)
    of = f"{source.name} ({name or model.name})"
    with doing(f"loading {source.name}"):
        load_task(task)
    # a scratch folder, no cache of mteb's: it gives all models loaded from a path one cache key and one prediction file
    with (
        tempfile.TemporaryDirectory(prefix="gisttools-") as scratch,
        doing(f"scoring {of}"),
        model.counting(cache.vectors(model), of=of, forward=forward) as meter,
    ):
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


def _check_numbers(name: str, scores: dict[str, list[dict[str, Any]]]) -> None:
    bad = [
        f"{split}, {part['hf_subset']}"
        for split, parts in scores.items()
        for part in parts
        if not math.isfinite(float(part["main_score"]))
    ]
    if bad:
        raise DataError(
            f"{name}: the main score is not a number ({'; '.join(bad)}). Are all true values or all vectors equal, or "
            "does the model give vectors that are not finite?"
        )


def _rows(task: AbsTask, split: str, part: dict[str, Any], about: dict[str, Any]) -> list[ScoreRow]:
    subset, draws = part["hf_subset"], len(part.get("scores_per_experiment") or [1])
    data = split_of(task, subset, split)
    if isinstance(data, dict):  # of retrieval
        data = data.get("queries")
    return [
        ScoreRow(
            task=task.metadata.name,
            task_type=task.metadata.type,
            split=split,
            subset=subset,
            n_items=None if data is None else len(data),
            n_draws=draws,
            revision=about["revision"],
            mteb=about["mteb"],
            metric=metric,
            is_main=metric == task.metadata.main_score,
            score=float(value),
        )
        for metric, value in part.items()
        if isinstance(value, int | float) and metric != "main_score"
    ]
