"""What benchmarks score by: mteb's own tasks, a classifier on all labels, intervals over seeds and items together."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

PENALTY = 3.0  # of `benchmarks/linear.py`


def remember(student) -> None:
    """Let `student.encode` embed each text once, for scores that ask for the same ones; training must be over."""
    encode, known = student.encode, {}

    def remembered(texts, *, prompt=None, normalize_embeddings=False, convert_to_tensor=False, **rest):
        if prompt or isinstance(texts, str):
            options = {"normalize_embeddings": normalize_embeddings, "convert_to_tensor": convert_to_tensor}
            return encode(texts, prompt=prompt, **options, **rest)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            known.update(zip(missing, encode(missing, **rest), strict=True))
        found = np.stack([known[text] for text in texts])
        if normalize_embeddings:
            found /= np.linalg.norm(found, axis=1, keepdims=True)
        return torch.from_numpy(found) if convert_to_tensor else found

    student.encode = remembered


def score(student, tasks: Sequence[str], files: Sequence[str] = (), guards: Sequence[str] = ()):
    """Main scores (0 to 100) by task; by task, the share of draws that got each item right, or an STS set's cosines."""
    import mteb

    from gisttools.data import load_task, split_of
    from gisttools.evaluation import task_sources

    sources = task_sources(tasks, files, subsets=["en"] if tasks else None, guards=guards)
    scores, items = {}, {}
    for source in sources:
        task = source.make()
        name, kind = task.metadata.name, task.metadata.type
        if kind not in ("Classification", "STS"):
            continue
        load_task(task)
        with tempfile.TemporaryDirectory() as scratch:  # no cache: models of a path share one key
            options = {"batch_size": 64, "show_progress_bar": False}
            quiet = {"show_progress_bar": False, "co2_tracker": False}
            done = mteb.evaluate(student, task, cache=None, prediction_folder=scratch, encode_kwargs=options, **quiet)
            saved = json.loads((Path(scratch) / task.prediction_file_name).read_text(encoding="utf-8"))
        ((split, (part,)),) = done.task_results[0].scores.items()
        subset = part["hf_subset"]
        data = split_of(task, subset, split)
        scores[name] = 100 * part["main_score"]
        if kind == "STS":
            items[name] = np.asarray(saved[subset][split]["cosine_scores"])
            items[f"{name}.gold"] = np.asarray(data["score"])
        else:
            answers = np.asarray(saved[subset][split])
            items[name] = (answers == np.asarray(data[task.label_column_name])).mean(0)
    return scores, items


def linear(
    student, train: tuple[Sequence[str], Sequence[str]], test: tuple[Sequence[str], Sequence[str]]
) -> np.ndarray:
    """Whether logistic regression on the unit vectors of all of `train` gets each text of `test` right."""
    from sklearn.linear_model import LogisticRegression

    def vectors(texts):
        return student.encode(list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False)

    fitted = LogisticRegression(C=PENALTY, max_iter=1000).fit(vectors(train[0]), np.asarray(train[1]))
    return (fitted.predict(vectors(test[0])) == np.asarray(test[1])).astype(float)


def few_shot(student, train, test, *, shots: int = 8, draws: int = 10, by_text: bool = False):
    """Mean accuracy (0 to 100) of classifiers fitted on `shots` texts of each label, as mteb's classification tasks;
    `by_text`: the share of them that got each text right, (n,)."""
    from sklearn.linear_model import LogisticRegression

    texts, labels = np.asarray(train[0], dtype=object), np.asarray(train[1])
    rng = np.random.default_rng(0)
    chosen = [
        np.concatenate([rng.permutation(np.flatnonzero(labels == name))[:shots] for name in np.unique(labels)])
        for _ in range(draws)
    ]
    used = np.unique(np.concatenate(chosen))
    vectors = np.zeros((len(texts), student.get_embedding_dimension()), dtype=np.float32)
    vectors[used] = student.encode(texts[used].tolist(), batch_size=64, show_progress_bar=False)
    asked, right = student.encode(list(test[0]), batch_size=64, show_progress_bar=False), np.asarray(test[1])
    found = [LogisticRegression(max_iter=100).fit(vectors[rows], labels[rows]).predict(asked) for rows in chosen]
    share = np.mean([answers == right for answers in found], axis=0)
    return share if by_text else 100 * float(share.mean())


def interval(task: str, one: list, other: list):
    """`other` minus `one`, paired by seed: arrays of items, one a seed."""
    from gisttools.evaluation import crossed_interval, draws_interval, metric_bootstrap, spearman

    if f"{task}.gold" not in one[0]:
        return crossed_interval(*(np.stack([x[task] for x in side]) for side in (one, other)))
    gold = one[0][f"{task}.gold"]
    if len(one) == 1:
        return metric_bootstrap(one[0][task], other[0][task], gold, spearman)
    return draws_interval(*([float(spearman(x[task], gold)) for x in side] for side in (one, other)))
