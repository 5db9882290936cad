"""What `5_report` writes: the page of one evaluation, the leaderboard of a sweep, or both where one run holds several
variants.

What an evaluate run says of its models: scores, the single items behind them, and what they were scored on.

Evaluate runs as contenders of a comparison: what was scored, and all that the model is made of.

Trials of several sizes, read from evaluate runs and the finetune runs that they scored.
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

from gisttools.common import DataError, MissingError, ParameterError, problems
from gisttools.evaluation import MODEL, Contender, Leaderboard, Part, Scored, Seeds, Trial, differences, leaderboard
from gisttools.report import TEXT, collect, forest, recipes_forest, write_report, write_sweep
from gisttools.workflow.folders import artefact, as_run, evaluation_folder, finished_runs, read_summary
from gisttools.workflow.manifest import MANIFEST, read_manifest
from gisttools.workflow.params import VERBS
from gisttools.workflow.places import results_folder

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


def read_scored(name: str) -> list[ScoredParts]:
    """Read an evaluate run, by id or path; one result for each of its tuned models, in their order.

    `about` holds of each part its metric, split, revision, n_items, n_draws and items (a hash of texts and labels), as
    far as the run kept them. Of several seeds of one recipe the run keeps one interval; what it says of items is taken
    for each of them.

    Raises:
        DataError: the run is of an older kind, failed, or its files changed since.
        MissingError: the run or an artefact is not there.
    """
    comparison = pd.read_parquet(artefact(name, "comparison.parquet"))
    if lacking := [c for c in _COLUMNS if c not in comparison]:
        raise DataError(f"Run {name}: comparison.parquet lacks {', '.join(lacking)}. Evaluate again.")
    models = models_of(read_manifest(as_run(name))["parameters"])
    variants = {v["name"]: v["models"] for v in read_summary(name).get("variants", ())}
    items, scores = pq.read_table(artefact(name, "items.parquet")), _main_scores(name)
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


def _parts_of(
    model: str,
    role: str,
    roles: Sequence[str],
    comparison: pd.DataFrame,
    items: Mapping[Part, tuple[tuple[np.ndarray | None, np.ndarray | None], str | None]],
    scores: Mapping[tuple[str, Part], Mapping[str, Any]],
) -> ScoredParts:
    """What the model of `role` did; `roles` are all seeds of its recipe, whose draws stand one after the other."""
    base, tuned, about, targets = {}, {}, {}, set()
    for row in comparison.to_dict("records"):
        part = (row["task"], row["subset"])
        several, told = row.get("n_seeds", 1) > 1, scores.get((role, part))
        if scores and told is None:
            continue  # it failed here, another seed of its recipe did not
        (base_values, values), hashed = items.get(part, ((None, None), None))
        if values is not None and several:
            there = [r for r in roles if (r, part) in scores]
            n = len(values) // len(there)
            values = values[there.index(role) * n :][:n] if n * len(there) == len(values) else None
        error = row["item_error"] if several else row["standard_error"]
        freedom = row["freedom"] if np.isfinite(row["freedom"]) else np.inf
        score = told["score"] if several else row["tuned"]
        base[part] = Scored(score=row["base"], values=base_values)
        tuned[part] = Scored(score=score, values=values, variance=error**2, freedom=freedom)
        known = {k: told[k] for k in _ABOUT if k in told and pd.notna(told[k])} if told else {}
        about[part] = {"metric": row["metric"], **known} | ({"items": hashed} if hashed else {})
        targets |= {part} if row["is_target"] else set()
    return ScoredParts(model=model, base=base, tuned=tuned, about=about, targets=frozenset(targets))


def _main_scores(name: str) -> dict[tuple[str, Part], dict[str, Any]]:
    """Main scores by role and part, with the split and the data they are of, as far as the run kept that."""
    try:
        scores = pd.read_parquet(artefact(name, "scores.parquet"))
    except MissingError:
        return {}
    if not {"is_main", "role", "task", "subset"} <= set(scores):
        return {}
    rows = scores[scores["is_main"].astype(bool)].to_dict("records")
    return {(r["role"], (r["task"], r["subset"])): r for r in reversed(rows)}  # of several splits the first


def _items(table: pa.Table) -> dict[Part, tuple[tuple[np.ndarray | None, np.ndarray | None], str | None]]:
    """By part: what base and tuned model got right, (draws, items) each or None where that was not kept, and a hash of
    the texts and labels."""
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
        found[names[start]] = (base, tuned), _hash(part)
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


log = logging.getLogger(__name__)
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
    folders = {name: as_run(name) for name in names}
    found = []
    for name, folder in folders.items():
        manifest = {"verb": None} if folder is None else read_manifest(folder)
        if manifest["verb"] != "evaluate":
            found.append(f"{name} is no evaluate run" + (f" but one of {manifest['verb']}" if folder else ""))
    if found:
        mend = "Name evaluate runs by id or folder: gisttools runs evaluate."
        raise ParameterError(problems(f"compare: {len(found)} problem(s)", found, mend))
    return [contender for name in names for contender in _contenders(name)]


def contenders_to_compare(names: Sequence[str] = ()) -> list[Contender]:
    """The evaluate runs that are named; of none the newest, and all that can stand beside it, oldest first.

    These are of the same tasks and baseline. Of runs of equal parameters and seeds the newest is taken; what does not
    fit is left out and logged.

    Raises:
        MissingError: no evaluation has run yet.
        ParameterError, DataError: as `read_contenders`.
    """
    if names:
        return read_contenders(names)
    runs = [m for m in finished_runs("evaluate") if m["status"] == "ok"]
    if not runs:
        raise MissingError(f"No finished evaluate run in {results_folder()}. Run 4_evaluate, or a recipe, first.")
    newest, chosen = None, {}
    for manifest in reversed(runs):
        if _scored_on(manifest) != _scored_on(runs[-1]):
            continue
        for contender in reversed(_contenders(manifest["run_id"])):
            newest = newest or contender
            if apart := differences(newest, contender):
                log.info("%s is left out: %s", contender.name, "; ".join(apart))
            else:
                chosen.setdefault(repr((sorted(contender.parameters.items()), contender.seeds)), contender)
    return list(reversed(chosen.values()))


def _scored_on(manifest: dict[str, Any]) -> dict[str, Any]:
    """An evaluation's parameters but for the models; the baseline is told by what was opened, not by what was said."""
    return {k: v for k, v in manifest["parameters"].items() if k not in _OWN}


def _contenders(name: str) -> list[Contender]:
    manifest, told, found = read_manifest(as_run(name)), read_summary(name), read_scored(name)
    revision = (told.get("revisions") or {}).get("base")
    baseline = f"{told['base']} ({revision})" if revision else str(told["base"])
    run, pinned = manifest["run_id"], manifest["parameters"].get("model_revision")
    return [_contender(f"{run}, {s.model}" if len(found) > 1 else run, run, baseline, pinned, s) for s in found]


def _contender(name: str, run: str, baseline: str, pinned: str | None, scored: ScoredParts) -> Contender:
    model, folder = scored.model, as_run(scored.model)
    parameters: Mapping[str, Any] = {MODEL: f"{model}@{pinned}" if pinned else model}
    seeds: Seeds = ()
    seconds = cost = None
    if folder is not None and (folder / MANIFEST).exists():
        training = read_manifest(folder)
        parameters, seeds = _made_of(training)
        summary = read_summary(str(folder))
        seconds, cost = training.get("seconds"), summary.get("rows_cost_usd")
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


def _made_of(manifest: dict[str, Any], before: str = "") -> tuple[dict[str, Any], Seeds]:
    """A run's parameters and seeds with those of the runs that they name, `convert.negatives` for one; so that runs
    which do the same count as the same, whatever their ids."""
    told: dict[str, Any] = {}
    seeds: list[tuple[str, Any]] = []
    times: Counter[str] = Counter()
    for name, value in {**VERBS[manifest["verb"]].defaults(), **manifest["parameters"]}.items():
        shown = []
        for one in value if isinstance(value, list) else [value]:
            folder = as_run(one) if isinstance(one, str) and one else None
            if folder is None or not (folder / MANIFEST).exists():
                shown.append(one)
                continue
            source = read_manifest(folder)
            times[source["verb"]] += 1
            number = times[source["verb"]]
            label = source["verb"] + (str(number) if number > 1 else "")
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
    found, trials, baselines = [], [], {}
    for name in evaluations:
        folder = as_run(name)
        manifest = None if folder is None else read_manifest(folder)
        if manifest is None or manifest["verb"] != "evaluate":
            found.append(f"{name} is no evaluate run" + (f" but one of {manifest['verb']}" if manifest else ""))
            continue
        models = models_of(manifest["parameters"])
        trainings = [as_run(model) for model in models]
        unknown = [m for m, t in zip(models, trainings, strict=True) if not t or read_manifest(t)["verb"] != "finetune"]
        if unknown:
            found.append(f"{name} is of {', '.join(unknown)}, which is no finetune run: its rows are not known")
            continue
        told = read_summary(name)
        baselines.setdefault(f"{told['base']} ({(told.get('revisions') or {}).get('base')})", name)  # the first of each
        for scored in read_scored(name):
            trials.append(_trial(f"{name}, {scored.model}" if len(models) > 1 else name, scored))
    if len(baselines) > 1:
        found.append("baselines differ: " + ", ".join(f"{name} against {b}" for b, name in baselines.items()))
    if found:
        mend = "Name evaluate runs of finetune runs, all with the same baseline."
        raise ParameterError(problems(f"evaluations: {len(found)} problem(s)", found, mend))
    return trials


def _trial(name: str, scored: ScoredParts) -> Trial:
    summary, parameters = read_summary(scored.model), read_manifest(as_run(scored.model))["parameters"]
    return Trial(
        name=name,
        rows=summary.get("rows", summary["triplets"]),
        priced=summary.get("rows_priced", 0),
        cost=summary.get("rows_cost_usd"),
        seed=(parameters["seed"], parameters.get("limit_seed", 0)),
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
