"""Takes the settings of the best of some trainings, by a score of held-out training texts; refuses to choose by chance.

The trials are finetune runs that differ in a few parameters; `best_of` of a further one names them, and it is trained
as the best of them was, on rows of its own. Test texts have no say.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from gisttools.common import FinishedRun, GistError, ParameterError, problems, read_run
from gisttools.data import FileOptions
from gisttools.workflow.folders import as_run, open_run, told_parameters
from gisttools.workflow.params import FinetuneParams, Params, check_params
from gisttools.workflow.places import resolve

log = logging.getLogger(__name__)
MOST = 6  # settings to choose from: the more there are, the luckier the best of them
FEWEST = 700  # held-out texts: see docs/training.md, "The best of a few settings"
_SEED = "seed"
_NOT_CHOSEN = {"best_of", "licence", "tracking", "checkpoint_minutes", "dev_every", "patience", _SEED}
_NOT_CHOSEN |= {"limit_seed", "rows", "group_by", "mix", "weights", "batches"}  # of the rows, which may be others
_LENGTH = {"epochs", "max_steps", "max_minutes"}  # one of them says how long
# what is trained, and what it is scored on, must be the same for scores to compare
_SAME = {
    "triplets",
    "leave_out",
    "limit",
    "soup",
    "student",
    "student_revision",
    "dev",
    "dev_subsets",
    *FileOptions.model_fields,
}


def with_best(verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with what `best_of` stands for: how the best of the trials was trained. What is told here goes
    before it, but for what the trials were to choose.

    Args:
        verb: whose parameters.
        given: those that are told; the others are the best trial's, or the defaults.

    Raises:
        ParameterError: the trials cannot be compared, are too many, or were scored on too few texts; or a parameter
            that they choose is set here as well; all problems at once.
        MissingError, DataError: a run is not there, unfinished or failed.
    """
    names = given.get("best_of") if verb == "finetune" else None
    if not names:
        return dict(given)
    runs = {name: _trial(name) for name in check_params(verb, dict(given)).best_of}
    trials, scores = {name: told_parameters(run) for name, run in runs.items()}, _scores(runs)
    if found := trial_problems(trials):
        raise ParameterError(problems("best_of:", found))
    best, _ = _best(trials, scores)
    chosen = _settings_of(runs[best], trials[best], axes_of(trials))
    if _LENGTH & set(given) and not _LENGTH & set(axes_of(trials)):
        chosen = {name: value for name, value in chosen.items() if name not in _LENGTH}
    told = [axis for axis in axes_of(trials) if axis in given and given[axis] != chosen[axis]]
    if told:
        lines = [f"{a} is {given[a]!r} here, and the best of the trials has {chosen[a]!r}" for a in told]
        raise ParameterError(problems("best_of:", lines, "Leave out what it chooses, or best_of."))
    return {**chosen, **given}


def best_told(names: Sequence[str]) -> str:
    """Which of these trials is the best, in words. Raises as `with_best`."""
    runs = {name: _trial(name) for name in names}
    _, words = _best({name: told_parameters(run) for name, run in runs.items()}, _scores(runs))
    return words


def _best(trials: Mapping[str, Mapping[str, Any]], scores: Mapping[str, float]) -> tuple[str, str]:
    """The first trial of the setting that scored best, the first of equals; and that in words."""
    axes = axes_of(trials)
    settings = _settings(trials, axes)
    mean = {key: fmean(scores[name] for name in members) for key, members in settings.items()}
    best = max(mean, key=lambda key: mean[key])
    name = settings[best][0]
    others = sorted(100 * value for key, value in mean.items() if key != best)
    rest = f"; of {len(others)} other(s) at most {others[-1]:.1f}" if others else ""
    words = ", ".join(f"{axis} {trials[name][axis]}" for axis in axes) or "the only setting"
    return name, f"best_of takes {words} ({name}): development score {100 * mean[best]:.1f}{rest}"


def _settings_of(run: FinishedRun, told: Mapping[str, Any], axes: Sequence[str]) -> dict[str, Any]:
    """How a trial was trained: what it differs in from the others and from the defaults. Where it left a share of the
    start to its development data, the one that was chosen."""
    names = [*axes, *(run.manifest.get("changed") or ())]
    chosen = {name: told[name] for name in dict.fromkeys(names) if name in told and name not in _NOT_CHOSEN | _SAME}
    share = (run.manifest.get("resolved") or {}).get("keep_start")
    return chosen | ({"keep_start": share} if "keep_start" in chosen and share is not None else {})


def axes_of(trials: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The parameters that trials differ in, but for seeds."""
    told = list(trials.values())
    return [name for name in told[0] if name not in _NOT_CHOSEN | _SAME and any(t[name] != told[0][name] for t in told)]


def trial_problems(trials: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Why trials cannot be chosen from, by their parameters; where that can be told."""
    first, *others = trials.values()
    apart = [name for name in sorted(_SAME) if any(t.get(name) != first.get(name) for t in others)]
    found = [f"the trials differ in {', '.join(apart)}: their scores do not compare"] if apart else []
    settings = len(_settings(trials, axes_of(trials)))
    if settings > MOST:
        found.append(
            f"the trials are of {settings} settings, at most {MOST} are allowed: of many the best is only the luckiest"
        )
    texts = held_out(first["dev"], FileOptions(**{name: first[name] for name in FileOptions.model_fields}))
    if not apart and texts is not None and texts < FEWEST:
        found.append(
            f"there are {texts} held-out texts ({', '.join(first['dev'])}), and at least {FEWEST} are needed: by fewer "
            "the choice is chance (docs/training.md). Use the defaults, or hold out more"
        )
    return found


def held_out(names: Sequence[str], reading: FileOptions) -> int | None:
    """How many labelled texts the development data holds; None where only reading it in full, or from the hub, would
    tell, or what is scored are no texts with labels."""
    counts = [_labelled(str(resolve(n.partition("#")[0])) + "".join(n.partition("#")[1:]), reading) for n in names]
    known = [n for n in counts if n is not None]
    return sum(known) if known and len(known) == len(counts) else None


def recipe_problems(steps: Mapping[str, Params]) -> list[str]:
    """Why the grids of a recipe cannot be chosen from, by the checked parameters of its steps, before anything runs."""
    found: list[str] = []
    for params in steps.values():
        names = [name.removeprefix("$") for name in getattr(params, "best_of", ())]
        trials = {name: steps[name].model_dump() for name in names if isinstance(steps.get(name), FinetuneParams)}
        if trials:
            undeveloped = [name for name, told in trials.items() if not told["dev"]]
            found += [f"best_of: {name} has no dev, so that it gets no score" for name in undeveloped]
            found += [] if undeveloped else [f"best_of: {problem}" for problem in trial_problems(trials)]
    return list(dict.fromkeys(found))


def _settings(trials: Mapping[str, Mapping[str, Any]], axes: Sequence[str]) -> dict[str, list[str]]:
    """The trials of each setting: seeds of one are one."""
    found: dict[str, list[str]] = {}
    for name, told in trials.items():
        found.setdefault(repr([told[axis] for axis in axes]), []).append(name)
    return found


def _trial(name: str) -> FinishedRun:
    folder = as_run(name)
    if folder is None or read_run(folder).verb != "finetune":
        raise ParameterError(f"best_of: {name} is no finetune run. Name the trials to choose from.")
    return open_run(folder)


def _scores(runs: Mapping[str, FinishedRun]) -> dict[str, float]:
    """Development scores of the saved models, 0 to 1; of runs of earlier versions those of their best steps.

    Raises:
        ParameterError: some have none.
    """
    found: dict[str, float] = {}
    for name, run in runs.items():
        told = [row["dev_score"] for row in run.summary.get("development") or ()]
        score = run.summary.get("development_score", max(told, default=None))
        if score is not None:
            found[name] = score
    if lacking := [
        f"{name} has no development score: it was trained without dev" for name in runs if name not in found
    ]:
        raise ParameterError(problems("best_of:", lacking))
    return found


def _labelled(name: str, reading: FileOptions) -> int | None:
    from gisttools.data import DEV_SPLITS, eval_folder, has_split, parse_eval_name, read_scored

    path, _ = parse_eval_name(name)
    if not path.exists():
        return None
    split = next((s for s in DEV_SPLITS if has_split(path, s)), "dev")
    if reading.relabel is not None:
        reading = reading.model_copy(update={"relabel": str(resolve(reading.relabel))})
    try:
        folder = eval_folder(str(Path(name)), split, reading, tell=False)
        return len(read_scored(folder).texts) if "classification" in folder.kind and "pair" not in folder.kind else None
    except GistError as error:
        log.info("held-out texts of %s were not counted: %s", name, error)
        return None
