"""What `5_report` writes: the page of one evaluation, the leaderboard of a sweep, or both where one run holds several
variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from gisttools.common import ParameterError
from gisttools.evaluation import Leaderboard, leaderboard
from gisttools.report import TEXT, collect, forest, recipes_forest, write_report, write_sweep
from gisttools.workflow.contenders import read_contenders
from gisttools.workflow.places import results_folder
from gisttools.workflow.runs import evaluation_folder


@dataclass(frozen=True, kw_only=True)
class Pages:
    """`page` is the one to open first, `text` the same as Markdown, `picture` its differences with their intervals;
    `summary` and `headline` are for the run."""

    page: Path
    picture: Figure | str
    text: Path
    headline: str
    summary: dict[str, Any]


def write_pages(evaluation: str | Sequence[str], folder: Path, *, latex: bool = False) -> Pages:
    """Write the report of one evaluation, or the leaderboard of several, into `folder`.

    Args:
        evaluation: an evaluate run by id or path, or "latest"; of several the leaderboard is made.
        folder: of the files; see `gisttools.report.write_report` and `gisttools.report.write_sweep`.
        latex: write `table.tex` as well; of a single evaluation only.

    Raises:
        ParameterError: they cannot stand side by side, are no evaluate runs, or `latex` for several.
        MissingError, DataError: a run is not there, unfinished, failed, or its files changed.
    """
    names = [evaluation] if isinstance(evaluation, str) else list(dict.fromkeys(evaluation))
    if len(names) > 1:
        if latex:
            raise ParameterError("latex = True is for one evaluation; of several leaderboard.csv holds the numbers.")
        return _sweep(leaderboard(read_contenders(names)), folder)
    source = evaluation_folder(names[0])
    data = collect(source, results_folder())
    page = write_report(data, folder, latex=latex)
    if data.others is not None:
        _sweep(leaderboard(read_contenders([str(source)])), folder)
    told = {"evaluation": data.evaluate.id}
    compared = data.comparison["difference"].notna().any()
    return Pages(
        page=page,
        picture=forest(data.comparison) if compared else "There is no difference to draw.",
        text=folder / "report.md",
        headline=data.evaluate.manifest["headline"],
        summary=told,
    )


def _sweep(board: Leaderboard, folder: Path) -> Pages:
    page = write_sweep(board, folder)
    return Pages(
        page=page,
        picture=recipes_forest(board),
        text=folder / TEXT,
        headline=board.headline(),
        summary=board.summary(),
    )
