"""Guide vectors, embedded side by side before a notebook starts; this process alone writes them to the cache."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from typing import Any

import numpy as np

from gisttools.data import concatenate, expand_sources, kind_of, nested_subset, read_sources, triplet_tables
from gisttools.models import GuideName, ModelGuide, ShardedGuide, embed_shard
from gisttools.training import GuideStore
from gisttools.workflow.conversion import reading_of
from gisttools.workflow.finetune_params import FinetuneParams
from gisttools.workflow.origins import guide_of, model_path, paths
from gisttools.workflow.params import ConvertParams
from gisttools.workflow.runs import inputs
from gisttools.workflow.surroundings import Surroundings


def share_guide_vectors(params: FinetuneParams | ConvertParams, executor: Executor, place: Surroundings) -> None:
    """Embed on the executor what the notebook's guide will be asked for and has not embedded yet.

    Raises:
        GistError: what the notebook would raise of its data and its guide; a worker's guide is another one.
    """
    cache = guide_of(params)
    if cache is None or not isinstance(cache.guide, ModelGuide):
        return  # nothing to embed, or an endpoint, which is asked by many calls at once anyway
    name = GuideName(
        name=model_path(params.guide), revision=params.guide_revision, prompt=params.guide_prompt, asked=place.witness
    )
    cache.guide = ShardedGuide(cache.guide, lambda texts: executor.submit(partial(_embed, name, place), texts))
    for table in _tables(params):
        if isinstance(table, list):
            cache.add(table)
        else:
            GuideStore.build(table, cache)


def _embed(name: GuideName, place: Surroundings, texts: list[str]) -> tuple[str, np.ndarray]:
    with place.entered():
        return embed_shard(name, texts)


def _tables(params: FinetuneParams | ConvertParams) -> list[Any]:
    """The texts that a notebook's guide will be asked for: triplet tables, or lists of texts."""
    if isinstance(params, FinetuneParams):
        names = inputs(params.triplets, "triplets.parquet")
        tables = triplet_tables(names, rows=params.rows, instructions=params.instructions)
        return [concatenate(nested_subset(tables, params.limit, seed=params.limit_seed))]
    reading = reading_of(params)
    names = expand_sources(paths(params.sources))
    kinds = {name: kind_of(name, reading) for name in names}
    foreign = triplet_tables([n for n in names if kinds[n] == "triplets"], threshold=params.threshold)
    labelled = read_sources([n for n in names if kinds[n] == "labelled"], reading)
    return [*(list(texts.texts) for texts in labelled), *foreign.values()]
