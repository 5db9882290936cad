"""Scores of mteb's public results, to stand beside: of the same tasks and the same revisions of their data.

They are read from mteb's own copy of the results (`mteb.ResultCache().download_from_remote()` makes one), and else file
by file from where mteb publishes them. Out of reach they are left out, with a note.
"""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from urllib.parse import quote

import mteb
import pandas as pd

from gisttools.common import MissingError, did_you_mean
from gisttools.data import first_line
from gisttools.task_sources import offline

PREFIX = "published:"
_ADDRESS = "https://raw.githubusercontent.com/embeddings-benchmark/results/main/"
_SECONDS = 5.0


def published_scores(
    names: Sequence[str], scores: pd.DataFrame, *, read: Callable[[str], str | None] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """The public main scores of models on the tasks of an evaluation, and notes on what is not there.

    Args:
        names: of models of mteb's registry, with or without `published:` before them.
        scores: the table of an evaluation, for its tasks, subsets, splits and the revisions of their data.
        read: gives the content of a file of the results by its path, None where there is none; raises OSError where
            they are out of reach. For tests.

    Returns:
        Rows of a table of references (`name`, `kind` = published, `task`, `subset`, `metric`, `score`). A score of
        another revision of the data is left out, for it cannot be compared.

    Raises:
        MissingError: mteb's registry has no model of a name.
    """
    plain = [name.removeprefix(PREFIX) for name in names]
    paths = {name: _folder(name) for name in plain}
    read, rows, notes = read or _read, [], []
    wanted = scores[scores["is_main"]].drop_duplicates(["task", "subset", "split"])
    for name, folder in paths.items():
        other, lacking = [], []
        try:
            for task, parts in wanted.groupby("task", sort=False):
                content = read(f"{folder}/{task}.json")
                if content is None:
                    lacking.append(task)
                    continue
                told = json.loads(content)
                if told.get("dataset_revision") != parts["revision"].iloc[0]:
                    other.append(task)
                    continue
                rows += [{"name": f"{PREFIX}{name}", "kind": "published", **row} for row in _rows(told, parts)]
        except (OSError, ValueError, MissingError) as error:
            notes.append(f"Published scores of {name} are out of reach: {first_line(error)}")
        if lacking:
            notes.append(f"{name} has no published scores of {', '.join(lacking)}.")
        if other:
            notes.append(f"Published scores of {name} are of other data, so they are left out: {', '.join(other)}.")
    return pd.DataFrame(rows, columns=["name", "kind", "task", "subset", "metric", "score"]), notes


def _rows(told: dict, parts: pd.DataFrame) -> list[dict]:
    found = []
    for part in parts.itertuples():
        for score in told["scores"].get(part.split, ()):
            value = score.get("main_score")
            if score.get("hf_subset") == part.subset and isinstance(value, int | float) and math.isfinite(value):
                found.append({"task": part.task, "subset": part.subset, "metric": part.metric, "score": float(value)})
    return found


def _folder(name: str) -> str:
    from mteb.models.model_implementations import MODEL_REGISTRY

    if name not in MODEL_REGISTRY:
        raise MissingError(f"{PREFIX}{name}: mteb's registry has no such model.{did_you_mean(name, MODEL_REGISTRY)}")
    about = MODEL_REGISTRY[name]
    return f"results/{about.model_name_as_path()}/{about.revision}"


def _read(path: str) -> str | None:
    cache = mteb.ResultCache()
    if cache.has_remote:
        file = cache.remote_repo_path / path
        return file.read_text(encoding="utf-8") if file.exists() else None
    if offline():
        raise MissingError("this is offline (HF_HUB_OFFLINE), and there is no copy of mteb's results")
    try:
        with urllib.request.urlopen(_ADDRESS + quote(path), timeout=_SECONDS) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
