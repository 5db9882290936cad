"""Gathers the candidates of an evaluation from its parameters and the runs behind its models.

Of a model that was trained here it is known which guide it had, how many labelled texts it saw, in how many steps, and
what its rows cost.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gisttools.common import FinishedRun, GistError, ancestors, first_line, model_name, results_folder
from gisttools.evaluation import (
    BM25,
    RANDOM,
    SEARCHES,
    Candidates,
    Encoder,
    Heads,
    Kind,
    Reranking,
    TaskSource,
    find_candidates,
)
from gisttools.models import EMBEDDED, ENDINGS, Reranker, open_cross_encoder, open_model
from gisttools.training import HeadOptions, train_head
from gisttools.workflow.folders import as_run, open_run, told_parameters
from gisttools.workflow.inputs import BASE, GUIDE, Entries, guide_reference, labelled_texts, model_path
from gisttools.workflow.params import EvaluateParams
from gisttools.workflow.places import RERANKER

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from gisttools.models import Linear

log = logging.getLogger(__name__)
SMOKE_STEPS = 24  # a training that was told to take no more is to show that everything works


def candidates_of(params: EvaluateParams, entries: Entries, sources: Sequence[TaskSource]) -> Candidates | None:
    """All candidates on the targets; None where the parameters leave them out."""
    if not params.candidates:
        return None
    trainings = _trainings(entries)
    notes: list[str] = []
    encoders = _named_apart(
        [*_models(entries, trainings), *_guide(params, entries, trainings, notes), *_references(entries)]
    )
    smoke = any(is_smoke(run) for run in trainings.values())
    heads = _heads(params, entries, trainings, notes)
    searches = any(source.is_target and source.make().metadata.type in SEARCHES for source in sources)
    rerankings = _rerankings(params, entries, trainings, notes) if searches else []
    found = find_candidates(
        encoders, sources, heads=heads, rerankings=rerankings, batch_size=params.batch_size, smoke=smoke
    )
    return replace(found, notes=(*notes, *found.notes))


def _called(model: str) -> str:
    """A model's name on the page."""
    return model_name(model).removeprefix(EMBEDDED)


def is_smoke(training: FinishedRun) -> bool:
    """Was it told to take only a few steps?"""
    most = told_parameters(training).get("max_steps")
    return most is not None and most <= SMOKE_STEPS


def _trainings(entries: Entries) -> dict[str, FinishedRun]:
    """The finetune runs of the models, by role."""
    folders = {role: as_run(name) for role, name in entries.names.items() if role != BASE}
    return {role: open_run(folder) for role, folder in folders.items() if folder is not None}


def _models(entries: Entries, trainings: Mapping[str, FinishedRun]) -> list[Encoder]:
    """The baseline and each variant."""
    base = entries.names[BASE]
    started = {told_parameters(run)["student"] for run in trainings.values()}
    is_student = bool(started) and base in {name for s in started for name in (s, model_path(s))}
    found = [
        Encoder(
            name=_called(base),
            kind="base" if is_student else "reference",
            what="the student before training" if is_student else "the baseline",
            models=(entries.models[BASE],),
            labels=0 if is_student and as_run(base) is None else None,
        )
    ]
    for variant in entries.variants:
        models = tuple(entries.models[role] for role in variant.roles)
        runs = [trainings[role] for role in variant.roles if role in trainings]
        if len(runs) < len(variant.roles):
            name = _called(entries.names[variant.roles[0]])
            found.append(Encoder(name=name, kind="reference", what="a model", models=models, labels=None))
            continue
        student = _called(told_parameters(runs[0])["student"])
        several = len(entries.variants) > 1
        found.append(
            Encoder(
                name=f"tuned {student}" + (f" ({variant.name})" if several else ""),
                kind="tuned",
                what="the student trained here",
                models=models,
                dollars=_dollars(runs),
                labels=_labels(runs[0]),
            )
        )
    return found


def _named_apart(encoders: Sequence[Encoder]) -> list[Encoder]:
    """With a number behind the name of each that is called as one before it."""
    found: list[Encoder] = []
    for encoder in encoders:
        n, name = 2, encoder.name
        while name in {other.name for other in found}:
            name, n = f"{encoder.name} ({n})", n + 1
        found.append(replace(encoder, name=name))
    return found


def _guide(
    params: EvaluateParams, entries: Entries, trainings: Mapping[str, FinishedRun], notes: list[str]
) -> list[Encoder]:
    """The guide of the first training that has one."""
    told = next((p for run in trainings.values() if (p := told_parameters(run)).get("guide")), None)
    if told is None:
        return []
    what = "the guide of the training, untouched"
    if GUIDE in entries.references:
        return [
            Encoder(
                name=_called(told["guide"]),
                kind="guide",
                what=what,
                models=(entries.references[GUIDE],),
                labels=None,
            )
        ]
    if Path(told["guide"]).suffix in ENDINGS:
        notes.append(f"the guide {told['guide']} is a file of vectors, which knows no other texts; it was not scored.")
        return []
    try:
        model = guide_reference(params, told)
    except GistError as error:
        notes.append(f"the guide {told['guide']} could not be opened: {first_line(error)}")
        return []
    return [Encoder(name=_called(told["guide"]), kind="guide", what=what, models=(model,), labels=0)]


def _references(entries: Entries) -> list[Encoder]:
    """Other models that the parameters name, but for trainings of this project."""
    found = []
    for name, model in entries.references.items():
        if name == GUIDE or as_run(name) is not None:  # another training is shown beside, it is no other way
            continue
        kind: Kind = "floor" if model.kind == RANDOM else "classic" if model.kind == BM25 else "reference"
        what = {"floor": "vectors that know nothing", "classic": "a search by words, no encoder"}.get(kind, "a model")
        told = "BM25" if kind == "classic" else _called(name)
        labels = None if kind == "reference" else 0
        found.append(Encoder(name=told, kind=kind, what=what, models=(model,), labels=labels))
    return found


def _labels(training: FinishedRun) -> int | None:
    """Different labelled texts that a model was trained on; None where they cannot be read any more."""
    try:
        return len(labelled_texts(told_parameters(training)))
    except GistError as error:
        log.warning("labels of %s are not known: %s", training.id, first_line(error))
        return None


def _dollars(trainings: Sequence[FinishedRun]) -> float | None:
    """What the LLM's answers cost in all synthesize runs that the trainings come from; 0 where there were none, None
    where the price of some is not known."""
    syntheses = {
        run.id: run
        for training in trainings
        for run in ancestors(training, results_folder())[0]
        if run.verb == "synthesize"
    }
    costs = []
    for run in syntheses.values():
        cost, ideas = run.summary.get("cost_usd"), run.summary.get("idea_cost_usd") or 0.0
        costs.append(None if cost is None else cost + ideas)
    return None if any(cost is None for cost in costs) else float(sum(cost or 0.0 for cost in costs))


@dataclass(frozen=True, kw_only=True)
class _Heads:
    """Trains the student with a linear head, as long as the trainings that it is held against, once for each seed."""

    name: str
    what: str
    trainings: tuple[FinishedRun, ...]
    params: EvaluateParams

    def __call__(self, texts: Sequence[str], labels: Sequence[str]) -> list[tuple[SentenceTransformer, Linear]]:
        found = []
        for training in self.trainings:
            told = told_parameters(training)
            student = partial(
                open_model, model_path(told["student"]), told.get("student_revision"),
                trust_remote_code=self.params.trust_remote_code,
            )  # fmt: skip
            options = HeadOptions(
                steps=int(training.summary["steps"]), batch_size=told["batch_size"], seed=told["seed"]
            )
            found.append(train_head(student, texts, labels, options))
        return found


def _rerankings(
    params: EvaluateParams, entries: Entries, trainings: Mapping[str, FinishedRun], notes: list[str]
) -> list[Reranking]:
    """The cross-encoder that is named, and the one that the first variant's training left; none where no target is a
    search. What cannot be opened is noted."""
    told: list[tuple[str, str, str | None]] = []
    for role in entries.variants[0].roles:
        folder = trainings[role].folder / RERANKER if role in trainings else None
        if folder is not None and folder.is_dir():
            told.append(("tuned cross-encoder", str(folder), None))
            break
    if params.reranker is not None:
        name = model_path(params.reranker)
        if not any(Path(name) == Path(folder) for _, folder, _ in told):
            told.append((_called(params.reranker), name, params.reranker_revision))
    found = []
    for called, name, revision in told:
        try:
            model = open_cross_encoder(name, revision, trust_remote_code=params.trust_remote_code)
        except GistError as error:
            notes.append(f"{called}: {first_line(error)}")
            continue
        found.append(Reranking(name=f"{called} on top", reranker=Reranker(model), depth=params.rerank_depth))
    return found


def _heads(
    params: EvaluateParams, entries: Entries, trainings: Mapping[str, FinishedRun], notes: list[str]
) -> Heads | None:
    """Of the first variant, where its training is known and it was asked for."""
    runs = tuple(trainings[role] for role in entries.variants[0].roles if role in trainings)
    if not params.cross_entropy:
        return None
    if not runs:
        notes.append("cross_entropy: how many steps to train is known of finetune runs only; it was left out.")
        return None
    name = f"{_called(told_parameters(runs[0])['student'])} + linear head"
    what = "the student trained by cross-entropy with a linear head, as many steps as the tuned model"
    return _Heads(name=name, what=what, trainings=runs, params=params)
