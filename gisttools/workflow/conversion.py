"""What `2_convert` hands on, from its parameters: how to read, how to mine, and what must not stand in the table."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from gisttools.data import ReadOptions, Tiers, eval_sets, expand_sources, is_task, mteb_task, parse_task_name, subset_of
from gisttools.mining import MiningOptions
from gisttools.models import VectorCache
from gisttools.workflow.origins import paths
from gisttools.workflow.params import ConvertParams


def reading_of(params: ConvertParams) -> ReadOptions:
    """How to read labelled texts."""
    subset = tuple(params.subset) if isinstance(params.subset, list) else params.subset
    return ReadOptions(**_fields(params, ReadOptions) | {"subset": subset})


def mining_of(params: ConvertParams) -> MiningOptions:
    """How to mine them."""
    return MiningOptions(**_fields(params, MiningOptions))


def tiers_of(params: ConvertParams, guide: VectorCache) -> Tiers:
    """How alike two texts must be to overlap."""
    return Tiers(near=params.near, semantic=params.semantic, guide=guide if params.semantic else None)


def eval_sets_of(params: ConvertParams) -> dict[str, list[str]]:
    """The test texts that must not stand in the table, by evaluation set: those of the folders and MTEB tasks that are
    told, or else of the MTEB tasks among the sources, in the subsets that are read.

    Raises:
        MissingError: a task, its data or a file is missing.
    """
    found = eval_sets(folders=paths(params.eval_files))
    told = params.eval_tasks
    names = [s for s in expand_sources(paths(params.sources)) if is_task(s)] if told is None else told
    for name in names:
        task, subset, _ = parse_task_name(name)
        wanted = [subset] if subset else params.subset if isinstance(params.subset, list) else [params.subset]
        known = mteb_task(task)
        subsets = [subset_of(known, one) for one in wanted]
        texts = eval_sets([task], subsets=subsets)[task]
        found[task] = list(dict.fromkeys([*found.get(task, []), *texts]))
    return found


def _fields(params: ConvertParams, options: type) -> dict[str, Any]:
    values = params.model_dump()
    return {f.name: values[f.name] for f in fields(options) if f.name in values}
