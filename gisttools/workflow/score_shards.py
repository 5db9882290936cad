"""An evaluation's scores, made side by side before its notebook starts, which then finds them in the score cache.

Each model on each group of tasks that share texts is a call. Tasks of a group are done in their order, so that texts
meet in the same batches as in the notebook.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gisttools.common import quiet_libraries, tqdm
from gisttools.evaluation import (
    Findings,
    ScoreCache,
    ScoredModel,
    TaskSource,
    fits,
    kept_scores,
    one_line,
    overlap_with,
    score,
)
from gisttools.models import use_told_threads
from gisttools.workflow.entries import open_entries, sources_of
from gisttools.workflow.params import EvaluateParams, check_params
from gisttools.workflow.surroundings import Surroundings

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ScoreShard:
    """A model, by role or as a reference, on some of an evaluation's tasks; without a model, the question which
    shards there are."""

    parameters: Mapping[str, Any]
    surroundings: Surroundings
    model: str = ""
    tasks: tuple[str, ...] = ()


def share_scores(parameters: Mapping[str, Any], executor: Executor, place: Surroundings) -> None:
    """Score on the executor what the score cache lacks.

    Raises:
        GistError: what the notebook would raise of its parameters, tasks and training texts.
    """
    asked = ScoreShard(parameters=parameters, surroundings=place)
    shards = executor.submit(plan_scores, asked).result()
    calls = [executor.submit(do_scores, shard) for shard in shards]
    for call in tqdm(as_completed(calls), total=len(calls), desc="models x tasks", unit="job"):
        error = call.exception()
        for line in [one_line(error)] if error else call.result():
            log.warning("%s", line)


def plan_scores(asked: ScoreShard) -> list[ScoreShard]:
    """In a worker: the shards of an evaluation, those of one model after the other.

    Raises:
        DataError: a training table holds test texts; and whatever opening models and tasks raises.
    """
    with asked.surroundings.entered():
        quiet_libraries()
        params = check_params("evaluate", asked.parameters)
        sources, _ = sources_of(params)
        entries = open_entries(params, only="")
        overlap_with(sources, entries.variants, Findings(), allow=params.allow_overlap)  # refused before any work
        names = [*entries.names, *(n for n in dict.fromkeys(params.references) if n not in entries.published)]
        groups: dict[str, list[str]] = {}
        for source in sources:
            groups.setdefault(source.train_source, []).append(source.name)
        return [
            ScoreShard(parameters=asked.parameters, surroundings=asked.surroundings, model=name, tasks=tuple(tasks))
            for name in names
            for tasks in groups.values()
        ]


def do_scores(shard: ScoreShard) -> list[str]:
    """In a worker: score what is not kept yet. Returns what failed; the notebook tries that again, and records it."""
    failed: list[str] = []
    with shard.surroundings.entered():
        cache = ScoreCache()
        quiet_libraries()
        use_told_threads()
        told = json.dumps(shard.parameters, sort_keys=True)
        params, sources, model = _opened(told, shard.model, shard.surroundings.witness)
        for source in sources:
            if source.name in shard.tasks:
                try:
                    if kept_scores(model, source, cache) is None and fits(model, source):
                        score(model, source, cache, batch_size=params.batch_size)
                except Exception as error:  # whatever a model, a data set or a task's own code raises
                    failed.append(f"{source.name}, {shard.model}: {one_line(error)}")
    return failed


@lru_cache(maxsize=1)  # the shards of a model come one after the other; the witness is another for each evaluation
def _opened(parameters: str, name: str, _witness: str) -> tuple[EvaluateParams, list[TaskSource], ScoredModel]:
    params = check_params("evaluate", json.loads(parameters))
    sources, _ = sources_of(params)
    entries = open_entries(params, only=name)
    return params, sources, {**entries.models, **entries.references}[name]
