"""Reads evaluate runs as contenders of a comparison, and writes the pages of `5_report`.

A contender is one tuned model of an evaluate run: what it and the baseline scored, and all that it is made of. The page
is that of one evaluation, the leaderboard of several, or both where one run holds several variants.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from gisttools.common import (
    MANIFEST,
    DataError,
    FinishedRun,
    MissingError,
    ParameterError,
    digest,
    problems,
    read_run,
    results_folder,
)
from gisttools.evaluation import (
    MODEL,
    Comparison,
    Contender,
    Leaderboard,
    Part,
    Scored,
    ScoredOn,
    ScoreRow,
    Seeds,
    comparison_table,
    differences,
    failed_targets,
    leaderboard,
    read_comparisons,
    read_rows,
    verdict_words,
)
from gisttools.report import TEXT, collect, forest, headline, variants_forest, write_report, write_sweep
from gisttools.workflow.folders import as_run, finished_runs, latest, open_run, run_folder, told_parameters
from gisttools.workflow.params import RERANKING

log = logging.getLogger(__name__)
# of an evaluation: what changes no score of the models that are compared
_OWN = {"model", "model_revision", "baseline", "baseline_revision", "batch_size", "allow_overlap", "references"}
_OWN |= {"allowed_loss", "published", "base_url", "key_variable", "candidates", "cross_entropy"}
_OWN |= {"reranker", "reranker_revision", "rerank_depth"}
_NO_MATTER = {"checkpoint_minutes", "tracking", "licence", *RERANKING}  # of a training: they change no model
_CHOSEN_BY = {"best_of"}  # runs that chose parameters, which are told as they were chosen
_COLUMNS = ("task", "subset", "metric", "base", "tuned", "standard_error", "freedom", "is_target")
_CARD = "model/README.md"
_DRAWS = ("base_draws", "tuned_draws")


def models_of(parameters: Mapping[str, Any]) -> list[str]:
    """The tuned models that the parameters of an evaluation name, each once."""
    model = parameters["model"]
    return list(dict.fromkeys([model] if isinstance(model, str) else model))


def read_contenders(names: Sequence[str]) -> list[Contender]:
    """One contender for each tuned model of these evaluate runs, by id or path.

    Raises:
        ParameterError: some are no evaluate runs; all of them at once.
        DataError: a run failed, is of an older kind, or its files changed since.
        MissingError: a run, or an artefact, is not there.
    """
    runs, found = _evaluate_runs(names)
    if found:
        fix = "Name evaluate runs by id or folder: gisttools runs evaluate."
        raise ParameterError(problems(f"compare: {len(found)} problem(s)", found, fix))
    return [contender for _, run in runs for contender in _contenders(run)]


def read_trainings(evaluations: Sequence[str]) -> list[Contender]:
    """The same of evaluate runs whose models come from finetune runs, so that their rows are known.

    Raises:
        ParameterError: one is no evaluate run, its model is no finetune run, or baselines differ; all problems at once.
        DataError: a run failed, or its files changed since.
        MissingError: a run or an artefact is not there.
    """
    runs, found = _evaluate_runs(evaluations)
    contenders: list[Contender] = []
    baselines: dict[str, str] = {}  # the first run of each
    for name, run in runs:
        if unknown := [model for model in models_of(run.parameters) if not _is_training(model)]:
            found.append(f"{name} is of {', '.join(unknown)}, which is no finetune run: its rows are not known")
            continue
        own = _contenders(run)
        baselines.setdefault(own[0].baseline, name)
        contenders += own
    if len(baselines) > 1:
        found.append("baselines differ: " + ", ".join(f"{name} against {b}" for b, name in baselines.items()))
    if found:
        fix = "Name evaluate runs of finetune runs, all with the same baseline."
        raise ParameterError(problems(f"evaluations: {len(found)} problem(s)", found, fix))
    return contenders


def contenders_to_compare(names: Sequence[str] = ()) -> list[Contender]:
    """The evaluate runs that are named; of none the newest, and all that can be compared with it, oldest first.

    These are of the same tasks and baseline; what `gisttools check` evaluated is no training to compare. Of runs of
    equal parameters and seeds the newest is taken; what does not fit is left out and logged.

    Raises:
        MissingError: no evaluation has run yet.
        ParameterError, DataError: as `read_contenders`.
    """
    if names:
        return read_contenders(names)
    runs = [run for run in finished_runs("evaluate") if run.ok and not _is_check(run)]
    if not runs:
        raise MissingError(
            f"No finished evaluate run in {results_folder()}. First run 3_finetune and 4_evaluate, or a "
            "recipe: gisttools run quickstart."
        )
    newest: Contender | None = None
    chosen: dict[str, Contender] = {}
    for run in reversed(runs):
        if _scored_on(run) != _scored_on(runs[-1]):
            continue
        if run is not runs[-1] and _lacking(run):
            log.info("%s is left out: it is of an older kind", run.id)
            continue
        for contender in reversed(_contenders(run)):
            newest = newest or contender
            if apart := differences(newest, contender):
                log.info("%s is left out: %s", contender.name, "; ".join(apart))
            else:
                chosen.setdefault(repr((sorted(contender.parameters.items()), contender.seeds)), contender)
    return list(reversed(chosen.values()))


def _evaluate_runs(names: Sequence[str]) -> tuple[list[tuple[str, FinishedRun]], list[str]]:
    """The evaluate runs with the names they were told by, and what is wrong with the other names."""
    runs, found = [], []
    for name in names:
        folder = as_run(name)
        run = None if folder is None else read_run(folder)
        if run is not None and run.verb == "evaluate":
            runs.append((name, run if run.ok else open_run(run.folder)))  # which says why it failed
        else:
            found.append(f"{name} is no evaluate run" + (f" but one of {run.verb}" if run else ""))
    return runs, found


def _is_check(run: FinishedRun) -> bool:
    """Whether it was made to hold a model against an earlier one, which is its baseline."""
    return not run.parameters.get("candidates", True) and _is_training(run.parameters.get("baseline") or "")


def _is_training(model: str) -> bool:
    folder = as_run(model)
    return folder is not None and read_run(folder).verb == "finetune"


def _scored_on(run: FinishedRun) -> dict[str, Any]:
    """An evaluation's parameters but for the models; the baseline is told by what was opened, not by what was said."""
    return {k: v for k, v in told_parameters(run).items() if k not in _OWN}


def _lacking(run: FinishedRun) -> list[str]:
    """Columns that an evaluate run of an older kind did not write."""
    known = pq.read_schema(run.artefact("comparison.parquet")).names
    return [column for column in _COLUMNS if column not in known]


def _contenders(run: FinishedRun) -> list[Contender]:
    """One contender for each tuned model of an evaluate run, in their order.

    Of several seeds of one variant the run keeps one interval; what it says of items is taken for each of them.
    """
    if lacking := _lacking(run):
        raise DataError(f"Run {run.id}: comparison.parquet lacks {', '.join(lacking)}. Evaluate again.")
    comparison, summary = read_comparisons(pd.read_parquet(run.artefact("comparison.parquet"))), run.summary
    models = models_of(run.parameters)
    roles = {model: "tuned" if i == 0 else f"tuned_{i + 1}" for i, model in enumerate(models)}
    items, scores = pq.read_table(run.artefact("items.parquet")), _main_scores(run)
    baseline, words = _baseline(summary), verdict_words(comparison, failed_targets(_failed(run)))
    found = []
    for model in models:
        contender = Contender(
            name=f"{run.id}, {model}" if len(models) > 1 else run.id,
            evaluation=run.id,
            parameters={MODEL: _pinned(model, run.parameters.get("model_revision"))},
            baseline=baseline,
            base={},
            tuned={},
        )
        contender = _with_training(contender, as_run(model))
        variant, seeds = _variant_of(model, summary)
        own = [row for row in comparison if variant in (None, row.variant)]
        contender = replace(contender, word=words.get(own[0].variant or "") if own else None)
        mine = items if variant is None else items.filter(pc.equal(items["variant"], variant))
        found.append(_with_scores(contender, roles[model], [roles[m] for m in seeds], own, _items(mine), scores))
    return found


def _failed(run: FinishedRun) -> pd.DataFrame | None:
    """What could not be scored; None of an earlier version."""
    try:
        return pd.read_parquet(run.artefact("failed.parquet"))
    except MissingError:
        return None


def _baseline(summary: Mapping[str, Any]) -> str:
    """Name and revision of the model that an evaluation compares with."""
    revision = (summary.get("revisions") or {}).get("base")
    return f"{summary['base']} ({revision})" if revision else str(summary["base"])


def _pinned(model: str, revision: str | None) -> str:
    return f"{model}@{revision}" if revision else model


def _variant_of(model: str, summary: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """The variant that a model is a seed of, and the models of all its seeds; no name in runs that told no variants."""
    for variant in summary.get("variants", ()):
        if model in variant["models"]:
            return variant["name"], variant["models"]
    return None, [model]


def _with_training(contender: Contender, folder: Path | None) -> Contender:
    """With what the training in `folder` says of parameters, seeds, rows, time and cost; as it is if there is none."""
    if folder is None or not (folder / MANIFEST).exists():
        return contender
    training = open_run(folder)
    summary = training.summary
    parameters, seeds = _made_of(training)
    return replace(
        contender,
        parameters=parameters,
        seeds=seeds,
        seconds=training.seconds,
        cost=summary.get("rows_cost_usd"),
        rows=summary.get("rows", summary.get("triplets")),
        priced=summary.get("rows_priced", 0),
        weights=_weights(training),
        smoke=training.smoke,
    )


def _weights(training: FinishedRun) -> str:
    """A hash of the model that a training left, whatever its card says; empty where it has none."""
    files = {name: sha for name, sha in training.artefacts.items() if name.startswith("model/") and name != _CARD}
    return digest(json.dumps(files, sort_keys=True), 32) if files else ""


def _with_scores(
    contender: Contender,
    role: str,
    roles: Sequence[str],
    comparison: Sequence[Comparison],
    items: Mapping[Part, _Items],
    scores: Mapping[tuple[str, Part], ScoreRow],
) -> Contender:
    """With what the model of `role` did; `roles` are all seeds of its variant, whose draws follow one another."""
    base: dict[Part, Scored] = {}
    tuned: dict[Part, Scored] = {}
    about: dict[Part, ScoredOn] = {}
    for row in comparison:
        part = (row.task, row.subset)
        told = scores.get((role, part))
        if scores and told is None:
            continue  # it failed here, another seed of its variant did not
        kept = items.get(part, _Items())
        freedom = math.inf if math.isnan(row.freedom) else row.freedom
        base[part] = Scored(score=row.base, values=kept.base)
        if told is not None and (row.n_seeds or 1) > 1:
            values = _of_seed(kept.tuned, role, [r for r in roles if (r, part) in scores])
            tuned[part] = Scored(score=told.score, values=values, variance=row.item_error**2, freedom=freedom)
        else:
            tuned[part] = Scored(score=row.tuned, values=kept.tuned, variance=row.standard_error**2, freedom=freedom)
        about[part] = ScoredOn(metric=row.metric, items=kept.hash)
        if told is not None:
            about[part] = replace(
                about[part], split=told.split, revision=told.revision, n_items=told.n_items, n_draws=told.n_draws
            )
    targets = frozenset(p for row in comparison if row.is_target and (p := (row.task, row.subset)) in tuned)
    return replace(contender, base=base, tuned=tuned, about=about, targets=targets)


def _of_seed(values: np.ndarray | None, role: str, roles: Sequence[str]) -> np.ndarray | None:
    """The draws of one seed; None where they are not kept, or are not equally many of each."""
    if values is None:
        return None
    n = len(values) // len(roles)
    return values[roles.index(role) * n :][:n] if n * len(roles) == len(values) else None


def _main_scores(run: FinishedRun) -> dict[tuple[str, Part], ScoreRow]:
    """Main scores by role and part, with the split and the data they are of, as far as the run kept that."""
    try:
        scores = pd.read_parquet(run.artefact("scores.parquet"))
    except MissingError:
        return {}
    if not {"is_main", "role", "task", "subset"} <= set(scores):
        return {}
    rows = [row for row in read_rows(ScoreRow, scores) if row.is_main]
    return {(row.role, (row.task, row.subset)): row for row in reversed(rows)}  # of several splits the first


@dataclass(frozen=True)
class _Items:
    """What base and tuned model got right on one part, (draws, items) each or None where that was not kept, and a hash
    of the texts and labels."""

    base: np.ndarray | None = None
    tuned: np.ndarray | None = None
    hash: str | None = None


def _items(table: pa.Table) -> dict[Part, _Items]:
    """What the item table says of each part."""
    if not len(table) or not {"task", "subset", "item"} <= set(table.column_names):
        return {}
    table = table.sort_by([("task", "ascending"), ("subset", "ascending"), ("item", "ascending")]).combine_chunks()
    names = list(zip(table["task"].to_pylist(), table["subset"].to_pylist(), strict=True))
    starts = [0, *(i for i in range(1, len(names)) if names[i] != names[i - 1]), len(names)]
    found = {}
    for start, stop in itertools.pairwise(starts):
        part = table.slice(start, stop - start)
        kept = stop - start > 1 and all(c in table.column_names for c in _DRAWS)
        base, tuned = (_matrix(part[c]) for c in _DRAWS) if kept else (None, None)
        found[names[start]] = _Items(base, tuned, _hash(part))
    return found


def _matrix(column: pa.ChunkedArray) -> np.ndarray | None:
    """(draws, items), of a column that holds a list of draws an item; None where their numbers differ."""
    lists = column.combine_chunks()
    draws = set(pc.list_value_length(lists).to_pylist())
    if len(draws) != 1 or None in draws:
        return None
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(float)
    return np.ascontiguousarray(flat.reshape(-1, draws.pop()).T)


def _hash(part: pa.Table) -> str | None:
    if not {"text", "gold"} <= set(part.column_names):
        return None
    digest = hashlib.blake2b(digest_size=8)
    for name in ("text", "gold"):
        for value in part[name].to_pylist():
            digest.update(repr(value).encode())
    return digest.hexdigest()


def _made_of(run: FinishedRun, before: str = "") -> tuple[dict[str, Any], Seeds]:
    """A run's parameters and seeds with those of the runs that they name, `convert.negatives` for one; so that runs
    which do the same count as the same, whatever their ids."""
    told: dict[str, Any] = {}
    seeds: list[tuple[str, Any]] = []
    times: Counter[str] = Counter()
    for name, value in told_parameters(run).items():
        if name in _CHOSEN_BY:
            continue
        shown = []
        for one in value if isinstance(value, list) else [value]:
            folder = as_run(one) if isinstance(one, str) and one else None
            if folder is None or not (folder / MANIFEST).exists():
                shown.append(one)
                continue
            source = read_run(folder)
            times[source.verb] += 1
            number = times[source.verb]
            label = source.verb + (str(number) if number > 1 else "")
            deeper, more = _made_of(source, f"{before}{label}.")
            told |= deeper
            seeds += more
            shown.append(label)
        if name.endswith("seed"):
            seeds.append((before + name, value))
        elif name not in _NO_MATTER:
            told[before + name] = shown if isinstance(value, list) else shown[0]
    return told, tuple(seeds)


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
        ParameterError: they cannot be compared, are no evaluate runs, or `latex` for several.
        MissingError, DataError: a run is not there, unfinished, failed, or its files changed.
    """
    names = [evaluation] if isinstance(evaluation, str) else list(dict.fromkeys(evaluation))
    if len(names) > 1:
        if latex:
            raise ParameterError("latex = True is for one evaluation; of several leaderboard.csv holds the numbers.")
        return _sweep(leaderboard(read_contenders(names)), folder)
    source = run_folder(latest("evaluate") if names[0] == "latest" else names[0])
    data = collect(source, results_folder())
    page = write_report(data, folder, latex=latex)
    if data.others:
        _sweep(leaderboard(read_contenders([str(source)])), folder)
    told = {"evaluation": data.evaluate.id}
    compared = any(row.scored for row in data.comparison)
    return Pages(
        page=page,
        picture=forest(comparison_table(data.comparison)) if compared else "There is no difference to draw.",
        text=folder / "report.md",
        headline=headline(data),
        summary=told,
    )


def _sweep(board: Leaderboard, folder: Path) -> Pages:
    page = write_sweep(board, folder)
    return Pages(
        page=page,
        picture=variants_forest(board),
        text=folder / TEXT,
        headline=board.headline(),
        summary=board.summary(),
    )
