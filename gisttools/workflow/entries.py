"""What the parameters of an evaluation name: the baseline, the tuned models (seeds and variants), references, tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gisttools.common import ParameterError, problems
from gisttools.evaluation import (
    PREFIX as PUBLISHED,
    REGISTRY,
    ScoredModel,
    TaskSource,
    Variant,
    default_guards,
    open_scored,
    scored,
    task_sources,
    training_sets,
)
from gisttools.models import EMBEDDED, ENDINGS, ENDPOINT
from gisttools.workflow.origins import Origin, model_path, origin_of, paths
from gisttools.workflow.params import EvaluateParams

BASE, TUNED, GUIDE = "base", "tuned", "guide"
_NO_PATHS = (EMBEDDED, ENDPOINT, REGISTRY)
_LONGEST = 60  # characters of a variant's name


@dataclass(frozen=True, kw_only=True)
class Entries:
    """`models` and `names` by role: base, tuned, and tuned_2, tuned_3, ... for further models; `variants` says which
    roles are seeds of one recipe; `references` by name; `published`: models whose public scores are shown beside."""

    models: dict[str, ScoredModel]
    names: dict[str, str]
    variants: tuple[Variant, ...]
    references: dict[str, ScoredModel]
    published: tuple[str, ...] = ()


def open_entries(params: EvaluateParams, *, only: str | None = None) -> Entries:
    """Open all models, or `only` that of one role or reference ("" for none). Finetune runs that differ in `seed` alone
    are seeds of one recipe; others are variants.

    Raises:
        ParameterError: no baseline is told and the models do not come from finetune runs of one student; a seed is
            there twice; a revision for several models; a guide is asked for that there is none of, or only vectors.
        MissingError, ModelError, DataError: a model or a run is not there, or cannot be opened.
    """
    named = [params.model] if isinstance(params.model, str) else list(dict.fromkeys(params.model))
    if params.model_revision and len(named) > 1:
        raise ParameterError("model_revision is for a single model; name several hub models as org/name@revision.")
    origins = {name: origin_of(_unpinned(name)) for name in named}
    baseline, revision = _baseline(params, origins)
    roles = {name: TUNED if i == 0 else f"{TUNED}_{i + 1}" for i, name in enumerate(named)}
    variants = tuple(_variants(origins, roles))
    references = [name for name in dict.fromkeys(params.references) if not name.startswith(PUBLISHED)]
    told = {BASE: (baseline, revision)} | {roles[name]: (name, params.model_revision) for name in named}
    models = {role: _open(params, *model) for role, model in told.items() if only in (None, role)}
    return Entries(
        models=models,
        names={BASE: baseline} | {role: name for name, role in roles.items()},
        variants=variants,
        references={name: _reference(params, name, origins.values()) for name in references if only in (None, name)},
        published=tuple(dict.fromkeys(name for name in params.references if name.startswith(PUBLISHED))),
    )


def sources_of(params: EvaluateParams) -> tuple[list[TaskSource], list[str]]:
    """The tasks that the parameters name, and notes, such as why no guard was run. Raises as `task_sources`."""
    guards, note = (params.guards, None) if params.guards is not None else default_guards(params.tasks)
    sources = task_sources(params.tasks, paths(params.files), subsets=params.subsets, guards=guards)
    return sources, [note] if note else []


def _baseline(params: EvaluateParams, origins: Mapping[str, Origin]) -> tuple[str, str | None]:
    if params.baseline is not None:
        return params.baseline, params.baseline_revision
    students = {name: (origin.student, origin.student_revision) for name, origin in origins.items()}
    unknown = [name for name, (student, _) in students.items() if student is None]
    if unknown:
        raise ParameterError(
            f"baseline is not set, and {', '.join(map(repr, unknown))} is no finetune run that would know its student. "
            "Set baseline to the model that you want to compare with."
        )
    if len(set(students.values())) > 1:
        told = [f"{name} started from {student} ({revision})" for name, (student, revision) in students.items()]
        raise ParameterError(problems("baseline is not set, and the students differ:", told, "Set baseline."))
    return next(iter(students.values()))


def _variants(origins: Mapping[str, Origin], roles: Mapping[str, str]) -> list[Variant]:
    recipes: dict[str, list[str]] = {}
    for name, origin in origins.items():
        told = origin.parameters
        recipe = name if told is None else json.dumps({k: v for k, v in told.items() if k != "seed"}, sort_keys=True)
        recipes.setdefault(recipe, []).append(name)
    twice = []
    for members in recipes.values():
        seeds: dict[int, str] = {}
        for name in members if len(members) > 1 else ():
            other = seeds.setdefault(origins[name].parameters["seed"], name)
            twice += [f"{other} and {name} are one training, of one seed"] if other != name else []
    if twice:
        raise ParameterError(problems("model:", twice, "Leave one out, or train another seed."))
    groups = list(recipes.values())
    return [
        Variant(
            name=variant_name,
            roles=tuple(roles[name] for name in members),
            trained_on=None if origins[members[0]].trained_on is None else tuple(origins[members[0]].trained_on),
            training_texts=origins[members[0]].training_texts,
            training_sets=training_sets(origins[members[0]].student) if origins[members[0]].student else None,
        )
        for variant_name, members in zip(_names(groups, origins), groups, strict=True)
    ]


def _names(groups: Sequence[Sequence[str]], origins: Mapping[str, Origin]) -> list[str]:
    """`tuned` for a single recipe; of several what their parameters differ in, or the model's name."""
    if len(groups) == 1:
        return [TUNED]
    told = [origins[members[0]].parameters or {} for members in groups]
    runs = [t for t in told if t]
    differ = [k for k in (runs[0] if runs else {}) if k != "seed" and len({_json(t.get(k)) for t in runs}) > 1]
    names = []
    for members, parameters in zip(groups, told, strict=True):
        name = ", ".join(f"{k}={_json(parameters.get(k))}" for k in differ) if parameters and differ else members[0]
        name = name if len(name) <= _LONGEST else members[0]
        names.append(name if name not in names else members[0])
    return names


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _open(params: EvaluateParams, name: str, revision: str | None = None) -> ScoredModel:
    if name == GUIDE:
        raise ParameterError(f"{GUIDE!r} is a reference, not a model: name the guide itself.")
    plain, _, pinned = name.partition("@")
    if plain.count("/") != 1 or Path(name).exists():
        plain, pinned = name, ""
    return open_scored(
        plain if plain.startswith(_NO_PATHS) else model_path(plain),
        revision or pinned or None,
        base_url=params.base_url,
        key_variable=params.key_variable,
        seed=params.seed,
    )


def _unpinned(name: str) -> str:
    return name.partition("@")[0] if name.count("/") == 1 and not Path(name).exists() else name


def _reference(params: EvaluateParams, name: str, origins: Any) -> ScoredModel:
    if name != GUIDE:
        return _open(params, name)
    trainings = [o.parameters for o in origins if o.parameters and o.parameters.get("guide")]
    if not trainings:
        raise ParameterError(f"references: {GUIDE!r} is that of a finetune run, and none of the models has one.")
    told = trainings[0]
    if Path(told["guide"]).suffix in ENDINGS:
        raise ParameterError(
            f"references: the guide {told['guide']} is a file of vectors, which knows no other texts. Leave it out."
        )
    path = told["guide"] if told["guide"].startswith(_NO_PATHS) else model_path(told["guide"])
    prompt = told.get("guide_prompt")
    model = open_scored(
        path,
        told.get("guide_revision"),
        base_url=told.get("guide_base_url"),
        key_variable=told.get("guide_key_variable") or params.key_variable,
        prompt=prompt,
    )
    if prompt and model.transformer is not None:  # as it was while it guided: the same prompt before every text
        model.transformer.prompts[GUIDE], model.transformer.default_prompt_name = prompt, GUIDE
        model = scored(model.transformer, model.name)
    return model
