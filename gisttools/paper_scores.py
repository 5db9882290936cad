"""The scores of the GISTEmbed paper: four students on the 56 tasks of MTEB (English, v1), as they came and tuned.

From A. V. Solatorio, *GISTEmbed: Guided In-sample Selection of Training Negatives for Text Embedding Fine-tuning*,
arXiv 2402.16829, and the MTEB leaderboard of 2024-07-06. `paper_scores.csv` holds the figures, in points.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pandas as pd

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


def paper_scores(tasks: Iterable[str]) -> pd.DataFrame:
    """What the paper's students scored on those of the given tasks that it has: averages by category and over all.

    Args:
        tasks: names of mteb tasks; others are passed over. The paper has the English subsets of multilingual ones.

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
    for student, (base, gist) in STUDENTS.items():
        for category, part in groups.items():
            before, after = part[base].mean() / 100, part[gist].mean() / 100
            whole = len(table) if category == _ALL else int((table["category"] == category).sum())
            rows.append([student, category, len(part), whole, before, after, after - before])
    return pd.DataFrame(rows, columns=_COLUMNS)


@cache
def _table() -> pd.DataFrame:
    table = pd.read_csv(Path(__file__).with_name("paper_scores.csv"))
    return table.assign(task=table["task"].str.replace(r" \(.*\)$", "", regex=True))
