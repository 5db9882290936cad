"""Two models on the same mteb tasks: scores, paired comparison, and the single items behind them."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pandas as pd
from sentence_transformers import SentenceTransformer

from gisttools.comparison import TaskResult, compare
from gisttools.errors import DataError, MissingError, problems
from gisttools.eval_sets import eval_task, split_of
from gisttools.judgement import judge
from gisttools.leakage import shared_texts
from gisttools.local_tasks import local_tasks
from gisttools.models import revision_of
from gisttools.mteb_sets import cleaned_task, load_task, mteb_task, train_texts_in_test
from gisttools.progress import tqdm

log = logging.getLogger(__name__)
ROLES = ("base", "tuned")


@dataclass(frozen=True)
class TaskSource:
    """How to make a task afresh: tasks hold random state, so every model gets its own copy."""

    name: str
    make: Callable[[], Any]
    is_target: bool
    train_source: str  # what a training table names as its source if it used this task's train split
    is_mteb: bool = True  # one of mteb's own tasks


@dataclass(frozen=True)
class Evaluation:
    """`scores`: one row per role, task, subset and metric. `comparison`: one row per task and subset. `items`: one
    row per test text of classification tasks. `overlap`: one row per test text that the training table holds.
    `speed`: texts a second, by role."""

    scores: pd.DataFrame
    comparison: pd.DataFrame
    items: pd.DataFrame
    overlap: pd.DataFrame
    speed: dict[str, float | None]

    def headline(self) -> str:
        """One line for the first target task: scores, difference, interval."""
        r = self.comparison.sort_values("is_target", ascending=False, kind="stable").iloc[0]
        text = f"{r.task} {r.metric} {100 * r.base:.1f} → {100 * r.tuned:.1f} ({100 * r.difference:+.1f} points"
        if not np.isnan(r.low):
            text += f", 95 % interval {100 * r.low:+.1f} to {100 * r.high:+.1f}"
        return f"{text}): {r.verdict}"

    def table(self) -> pd.DataFrame:
        """The comparison as people read it: points out of 100."""
        hidden = ["is_target", "n_items", "n_draws", "task_type", "method", "in_train", "cleaned_task", "p"]
        hidden += ["mde", "items_for_one_point", "standard_error", "freedom", "allowed_loss", "non_inferior"]
        table = self.comparison.drop(columns=hidden + ["subset"] * (set(self.comparison["subset"]) == {"default"}))
        points = ["base", "tuned", "difference", "low", "high"]
        return table.assign(**{c: (100 * table[c]).round(1) for c in points}, p_holm=table["p_holm"].round(4))

    def save(self, folder: Path) -> None:
        """Write scores, comparison, items and overlap as Parquet."""
        for name in ("scores", "comparison", "items", "overlap"):
            getattr(self, name).to_parquet(folder / f"{name}.parquet")

    def summary(self, models: Mapping[str, SentenceTransformer], names: Mapping[str, str]) -> dict[str, Any]:
        """The numbers of this evaluation, for the run's summary; `names` tells what each role's model is called."""
        return {
            **names,
            "revisions": {role: revision_of(model, names[role]) for role, model in models.items()},
            "tasks": list(dict.fromkeys(self.comparison["task"])),
            "speed": {role: {"texts_per_s": speed} for role, speed in self.speed.items()},
            "dimension": {role: model.get_embedding_dimension() for role, model in models.items()},
        }


def task_sources(
    tasks: Sequence[str] = (),
    files: Sequence[str | Path] = (),
    *,
    subsets: Sequence[str] | None = None,
    guards: Sequence[str] = (),
) -> list[TaskSource]:
    """Tasks by mteb name, and folders of labelled files (`gisttools.local_tasks`).

    Args:
        tasks: names of mteb tasks the tuning is meant to help.
        files: folders with train and test files; each gives a classification and a clustering task.
        subsets: language subsets of multilingual tasks, e.g. ["en"]; all if None.
        guards: names of mteb tasks that the tuning must not hurt.

    Raises:
        MissingError: mteb knows no task of a name, or nothing was asked for.
        DataError: two of them have the same name.
    """
    found = []
    for name in [*tasks, *guards]:
        mteb_task(name)  # fails early, with the nearest names
        found.append(TaskSource(name, lambda name=name: eval_task(name, subsets), name in tasks, name))
    for folder in files:
        for i, task in enumerate(local_tasks(folder)):
            # clustering is a second look at the same texts; what the labels are for is telling them apart
            is_target = task.metadata.type == "Classification"
            found.append(
                TaskSource(task.metadata.name, lambda f=folder, i=i: local_tasks(f)[i], is_target, str(folder), False)
            )
    if not found:
        raise MissingError("Nothing to evaluate: give tasks (mteb names) or files (folders with train and test).")
    twice = [f"{name} ({n} times)" for name, n in Counter(s.name for s in found).items() if n > 1]
    if twice:
        mend = "Name each task once; a folder's task is called like the folder: rename one."
        raise DataError(problems("Tasks of the same name cannot be told apart:", twice, mend))
    return found


def evaluate(
    models: Mapping[str, SentenceTransformer],
    sources: Sequence[TaskSource],
    folder: Path,
    *,
    trained_on: Sequence[str] | None = None,
    training_texts: Sequence[str] = (),
    allow_overlap: bool = False,
    batch_size: int = 64,
    seed: int = 0,
) -> Evaluation:
    """Run every task on both models and compare them item by item.

    Args:
        models: {"base": ..., "tuned": ...}.
        sources: from `task_sources`.
        folder: gets `predictions/<role>/`.
        trained_on: sources of the tuned model's training table (task names, folders); None if not known.
        training_texts: texts of that table, to look for test texts among them: equal ones and near copies.
        allow_overlap: compare although there are some; they are counted and listed.
        batch_size: texts embedded at a time.
        seed: of the bootstrap.

    Raises:
        MissingError: a task's data cannot be loaded.
        DataError: the training table holds test texts, and `allow_overlap` is False; told before any model runs.
    """
    shared = shared_texts({source.name: source.make for source in sources}, training_texts, allow=allow_overlap)
    scores, comparison, items, seconds, texts = [], [], [], Counter(), Counter()
    jobs = [(source, role) for source in sources for role in ROLES]
    results: dict[tuple[str, str], TaskResult] = {}
    with tqdm(total=len(jobs), desc="evaluating", unit="task") as bar:
        for source, role in jobs:
            bar.set_postfix_str(f"{source.name} ({role})")
            task = source.make()
            load_task(task)
            result = _run(models[role], task, folder / "predictions" / role, batch_size)
            results[source.name, role] = result
            log.info("%s, %s: %s", source.name, role, {k: v["main_score"] for k, v in result.raw.items()})
            seconds[role] += result.embed_seconds
            texts[role] += result.embedded
            bar.update(1)
            if role == ROLES[-1]:
                for part in compare(task, results[source.name, "base"], result, seed=seed):
                    test_texts = part.pop("texts")
                    part["is_target"] = source.is_target
                    known = set(shared["text"][shared["task"] == source.name])
                    part["overlap"] = len(known.intersection(test_texts)) if trained_on is not None else None
                    part["n_test"] = len(test_texts)
                    # as mteb tells it: test texts that stand in the task's own train split, and its cleaned version
                    counted = train_texts_in_test(source.name) if source.is_mteb else None
                    part["in_train"] = sum(counted.values()) if counted else None
                    part["cleaned_task"] = cleaned_task(source.name) if source.is_mteb else None
                    part["trained_on"] = None if trained_on is None else _used(source.train_source, trained_on)
                    items += part.pop("items")
                    comparison.append(part)
    for (_, role), result in results.items():
        scores += [{"role": role, **row} for row in result.scores]
    speed = {role: texts[role] / seconds[role] if seconds[role] else None for role in ROLES}
    columns = ["task", "item", "text", "gold", "base_correct", "tuned_correct", "base_answer", "tuned_answer"]
    columns += ["subset", "base_draws", "tuned_draws"]
    return Evaluation(
        pd.DataFrame(scores), pd.DataFrame(judge(comparison)), pd.DataFrame(items, columns=columns), shared, speed
    )


def _run(model: SentenceTransformer, task, folder: Path, batch_size: int) -> TaskResult:
    meter = _Meter(model)
    # a scratch folder, no cache: mteb gives all models loaded from a path one cache key and one prediction file
    with tempfile.TemporaryDirectory(prefix="gisttools-") as scratch, meter:
        result = mteb.evaluate(
            model,
            task,
            cache=None,
            prediction_folder=scratch,
            encode_kwargs={"batch_size": batch_size, "show_progress_bar": False},
            show_progress_bar=False,
            co2_tracker=False,
        ).task_results[0]
        saved = Path(scratch) / task.prediction_file_name
        predictions = json.loads(saved.read_text(encoding="utf-8")) if saved.exists() else {}
    if predictions:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{task.metadata.name}.json").write_text(json.dumps(predictions), encoding="utf-8")
    rows = [row for split, parts in result.scores.items() for part in parts for row in _score_rows(task, split, part)]
    split = next(iter(result.scores))
    raw = {part["hf_subset"]: part for part in result.scores[split]}
    by_subset = {s: p[split] for s, p in predictions.items() if s != "mteb_model_meta" and split in p}
    return TaskResult(rows, raw, by_subset, split, meter.seconds, meter.texts)


def _score_rows(task, split: str, part: dict) -> list[dict]:
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
        "revision": task.metadata.dataset.get("revision"),
    }
    return [
        {**common, "metric": metric, "is_main": metric == task.metadata.main_score, "score": float(value)}
        for metric, value in part.items()
        if isinstance(value, int | float) and metric != "main_score"
    ]


def _used(train_source: str, trained_on: Sequence[str]) -> bool:
    """Whether the training table names this task (or the one of which it is the cleaned `.v2`), or a file of this
    folder, as a source."""
    if train_source.removesuffix(".v2") in {source.removesuffix(".v2") for source in trained_on}:
        return True
    folder = Path(train_source)
    return any(folder.resolve() in (Path(s).resolve(), Path(s).resolve().parent) for s in trained_on if folder.exists())


class _Meter:
    """Counts texts and seconds spent in a model's `encode`."""

    def __init__(self, model: SentenceTransformer) -> None:
        self.model, self.seconds, self.texts = model, 0.0, 0

    def __enter__(self) -> None:
        encode = self.model.encode
        encode(["A first text pays for what is set up once."], show_progress_bar=False)

        def metered(inputs, *args, **kwargs):
            started = time.monotonic()
            result = encode(inputs, *args, **kwargs)
            self.seconds += time.monotonic() - started
            self.texts += len(inputs)
            return result

        self.model.encode = metered

    def __exit__(self, *_) -> None:
        del self.model.encode
