"""Scores every way to do a task that an engineer would think of, beside the tuned model, and says which one to use.

Of labelled texts: the most frequent class, TF-IDF with logistic regression, each encoder with a classifier fitted on
all train labels, and an encoder trained with a linear head by cross-entropy. Of searches: BM25 and each encoder. Each
with its size, its speed on this machine, what was spent on it, and its difference to the best by intervals that hold
together.
"""

from __future__ import annotations

import logging
import math
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from gisttools.common import DataError, GistError, digest, doing, plural
from gisttools.data import load_task, split_of
from gisttools.evaluation.advice import Candidate, Kind, advise, against_best
from gisttools.evaluation.candidate_scores import ANSWERS, CLASSES, Candidates, CandidateScore, TargetAdvice
from gisttools.evaluation.fitting import (
    Fitted,
    Labelled,
    Said,
    class_scores,
    kept_linear,
    labelled_of,
    most_frequent,
    on_vectors,
    texts_per_second,
    vectors_of,
    words,
)
from gisttools.evaluation.intervals import (
    Interval,
    clustered_interval,
    crossed_interval,
    satterthwaite,
    seed_spread,
    student_interval,
)
from gisttools.evaluation.items import query_scores, source_documents
from gisttools.evaluation.models import BM25, ScoredModel, open_scored, scored
from gisttools.evaluation.reranking import Rankings, Reranking
from gisttools.evaluation.scores import KeptScores, ScoreCache, kept_scores, one_line, score
from gisttools.evaluation.shipping import Shipped, shipped
from gisttools.evaluation.tasks import TaskSource
from gisttools.models import Linear

if TYPE_CHECKING:
    from mteb import AbsTask

log = logging.getLogger(__name__)
SEARCHES = ("Retrieval", "Reranking")
_TOP = 10  # documents that a search answers with, while its speed is measured
TF_IDF = "TF-IDF + logistic regression"


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A model among the candidates.

    Attributes:
        name: what it is called on the page; no other has it.
        kind: of `Candidate`; `tuned` only where its training is known.
        what: what it is, in a few words.
        models: one for each seed of its training.
        dollars: spent on its training rows; None where not known.
        labels: labelled texts that it was trained on; None where not known.
    """

    name: str
    kind: Kind
    what: str
    models: tuple[ScoredModel, ...]
    dollars: float | None = 0.0
    labels: int | None = 0


class Heads(Protocol):
    """Trains an encoder with a linear head by cross-entropy on labelled texts, once for each seed."""

    @property
    def name(self) -> str: ...

    @property
    def what(self) -> str: ...

    def __call__(self, texts: Sequence[str], labels: Sequence[str]) -> Sequence[tuple[SentenceTransformer, Linear]]: ...


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A candidate on one task, before it is held against the others.

    Attributes:
        row: without its difference to the best.
        values: (seeds, items), what each item adds to the score.
        clusters: (items,) which items belong together; None where each stands for itself.
        part, said: of labelled texts, and what each seed's classifier says of them.
        shape: the architecture of its model; models of one shape are equally fast.
        left: makes what is left of it to be used, of the first seed; None of what has no encoder here.
    """

    row: CandidateScore
    values: NDArray[np.float64]
    clusters: Sequence[Any] | None = None
    part: Labelled | None = None
    said: tuple[Said, ...] = ()
    shape: str = ""
    left: Callable[[], Shipped] | None = None

    def candidate(self) -> Candidate:
        row = self.row
        return Candidate(name=row.name, kind=row.kind, score=row.score, texts_per_s=row.texts_per_s)


def find_candidates(
    encoders: Sequence[Encoder] | Mapping[str, ScoredModel],
    sources: Sequence[TaskSource],
    *,
    heads: Heads | None = None,
    rerankings: Sequence[Reranking] = (),
    cache: ScoreCache | None = None,
    batch_size: int = 64,
    smoke: bool = False,
) -> Candidates:
    """Score all candidates on the targets among `sources` and say which one to use.

    Guards and second looks at the same texts have no say. What fails for one candidate is noted, the others go on.
    Vectors and scores that are kept are used again.

    Args:
        encoders: the models; of those that are one and the same the first counts. By name alone, nothing is known of
            their training.
        sources: from `task_sources`.
        heads: trains encoders with a linear head; left out where None.
        rerankings: of searches, on top of the first tuned model, else of the first model.
        cache: where scores and vectors are kept; the usual folder if None.
        batch_size: texts embedded at a time.
        smoke: was the training only to see that everything works? Then nothing is advised.
    """
    if isinstance(encoders, Mapping):
        told = encoders.items()
        encoders = [Encoder(name=n, kind="reference", what="a model", models=(m,), labels=None) for n, m in told]
    work = _Work(_once(encoders), heads, rerankings, cache or ScoreCache(), batch_size)
    for source in (source for source in sources if source.is_target):
        with doing(f"candidates on {source.name}"):
            try:
                work.do(source)
            except GistError as error:
                work.note(f"{source.name}: {one_line(error)}")
    return work.result(smoke=smoke)


def _once(encoders: Sequence[Encoder]) -> list[Encoder]:
    """Each model once: a guide that is the student too is one candidate."""
    found: dict[tuple[str, ...], Encoder] = {}
    for encoder in encoders:
        key = tuple(model.key for model in encoder.models)
        other = found.get(key)
        if other is None:
            found[key] = encoder
        elif encoder.what not in other.what:
            found[key] = replace(other, what=f"{other.what}; {encoder.what}")
    return list(found.values())


class _Work:
    """Candidates on one task after the other."""

    def __init__(
        self,
        encoders: Sequence[Encoder],
        heads: Heads | None,
        rerankings: Sequence[Reranking],
        cache: ScoreCache,
        batch_size: int,
    ) -> None:
        self.encoders, self.heads, self.rerankings = encoders, heads, rerankings
        self.cache, self.batch_size = cache, batch_size
        self.parts: dict[tuple[str, str, str], list[_Found]] = {}
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        log.warning("candidates: %s", text)
        self.notes.append(text)

    def do(self, source: TaskSource) -> None:
        """All candidates on all subsets of a task."""
        task = source.make()
        kind, name = task.metadata.type, source.name
        ways = {"Classification": self._labelled} | dict.fromkeys(SEARCHES, self._searched)
        if kind == "MultilabelClassification":
            self.note(f"{name}: its texts have several labels each; candidates are compared where they have one.")
        elif kind not in ways:
            self.note(f"{name} is a task of {kind}; candidates are compared on labelled texts and on searches.")
        else:
            load_task(task)
            for subset in task.hf_subsets:
                found = list(ways[kind](source, task, subset))
                if found:
                    self.parts[name, subset, found[0].row.metric] = found

    def _tried(self, source: TaskSource, name: str, make: Callable[[], _Found]) -> Iterator[_Found]:
        try:
            yield make()
        except Exception as error:  # noqa: BLE001 (whatever a model, a library or a task's own code raises)
            self.note(f"{source.name}, {name}: {one_line(error)}")

    def _labelled(self, source: TaskSource, task: AbsTask, subset: str) -> Iterator[_Found]:
        part = labelled_of(task, subset, task.eval_splits[0])
        if part is None:
            self.note(f"{source.name}: it has no train labels that a classifier could be fitted on.")
            return
        if len(part.train_texts) < part.of_train:
            told = f"{len(part.train_texts):,} of {part.of_train:,} train texts, drawn at random"
            self.note(f"{source.name}: classifiers are fitted on {told}.")
        guess = Encoder(name="most frequent class", kind="floor", what="a guess that reads nothing", models=())
        tf_idf = Encoder(name=TF_IDF, kind="classic", what="words and pairs of words, no encoder", models=())
        yield from self._tried(source, guess.name, lambda: _without_encoder(part, guess, most_frequent))
        yield from self._tried(source, tf_idf.name, lambda: _without_encoder(part, tf_idf, words))
        found: list[_Found] = []
        for encoder in self.encoders:
            if not any(model.searches_only for model in encoder.models):
                found += self._tried(source, encoder.name, partial(self._encoded, source, part, encoder))
        if self.heads is not None:
            found += self._tried(source, self.heads.name, partial(self._headed, part, self.heads))
        fastest: dict[str, float] = {}
        for one in found:
            fastest[one.shape] = max(fastest.get(one.shape, 0.0), one.row.texts_per_s or 0.0)
        for one in found:
            yield replace(one, row=replace(one.row, texts_per_s=fastest[one.shape] or None))

    def _encoded(self, source: TaskSource, part: Labelled, encoder: Encoder) -> _Found:
        """An encoder with the same classifier for all, fitted on all train labels."""
        fitted, few, seen = [], [], []
        for model in encoder.models:
            train, test = vectors_of(model, part, self.cache, batch_size=self.batch_size)
            with doing(f"fitting a classifier on {len(train):,} texts ({encoder.name})"):
                linear = kept_linear(train, part.train_labels, self.cache)
            fitted.append((model, linear, on_vectors(linear, test)))
            seen.append(test)
            told = self._scored(source, model, encoder).raw.get(part.subset, {})
            few.append(float(told.get("accuracy", math.nan)))
        samples = getattr(part.task, "samples_per_label", None)
        found = self._with_model(part, encoder, fitted, seen[0])
        return replace(found, row=replace(found.row, few_shot=float(np.mean(few)), samples_per_label=samples))

    def _headed(self, part: Labelled, heads: Heads) -> _Found:
        """An encoder trained together with a linear head."""
        fitted, seen = [], []
        for trained, linear in heads(part.train_texts, part.train_labels):
            model = replace(scored(trained), name=heads.name)
            _, test = vectors_of(model, part, self.cache, batch_size=self.batch_size, test_only=True)
            fitted.append((model, linear, on_vectors(linear, test)))
            seen.append(test)
        encoder = Encoder(
            name=heads.name, kind="head", what=heads.what, models=tuple(model for model, _, _ in fitted),
            labels=len(part.train_texts),
        )  # fmt: skip
        return self._with_model(part, encoder, fitted, seen[0])

    def _with_model(
        self,
        part: Labelled,
        encoder: Encoder,
        fitted: Sequence[tuple[ScoredModel, Linear, Said]],
        test: NDArray[Any],
    ) -> _Found:
        """`test`: the first model's vectors of the test texts."""
        model, linear, _ = fitted[0]
        found = _found(part, encoder, [said for _, _, said in fitted])
        weights = (linear.weights.nbytes + linear.bias.nbytes) / 1e6
        row = replace(
            found.row,
            encoder_labels=encoder.labels,
            megabytes=None if model.megabytes is None else model.megabytes + weights,
            texts_per_s=_speed(model, part, linear),
        )
        left = None
        if model.encoder is model.transformer:  # not of mteb's registry, whose code may make prompts of its own
            told = {"task": found.row.task, "fitted_on": len(part.train_texts)}
            left = partial(shipped, encoder.name, model.transformer, linear, part, test, told)
        return replace(found, row=row, shape=_shape(model), left=left)

    def _scored(self, source: TaskSource, model: ScoredModel, encoder: Encoder) -> KeptScores:
        kept = kept_scores(model, source, self.cache)
        return kept or score(model, source, self.cache, batch_size=self.batch_size, name=encoder.name)

    def _searched(self, source: TaskSource, task: AbsTask, subset: str) -> Iterator[_Found]:
        data = split_of(task, subset, task.eval_splits[0])
        if not isinstance(data, Mapping) or "relevant_docs" not in data:
            self.note(f"{source.name}: its queries and documents cannot be read apart.")
            return
        if not any(model.kind == BM25 for encoder in self.encoders for model in encoder.models):
            yield from self._tried(source, "BM25", lambda: self._search(source, task, subset, data, _bm25()))
        for encoder in self.encoders:
            yield from self._tried(source, encoder.name, partial(self._search, source, task, subset, data, encoder))
        below = next((e for e in self.encoders if e.kind == "tuned"), next(iter(self.encoders), None))
        if below is None:
            return
        for one in self.rerankings:
            reranked = partial(self._reranked, source, task, subset, data, below, one)
            yield from self._tried(source, one.name, reranked)

    def _search(
        self, source: TaskSource, task: AbsTask, subset: str, data: Mapping[str, Any], encoder: Encoder
    ) -> _Found:
        found = self._queries(source, task, subset, data, encoder)
        model = encoder.models[0]
        row = replace(
            found.row, megabytes=_search_size(model), texts_per_s=_search_speed(model, task, subset, data),
            encoder_labels=encoder.labels,
        )  # fmt: skip
        about = {"task": source.name, "metric": row.metric, "score": row.score, "queries": row.n_test}
        left = model.transformer and partial(Shipped, name=encoder.name, encoder=model.transformer, about=about)
        return replace(found, row=row, shape=_shape(model), left=left)

    def _reranked(
        self,
        source: TaskSource,
        task: AbsTask,
        subset: str,
        data: Mapping[str, Any],
        encoder: Encoder,
        reranking: Reranking,
    ) -> _Found:
        """A cross-encoder on top of an encoder's search."""
        with doing(f"{reranking.name} on {source.name}"):
            found = self._queries(source, task, subset, data, encoder, partial(reranking.reordered, data=data))
        row = replace(
            found.row, name=reranking.name, kind="reranked",
            what=f"{encoder.name}, its first {reranking.depth} documents put in order by a cross-encoder",
            megabytes=reranking.reranker.megabytes + (_search_size(encoder.models[0]) or 0.0),
            texts_per_s=reranking.queries_per_second(data),
        )  # fmt: skip
        return replace(found, row=row, shape=reranking.name)

    def _queries(
        self,
        source: TaskSource,
        task: AbsTask,
        subset: str,
        data: Mapping[str, Any],
        encoder: Encoder,
        then: Callable[[Rankings], Rankings] = lambda ranked: ranked,
    ) -> _Found:
        """Each query's score by an encoder's search, or by what `then` makes of its rankings."""
        metric, relevant = task.metadata.main_score, data["relevant_docs"]
        options = {k: getattr(task, k, False) for k in ("ignore_identical_ids", "skip_first_result")}
        each = []
        for model in encoder.models:
            ranked = self._scored(source, model, encoder).result().predictions.get(subset)
            values = None if ranked is None else query_scores(then(ranked), relevant, metric, **options)
            if values is None:
                raise DataError(f"{metric} is no mean over queries, or the ranking was not kept.")
            each.append(values)
        queries = sorted(each[0])
        values_of = np.array([[values[query] for query in queries] for values in each])
        row = CandidateScore(
            task=source.name, subset=subset, metric=metric, name=encoder.name, kind=encoder.kind, what=encoder.what,
            score=float(values_of.mean()), n_test=len(queries), dollars=encoder.dollars, seeds=len(each),
        )  # fmt: skip
        return _Found(row=row, values=values_of, clusters=source_documents(relevant, queries))

    def result(self, *, smoke: bool) -> Candidates:
        """Each candidate held against the best of its task, and the advice."""
        rows, targets = [], []
        for (task, subset, metric), found in self.parts.items():
            members, gap = [one.candidate() for one in found], _gap({(task, subset): found})
            best, gaps = against_best(members, gap)
            rows += [_against(one.row, best, gaps) for one in found]
            advice = advise(members, gap, smoke=smoke)
            changed = tuple(_changed(found))
            targets.append(TargetAdvice(task=task, subset=subset, metric=metric, advice=advice, changed=changed))
        every = [one for found in self.parts.values() for one in found]
        return Candidates(
            rows=tuple(rows), classes=_classes(every), answers=_answers(every), targets=tuple(targets),
            overall=_overall(self.parts, smoke=smoke), notes=tuple(dict.fromkeys(self.notes)), smoke=smoke,
            shipped=self._to_use(targets),
        )  # fmt: skip

    def _to_use(self, targets: Sequence[TargetAdvice]) -> tuple[Shipped, ...]:
        """What is left to be used: of the first target the model that is advised, else the best that has an encoder;
        where it is not decided between two, both."""
        if not targets:
            return ()
        found, advice = next(iter(self.parts.values())), targets[0].advice
        order = sorted(found, key=lambda one: (one.row.name != advice.best, -one.row.score))
        first = next((one for one in order if one.left is not None), None)
        chosen = [first, *(one for one in order if one.row.name == advice.other and one is not first)]
        return tuple(one.left() for one in chosen if one is not None and one.left is not None)


def _changed(found: Sequence[_Found]) -> Iterator[tuple[CandidateScore, CandidateScore, Interval]]:
    """Each tuned model next to the student before training, and next to the student with a linear head."""
    for tuned in (one for one in found if one.row.kind == "tuned"):
        for one in found:
            if one.row.kind in ("base", "head"):
                yield one.row, tuned.row, difference(one, tuned)


Fit: TypeAlias = Callable[[Sequence[str], Sequence[str]], Fitted]


def _bm25() -> Encoder:
    return Encoder(name="BM25", kind="classic", what="a search by words, no encoder", models=(open_scored(BM25),))


def _without_encoder(part: Labelled, encoder: Encoder, fit: Fit) -> _Found:
    with doing(f"fitting {encoder.name} on {len(part.train_texts):,} texts"):
        fitted = fit(part.train_texts, part.train_labels)
    found = _found(part, encoder, [fitted.say(part.test_texts)])
    speed = None if encoder.kind == "floor" else texts_per_second(fitted.say, part.test_texts)
    return replace(found, row=replace(found.row, megabytes=fitted.megabytes, texts_per_s=speed))


def _found(part: Labelled, encoder: Encoder, said: Sequence[Said]) -> _Found:
    """With its scores on the test labels; of several seeds their means."""
    values = np.array([one.right(part.test_labels) for one in said])
    f1 = [np.mean([c.f1 for c in class_scores(one.answers, part.test_labels)]) for one in said]
    row = CandidateScore(
        task=part.task.metadata.name, subset=part.subset, name=encoder.name, kind=encoder.kind, what=encoder.what,
        score=float(values.mean()), macro_f1=float(np.mean(f1)), n_train=len(part.train_texts),
        encoder_labels=None if not encoder.models else encoder.labels, n_test=len(part.test_texts),
        n_classes=part.classes, dollars=encoder.dollars, seeds=len(said),
    )  # fmt: skip
    return _Found(row=row, values=values, part=part, said=tuple(said))


def _shape(model: ScoredModel) -> str:
    """What decides how fast a model is: its modules and the shapes of its weights; of others their identity."""
    if model.transformer is None:
        return model.key
    modules = [type(module).__name__ for module in model.transformer.modules()]
    weights = [tuple(weight.shape) for weight in model.transformer.parameters()]
    return digest(repr((modules, weights, model.transformer.max_seq_length)))


def _speed(model: ScoredModel, part: Labelled, linear: Linear) -> float | None:
    """Texts a second, the classifier counted in; None of a model that is not here."""
    if model.transformer is None:
        return None

    ask = model.transformer.encode

    def answer(texts: Sequence[str]) -> object:
        return linear.answers(ask(list(texts), batch_size=len(texts), show_progress_bar=False))

    return texts_per_second(answer, part.test_texts)


def _search_speed(model: ScoredModel, task: AbsTask, subset: str, data: Mapping[str, Any]) -> float | None:
    """Queries a second: of an encoder that are embedded, of a search by words that are answered from its index."""
    split, texts = task.eval_splits[0], [text for text in data["queries"]["text"] if isinstance(text, str)]
    if model.searches_only:
        about = {"task_metadata": task.metadata, "hf_split": split, "hf_subset": subset, "encode_kwargs": {}}
        model.encoder.index(data["corpus"], **about)

        index, most = model.encoder.retriever, min(_TOP, len(data["corpus"]))

        def search(queries: Sequence[str]) -> object:  # without mteb's own table of the queries, which takes longer
            return index.retrieve(model.encoder._tokenizer.transform(list(queries)), k=most, show_progress=False)

        return texts_per_second(search, texts)
    if model.transformer is None:
        return None
    ask = model.transformer.encode_query
    return texts_per_second(lambda some: ask(list(some), batch_size=len(some), show_progress_bar=False), texts)


def _search_size(model: ScoredModel) -> float | None:
    """Of an encoder itself, of a search by words its index, which was built before."""
    if not model.searches_only:
        return model.megabytes
    index = getattr(model.encoder, "retriever", None)
    return None if index is None else len(pickle.dumps((index.scores, index.vocab_dict))) / 1e6


def _gap(tasks: Mapping[tuple[str, str], Sequence[_Found]]) -> Callable[[Candidate, Candidate], Interval]:
    """The difference of two candidates; of several tasks that of their means, their texts taken as independent."""
    by_name = [{one.row.name: one for one in found} for found in tasks.values()]

    def gap(one: Candidate, other: Candidate) -> Interval:
        parts = [difference(found[other.name], found[one.name]) for found in by_name]
        if len(parts) == 1:
            return parts[0]
        variances = [((p.standard_error / len(parts)) ** 2, p.freedom) for p in parts]
        whole = sum(variance for variance, _ in variances)
        return student_interval(
            float(np.mean([p.difference for p in parts])), whole, satterthwaite(whole, variances),
            n_items=sum(p.n_items for p in parts), n_draws=1, method=f"mean of {len(parts)} tasks",
        )  # fmt: skip

    return gap


def difference(base: _Found, other: _Found) -> Interval:
    """The paired difference over test items, in clusters where they come in such. Seeds of either side add their own
    variance, each side as a sample of trainings that has nothing to do with the other's."""
    one, two = base.values.mean(axis=0), other.values.mean(axis=0)
    found = crossed_interval(one, two)
    if other.clusters is not None and len(set(other.clusters)) > 1:
        found = clustered_interval(one, two, other.clusters)
    if max(len(base.values), len(other.values)) == 1:
        return found
    parts = [(found.standard_error**2, found.freedom)]
    for side, against in ((base.values, two), (other.values, one)):
        if len(side) > 1:
            parts.append((seed_spread(against, side).seed_error ** 2, len(side) - 1))
    whole = sum(variance for variance, _ in parts)
    return student_interval(
        found.difference, whole, satterthwaite(whole, parts), n_items=found.n_items, n_draws=1,
        method=f"{found.method}, and over training seeds",
    )  # fmt: skip


def _against(row: CandidateScore, best: Candidate | None, gaps: Mapping[str, Interval]) -> CandidateScore:
    """With its difference to the best, negative where it is less."""
    if best is None or row.name == best.name:
        return replace(row, best=best is not None)
    gap = gaps[row.name]
    return replace(row, difference=0.0 - gap.difference, low=0.0 - gap.high, high=0.0 - gap.low)


def _overall(parts: Mapping[tuple[str, str, str], Sequence[_Found]], *, smoke: bool) -> TargetAdvice | None:
    """The advice for the mean of several tasks that have one metric, over the candidates that all of them have."""
    metrics = {metric for _, _, metric in parts}
    if len(parts) < 2 or len(metrics) > 1:
        return None
    names = [{one.row.name for one in found} for found in parts.values()]
    shared = set.intersection(*names)
    tasks = {(task, subset): [f for f in found if f.row.name in shared] for (task, subset, _), found in parts.items()}
    first = next(iter(tasks.values()))
    members = []
    for one in first:
        rows = [f.row for found in tasks.values() for f in found if f.row.name == one.row.name]
        speeds = [row.texts_per_s for row in rows if row.texts_per_s is not None]
        speed = float(np.mean(speeds)) if len(speeds) == len(rows) else None
        mean = float(np.mean([row.score for row in rows]))
        members.append(replace(one.candidate(), score=mean, texts_per_s=speed))
    advice = advise(members, _gap(tasks), smoke=smoke)
    return TargetAdvice(task=f"mean of {plural(len(tasks), 'target')}", subset="", metric=metrics.pop(), advice=advice)


def _classes(found: Sequence[_Found]) -> pd.DataFrame:
    rows = [
        (one.row.task, one.row.subset, one.row.name, seed, c.label, c.precision, c.recall, c.f1, c.support)
        for one in found
        if one.part is not None
        for seed, said in enumerate(one.said)
        for c in class_scores(said.answers, one.part.test_labels)
    ]
    return pd.DataFrame(rows, columns=list(CLASSES))


def _answers(found: Sequence[_Found]) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {name: [] for name in ANSWERS}
    for row, part, seed, said in ((f.row, f.part, i, said) for f in found for i, said in enumerate(f.said)):
        if part is not None:
            n = len(said.answers)
            told: list[Any] = [[row.task] * n, [row.subset] * n, range(n), part.test_texts, part.test_labels]
            told += [[row.name] * n, [seed] * n, said.answers, said.probabilities.tolist()]
            for name, values in zip(ANSWERS, told, strict=True):
                columns[name] += values
    return pd.DataFrame(columns)
