"""Reads scores of others to compare with: mteb's public results, and those of the GISTEmbed paper.

Public results are of the same tasks and the same revisions of their data. They are read from mteb's own copy
(`mteb.ResultCache().download_from_remote()` makes one), and else file by file from where mteb publishes them. Out of
reach they are left out, with a note.

The paper has four students on the 56 tasks of MTEB (English, v1), as they came and tuned: A. V. Solatorio, *GISTEmbed:
Guided In-sample Selection of Training Negatives for Text Embedding Fine-tuning*, arXiv 2402.16829, and the MTEB
leaderboard of 2024-07-06. `paper_scores.csv` holds the figures, in points.
"""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import quote

import mteb
import pandas as pd

from gisttools.common import MissingError, did_you_mean, first_line
from gisttools.evaluation.tasks import offline

CITATION = "A. V. Solatorio, arXiv 2402.16829; MTEB leaderboard of 2024-07-06"
# each student's two columns
STUDENTS = {
    "all-MiniLM-L6-v2": ("sentence-transformers/all-MiniLM-L6-v2", "avsolatorio/GIST-all-MiniLM-L6-v2"),
    "bge-small-en-v1.5": ("BAAI/bge-small-en-v1.5", "avsolatorio/GIST-small-Embedding-v0"),
    "bge-base-en-v1.5": ("BAAI/bge-base-en-v1.5", "avsolatorio/GIST-Embedding-v0"),
    "bge-large-en-v1.5": ("BAAI/bge-large-en-v1.5", "avsolatorio/GIST-large-Embedding-v0"),
}
_COLUMNS = ["student", "category", "n_tasks", "of_tasks", "base", "gist", "difference"]
_ALL = "all tasks"


def paper_scores(tasks: Iterable[str], models: Iterable[str] | None = None) -> pd.DataFrame:
    """What the paper's students scored on those of the given tasks that it has: averages by category and over all.

    Args:
        tasks: names of mteb tasks; others are passed over. The paper has the English subsets of multilingual ones.
        models: names of models that ran, wherever they lie; only the students among them are told of. All if None.

    Returns:
        `student`, `category` (a kind of tasks, or `all tasks`), `n_tasks` (averaged here), `of_tasks` (that the paper
        has of the category), `base`, `gist` and `difference`, between 0 and 1. No rows where it has none of the tasks.
    """
    table = _table()
    ran = table[table["task"].isin(set(tasks))]
    groups = {kind: ran[ran["category"] == kind] for kind in dict.fromkeys(ran["category"])}
    if len(groups) > 1:
        groups[_ALL] = ran
    rows = []
    ran_here = None if models is None else {name.partition("@")[0].replace(":", "/").split("/")[-1] for name in models}
    for student, (base, gist) in STUDENTS.items():
        if ran_here is not None and student not in ran_here and gist.split("/")[-1] not in ran_here:
            continue
        for category, part in groups.items():
            before, after = part[base].mean() / 100, part[gist].mean() / 100
            whole = len(table) if category == _ALL else int((table["category"] == category).sum())
            rows.append([student, category, len(part), whole, before, after, after - before])
    return pd.DataFrame(rows, columns=_COLUMNS)


@cache
def _table() -> pd.DataFrame:
    table = pd.read_csv(Path(__file__).with_name("paper_scores.csv"))
    return table.assign(task=table["task"].str.replace(r" \(.*\)$", "", regex=True))


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
        except (OSError, ValueError, LookupError, TypeError, AttributeError, MissingError) as error:
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
