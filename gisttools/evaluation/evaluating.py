"""Evaluates a baseline and tuned models on the same tasks: scores, paired comparisons, and the items behind them.

`evaluate` goes task by task; `Findings` gathers what is found on the way, also what fails; the tables of the whole are
an `Evaluation`, with one overall word for each variant.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from sentence_transformers import SentenceTransformer

from gisttools.common import DataError, GistError, MissingError, doing, notice, problems, tqdm
from gisttools.data import SHARED_COLUMNS, cleaned_task, load_task, refuse_shared, shared_texts, train_texts_in_test
from gisttools.evaluation.candidate_scores import Candidates
from gisttools.evaluation.comparison import (
    Average,
    Compared,
    Comparison,
    ScoreRow,
    Word,
    averages,
    compare_seeds,
    comparison_table,
    json_rows,
    judge,
    read_comparisons,
    to_table,
)
from gisttools.evaluation.judging import by_variant, failed_targets, headline, verdict_words
from gisttools.evaluation.models import ScoredModel, scored
from gisttools.evaluation.mteb_files import write_mteb_result
from gisttools.evaluation.options import EvaluateOptions
from gisttools.evaluation.published import paper_scores, published_scores
from gisttools.evaluation.queries import query_table
from gisttools.evaluation.scores import KeptScores, ScoreCache, fits, kept_scores, one_line, score
from gisttools.evaluation.tasks import TaskSource, was_trained_on
from gisttools.models import Spread, spread_of

log = logging.getLogger(__name__)
BASE = "base"
_REFERENCES = {"name": "str", "kind": "str", "task": "str", "subset": "str", "metric": "str", "score": "float64"}
_SAMPLE = 64  # test texts whose vectors' spread is measured
_TEXTS = 1000  # of a task that does not tell its size, for the time left
TABLES = ("scores", "comparison", "items", "queries", "overlap", "references", "averages", "failed")
_POINTS = ("base", "tuned", "difference", "low", "high")
_SHOWN = ("variant", "task", "subset", "metric", *_POINTS, "verdict", "n_seeds", "trained_on", "overlap", "n_test")
_ITEMS = ["task", "item", "text", "gold", "base_correct", "tuned_correct", "base_answer", "tuned_answer", "subset"]
_ITEMS += ["base_draws", "tuned_draws", "variant"]
_FAILED = {"task": "str", "model": "str", "error": "str", "is_target": "bool"}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Which models are one variant, a seed each, and what they were trained on.

    Attributes:
        name: no other variant has it.
        roles: of its models, in `evaluate`'s `models`.
        trained_on: sources of the training table (task names, folders); None if not known.
        training_texts: texts of that table.
        training_sets: mteb tasks that the model it started from was trained on; None if not known.
    """

    name: str = "tuned"
    roles: tuple[str, ...] = ("tuned",)
    trained_on: tuple[str, ...] | None = None
    training_texts: tuple[str, ...] = ()
    training_sets: frozenset[str] | None = None

    def __post_init__(self) -> None:  # lists are what people have at hand
        for name in ("roles", "trained_on", "training_texts"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, tuple(value))


def evaluate(
    models: Mapping[str, SentenceTransformer | ScoredModel],
    sources: Sequence[TaskSource],
    folder: Path,
    *,
    variants: Sequence[Variant] | None = None,
    references: Mapping[str, ScoredModel] | None = None,
    options: EvaluateOptions | None = None,
    cache: ScoreCache | None = None,
) -> Evaluation:
    """Run every task on the baseline and the tuned models and compare them item by item.

    Scores are kept on disk: an evaluation that was stopped goes on with the task it was at, and one that is repeated
    costs little. A task that fails for a model is recorded, the others go on.

    Args:
        models: {"base": ..., "tuned": ...}, and a role of its own for each further tuned model.
        sources: from `task_sources`.
        folder: gets `predictions/<role>/`, and of mteb's tasks `mteb/results/`, which `mteb.ResultCache` reads.
        variants: which roles are seeds of one variant, each variant compared with the baseline; the model called
            "tuned", of which no training is known, if None. Each says what its training table holds, so that test
            texts are found in it: equal ones and near copies.
        references: models shown for comparison, scored and not judged.
        options: how models are scored and compared; where `allow_overlap` is set, test texts that a training table
            holds are counted and listed.
        cache: where scores are kept; the usual folder if None.

    Raises:
        DataError: a training table holds test texts, and `allow_overlap` is False; told before any model runs.
        MissingError, DataError: nothing could be compared, or none of several targets; every failure is listed.
    """
    variants, options = tuple(variants or [Variant()]), options or EvaluateOptions()
    cache, found = cache or ScoreCache(), Findings()
    shared = overlap_with(sources, variants, found, allow=options.allow_overlap)
    opened = {role: scored(model, role) for role, model in models.items()}
    lost = {failure["task"] for failure in found.failed}
    usable = [source for source in sources if source.name not in lost]
    jobs = {**opened, **(references or {})}
    _announce(usable, jobs, cache)
    with tqdm(total=sum(map(size_of, usable)) * len(jobs), desc="evaluating", unit="text") as bar:
        for source in usable:
            for name, model in jobs.items():
                bar.set_postfix_str(f"{source.name} ({name})")
                if name == BASE or (source.name, BASE) in found.kept:  # without the baseline nothing can be compared
                    found.score(source, name, model, cache, options.batch_size, bar)
            with doing(f"comparing on {source.name}"):
                for variant in variants:
                    found.compare(source, variant, opened, shared, cache, options.seed)
            found.copy_predictions(source, opened, folder)
            found.write_mteb(source, jobs, folder)
    found.refuse_nothing(sources)
    judged = judge(found.comparison, allowed_loss=options.allowed_loss)
    return Evaluation(
        scores=found.score_table(opened),
        comparison=comparison_table(judged),
        items=pd.DataFrame(found.items, columns=_ITEMS),
        queries=query_table(found.queries),
        overlap=shared,
        references=found.reference_table(references or {}),
        averages=average_table(judged),
        failed=pd.DataFrame(found.failed, columns=list(_FAILED)).astype(_FAILED),
        speed={role: found.speed(role) for role in opened},
        encoded={role: found.encoded[role] for role in jobs},
        variants=variants,
        spread=found.spread(opened),
        mteb=found.mteb,
    )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was found.

    Attributes:
        scores: one row per role, task, subset and metric.
        comparison: one row per variant, task and subset.
        items: one row per variant and test text of classification tasks.
        queries: one row per variant and judged query of searches.
        overlap: one row per variant and test text that its training table holds.
        references: main scores of models shown for comparison: `name`, `kind`, `task`, `subset`, `metric`, `score`.
        averages: see `average_table`.
        failed: what could not be scored: `task`, `model` (its role, or the name of a reference), `error` in one line,
            `is_target`.
        speed: texts a second, by role.
        encoded: texts that this run embedded, by role; what was kept from earlier runs is not embedded again.
        variants: those that were judged.
        spread: how far the vectors of some test texts lie apart, by role, of models that are here.
        mteb: folders with mteb's own files of scores, by role, of models that were scored on a task of mteb.
        candidates: every way to do the tasks that was scored, and the advice; None where they were left out.
    """

    scores: pd.DataFrame
    comparison: pd.DataFrame
    items: pd.DataFrame
    overlap: pd.DataFrame
    references: pd.DataFrame
    averages: pd.DataFrame
    failed: pd.DataFrame
    speed: dict[str, float | None]
    encoded: dict[str, int]
    variants: tuple[Variant, ...] = (Variant(),)
    spread: dict[str, Spread] = field(default_factory=dict)
    mteb: dict[str, str] = field(default_factory=dict)
    candidates: Candidates | None = None
    queries: pd.DataFrame = field(default_factory=lambda: query_table([]))

    def with_candidates(self, candidates: Candidates | None) -> Evaluation:
        """The same with all candidates and the advice; None where they were left out."""
        return replace(self, candidates=candidates)

    @property
    def trained(self) -> bool:
        """Is the training of all models known? Else they are one model against another."""
        return all(variant.trained_on is not None for variant in self.variants)

    def with_published(self, names: Sequence[str]) -> tuple[Evaluation, list[str]]:
        """The same with public scores of these models among the references, and notes on what is not there."""
        found, notes = published_scores(names, self.scores) if names else (self.references.head(0), [])
        references = pd.concat([self.references, found], ignore_index=True) if len(found) else self.references
        return replace(self, references=references), notes

    def missing(self) -> str:
        """What could not be scored, and what to do; empty where nothing failed."""
        if not len(self.failed):
            return ""
        names = ", ".join(dict.fromkeys(self.failed["task"]))
        return (
            f"{names} could not be scored, see failed.parquet. Run the same command again: only these are scored anew."
        )

    def headline(self) -> str:
        """One line, as `gisttools.evaluation.headline`: the advice, then scores, difference, interval and word."""
        rows = read_comparisons(self.comparison)
        advice = self.candidates.summary() if self.candidates else None
        return headline(rows, failed_targets(self.failed), len(self.failed), advice=advice, trained=self.trained)

    def candidate_table(self) -> pd.DataFrame | str:
        """The candidates as people read them, the best first: scores out of 100."""
        if self.candidates is None or not self.candidates.rows:
            return "No candidates were scored."
        table = self.candidates.table().sort_values(["task", "subset", "score"], ascending=[True, True, False])
        shares = ("score", "macro_f1", "few_shot", "difference", "low", "high")
        rounded = {c: (100 * table[c]).round(1) for c in shares}
        return table.assign(**rounded, megabytes=table["megabytes"].round(1), texts_per_s=table["texts_per_s"].round())[
            ["task", "name", "score", "macro_f1", "few_shot", *shares[3:], "megabytes", "texts_per_s", "dollars"]
        ].set_index("name")

    def table(self) -> pd.DataFrame:
        """The comparison as people read it: points out of 100."""
        plain = {"subset": "default", "n_seeds": 1, "variant": self.comparison["variant"].iloc[0]}
        dull = [c for c, value in plain.items() if set(self.comparison[c]) == {value}]
        table = self.comparison[[c for c in (*_SHOWN, "p_holm") if c not in dull]]
        return table.assign(**{c: (100 * table[c]).round(1) for c in _POINTS}, p_holm=table["p_holm"].round(4))

    def beside(self, name: Literal["averages", "references"]) -> pd.DataFrame:
        """The averages, or the scores of references, as people read them: points out of 100."""
        table: pd.DataFrame = getattr(self, name).round(4)
        return table.assign(**{c: (100 * table[c].astype(float)).round(1) for c in (*_POINTS, "score") if c in table})

    def save(self, folder: Path) -> None:
        """Write all tables as Parquet, and the models to be used into their folders."""
        more = self.candidates.tables() if self.candidates else {}
        for name, table in {**{name: getattr(self, name) for name in TABLES}, **more}.items():
            table.to_parquet(folder / f"{name}.parquet")
        for name, model in (self.candidates.folders() if self.candidates else {}).items():
            model.save(folder / name)

    def verdicts(self) -> dict[str, Word]:
        """The overall word for each variant: HELPED, HURT, MIXED or NOT SHOWN."""
        return verdict_words(read_comparisons(self.comparison), failed_targets(self.failed))

    def collapsed(self) -> dict[str, str]:
        """Why the vectors of a tuned model count as collapsed, against those of the baseline, by role."""
        if BASE not in self.spread:
            return {}
        why = {role: spread.collapse(self.spread[BASE]) for role, spread in self.spread.items() if role != BASE}
        return {role: text.replace("at the start", "of the baseline") for role, text in why.items() if text}

    def summary(
        self,
        models: Mapping[str, SentenceTransformer | ScoredModel],
        names: Mapping[str, str],
        notes: Sequence[str] = (),
    ) -> dict[str, Any]:
        """The numbers of this evaluation, for the run's summary.

        Args:
            models: as `evaluate` got them.
            names: what each role's model is called.
            notes: what a reader should know besides, such as that no guard was run.
        """
        opened = {role: scored(model, names[role]) for role, model in models.items()}
        verdicts = self.verdicts()
        tasks = list(dict.fromkeys(self.comparison["task"]))
        return {
            **names,
            "verdict": verdicts[next(iter(verdicts))],
            "verdicts": verdicts,
            "advice": self.candidates.summary() if self.candidates else None,
            "trained": self.trained,
            "variants": [
                {"name": v.name, "models": [names[role] for role in v.roles], "n_seeds": len(v.roles)}
                for v in self.variants
            ],
            "revisions": {role: model.revision for role, model in opened.items()},
            "tasks": tasks,
            "averages": json_rows(self.averages),
            "references": list(dict.fromkeys(self.references["name"])),
            "paper": json_rows(paper_scores(self.comparison["group"].fillna(self.comparison["task"]), names.values())),
            "failed": json_rows(self.failed),
            "notes": list(notes),
            "speed": {role: {"texts_per_s": speed} for role, speed in self.speed.items()},
            "encoded": self.encoded,
            "spread": {
                role: {k: v if v == v else None for k, v in vars(spread).items()}
                for role, spread in self.spread.items()
            },
            "collapsed": self.collapsed(),
            "mteb": self.mteb,
            "dimension": {role: model.dimension for role, model in opened.items()},
            "prompts": {role: dict(model.prompts) for role, model in opened.items()},
            "size": {role: {"mb": model.megabytes} for role, model in opened.items()},
        }


# which tasks an average is over; the first is always there, others where they are fewer, and some are left
_SELECTIONS: dict[str, Callable[[Comparison], bool]] = {
    "all": lambda row: True,
    "targets": lambda row: row.is_target,
    "not trained on": lambda row: row.trained_on is not True,
    "zero-shot": lambda row: row.zero_shot is True,
}
_AVERAGES = {"variant": "str", "tasks": "str", "name": "str", "n_tasks": "int64", "verdict": "str"}


def average_table(rows: Iterable[Comparison]) -> pd.DataFrame:
    """Mean differences by variant, over all tasks and by kind, as `averages` gives them.

    `tasks` says which tasks they are over: `all`; `targets`; `not trained on`, without those whose train split the
    training table used; `zero-shot`, those that neither model is known to have been trained on, by mteb's lists of
    training sets and the training table. Tasks that mteb puts together to one count as one; second looks at the texts
    of another one do not count.

    Args:
        rows: of the comparison table, judged.
    """
    found = []
    for variant, own in by_variant(row for row in rows if not row.second_look).items():
        counted = [replace(row, task=row.group or row.task) for row in own]
        for name, chosen in _SELECTIONS.items():
            part = [row for row in counted if chosen(row)]
            if name == "all" or 0 < len(part) < len(counted):
                found += [replace(average, variant=variant, tasks=name) for average in averages(part)]
    table = to_table(Average, found)
    return table.astype({name: _AVERAGES.get(name, "float64") for name in table})


@dataclass
class Findings:
    """What has been found so far, task by task; what fails for one model is recorded, the others go on.

    `kept`: scores by task and role (or reference); `encoded`: texts embedded in this run, by role; `mteb`: folders of
    mteb's own files, by role.
    """

    comparison: list[Comparison] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    queries: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    kept: dict[tuple[str, str], KeptScores] = field(default_factory=dict)  # (task, role or reference)
    encoded: Counter[str] = field(default_factory=Counter)
    sample: dict[str, str | None] = field(default_factory=dict)  # test texts with their class
    mteb: dict[str, str] = field(default_factory=dict)

    def spread(self, models: Mapping[str, ScoredModel]) -> dict[str, Spread]:
        """How far the vectors of some of the test texts lie apart, by role."""
        texts = list(self.sample)[:: max(len(self.sample) // _SAMPLE, 1)][:_SAMPLE]
        if len(texts) < 2:
            return {}
        numbers = {label: i for i, label in enumerate(dict.fromkeys(self.sample[t] for t in texts if self.sample[t]))}
        groups = [numbers.get(self.sample[text] or "", -1) for text in texts]
        found = {}
        for role, model in models.items():
            if model.transformer is not None:
                vectors = model.transformer.encode(texts, show_progress_bar=False)
                if np.isfinite(vectors).all():
                    found[role] = spread_of(vectors, groups)
        return found

    def fail(self, source: TaskSource, model: str, error: Exception) -> None:
        log.warning("%s, %s failed: %s", source.name, model, one_line(error), exc_info=not isinstance(error, GistError))
        told = {"task": source.name, "model": model, "error": one_line(error), "is_target": source.is_target}
        self.failed.append(told)
        self.errors.append(error)

    def score(
        self, source: TaskSource, name: str, model: ScoredModel, cache: ScoreCache, batch_size: int, bar: tqdm
    ) -> None:
        size, before = size_of(source), bar.n

        def forward(n: int) -> None:
            bar.update(min(n, before + size - bar.n))  # a task's size is what mteb tells, about

        try:
            kept = kept_scores(model, source, cache)
            if kept is None and fits(model, source):
                kept = score(model, source, cache, batch_size=batch_size, name=name, forward=forward)
                self.encoded[name] += kept.embedded
                bar.update(before + size - bar.n)
            else:
                bar.total -= size  # it took no time, so it must not count in the time left
            if kept is not None:
                self.kept[source.name, name] = kept
                log.info("%s, %s: %s", source.name, name, {k: v["main_score"] for k, v in kept.raw.items()})
        except Exception as error:  # noqa: BLE001 (whatever a model, a data set or a task's own code raises)
            bar.total -= before + size - bar.n
            self.fail(source, name, error)

    def compare(
        self,
        source: TaskSource,
        variant: Variant,
        opened: Mapping[str, ScoredModel],
        shared: pd.DataFrame,
        cache: ScoreCache,
        seed: int,
    ) -> None:
        """Add a variant's rows of one task, as far as its models and the baseline were scored."""
        results = [self.kept.get((source.name, role)) for role in (BASE, *variant.roles)]
        base, tuned = results[0], [result for result in results[1:] if result is not None]
        if base is None or not tuned:
            return
        try:
            compared = _compared(source, [base, *tuned], cache, seed)
        except Exception as error:  # noqa: BLE001 (data may be out of reach, a task's own code raises anything)
            self.fail(source, f"comparison of {variant.name}", error)
            return
        known = set(shared["text"][(shared["task"] == source.name) & (shared["variant"] == variant.name)])
        trained = None if variant.trained_on is None else was_trained_on(source.train_source, variant.trained_on)
        # as mteb tells it: test texts that stand in the task's own train split, and its cleaned version
        counted = train_texts_in_test(source.name) if source.is_mteb else None
        training_sets = variant.training_sets
        if training_sets is None:
            training_sets = opened[variant.roles[0]].training_sets
        base_zero_shot = _zero_shot(source, opened[BASE].training_sets, None)
        zero_shot = _zero_shot(source, training_sets, trained)
        for one in compared:
            self.items += [{**item, "variant": variant.name} for item in one.items]
            self.queries += [{**query, "variant": variant.name} for query in one.queries]
            self._take_texts(one)
            self.comparison.append(
                replace(
                    one.row,
                    is_target=source.is_target,
                    second_look=source.second_look,
                    overlap=None if variant.trained_on is None else len(known.intersection(one.texts)),
                    n_test=len(one.texts),
                    in_train=sum(counted.values()) if counted else None,
                    cleaned_task=cleaned_task(source.name) if source.is_mteb else None,
                    trained_on=trained,
                    variant=variant.name,
                    group=source.group,
                    base_zero_shot=base_zero_shot,
                    zero_shot=None if base_zero_shot is None or zero_shot is None else base_zero_shot and zero_shot,
                )
            )

    def _take_texts(self, one: Compared) -> None:
        """Test texts with their class, of classification."""
        golds = {item["text"]: str(item["gold"]) for item in one.items}
        self.sample |= {text: golds.get(text) for text in sorted(one.texts)}

    def copy_predictions(self, source: TaskSource, roles: Iterable[str], folder: Path) -> None:
        for role in roles:
            kept = self.kept.get((source.name, role))
            if kept is not None and kept.predictions is not None:
                target = folder / "predictions" / role / f"{source.name}.json"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(kept.predictions, target)

    def write_mteb(self, source: TaskSource, models: Mapping[str, ScoredModel], folder: Path) -> None:
        """Leave the scores on a task of mteb's in its own files."""
        task = source.make() if source.is_mteb else None
        for name, model in models.items():
            kept = self.kept.get((source.name, name))
            if task is not None and kept is not None:
                file = write_mteb_result(folder, model, task, kept)
                self.mteb[name] = file.parent.relative_to(folder).as_posix()

    def refuse_nothing(self, sources: Sequence[TaskSource]) -> None:
        """An evaluation fails where nothing could be compared, or none of its targets."""
        compared = {row.task for row in self.comparison}
        targets = {source.name for source in sources if source.is_target}
        if compared & targets or (compared and not targets):
            return
        what = "None of the targets" if compared else "Nothing"
        told = [f"{f['task']}, {f['model']}: {f['error']}" for f in self.failed]
        told = told or [f"{name}: neither model can be scored on it; bm25 only searches" for name in sorted(targets)]
        message = problems(f"{what} could be compared:", told, "What was scored is kept: a repeat goes on from there.")
        if all(isinstance(error, MissingError) for error in self.errors):
            raise MissingError(message)
        raise DataError(message)

    def score_table(self, roles: Iterable[str]) -> pd.DataFrame:
        """One row per role, task, subset and metric, task by task."""
        wanted = set(roles)
        own = [(role, kept) for (_, role), kept in self.kept.items() if role in wanted]
        return to_table(ScoreRow, [replace(row, role=role) for role, kept in own for row in kept.rows])

    def speed(self, role: str) -> float | None:
        """Texts that the role's model embedded in a second; None where it embedded none."""
        kept = [kept for (_, name), kept in self.kept.items() if name == role]
        seconds = sum(k.seconds for k in kept)
        return sum(k.embedded for k in kept) / seconds if seconds else None

    def reference_table(self, references: Mapping[str, ScoredModel]) -> pd.DataFrame:
        rows = [
            (name, references[name].kind, row.task, row.subset, row.metric, row.score)
            for (_, name), kept in self.kept.items()
            if name in references
            for row in kept.rows
            if row.is_main
        ]
        return pd.DataFrame(rows, columns=list(_REFERENCES)).astype(_REFERENCES)


def _compared(source: TaskSource, results: list[KeptScores], cache: ScoreCache, seed: int) -> list[Compared]:
    """The comparison of these results, the baseline's first; kept, so that a repeat need not load the data."""
    compared = cache.comparison(results, seed)
    if compared is None:
        task = source.make()
        load_task(task)
        base, *tuned = (result.result() for result in results)
        compared = compare_seeds(task, base, tuned, seed=seed)
        cache.keep_comparison(results, seed, compared)
    return compared


def size_of(source: TaskSource) -> int:
    """About how many texts a model is asked for, to tell the time left."""
    told = (source.make().metadata.descriptive_stats or {}) if source.is_mteb else {}
    return sum(int(part.get("num_samples") or 0) for part in told.values() if isinstance(part, dict)) or _TEXTS


_MANY = 5000  # texts of a task, from which on it is told before it is begun


def _announce(sources: Sequence[TaskSource], models: Mapping[str, ScoredModel], cache: ScoreCache) -> None:
    """Say of tasks of many texts how many they are and which models are to embed them, before any work.

    How long that takes is said as soon as it can be known: by `EmbedOnce`, of a few of the texts.
    """
    for source in sources:
        size = size_of(source)
        if size < _MANY:
            continue
        todo = [name for name, model in models.items() if fits(model, source) and not kept_scores(model, source, cache)]
        if todo:
            kind = "target" if source.is_target else "guard"
            notice(f"{source.name}, a {kind}, has about {size:,} texts for {', '.join(todo)} to embed")


def _zero_shot(source: TaskSource, training_sets: frozenset[str] | None, trained: bool | None) -> bool | None:
    """Was a model never trained on the task, as far as is known?"""
    if trained:
        return False
    return None if training_sets is None else source.name not in training_sets


def overlap_with(
    sources: Sequence[TaskSource], variants: Sequence[Variant], found: Findings, *, allow: bool
) -> pd.DataFrame:
    """Test texts that training tables hold, variant by variant; a task whose data is out of reach is recorded."""
    by_table: dict[tuple[str, ...], pd.DataFrame] = {}
    reachable = list(sources)
    for texts in dict.fromkeys(variant.training_texts for variant in variants):
        parts = [shared_texts({}, ())]
        for source in list(reachable) if texts else ():
            try:
                parts.append(shared_texts({source.name: source.make}, texts, allow=True))
            except GistError as error:
                reachable.remove(source)
                found.fail(source, "data", error)
        by_table[texts] = pd.concat([p for p in parts if len(p)] or parts[:1], ignore_index=True)
    if not allow:
        refuse_shared(pd.concat([p for p in by_table.values() if len(p)] or [*by_table.values()], ignore_index=True))
    tables = [by_table[variant.training_texts].assign(variant=variant.name) for variant in variants]
    shared = pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)
    return shared.astype({"variant": "str"})[[*SHARED_COLUMNS, "variant"]]
