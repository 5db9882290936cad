"""Evaluate runs as contenders of a comparison: what was scored, and all that the model is made of."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gisttools.common import MissingError, ParameterError, problems
from gisttools.evaluation import MODEL, Contender, Seeds, differences
from gisttools.workflow.manifest import MANIFEST, read_manifest
from gisttools.workflow.params import VERBS
from gisttools.workflow.places import results_folder
from gisttools.workflow.runs import as_run, finished_runs, read_summary
from gisttools.workflow.scored_parts import ScoredParts, read_scored

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
