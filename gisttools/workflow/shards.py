"""Does side by side, before a notebook starts, what can be shared out of it.

That is an evaluation's scores, which the notebook then finds in the score cache: each model on each group of tasks that
share texts is a call, and tasks of a group are done in their order, so that texts meet in the same batches as in the
notebook. Of `finetune`, `convert` and a `synthesize` on documents it is guide vectors; this process alone writes them
to the cache.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gisttools.common import quiet_libraries, tqdm
from gisttools.data import (
    LabelledTexts,
    ReadOptions,
    concatenate,
    expand_sources,
    kind_of,
    read_search,
    read_sources,
    search_pairs,
    triplet_tables,
)
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
from gisttools.models import GuideOptions, ModelGuide, ShardedGuide, embed_shard, use_told_threads
from gisttools.synthesis import embed_chunks
from gisttools.training import GuideStore
from gisttools.workflow.documents import task_of
from gisttools.workflow.folders import paths
from gisttools.workflow.inputs import guide_of, model_path, open_entries, tasks_of, training_tables
from gisttools.workflow.machine import Surroundings, stay_interruptible
from gisttools.workflow.params import (
    ConvertParams,
    EvaluateParams,
    FinetuneParams,
    Params,
    SynthesizeParams,
    check_params,
)

if TYPE_CHECKING:
    from datasets import Dataset

log = logging.getLogger(__name__)


def share_out(params: Params, executor: Executor, place: Surroundings) -> None:
    """Do on the executor what a notebook with these parameters is known to need, and what is not there yet; nothing
    where there is nothing to share. Raises as the notebook would."""
    if isinstance(params, EvaluateParams):
        share_scores(params.changed(), executor, place)
    elif isinstance(params, FinetuneParams | ConvertParams | SynthesizeParams):
        share_guide_vectors(params, executor, place)


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
    stay_interruptible()
    shards = executor.submit(score_shards, asked).result()
    calls = [executor.submit(do_scores, shard) for shard in shards]
    stay_interruptible()
    for call in tqdm(as_completed(calls), total=len(calls), desc="models x tasks", unit="job"):
        error = call.exception()
        for line in [one_line(error)] if error else call.result():
            log.warning("%s", line)


def score_shards(asked: ScoreShard) -> list[ScoreShard]:
    """In a worker: the shards of an evaluation, those of one model after the other.

    Raises:
        DataError: a training table holds test texts; and whatever opening models and tasks raises.
    """
    with asked.surroundings.entered():
        quiet_libraries()
        params = check_params("evaluate", asked.parameters)
        sources, _ = tasks_of(params)
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
                except Exception as error:  # noqa: BLE001  # whatever a model, a data set or a task's own code raises
                    failed.append(f"{source.name}, {shard.model}: {one_line(error)}")
    return failed


@lru_cache(maxsize=1)  # the shards of a model come one after the other; the witness is another for each evaluation
def _opened(parameters: str, name: str, _witness: str) -> tuple[EvaluateParams, list[TaskSource], ScoredModel]:
    params = check_params("evaluate", json.loads(parameters))
    sources, _ = tasks_of(params)
    entries = open_entries(params, only=name)
    return params, sources, {**entries.models, **entries.references}[name]


def share_guide_vectors(
    params: FinetuneParams | ConvertParams | SynthesizeParams, executor: Executor, place: Surroundings
) -> None:
    """Embed on the executor what the notebook's guide will be asked for and has not embedded yet.

    Raises:
        GistError: what the notebook would raise of its data and its guide; a worker's guide is another one.
    """
    if isinstance(params, SynthesizeParams) and params.documents is None:
        return  # the texts are still to be written
    cache = guide_of(params)
    if params.guide is None or cache is None or not isinstance(cache.guide, ModelGuide):
        return  # nothing to embed, or an endpoint, which is asked by many calls at once anyway
    guide = params.guide_options(model_path(params.guide))
    stay_interruptible()
    cache.guide = ShardedGuide(cache.guide, partial(executor.submit, partial(_embed, guide, place)))
    if isinstance(params, SynthesizeParams):
        embed_chunks(task_of(params), cache)
        return
    for table in _tables(params):
        if isinstance(table, LabelledTexts):
            cache.alike(table.task_name, table.task_type).add(table.texts)
        else:
            GuideStore.build(table, cache)


def _embed(guide: GuideOptions, place: Surroundings, texts: list[str], prompt: str | None) -> tuple[str, np.ndarray]:
    with place.entered():
        return embed_shard(guide, texts, prompt, asked=place.witness)


def _tables(params: FinetuneParams | ConvertParams) -> list[Dataset | LabelledTexts]:
    """The texts that a notebook's guide will be asked for: triplet tables, or labelled texts."""
    if isinstance(params, FinetuneParams):
        return [concatenate(training_tables(params))]
    reading = params.part(ReadOptions)
    names = expand_sources(paths(params.sources))
    kinds = {name: kind_of(name, reading) for name in names}
    foreign = triplet_tables([n for n in names if kinds[n] == "triplets"], threshold=params.threshold)
    labelled = read_sources([n for n in names if kinds[n] == "labelled"], reading)
    found = {n: read_search(n, reading.split, reading.encoding) for n in names if kinds[n] == "search"}
    return [*labelled, *foreign.values(), *(search_pairs(search, name) for name, search in found.items())]
