"""Reads evaluate runs for what compares them: trials of several sizes, contenders of a leaderboard, and pages of both.

Of each model a run says its scores, the single items behind them, and what they were scored on; the runs that it came
from say all that it is made of.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    problems,
    read_run,
    results_folder,
)
from gisttools.evaluation import MODEL, Contender, Leaderboard, Part, Scored, Seeds, Trial, differences, leaderboard
from gisttools.report import TEXT, collect, forest, recipes_forest, write_report, write_sweep
from gisttools.workflow.folders import as_run, finished_runs, latest, open_run, run_folder, told_parameters

log = logging.getLogger(__name__)
_COLUMNS = ("task", "subset", "metric", "base", "tuned", "standard_error", "freedom", "is_target")
_DRAWS = ("base_draws", "tuned_draws")
_ABOUT = ("split", "revision", "n_items", "n_draws")


@dataclass(frozen=True, kw_only=True)
class ScoredParts:
    """Of one tuned model of an evaluate run.

    Attributes:
        model: what the run's parameters call it.
        base, tuned: by part what the baseline and it did.
        about: by part what it was scored on.
        targets: the parts that are targets.
    """

    model: str
    base: dict[Part, Scored]
    tuned: dict[Part, Scored]
    about: dict[Part, dict[str, Any]]
    targets: frozenset[Part]


def models_of(parameters: Mapping[str, Any]) -> list[str]:
    """The tuned models that the parameters of an evaluation name, each once."""
    model = parameters["model"]
    return list(dict.fromkeys([model] if isinstance(model, str) else model))


def read_scored(run: FinishedRun) -> list[ScoredParts]:
    """Read an evaluate run; one result for each of its tuned models, in their order.

    `about` holds of each part its metric, split, revision, n_items, n_draws and items (a hash of texts and labels), as
    far as the run kept them. Of several seeds of one recipe the run keeps one interval; what it says of items is taken
    for each of them.

    Raises:
        DataError: the run is of an older kind, failed, or its files changed since.
        MissingError: the run or an artefact is not there.
    """
    if lacking := _lacking(run):
        raise DataError(f"Run {run.id}: comparison.parquet lacks {', '.join(lacking)}. Evaluate again.")
    comparison = pd.read_parquet(run.artefact("comparison.parquet"))
    models = models_of(run.parameters)
    variants = {v["name"]: v["models"] for v in run.summary.get("variants", ())}
    items, scores = pq.read_table(run.artefact("items.parquet")), _main_scores(run)
    found = []
    for i, model in enumerate(models):
        role = "tuned" if i == 0 else f"tuned_{i + 1}"
        variant = next((v for v, members in variants.items() if model in members), None)
        own = comparison if variant is None else comparison[comparison["variant"] == variant]
        members = [model] if variant is None else variants[variant]
        roles = ["tuned" if models.index(m) == 0 else f"tuned_{models.index(m) + 1}" for m in members]
        mine = items if variant is None else items.filter(pc.equal(items["variant"], variant))
        found.append(_parts_of(model, role, roles, own, _items(mine), scores))
    return found


def _lacking(run: FinishedRun) -> list[str]:
    """Columns that an evaluate run of an older kind did not write."""
    known = pq.read_schema(run.artefact("comparison.parquet")).names
    return [column for column in _COLUMNS if column not in known]


@dataclass(frozen=True)
class _Items:
    """What base and tuned model got right, (draws, items) each or None where that was not kept, and a hash of the texts
    and labels."""

    base: np.ndarray | None = None
    tuned: np.ndarray | None = None
    hashed: str | None = None


def _parts_of(
    model: str,
    role: str,
    roles: Sequence[str],
    comparison: pd.DataFrame,
    items: Mapping[Part, _Items],
    scores: Mapping[tuple[str, Part], Mapping[str, Any]],
) -> ScoredParts:
    """What the model of `role` did; `roles` are all seeds of its recipe, whose draws stand one after the other."""
    base: dict[Part, Scored] = {}
    tuned: dict[Part, Scored] = {}
    about: dict[Part, dict[str, Any]] = {}
    for row in comparison.to_dict("records"):
        part = (row["task"], row["subset"])
        told, kept = scores.get((role, part), {}), items.get(part, _Items())
        if scores and not told:
            continue  # it failed here, another seed of its recipe did not
        base[part] = Scored(score=row["base"], values=kept.base)
        if row.get("n_seeds", 1) > 1:
            there = [r for r in roles if (r, part) in scores]
            score, error, values = told["score"], row["item_error"], _own_draws(kept.tuned, role, there)
        else:
            score, error, values = row["tuned"], row["standard_error"], kept.tuned
        freedom = row["freedom"] if np.isfinite(row["freedom"]) else np.inf
        tuned[part] = Scored(score=score, values=values, variance=error**2, freedom=freedom)
        known = {k: told[k] for k in _ABOUT if k in told and pd.notna(told[k])}
        about[part] = {"metric": row["metric"], **known} | ({"items": kept.hashed} if kept.hashed else {})
    targets = comparison[comparison["is_target"].astype(bool)]
    named = set(zip(targets["task"], targets["subset"], strict=True))
    return ScoredParts(model=model, base=base, tuned=tuned, about=about, targets=frozenset(named & base.keys()))


def _own_draws(values: np.ndarray | None, role: str, there: Sequence[str]) -> np.ndarray | None:
    """The draws of one seed's model, of those of all that were scored; None where they are not equally many."""
    if values is None or len(values) % len(there):
        return None
    n = len(values) // len(there)
    return values[there.index(role) * n :][:n]


def _main_scores(run: FinishedRun) -> dict[tuple[str, Part], dict[str, Any]]:
    """Main scores by role and part, with the split and the data they are of, as far as the run kept that."""
    try:
        scores = pd.read_parquet(run.artefact("scores.parquet"))
    except MissingError:
        return {}
    if not {"is_main", "role", "task", "subset"} <= set(scores):
        return {}
    rows = scores[scores["is_main"].astype(bool)].to_dict("records")
    return {(r["role"], (r["task"], r["subset"])): r for r in reversed(rows)}  # of several splits the first


def _items(table: pa.Table) -> dict[Part, _Items]:
    """What the run kept of the single items, by part."""
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


# of an evaluation: what changes no score of the models that are compared
_OWN = {"model", "model_revision", "baseline", "baseline_revision", "batch_size", "allow_overlap", "references"}
_OWN |= {"allowed_loss", "published", "base_url", "key_variable"}
_NO_MATTER = {"checkpoint_minutes", "tracking", "licence"}  # of a training: they change no model


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


def contenders_to_compare(names: Sequence[str] = ()) -> list[Contender]:
    """The evaluate runs that are named; of none the newest, and all that can be compared with it, oldest first.

    These are of the same tasks and baseline. Of runs of equal parameters and seeds the newest is taken; what does not
    fit is left out and logged.

    Raises:
        MissingError: no evaluation has run yet.
        ParameterError, DataError: as `read_contenders`.
    """
    if names:
        return read_contenders(names)
    runs = [run for run in finished_runs("evaluate") if run.ok]
    if not runs:
        raise MissingError(f"No finished evaluate run in {results_folder()}. Run 4_evaluate, or a recipe, first.")
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


def _scored_on(run: FinishedRun) -> dict[str, Any]:
    """An evaluation's parameters but for the models; the baseline is told by what was opened, not by what was said."""
    return {k: v for k, v in told_parameters(run).items() if k not in _OWN}


def _contenders(run: FinishedRun) -> list[Contender]:
    told, found = run.summary, read_scored(run)
    revision = (told.get("revisions") or {}).get("base")
    baseline = f"{told['base']} ({revision})" if revision else str(told["base"])
    pinned = run.parameters.get("model_revision")
    names = [f"{run.id}, {s.model}" if len(found) > 1 else run.id for s in found]
    return [_contender(name, run.id, baseline, pinned, s) for name, s in zip(names, found, strict=True)]


def _contender(name: str, run: str, baseline: str, pinned: str | None, scored: ScoredParts) -> Contender:
    model, folder = scored.model, as_run(scored.model)
    parameters: Mapping[str, Any] = {MODEL: f"{model}@{pinned}" if pinned else model}
    seeds: Seeds = ()
    seconds = cost = None
    if folder is not None and (folder / MANIFEST).exists():
        training = open_run(folder)
        parameters, seeds = _made_of(training)
        seconds, cost = training.seconds, training.summary.get("rows_cost_usd")
    return Contender(
        name=name,
        evaluation=run,
        parameters=parameters,
        seeds=seeds,
        baseline=baseline,
        base=scored.base,
        tuned=scored.tuned,
        about=scored.about,
        targets=scored.targets,
        seconds=seconds,
        cost=cost,
    )


def _made_of(run: FinishedRun, before: str = "") -> tuple[dict[str, Any], Seeds]:
    """A run's parameters and seeds with those of the runs that they name, `convert.negatives` for one; so that runs
    which do the same count as the same, whatever their ids."""
    told: dict[str, Any] = {}
    seeds: list[tuple[str, Any]] = []
    times: Counter[str] = Counter()
    for name, value in told_parameters(run).items():
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


def read_trials(evaluations: Sequence[str]) -> list[Trial]:
    """One trial for each tuned model of these evaluate runs, by id or path.

    Raises:
        ParameterError: one is no evaluate run, its model is no finetune run, or baselines differ; all problems at once.
        DataError: a run failed, or its files changed since.
        MissingError: a run or an artefact is not there.
    """
    runs, found = _evaluate_runs(evaluations)
    trials, baselines = [], {}
    for name, run in runs:
        models = models_of(run.parameters)
        if unknown := [model for model in models if not _is_training(model)]:
            found.append(f"{name} is of {', '.join(unknown)}, which is no finetune run: its rows are not known")
            continue
        told = run.summary
        baselines.setdefault(f"{told['base']} ({(told.get('revisions') or {}).get('base')})", name)  # the first of each
        for scored in read_scored(run):
            trials.append(_trial(f"{name}, {scored.model}" if len(models) > 1 else name, scored))
    if len(baselines) > 1:
        found.append("baselines differ: " + ", ".join(f"{name} against {b}" for b, name in baselines.items()))
    if found:
        fix = "Name evaluate runs of finetune runs, all with the same baseline."
        raise ParameterError(problems(f"evaluations: {len(found)} problem(s)", found, fix))
    return trials


def _is_training(model: str) -> bool:
    folder = as_run(model)
    return folder is not None and read_run(folder).verb == "finetune"


def _trial(name: str, scored: ScoredParts) -> Trial:
    training = open_run(scored.model)
    summary, parameters = training.summary, told_parameters(training)
    return Trial(
        name=name,
        rows=summary.get("rows", summary["triplets"]),
        priced=summary.get("rows_priced", 0),
        cost=summary.get("rows_cost_usd"),
        seed=(parameters["seed"], parameters["limit_seed"]),
        base=scored.base,
        tuned=scored.tuned,
        metrics={part: about["metric"] for part, about in scored.about.items()},
        targets=scored.targets,
    )


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
    source = run_folder(latest("evaluate") if names[0] == "latest" else names[0])
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
        headline=data.evaluate.headline,
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
