"""Opens what the parameters of a notebook name: guides, models, tasks, texts that must not occur, options of a step.

A notebook reaches these through its run (`gisttools.workflow.session`). Of a model that a finetune run made it is known
which student it started as and which texts it was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gisttools.common import (
    FinishedRun,
    Options,
    ParameterError,
    ancestors,
    problems,
    read_run,
    results_folder,
    trained_as,
)
from gisttools.workflow.documents import (
    check_task_to_come,
    prompt_of,
    prompts_of,
    synthetic_told,
    task_of,
    tests_of,
    written_of,
)
from gisttools.workflow.folders import as_run, inputs, open_run, paths, told_parameters
from gisttools.workflow.params import (
    RERANKING,
    ConvertParams,
    EvaluateParams,
    FinetuneParams,
    GuideParams,
    SynthesizeParams,
)
from gisttools.workflow.places import resolve

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

    from gisttools.data import (
        FileOptions,
        Tiers,
    )
    from gisttools.evaluation import (
        ScoredModel,
        TaskSource,
        Variant,
    )
    from gisttools.models import VectorCache
    from gisttools.synthesis import Known
    from gisttools.training import DevelopmentScore, GISTLoss, Retention

T = TypeVar("T", bound=Options)


@dataclass(frozen=True)
class Origin:
    """`path`: what to open. Of a model that no run here made, `student` is None and `trained_on` unknown (None).
    `parameters`: those of the finetune run."""

    path: str
    student: str | None = None
    student_revision: str | None = None
    trained_on: tuple[str, ...] | None = None
    training_texts: tuple[str, ...] = ()
    parameters: Mapping[str, Any] | None = None


def origin_of(model: str) -> Origin:
    """What is known of a model named by a finetune run, a folder, or a hub or embedded name.

    Raises:
        ParameterError: the run is of another kind.
        DataError: the run failed, or its files changed since.
    """
    folder = as_run(model)
    if folder is None:
        return Origin(str(resolve(model)) if resolve(model).exists() else model)
    run = read_run(folder)
    if run.verb != "finetune":
        raise ParameterError(f"model = {model!r} is a run of {run.verb}; name a finetune run, a folder or a model.")
    path = open_run(folder).artefact("model")
    came_from, _ = ancestors(run, results_folder())
    trainings = [run, *(r for r in came_from if r.verb == "finetune")]  # the student may have been tuned before
    conversions = [r for r in came_from if r.verb == "convert"]
    parameters = told_parameters(run)
    student = parameters["student"]
    known = as_run(student)
    return Origin(
        str(path),
        str(known / "model") if known else student,
        parameters["student_revision"],
        _sources_of(trainings, conversions),
        tuple(dict.fromkeys(text for training in trainings for text in _texts_of(told_parameters(training)))),
        parameters,
    )


def _sources_of(trainings: Sequence[FinishedRun], conversions: Sequence[FinishedRun]) -> tuple[str, ...]:
    """Where the texts of trainings came from: names of tasks, of hub sets, paths."""
    from gisttools.data import expand_sources, is_task, parse_task_name

    tables = dict.fromkeys(t for run in trainings for t in told_parameters(run)["triplets"])
    converted = [s for run in conversions for s in told_parameters(run)["sources"]]
    labelled = [parse_task_name(s)[0] if is_task(s) else s for s in expand_sources(paths(converted))]
    named = [*(t for t in tables if as_run(t) is None), *labelled]
    return tuple(str(resolve(s)) if resolve(s).exists() else s for s in named)


def _texts_of(parameters: Mapping[str, Any]) -> list[str]:
    """The texts that a finetune run trained on."""
    from gisttools.data import concatenate, table_texts

    return table_texts(concatenate(rows_of(parameters, refuse_idle=False)))  # it was done already


def labelled_texts(parameters: Mapping[str, Any]) -> set[str]:
    """The different texts with a label that a finetune run trained on and no LLM wrote.

    Raises:
        MissingError, DataError: a table is not there any more, or cannot be read.
    """
    found: set[str] = set()
    for table in rows_of(parameters, refuse_idle=False).values():
        columns = ["source", "anchor", "anchor_label", "positive", "positive_label", "negatives", "negative_labels"]
        for part in table.select_columns(columns).with_format("arrow").iter(batch_size=_ROWS):
            for row in part.to_pylist():
                if row["source"] == "llm":
                    continue
                texts = [row["anchor"], row["positive"], *(row["negatives"] or ())]
                labels = [row["anchor_label"], row["positive_label"], *(row["negative_labels"] or ())]
                found |= {text for text, label in zip(texts, labels, strict=False) if label is not None}
    return found


def rows_of(parameters: Mapping[str, Any], *, refuse_idle: bool = True) -> dict[str, Dataset]:
    """The rows that a finetune run's parameters name; raises as `training_tables`."""
    from gisttools.data import nested_subset, triplet_tables, without_groups

    names = inputs(parameters["triplets"], "triplets.parquet")
    tables = triplet_tables(
        names, rows=parameters["rows"], instructions=parameters["instructions"], refuse_idle=refuse_idle
    )
    tables = without_groups(tables, parameters.get("leave_out", []))  # runs of earlier versions know none
    return nested_subset(tables, parameters["limit"], seed=parameters["limit_seed"])


def training_tables(params: FinetuneParams) -> dict[str, Dataset]:
    """The rows to train on, by what `triplets` names: all, or as many as `limit` says.

    Raises:
        MissingError, DataError: a file, run or data set is missing or cannot be read.
        ParameterError: an option would do nothing with these rows, or without development data; or a group of rows is
            none (`without_groups`).
    """
    if params.patience is not None and not params.dev:
        raise ParameterError(
            f"patience is {params.patience}, which needs development data (dev). Name some, or leave it out."
        )
    return rows_of(params.model_dump())


def model_path(name: str) -> str:
    """What `open_model` should open for a name: the model folder of a run, a path, or the name itself."""
    return origin_of(name).path


def guide_of(params: GuideParams) -> VectorCache | None:
    """The guide that a notebook's parameters name; None for the unguided baseline."""
    return None if params.guide is None else open_guide(params.guide, params)


def open_guide(name: str, params: GuideParams) -> VectorCache:
    """The guide of this name, as the other parameters want it."""
    from gisttools.models import VectorCache

    return VectorCache(params.guide_options(model_path(name)))


def retention_of(params: FinetuneParams, loss: GISTLoss) -> Retention | None:
    """The general texts that hold the student; where `retain` is left open, those of the package, if a training of this
    kind forgets without them. None where nothing holds it."""
    from gisttools.models import GuideOptions, VectorCache
    from gisttools.training import Retention, RetentionOptions, TrainSettings, forgets, general_texts, read_texts

    if params.retain is None:
        texts = general_texts() if forgets(loss, params.part(TrainSettings)) else []
    else:
        texts = read_texts(paths(params.retain)) if params.retain else []
    if not texts:
        return None
    student = GuideOptions(
        name=model_path(params.student),
        revision=params.student_revision,
        trust_remote_code=params.trust_remote_code,
        query_prompt=params.query_prompt,
        document_prompt=params.document_prompt,
        precision="float32",
    )
    options = RetentionOptions(weight=params.retain_weight, texts_a_step=params.retain_a_step)
    return Retention(texts, VectorCache(student), options)


_OF_A_SOUP = ("student", "student_revision", "query_prompt", "document_prompt", "max_length")


def soup_of(params: FinetuneParams) -> list[SentenceTransformer]:
    """The models of the runs in `soup`, opened.

    Raises:
        ParameterError: one is no finetune run, is named twice, or did not start as this training does; all at once.
        MissingError, DataError: a run is not there, or failed.
    """
    from gisttools.models import open_model

    found, own = [], params.model_dump()
    for name in params.soup:
        folder = as_run(name)
        if folder is None or read_run(folder).verb != "finetune":
            found.append(f"{name} is no finetune run, so that its start is not known")
            continue
        told = FinetuneParams.defaults() | read_run(folder).parameters  # as they were told, not as they were settled
        apart = [k for k in _OF_A_SOUP if told[k] != own[k]]
        found += [f"{name} has {k} {told[k]!r}, this training {own[k]!r}" for k in apart]
    if twice := [name for name in dict.fromkeys(params.soup) if params.soup.count(name) > 1]:
        found.append(f"named more than once: {', '.join(twice)}")
    if found:
        raise ParameterError(problems("soup:", found, "Name runs that differ in seed, data or rate alone."))
    return [open_model(model_path(name), trust_remote_code=params.trust_remote_code) for name in params.soup]


def reading_of(params: FileOptions, kind: type[T]) -> T:
    """How files are read, as the parameters say; paths as they are seen from here."""
    return params.part(kind, **({} if params.relabel is None else {"relabel": str(resolve(params.relabel))}))


def development_of(params: FinetuneParams) -> DevelopmentScore | None:
    """The development data; None where none is named."""
    from gisttools.data import FileOptions
    from gisttools.training import DevelopmentScore

    reading = reading_of(params, FileOptions)
    return DevelopmentScore(paths(params.dev), subsets=params.dev_subsets, reading=reading) if params.dev else None


_ROWS = 10_000
BASE, TUNED, GUIDE = "base", "tuned", "guide"
_LONGEST = 60  # characters of a variant's name


def _place_of(name: str) -> str:
    """What to open: names with a kind (embedded:, endpoint:, mteb:) are no paths and stay as they are."""
    from gisttools.evaluation import REGISTRY
    from gisttools.models import EMBEDDED, ENDPOINT

    return name if name.startswith((EMBEDDED, ENDPOINT, REGISTRY)) else model_path(name)


@dataclass(frozen=True, kw_only=True)
class Entries:
    """`models` and `names` by role: base, tuned, and tuned_2, tuned_3, ... for further models; `variants` says which
    roles are seeds of one recipe; `references` by name; `published`: models whose public scores are shown too."""

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
    from gisttools.evaluation import PREFIX as PUBLISHED

    named = [params.model] if isinstance(params.model, str) else list(dict.fromkeys(params.model))
    if params.model_revision and len(named) > 1:
        raise ParameterError("model_revision is for a single model; name several hub models as org/name@revision.")
    origins = {name: origin_of(_unpinned(name)) for name in named}
    baseline, revision = _baseline(params, origins)
    roles = {name: TUNED if i == 0 else f"{TUNED}_{i + 1}" for i, name in enumerate(named)}
    variants = tuple(_variants(origins, roles))
    references = [name for name in dict.fromkeys(params.references) if not name.startswith(PUBLISHED)]
    told = {BASE: (baseline, revision)} | {roles[name]: (name, params.model_revision) for name in named}
    prompts = dict.fromkeys(told, (params.query_prompt, params.document_prompt))
    if params.baseline is None:
        prompts[BASE] = _prompts_of_baseline(params, origins)
    models = {role: _open(params, *told[role], *prompts[role]) for role in told if only in (None, role)}
    return Entries(
        models=models,
        names={BASE: baseline} | {role: name for name, role in roles.items()},
        variants=variants,
        references={name: _reference(params, name, origins.values()) for name in references if only in (None, name)},
        published=tuple(dict.fromkeys(name for name in params.references if name.startswith(PUBLISHED))),
    )


def tasks_of(params: EvaluateParams) -> tuple[list[TaskSource], list[str]]:
    """The tasks that the parameters name, and notes, such as why no guard was run, or how files were split. Raises as
    `task_sources`."""
    from gisttools.data import FileOptions
    from gisttools.evaluation import default_guards, task_sources

    guards, note = (params.guards, None) if params.guards is not None else default_guards(params.tasks)
    files, reading = tests_of(params.files), reading_of(params, FileOptions)
    sources = task_sources(params.tasks, files, subsets=params.subsets, guards=guards, reading=reading)
    notes = [*_splits_told(files, reading), *synthetic_told(params.files), *_trainings_told(params.references)]
    return sources, [*([note] if note else []), *notes]


def _trainings_told(references: Sequence[str]) -> list[str]:
    """A note on each reference that is a training: what of, and on which rows."""
    runs = [open_run(folder) for name in references if (folder := as_run(name)) is not None]
    told = [
        (trained_as(r.parameters["student"], r.summary.get("by_source") or {}), r) for r in runs if r.verb == "finetune"
    ]
    return [f"Shown beside: {words} ({run.id})." for words, run in told]


def _splits_told(files: Sequence[str], reading: FileOptions) -> list[str]:
    """A note on each file that is split on the fly."""
    from gisttools.data import eval_folder, read_scored

    found = [eval_folder(name, reading=reading, tell=False) for name in files] if reading.shares else []
    told = {f.path.name: read_scored(f).parts_told for f in found if f.files.get("train") == f.files.get("test")}
    return [f"{name}: {how}." for name, how in told.items() if how]


def _baseline(params: EvaluateParams, origins: Mapping[str, Origin]) -> tuple[str, str | None]:
    if params.baseline is not None:
        return params.baseline, params.baseline_revision
    students = {name: (o.student, o.student_revision) for name, o in origins.items() if o.student is not None}
    if unknown := [name for name in origins if name not in students]:
        raise ParameterError(
            f"baseline is not set, and {', '.join(map(repr, unknown))} is no finetune run that would know its student. "
            "Set baseline to the model that you want to compare with."
        )
    if len(set(students.values())) > 1:
        told = [f"{name} started from {student} ({revision})" for name, (student, revision) in students.items()]
        raise ParameterError(problems("baseline is not set, and the students differ:", told, "Set baseline."))
    return next(iter(students.values()))


def _prompts_of_baseline(params: EvaluateParams, origins: Mapping[str, Origin]) -> tuple[str | None, str | None]:
    """What is said of the prompts of the student that finetune runs started from: there, where it is not said here."""
    found = []
    for side in ("query_prompt", "document_prompt"):
        told = {(origin.parameters or {}).get(side) for origin in origins.values()}
        if getattr(params, side) is None and len(told) > 1:
            raise ParameterError(
                f"baseline is not set, and the models were tuned with different prompts ({side}: "
                f"{', '.join(sorted(map(repr, told)))}). Set {side}, or baseline."
            )
        found.append(getattr(params, side) if getattr(params, side) is not None else next(iter(told)))
    return found[0], found[1]


def _variants(origins: Mapping[str, Origin], roles: Mapping[str, str]) -> list[Variant]:
    from gisttools.evaluation import Variant, training_sets

    alike: dict[str, dict[object, str]] = {}  # what the models were made with -> seed -> model
    twice = []
    for name, origin in origins.items():
        told = {k: v for k, v in (origin.parameters or {"model": name}).items() if k not in RERANKING}
        seed = told.pop("seed", None)
        other = alike.setdefault(json.dumps(told, sort_keys=True), {}).setdefault(seed, name)
        twice += [f"{other} and {name} are one training, of one seed"] if other != name else []
    if twice:
        raise ParameterError(problems("model:", twice, "Leave one out, or train another seed."))
    groups = [list(seeds.values()) for seeds in alike.values()]
    found = []
    for variant_name, members in zip(_names(groups, origins), groups, strict=True):
        first = origins[members[0]]
        variant = Variant(
            name=variant_name,
            roles=tuple(roles[name] for name in members),
            trained_on=first.trained_on,
            training_texts=first.training_texts,
            training_sets=training_sets(first.student) if first.student else None,
        )
        found.append(variant)
    return found


def _names(groups: Sequence[Sequence[str]], origins: Mapping[str, Origin]) -> list[str]:
    """`tuned` for a single recipe; of several what their parameters differ in, or the model's name."""
    if len(groups) == 1:
        return [TUNED]
    told = [origins[members[0]].parameters or {} for members in groups]
    runs = [t for t in told if t]
    differ = [k for k in (runs[0] if runs else {}) if k != "seed" and len({_json(t.get(k)) for t in runs}) > 1]
    names = []
    for members, parameters in zip(
        groups, [{**t, "soup": len(t.get("soup", ()))} if t else t for t in told], strict=True
    ):
        name = ", ".join(f"{k}={_json(parameters.get(k))}" for k in differ) if parameters and differ else members[0]
        name = name if len(name) <= _LONGEST else members[0]
        names.append(name if name not in names else members[0])
    return names


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _open(
    params: EvaluateParams,
    name: str,
    revision: str | None = None,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
) -> ScoredModel:
    from gisttools.evaluation import open_scored

    if name == GUIDE:
        raise ParameterError(f"{GUIDE!r} is a reference, not a model: name the guide itself.")
    plain, _, pinned = name.partition("@")
    if plain.count("/") != 1 or Path(name).exists():
        plain, pinned = name, ""
    return open_scored(
        _place_of(plain),
        revision or pinned or None,
        trust_remote_code=params.trust_remote_code,
        base_url=params.base_url,
        key_variable=params.key_variable,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        seed=params.seed,
    )


def _unpinned(name: str) -> str:
    return name.partition("@")[0] if name.count("/") == 1 and not Path(name).exists() else name


def _reference(params: EvaluateParams, name: str, origins: Any) -> ScoredModel:
    from gisttools.models import ENDINGS

    if name != GUIDE:
        return _open(params, name)
    trainings = [o.parameters for o in origins if o.parameters and o.parameters.get("guide")]
    if not trainings:
        raise ParameterError(f"references: {GUIDE!r} is that of a finetune run, and none of the models has one.")
    if Path(trainings[0]["guide"]).suffix in ENDINGS:
        raise ParameterError(
            f"references: the guide {trainings[0]['guide']} is a file of vectors, which knows no other texts. Leave it"
            " out."
        )
    return guide_reference(params, trainings[0])


def guide_reference(params: EvaluateParams, told: Mapping[str, Any]) -> ScoredModel:
    """The guide of a training, by its parameters, as a model that is scored. Raises as `open_scored`."""
    from gisttools.evaluation import open_scored

    prompt = told.get("guide_prompt")
    sides = [told.get(f"guide_{side}_prompt") if prompt is None else prompt for side in ("query", "document")]
    return open_scored(  # as it was while it guided
        _place_of(told["guide"]),
        told.get("guide_revision"),
        trust_remote_code=params.trust_remote_code,
        base_url=told.get("guide_base_url"),
        key_variable=told.get("guide_key_variable") or params.key_variable,
        query_prompt=sides[0],
        document_prompt=sides[1],
    )


def tiers_of(params: ConvertParams, guide: VectorCache) -> Tiers:
    """How alike two texts must be to overlap."""
    from gisttools.data import Tiers

    return Tiers(near=params.near, semantic=params.semantic, guide=guide if params.semantic else None)


def eval_sets_of(params: ConvertParams) -> dict[str, list[str]]:
    """The test texts that must not stand in the table, by evaluation set: those of the folders, files and MTEB tasks
    that are told, or else of those among the sources that have test texts, in the subsets that are read.

    Raises:
        MissingError: a task, its data or a file is missing.
    """
    from gisttools.data import FileOptions, eval_sets, expand_sources, is_task, mteb_task, parse_task_name, subset_of

    files = _tested(params) if params.eval_files is None else tests_of(params.eval_files)
    found = eval_sets(folders=files, reading=reading_of(params, FileOptions))
    told = params.eval_tasks
    names = [s for s in expand_sources(paths(params.sources)) if is_task(s)] if told is None else told
    for name in names:
        task, subset, _ = parse_task_name(name)
        wanted = [subset] if subset else params.subset if isinstance(params.subset, list) else [params.subset]
        known = mteb_task(task)
        subsets = [subset_of(known, one) for one in wanted]
        texts = eval_sets([task], subsets=subsets)[task]
        found[task] = list(dict.fromkeys([*found.get(task, []), *texts]))
    return found


def _tested(params: ConvertParams) -> list[str]:
    """The sources that have test texts here: folders with a test file, and labelled files that are split."""
    from gisttools.data import FileOptions, ReadOptions, has_split, kind_of, shares_of

    reading = reading_of(params, FileOptions)
    here = [name for name in paths(params.sources) if Path(name).exists()]
    split = [
        n
        for n in here
        if "test" in shares_of(Path(n), reading) and kind_of(n, reading_of(params, ReadOptions)) == "labelled"
    ]
    return [n for n in here if n in split or (Path(n).is_dir() and has_split(n, "test"))]


def known_of(params: SynthesizeParams) -> Known:
    """The test texts, the texts of earlier runs, and the labelled texts that are told.

    Raises:
        MissingError, DataError: a file, task or run is missing or cannot be read.
    """
    from gisttools.data import FileOptions, ReadOptions, eval_sets, read_labelled, read_triplets, table_texts
    from gisttools.synthesis import Known

    told = reading_of(params, FileOptions)
    reading = ReadOptions(**told.model_dump())
    sets = eval_sets(params.eval_tasks, tests_of(params.eval_files), reading=told)
    avoid = inputs(params.avoid, "triplets.parquet")
    labelled = [read_labelled(resolve(folder), reading) for folder in params.labelled_files]
    return Known(
        eval_texts=[text for texts in sets.values() for text in texts],
        written=table_texts(read_triplets(*avoid)) if avoid else [],
        labelled=[pair for texts in labelled for pair in zip(texts.texts, texts.labels, strict=True)],
    )


def check_inputs(params: SynthesizeParams) -> None:
    """What can be said of task and prompt, texts written elsewhere, checks, decisions and the LLM's options,
    before any work.

    Raises:
        MissingError, DataError, ParameterError: the task description, the prompt or a file is missing, or wrong; an
            option is wrong, or would do nothing. All problems of one at once.
    """
    from gisttools.synthesis import (
        Checks,
        check_checks,
        check_prompt,
        check_start,
        check_written,
        load_prompt,
        read_thrown_out,
    )

    if params.asks:
        params.llm_options()
    if params.decisions is not None:
        read_thrown_out(resolve(params.decisions))
    if (written := written_of(params)) is not None:
        return check_written(written, task_of(params, written))
    if params.documents is not None and params.documents.startswith("$"):  # the run of a step that is still to come
        return check_task_to_come(params)
    task = task_of(params)
    check_checks(task, params.part(Checks))
    prompt = load_prompt(prompt_of(params) or task.prompt_for(small=params.llm_options().small), prompts_of(params))
    check_prompt(prompt)
    check_start(prompt, task)


def rows_cost(names: Sequence[str], tables: Mapping[str, Dataset]) -> dict[str, Any]:
    """The dollars of the rows trained on, for the run's summary: `rows`, `rows_cost_usd`, `rows_priced`.

    Rows of a synthesize run cost that run's mean price of an accepted row: all of its answers were paid for, also those
    that the filters rejected, so N of A accepted rows cost N/A of the run. Rows from elsewhere cost what stands in
    their own `cost_usd`. Rows that name no price, such as labelled texts, count as nothing; `rows_priced` says how many
    do name one, and where none does `rows_cost_usd` is None: not known.

    A run of fewer requests would have been somewhat cheaper a row: the more there is, the more repeats are rejected.

    Args:
        names: what was trained on, as in the parameter `triplets`.
        tables: the rows of each, in that order (`training_tables`).

    Raises:
        DataError: a synthesize run's summary is not the one that it wrote.
    """
    import pyarrow.compute as pc

    total, priced = 0.0, 0
    for name, table in zip(names, tables.values(), strict=True):
        price = _price_of_a_row(name)
        costs = table.select_columns("cost_usd").with_format("arrow")[:]["cost_usd"]
        if price is not None:
            written = len(costs) - costs.null_count  # a second answer to a question was not paid for
            total, priced = total + price * written, priced + written
        else:
            total += pc.sum(costs).as_py() or 0.0
            priced += len(costs) - costs.null_count
    return {"rows": sum(map(len, tables.values())), "rows_cost_usd": total if priced else None, "rows_priced": priced}


def _price_of_a_row(name: str) -> float | None:
    """Dollars for an accepted row of a synthesize run; None for other names, and where the price is not known."""
    folder = as_run(name)
    run = None if folder is None else read_run(folder)
    if run is None or run.verb != "synthesize":
        return None
    summary = open_run(run.folder).summary
    cost, accepted = summary.get("cost_usd"), summary.get("accepted")
    if cost is None or not accepted:
        return None
    return (cost + (summary.get("idea_cost_usd") or 0.0)) / accepted  # ideas are asked for before rows
