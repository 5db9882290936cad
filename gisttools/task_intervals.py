"""The interval of a task, from the predictions that mteb saved of both models: what an item is in each kind of task.

Before an interval is given, the items must add up to the scores that mteb reports.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gisttools.common import DataError
from gisttools.intervals import Interval
from gisttools.item_metrics import average_precision, f1_values, own_label_f1
from gisttools.mean_intervals import clustered_interval, crossed_interval, resampled_interval
from gisttools.query_scores import query_scores, source_documents
from gisttools.statistics import draws_interval, metric_bootstrap, spearman

log = logging.getLogger(__name__)
_CLOSE = 1e-6
_ROUNDED = 5e-6 + 1e-9  # mteb rounds what trec_eval says to five places
# mteb's name of a similarity in a metric, that of its saved values, and the sign that makes higher mean more alike
_SIMILARITIES = {
    "cosine": ("cosine_scores", 1),
    "dot": ("dot_scores", 1),
    "similarity": ("similarity_scores", 1),
    "manhattan": ("manhattan_distances", -1),
    "euclidean": ("euclidean_distances", -1),
}


def task_interval(task, data, raw: Sequence[Mapping], predictions: Sequence[Any], *, seed: int = 0) -> Interval | None:
    """The interval of the main score's difference on one subset, or None where this kind of task has none yet.

    Args:
        task: the mteb task, its data loaded.
        data: the split, as `eval_sets.split_of` gives it.
        raw: mteb's scores of base and tuned model on this subset.
        predictions: mteb's saved predictions of both; None where it saved none.
        seed: of the bootstrap.

    Raises:
        DataError: saved answers of a classification task do not give the accuracy that mteb reports. In other kinds of
            tasks that is logged and there is no interval: mteb has tasks that score in a way of their own.
    """
    kind, metric = task.metadata.type, task.metadata.main_score
    saved = data is not None and all(predictions)
    if saved and kind in ("Classification", "MultilabelClassification"):
        found = _classified(task, data, raw, predictions)
    else:
        try:
            found = _other(task, data, raw, predictions if saved else None, seed)
        except DataError as error:  # one item, or scores that are all equal: no reason to lose an evaluation
            log.warning("%s: no interval. %s", task.metadata.name, error)
            found = None
    if found is None and all("scores_per_experiment" in r for r in raw):
        draws = [[e[metric] for e in r["scores_per_experiment"]] for r in raw]
        found = draws_interval(*draws) if len(draws[0]) > 1 else None
    return found


def _other(task, data, raw, predictions, seed: int) -> Interval | None:
    kind, metric = task.metadata.type, task.metadata.main_score
    if kind == "Clustering" and "v_measures" in raw[1]:
        return _clustered(task, data, raw)
    if predictions is None or not all(isinstance(p, Mapping) for p in predictions):
        return None
    if isinstance(data, Mapping) and "relevant_docs" in data:
        return _searched(task, data, raw, predictions)
    if kind == "STS":
        return _correlated(task, data, raw, predictions, seed)
    if kind == "PairClassification":
        return _pairs(task, data, raw, predictions, seed)
    if kind == "BitextMining" and metric == "f1":
        return _matched(task, data, raw, predictions)
    if kind == "Summarization" and metric == "cosine_spearman":
        return _summaries(task, raw, predictions)
    return None


def item_values(task, data, raw: Sequence[Mapping], predictions: Sequence[Any]) -> list[NDArray] | None:
    """What each item adds to the main score, (draws, items) or (items,) of each model; None where the score is no mean
    over independent items, or mteb did not save them. As `task_interval`, but for any number of models."""
    kind = task.metadata.type
    if data is None or not all(predictions):
        return None
    if kind in ("Classification", "MultilabelClassification"):
        return _classified_values(task, data, raw, predictions)
    if kind == "BitextMining" and task.metadata.main_score == "f1":
        return _matched_values(task, data, raw, predictions)
    return None


def gold_labels(task, data) -> NDArray | None:
    """(items,) labels, or (items, labels) of 0 and 1 where a text has several; None where mteb scored a sample."""
    labels = data[task.label_column_name]
    if task.metadata.type != "MultilabelClassification":
        return np.asarray(labels)
    from sklearn.preprocessing import MultiLabelBinarizer

    most = getattr(task, "max_eval_samples", None)
    return None if most is not None and len(data) > most else MultiLabelBinarizer().fit_transform(labels)


def _classified(task, data, raw, predictions) -> Interval | None:
    values = _classified_values(task, data, raw, predictions)
    if values is None:
        return None
    found = crossed_interval(*values)
    f1 = task.metadata.main_score == "f1"
    return replace(found, method=f"{found.method}, F1 taken apart by item") if f1 else found


def _classified_values(task, data, raw, predictions) -> list[NDArray] | None:
    """(draws, items) of each model: what each test text adds to accuracy or F1."""
    gold, metric = gold_labels(task, data), task.metadata.main_score
    if gold is None or metric not in ("accuracy", "f1"):
        return None
    if any(len(draw) != len(gold) for p in predictions for draw in p):
        return None  # cross-validation: each fold has items of its own
    answers = [np.asarray(p) for p in predictions]
    if any(a.shape[1:] != gold.shape for a in answers):
        return None
    if metric == "f1":
        values = [f1_values(a, gold) for a in answers]
    else:
        values = [(a == gold).reshape(*a.shape[:2], -1).all(axis=-1).astype(float) for a in answers]
    if not _adds_up(task, raw, [v.mean() for v in values]):
        if metric == "accuracy":
            told = " and ".join(
                f"{v.mean():.4f} (mteb: {r['main_score']:.4f})" for v, r in zip(values, raw, strict=True)
            )
            raise DataError(
                f"{task.metadata.name}: saved predictions give accuracy {told}. Was the data changed while it ran?"
            )
        return None
    return values


def _correlated(task, data, raw, predictions, seed: int) -> Interval | None:
    name, _, kind = task.metadata.main_score.rpartition("_")
    saved = _SIMILARITIES.get(name or "similarity")
    values = [p.get(saved[0]) for p in predictions] if saved else []
    if kind != "spearman" or not all(values):
        return None
    scores, gold = [np.asarray(v, dtype=float) for v in values], np.asarray(data["score"], dtype=float)
    if not _adds_up(task, raw, [float(spearman(s, gold)) for s in scores]):
        return None
    return metric_bootstrap(scores[0], scores[1], gold, spearman, seed=seed)


def _pairs(task, data, raw, predictions, seed: int) -> Interval | None:
    """Under the similarity that gave mteb's score, one for each model: a maximum taken anew in each resample would
    flatter both."""
    name, _, kind = task.metadata.main_score.rpartition("_")
    if kind != "ap" or name not in ("max", *_SIMILARITIES):
        return None
    labels = data[task.label_column_name]
    gold = np.asarray(labels[0] if len(data) == 1 else labels, dtype=float)
    scores = []
    for result, saved in zip(raw, predictions, strict=True):
        best = max(_SIMILARITIES, key=lambda s: result.get(f"{s}_ap", -1.0)) if name == "max" else name
        key, sign = _SIMILARITIES[best]
        scores.append(sign * np.asarray(saved[key], dtype=float))
    if not _adds_up(task, raw, [float(average_precision(s, gold)) for s in scores]):
        return None
    found = metric_bootstrap(scores[0], scores[1], gold, average_precision, seed=seed)
    return replace(found, method=f"{found.method}, each model under its best similarity") if name == "max" else found


def _searched(task, data, raw, predictions) -> Interval | None:
    options = {k: getattr(task, k, False) for k in ("ignore_identical_ids", "skip_first_result")}
    relevant, metric = data["relevant_docs"], task.metadata.main_score
    scores = [query_scores(p, relevant, metric, **options) for p in predictions]
    if any(s is None or len(s) < 2 for s in scores) or scores[0].keys() != scores[1].keys():
        return None
    within = _CLOSE if metric.startswith("mrr") else _ROUNDED
    queries = sorted(scores[0])
    sources = source_documents(relevant, queries)
    if len(set(sources)) < 2 or not _adds_up(task, raw, [float(np.mean(list(s.values()))) for s in scores], within):
        return None
    base, tuned = ([s[q] for q in queries] for s in scores)
    return clustered_interval(base, tuned, sources)


def _matched(task, data, raw, predictions) -> Interval | None:
    values = _matched_values(task, data, raw, predictions)
    return None if values is None else crossed_interval(*values)


def _matched_values(task, data, raw, predictions) -> list[NDArray] | None:
    if "gold" in getattr(data, "column_names", ()) or any(len(p) != 1 for p in predictions):
        return None
    said = [np.asarray([match["corpus_id"] for match in next(iter(p.values()))], dtype=int) for p in predictions]
    values = [own_label_f1(s, np.arange(s.size)) for s in said]
    return values if _adds_up(task, raw, [v.mean() for v in values]) else None


def _summaries(task, raw, predictions) -> Interval | None:
    gold = predictions[0]["human_scores"]
    if gold != predictions[1]["human_scores"]:  # mteb leaves out a text whose summaries score alike
        return None
    values = [
        [float(spearman(np.asarray(s), np.asarray(g))) for s, g in zip(p["cosine_scores"], gold, strict=True)]
        for p in predictions
    ]
    return crossed_interval(*values) if _adds_up(task, raw, [float(np.mean(v)) for v in values]) else None


def _clustered(task, data, raw) -> Interval | None:
    """Draws resample the documents, so their spread tells of other documents; legacy sets are no draws of one pool."""
    measures = [r["v_measures"] for r in raw]
    if not isinstance(measures[0], dict):
        return draws_interval(*measures) if len(measures[0]) > 1 else None
    levels = [[level for level in m.values() if len(level) > 1] for m in measures]
    drawn = getattr(task, "max_documents_per_cluster", None)
    if task.metadata.main_score == "v_measure" and data is not None and drawn and len(levels[0]) == 1:
        pool = len(data)
        if (fraction := getattr(task, "max_fraction_of_documents_to_embed", None)) is not None:
            pool = int(fraction * pool)
        elif (most := getattr(task, "max_document_to_embed", None)) is not None:
            pool = min(most, pool)
        # far larger draws hardly differ in their documents: what then varies is where k-means starts
        if drawn <= 2 * pool:
            return resampled_interval(levels[0][0], levels[1][0], n_items=pool, drawn=drawn)
    flat = [[x for level in m for x in level] for m in levels]
    return draws_interval(*flat) if len(flat[0]) > 1 else None


def _adds_up(task, raw: Sequence[Mapping], scores: Sequence[float], within: float = _CLOSE) -> bool:
    pairs = [(float(score), float(result["main_score"])) for score, result in zip(scores, raw, strict=True)]
    if all(abs(ours - told) <= within for ours, told in pairs):
        return True
    name, metric = task.metadata.name, task.metadata.main_score
    log.warning("%s: no interval, saved predictions give %s (ours, mteb's) %s", name, metric, pairs)
    return False
