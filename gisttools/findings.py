"""What an evaluation finds, task by task: scores of each model, comparisons of each variant, and what failed."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from gisttools.common import DataError, GistError, MissingError, problems, tqdm
from gisttools.data import cleaned_task, load_task, train_texts_in_test
from gisttools.evaluated import Variant
from gisttools.score_cache import KeptScores, ScoreCache
from gisttools.scored_models import ScoredModel
from gisttools.scoring import fits, kept_scores, one_line, score
from gisttools.task_sources import TaskSource, was_trained_on
from gisttools.training_seeds import compare_seeds

log = logging.getLogger(__name__)
BASE = "base"
_REFERENCES = {"name": "str", "kind": "str", "task": "str", "subset": "str", "metric": "str", "score": "float64"}
_TEXTS = 1000  # of a task that does not tell its size, for the time left


@dataclass
class Findings:
    """What has been found so far, task by task; what fails for one model is recorded, the others go on.

    `kept`: scores by task and role (or reference); `encoded`: texts embedded in this run, by role.
    """

    comparison: list[dict] = field(default_factory=list)
    items: list[dict] = field(default_factory=list)
    failed: list[dict] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    kept: dict[tuple[str, str], KeptScores] = field(default_factory=dict)  # (task, role or reference)
    encoded: Counter = field(default_factory=Counter)

    def fail(self, source: TaskSource, model: str, error: Exception) -> None:
        log.warning("%s, %s failed: %s", source.name, model, one_line(error), exc_info=not isinstance(error, GistError))
        told = {"task": source.name, "model": model, "error": one_line(error), "is_target": source.is_target}
        self.failed.append(told)
        self.errors.append(error)

    def score(
        self, source: TaskSource, name: str, model: ScoredModel, cache: ScoreCache, batch_size: int, bar: tqdm
    ) -> None:
        size = size_of(source)
        try:
            kept = kept_scores(model, source, cache)
            if kept is None and fits(model, source):
                kept = score(model, source, cache, batch_size=batch_size)
                self.encoded[name] += kept.embedded
                bar.update(size)
            else:
                bar.total -= size  # it took no time, so it must not count in the time left
            if kept is not None:
                self.kept[source.name, name] = kept
                log.info("%s, %s: %s", source.name, name, {k: v["main_score"] for k, v in kept.raw.items()})
        except Exception as error:  # whatever a model, a data set or a task's own code raises
            bar.total -= size
            self.fail(source, name, error)

    def compare(
        self,
        source: TaskSource,
        variant: Variant,
        opened: Mapping[str, ScoredModel],
        shared: pd.DataFrame,
        cache: ScoreCache,
        seed: int,
    ) -> None:
        """Add a variant's rows of one task, as far as its models and the baseline were scored."""
        results = [self.kept.get((source.name, role)) for role in (BASE, *variant.roles)]
        base, tuned = results[0], [result for result in results[1:] if result is not None]
        if base is None or not tuned:
            return
        try:
            rows = cache.comparison([base, *tuned], seed)
            if rows is None:
                task = source.make()
                load_task(task)
                rows = compare_seeds(task, base.result(), [result.result() for result in tuned], seed=seed)
                cache.keep_comparison([base, *tuned], seed, rows)
        except Exception as error:
            self.fail(source, f"comparison of {variant.name}", error)
            return
        known = set(shared["text"][(shared["task"] == source.name) & (shared["variant"] == variant.name)])
        trained = None if variant.trained_on is None else was_trained_on(source.train_source, variant.trained_on)
        # as mteb tells it: test texts that stand in the task's own train split, and its cleaned version
        counted = train_texts_in_test(source.name) if source.is_mteb else None
        training_sets = variant.training_sets
        if training_sets is None:
            training_sets = opened[variant.roles[0]].training_sets
        base_zero_shot = _zero_shot(source, opened[BASE].training_sets, None)
        zero_shot = _zero_shot(source, training_sets, trained)
        for row in rows:
            test_texts, items = row.pop("texts"), row.pop("items")
            self.items += [{**item, "variant": variant.name} for item in items]
            self.comparison.append(
                {
                    **row,
                    "is_target": source.is_target,
                    "overlap": len(known.intersection(test_texts)) if variant.trained_on is not None else None,
                    "n_test": len(test_texts),
                    "in_train": sum(counted.values()) if counted else None,
                    "cleaned_task": cleaned_task(source.name) if source.is_mteb else None,
                    "trained_on": trained,
                    "variant": variant.name,
                    "group": source.group,
                    "base_zero_shot": base_zero_shot,
                    "zero_shot": None if None in (base_zero_shot, zero_shot) else base_zero_shot and zero_shot,
                }
            )

    def copy_predictions(self, source: TaskSource, roles: Iterable[str], folder: Path) -> None:
        for role in roles:
            kept = self.kept.get((source.name, role))
            if kept is not None and kept.predictions is not None:
                target = folder / "predictions" / role / f"{source.name}.json"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(kept.predictions, target)

    def refuse_nothing(self, sources: Sequence[TaskSource]) -> None:
        """An evaluation fails where nothing could be compared, or none of its targets."""
        compared = {row["task"] for row in self.comparison}
        targets = {source.name for source in sources if source.is_target}
        if compared & targets or (compared and not targets):
            return
        what = "None of the targets" if compared else "Nothing"
        told = [f"{f['task']}, {f['model']}: {f['error']}" for f in self.failed]
        message = problems(f"{what} could be compared:", told, "What was scored is kept: a repeat goes on from there.")
        if all(isinstance(error, MissingError) for error in self.errors):
            raise MissingError(message)
        raise DataError(message)

    def reference_table(self, references: Mapping[str, ScoredModel]) -> pd.DataFrame:
        rows = [
            {"name": name, "kind": references[name].kind, **{k: row[k] for k in ("task", "subset", "metric", "score")}}
            for (_, name), kept in self.kept.items()
            if name in references
            for row in kept.rows
            if row["is_main"]
        ]
        return pd.DataFrame(rows, columns=list(_REFERENCES)).astype(_REFERENCES)


def size_of(source: TaskSource) -> int:
    """About how many texts a model is asked for, to tell the time left."""
    told = (source.make().metadata.descriptive_stats or {}) if source.is_mteb else {}
    return sum(int(part.get("num_samples") or 0) for part in told.values() if isinstance(part, dict)) or _TEXTS


def _zero_shot(source: TaskSource, training_sets: frozenset[str] | None, trained: bool | None) -> bool | None:
    """Was a model never trained on the task, as far as is known?"""
    if trained:
        return False
    return None if training_sets is None else source.name not in training_sets
