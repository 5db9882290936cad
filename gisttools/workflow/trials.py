"""Trials of several sizes, read from evaluate runs and the finetune runs that they scored."""

from __future__ import annotations

from collections.abc import Sequence

from gisttools.common import ParameterError, problems
from gisttools.evaluation import Trial
from gisttools.workflow.manifest import read_manifest
from gisttools.workflow.runs import as_run, read_summary
from gisttools.workflow.scored_parts import ScoredParts, models_of, read_scored


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
