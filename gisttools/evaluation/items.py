"""Takes a task's main score apart into items, from the predictions that mteb saved, and gives it its interval.

What an item is depends on the kind of task: a test text, a pair, a query, a draw of documents. Macro-F1 is no mean over
items; `f1_values` writes it as one. What a query adds is computed by the code that mteb itself uses (pytrec_eval). The
items must add up to the score that mteb reports, else there is no interval.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gisttools.common import DataError
from gisttools.data import document_of
from gisttools.evaluation.intervals import (
    Interval,
    clustered_interval,
    crossed_interval,
    draws_interval,
    metric_bootstrap,
    resampled_interval,
    spearman,
)

if TYPE_CHECKING:
    from datasets import Dataset
    from mteb import AbsTask

Split: TypeAlias = "Dataset | Mapping[str, Any]"  # the data of one split; a mapping of parts where a task is a search
Scores: TypeAlias = Mapping[str, Any]  # mteb's scores of one model on one subset, by metric
Saved: TypeAlias = Any  # the predictions that mteb saved of one model: lists or mappings, by the kind of task


def f1_values(answers: ArrayLike, truth: ArrayLike) -> NDArray:
    """Each item's part in macro-F1: the mean over a draw's items is its macro-F1, their spread is its noise.

    An item's value is the score plus how it changes as the item gains weight, times the number of items (the
    infinitesimal jackknife: Efron 1982, "The Jackknife, the Bootstrap and Other Resampling Plans", chapter 6). So F1 of
    two models is compared as accuracy is, over draws crossed with items. Rare classes make this rougher: what a class
    of two items adds is hardly known.

    Args:
        answers: (draws, items) labels, or (draws, items, labels) of 0 and 1 where an item has several.
        truth: (items,) or (items, labels), likewise.

    Returns:
        (draws, items) float64. Labels that occur in neither the truth nor the draw's answers are left out, as
        scikit-learn does; of several labels they count as 0, as it does too.

    Raises:
        DataError: the shapes do not fit.
    """
    answers, truth = np.asarray(answers), np.asarray(truth)
    if answers.shape[1:] != truth.shape or truth.ndim not in (1, 2):
        raise DataError(f"Answers of shape {answers.shape} do not fit true labels of shape {truth.shape}.")
    values = np.empty(answers.shape[:2])
    for draw, answer in enumerate(answers):
        if truth.ndim == 1:
            labels = np.union1d(truth, answer)
            said, true = (x[:, None] == labels for x in (answer, truth))
        else:
            said, true = answer.astype(bool), truth.astype(bool)
        hit = said & true
        either = said.astype(float) + true
        size = either.sum(axis=0)
        size = np.where(size > 0, size, 1.0)
        f1 = 2 * hit.sum(axis=0) / size
        pull = (2 * hit - f1 * either) / size
        values[draw] = f1.mean() + len(truth) * pull.mean(axis=1)
    return values


def own_label_f1(answers: ArrayLike, truth: ArrayLike) -> NDArray:
    """F1 of each item's own true label, (items,); the mean over items is F1 weighted by support.

    For matching, where an item is a label of its own, as in bitext mining.

    Args:
        answers, truth: (items,), the index said and the right one.
    """
    answers, truth = np.asarray(answers), np.asarray(truth)
    size = 1 + max(int(answers.max(initial=0)), int(truth.max(initial=0)))
    hits = np.bincount(truth[answers == truth], minlength=size)
    f1 = 2 * hits / np.maximum(np.bincount(answers, minlength=size) + np.bincount(truth, minlength=size), 1)
    return f1[truth]


def average_precision(scores: NDArray, truth: NDArray) -> NDArray:
    """Average precision along the last axis, equal scores counted together; NaN where nothing is positive.

    As scikit-learn's `average_precision_score`, for many resamples at once.

    Args:
        scores: (..., items), higher for pairs that look alike.
        truth: (..., items), 1 for positive pairs, 0 for others.
    """
    order = np.argsort(-scores, axis=-1)
    ranked, positive = (np.take_along_axis(x, order, axis=-1) for x in (scores, truth))
    n = scores.shape[-1]
    place = np.arange(n)
    last = np.concatenate([ranked[..., 1:] != ranked[..., :-1], np.ones((*ranked.shape[:-1], 1), dtype=bool)], axis=-1)
    # where each item's run of equal scores ends: precision is taken there
    ends = np.minimum.accumulate(np.where(last, place, n)[..., ::-1], axis=-1)[..., ::-1]
    found = np.cumsum(positive, axis=-1)
    precision = np.take_along_axis(found, ends, axis=-1) / (ends + 1)
    total = found[..., -1]
    return np.divide((precision * positive).sum(axis=-1), total, out=np.full(total.shape, np.nan), where=total > 0)


_TREC = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall", "precision": "P", "hit_rate": "success"}
_AT = re.compile(r"(ndcg|map|recall|precision|hit_rate|mrr)_at_(\d+)")


def query_scores(
    ranked: Mapping[str, Mapping[str, float]],
    relevant: Mapping[str, Mapping[str, int]],
    metric: str,
    *,
    ignore_identical_ids: bool = False,
    skip_first_result: bool = False,
) -> dict[str, float] | None:
    """Each query's score by its id; None for a metric that is no mean over queries.

    Args:
        ranked: mteb's saved predictions: scores of documents, by query and document id.
        relevant: how relevant documents are, by query and document id; queries that none is relevant to are left out.
        metric: as mteb calls it, such as `ndcg_at_10`, `map_at_1000`, `mrr_at_10`, `recall_at_5` or `accuracy`.
        ignore_identical_ids, skip_first_result: as the task has them.
    """
    import pytrec_eval

    named = _AT.fullmatch("recall_at_1" if metric == "accuracy" else metric)
    if named is None:
        return None
    name, k = named[1], int(named[2])
    truth = {query: {d: int(r) for d, r in found.items()} for query, found in relevant.items() if found}
    run = {query: dict(documents) for query, documents in ranked.items() if query in truth}
    if ignore_identical_ids:
        run = {query: {d: s for d, s in documents.items() if d != query} for query, documents in run.items()}
    if skip_first_result:
        run = {q: dict(sorted(found.items(), key=lambda pair: pair[1], reverse=True)[1:]) for q, found in run.items()}
    if name == "mrr":
        return {query: _reciprocal_rank(documents, truth[query], k) for query, documents in run.items()}
    scores = pytrec_eval.RelevanceEvaluator(truth, {f"{_TREC[name]}.{k}"}).evaluate(run)
    return {query: float(found[f"{_TREC[name]}_{k}"]) for query, found in scores.items()}


def source_documents(relevant: Mapping[str, Mapping[str, int]], queries: list[str]) -> list[tuple[str, ...]]:
    """The documents each query was written for: queries that share all of theirs are no independent items. Chunks count
    as the document that they are of, where their ids tell it; documents whose chunks answer one question are one."""
    answers = [[d for d, r in relevant[q].items() if r > 0] for q in queries]
    joined: dict[str, str] = {}  # of documents whose chunks answer one question together: another of them

    def of(document: str) -> str:
        while document in joined:
            document = joined[document]
        return document

    for found in answers:
        first, *others = dict.fromkeys(of(document_of(d)) for d in found if document_of(d) != d) or [""]
        joined |= dict.fromkeys(others, first)
    return [
        tuple(sorted({of(document_of(d)) for d in found})) or (q,) for q, found in zip(queries, answers, strict=True)
    ]


def _reciprocal_rank(documents: Mapping[str, float], relevant: Mapping[str, int], k: int) -> float:
    # equal scores stand by descending id, as trec_eval has them
    top = sorted(documents.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)[:k]
    return next((1 / rank for rank, (d, _) in enumerate(top, start=1) if relevant.get(d, 0) > 0), 0.0)


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


def task_interval(
    task: AbsTask, data: Split | None, raw: Sequence[Scores], predictions: Sequence[Saved | None], *, seed: int = 0
) -> Interval | None:
    """The interval of the main score's difference on one subset, or None where this kind of task has none yet.

    Args:
        task: the mteb task, its data loaded.
        data: the split, as `gisttools.data.split_of` gives it.
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


def _other(
    task: AbsTask, data: Split | None, raw: Sequence[Scores], predictions: Sequence[Saved] | None, seed: int
) -> Interval | None:
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


def item_values(
    task: AbsTask, data: Split | None, raw: Sequence[Scores], predictions: Sequence[Saved | None]
) -> list[NDArray] | None:
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


def true_labels(task: AbsTask, data: Split) -> NDArray | None:
    """(items,) labels, or (items, labels) of 0 and 1 where a text has several; None where mteb scored a sample."""
    labels = data[task.label_column_name]
    if task.metadata.type != "MultilabelClassification":
        return np.asarray(labels)
    from sklearn.preprocessing import MultiLabelBinarizer

    most = getattr(task, "max_eval_samples", None)
    return None if most is not None and len(data) > most else MultiLabelBinarizer().fit_transform(labels)


def _classified(task: AbsTask, data: Split, raw: Sequence[Scores], predictions: Sequence[Saved]) -> Interval | None:
    values = _classified_values(task, data, raw, predictions)
    if values is None:
        return None
    found = crossed_interval(*values)
    f1 = task.metadata.main_score == "f1"
    return replace(found, method=f"{found.method}, F1 taken apart by item") if f1 else found


def _classified_values(
    task: AbsTask, data: Split, raw: Sequence[Scores], predictions: Sequence[Saved]
) -> list[NDArray] | None:
    """(draws, items) of each model: what each test text adds to accuracy or F1."""
    truth, metric = true_labels(task, data), task.metadata.main_score
    if truth is None or metric not in ("accuracy", "f1"):
        return None
    if any(len(draw) != len(truth) for p in predictions for draw in p):
        return None  # cross-validation: each fold has items of its own
    answers = [np.asarray(p) for p in predictions]
    if any(a.shape[1:] != truth.shape for a in answers):
        return None
    if metric == "f1":
        values = [f1_values(a, truth) for a in answers]
    else:
        values = [(a == truth).reshape(*a.shape[:2], -1).all(axis=-1).astype(float) for a in answers]
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


def _correlated(
    task: AbsTask, data: Split, raw: Sequence[Scores], predictions: Sequence[Saved], seed: int
) -> Interval | None:
    name, _, kind = task.metadata.main_score.rpartition("_")
    saved = _SIMILARITIES.get(name or "similarity")
    values = [p.get(saved[0]) for p in predictions] if saved else []
    if kind != "spearman" or not all(values):
        return None
    scores, truth = [np.asarray(v, dtype=float) for v in values], np.asarray(data["score"], dtype=float)
    if not _adds_up(task, raw, [float(spearman(s, truth)) for s in scores]):
        return None
    return metric_bootstrap(scores[0], scores[1], truth, spearman, seed=seed)


def _pairs(
    task: AbsTask, data: Split, raw: Sequence[Scores], predictions: Sequence[Saved], seed: int
) -> Interval | None:
    """Under the similarity that gave mteb's score, one for each model: a maximum taken anew in each resample would
    flatter both."""
    name, _, kind = task.metadata.main_score.rpartition("_")
    if kind != "ap" or name not in ("max", *_SIMILARITIES):
        return None
    labels = data[task.label_column_name]
    truth = np.asarray(labels[0] if len(data) == 1 else labels, dtype=float)
    scores = []
    for result, saved in zip(raw, predictions, strict=True):
        best = max(_SIMILARITIES, key=lambda s: result.get(f"{s}_ap", -1.0)) if name == "max" else name
        key, sign = _SIMILARITIES[best]
        scores.append(sign * np.asarray(saved[key], dtype=float))
    if not _adds_up(task, raw, [float(average_precision(s, truth)) for s in scores]):
        return None
    found = metric_bootstrap(scores[0], scores[1], truth, average_precision, seed=seed)
    return replace(found, method=f"{found.method}, each model under its best similarity") if name == "max" else found


def _searched(task: AbsTask, data: Split, raw: Sequence[Scores], predictions: Sequence[Saved]) -> Interval | None:
    options = {k: getattr(task, k, False) for k in ("ignore_identical_ids", "skip_first_result")}
    relevant, metric = data["relevant_docs"], task.metadata.main_score
    scores = [s for p in predictions if (s := query_scores(p, relevant, metric, **options)) is not None]
    if len(scores) < 2 or any(len(s) < 2 for s in scores) or scores[0].keys() != scores[1].keys():
        return None
    within = _CLOSE if metric.startswith("mrr") else _ROUNDED
    queries = sorted(scores[0])
    sources = source_documents(relevant, queries)
    if len(set(sources)) < 2 or not _adds_up(task, raw, [float(np.mean(list(s.values()))) for s in scores], within):
        return None
    base, tuned = ([s[q] for q in queries] for s in scores)
    return clustered_interval(base, tuned, sources)


def _matched(task: AbsTask, data: Split, raw: Sequence[Scores], predictions: Sequence[Saved]) -> Interval | None:
    values = _matched_values(task, data, raw, predictions)
    return None if values is None else crossed_interval(*values)


def _matched_values(
    task: AbsTask, data: Split, raw: Sequence[Scores], predictions: Sequence[Saved]
) -> list[NDArray] | None:
    if "gold" in getattr(data, "column_names", ()) or any(len(p) != 1 for p in predictions):
        return None
    said = [np.asarray([match["corpus_id"] for match in next(iter(p.values()))], dtype=int) for p in predictions]
    values = [own_label_f1(s, np.arange(s.size)) for s in said]
    return values if _adds_up(task, raw, [v.mean() for v in values]) else None


def _summaries(task: AbsTask, raw: Sequence[Scores], predictions: Sequence[Saved]) -> Interval | None:
    truth = predictions[0]["human_scores"]
    if truth != predictions[1]["human_scores"]:  # mteb leaves out a text whose summaries score alike
        return None
    values = [
        [float(spearman(np.asarray(s), np.asarray(g))) for s, g in zip(p["cosine_scores"], truth, strict=True)]
        for p in predictions
    ]
    return crossed_interval(*values) if _adds_up(task, raw, [float(np.mean(v)) for v in values]) else None


def _clustered(task: AbsTask, data: Split | None, raw: Sequence[Scores]) -> Interval | None:
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


def _adds_up(task: AbsTask, raw: Sequence[Scores], scores: Sequence[float], within: float = _CLOSE) -> bool:
    pairs = [(float(score), float(result["main_score"])) for score, result in zip(scores, raw, strict=True)]
    if all(abs(ours - told) <= within for ours, told in pairs):
        return True
    name, metric = task.metadata.name, task.metadata.main_score
    log.warning("%s: no interval, saved predictions give %s (ours, mteb's) %s", name, metric, pairs)
    return False
