"""A baseline and tuned models on the same tasks: scores, paired comparisons, and the single items behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from sentence_transformers import SentenceTransformer

from gisttools.common import GistError, tqdm
from gisttools.data import SHARED_COLUMNS, refuse_shared, shared_texts
from gisttools.evaluated import Evaluation, Variant
from gisttools.findings import BASE, Findings, size_of
from gisttools.judgement import ALLOWED_LOSS, judge
from gisttools.score_cache import KeptScores, ScoreCache
from gisttools.scored_models import ScoredModel, scored
from gisttools.task_sources import TaskSource
from gisttools.verdicts import average_table

_ITEMS = ["task", "item", "text", "gold", "base_correct", "tuned_correct", "base_answer", "tuned_answer", "subset"]
_ITEMS += ["base_draws", "tuned_draws", "variant"]
_FAILED = {"task": "str", "model": "str", "error": "str", "is_target": "bool"}


def evaluate(
    models: Mapping[str, SentenceTransformer | ScoredModel],
    sources: Sequence[TaskSource],
    folder: Path,
    *,
    variants: Sequence[Variant] | None = None,
    references: Mapping[str, ScoredModel] | None = None,
    trained_on: Sequence[str] | None = None,
    training_texts: Sequence[str] = (),
    allow_overlap: bool = False,
    allowed_loss: float = ALLOWED_LOSS,
    batch_size: int = 64,
    seed: int = 0,
    cache: ScoreCache | None = None,
) -> Evaluation:
    """Run every task on the baseline and the tuned models and compare them item by item.

    Scores are kept (`gisttools.score_cache`): an evaluation that was stopped goes on with the task it was at, and one
    that is repeated costs little. A task that fails for a model is recorded, the others go on.

    Args:
        models: {"base": ..., "tuned": ...}, and a role of its own for each further tuned model.
        sources: from `task_sources`.
        folder: gets `predictions/<role>/`.
        variants: which roles are seeds of one recipe, each recipe compared with the baseline; the model called "tuned"
            if None.
        references: models shown beside, scored and not judged.
        trained_on: where `variants` is None: sources of the tuned model's training table (task names, folders); None
            if not known.
        training_texts: where `variants` is None: texts of that table, to look for test texts among them: equal ones
            and near copies.
        allow_overlap: compare although there are some; they are counted and listed.
        allowed_loss: what a guard may lose, in points.
        batch_size: texts embedded at a time.
        seed: of the bootstrap.
        cache: where scores are kept; the usual folder if None.

    Raises:
        DataError: a training table holds test texts, and `allow_overlap` is False; told before any model runs.
        MissingError, DataError: nothing could be compared, or none of several targets; every failure is listed.
    """
    told = None if trained_on is None else tuple(trained_on)
    variants = tuple(variants or [Variant(trained_on=told, training_texts=tuple(training_texts))])
    cache, found = cache or ScoreCache(), Findings()
    shared = overlap_with(sources, variants, found, allow=allow_overlap)
    opened = {role: scored(model, role) for role, model in models.items()}
    lost = {failure["task"] for failure in found.failed}
    usable = [source for source in sources if source.name not in lost]
    jobs = {**opened, **(references or {})}
    with tqdm(total=sum(map(size_of, usable)) * len(jobs), desc="evaluating", unit="text", unit_scale=True) as bar:
        for source in usable:
            for name, model in jobs.items():
                bar.set_postfix_str(f"{source.name} ({name})")
                if name == BASE or (source.name, BASE) in found.kept:  # without the baseline nothing can be compared
                    found.score(source, name, model, cache, batch_size, bar)
            for variant in variants:
                found.compare(source, variant, opened, shared, cache, seed)
            found.copy_predictions(source, opened, folder)
    found.refuse_nothing(sources)
    judged = judge(found.comparison, allowed_loss=allowed_loss)
    own = [(role, kept) for (_, role), kept in found.kept.items() if role in opened]
    return Evaluation(
        scores=pd.DataFrame([{"role": role, **row} for role, kept in own for row in kept.rows]),
        comparison=pd.DataFrame(judged),
        items=pd.DataFrame(found.items, columns=_ITEMS),
        overlap=shared,
        references=found.reference_table(references or {}),
        averages=average_table(judged),
        failed=pd.DataFrame(found.failed, columns=list(_FAILED)).astype(_FAILED),
        speed={role: _speed(kept for r, kept in own if r == role) for role in opened},
        encoded={role: found.encoded[role] for role in jobs},
        variants=variants,
    )


def overlap_with(
    sources: Sequence[TaskSource], variants: Sequence[Variant], found: Findings, *, allow: bool
) -> pd.DataFrame:
    """Test texts that training tables hold, variant by variant; a task whose data is out of reach is recorded."""
    by_table: dict[tuple[str, ...], pd.DataFrame] = {}
    reachable = list(sources)
    for texts in dict.fromkeys(variant.training_texts for variant in variants):
        parts = [shared_texts({}, ())]
        for source in list(reachable) if texts else ():
            try:
                parts.append(shared_texts({source.name: source.make}, texts, allow=True))
            except GistError as error:
                reachable.remove(source)
                found.fail(source, "data", error)
        by_table[texts] = pd.concat([p for p in parts if len(p)] or parts[:1], ignore_index=True)
    if not allow:
        refuse_shared(pd.concat([p for p in by_table.values() if len(p)] or [*by_table.values()], ignore_index=True))
    tables = [by_table[variant.training_texts].assign(variant=variant.name) for variant in variants]
    shared = pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)
    return shared.astype({"variant": "str"})[[*SHARED_COLUMNS, "variant"]]


def _speed(results: Iterable[KeptScores]) -> float | None:
    results = list(results)
    seconds = sum(kept.seconds for kept in results)
    return sum(kept.embedded for kept in results) / seconds if seconds else None
