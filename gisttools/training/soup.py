"""Averages the weights of several trainings, and of the model they started from: as fast as one, often better than all.

Models that were tuned from one start lie in one valley: the mean of their weights is a model, and on average a better
one than each of them (M. Wortsman and others 2022, "Model soups", arXiv 2203.05482). A share of the start in the mean
gives back what the training made it forget (the same authors, "Robust fine-tuning of zero-shot models", 2109.01903).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from gisttools.common import ModelError, ParameterError

log = logging.getLogger(__name__)
SHARES = (0.0, 0.15, 0.3, 0.5)  # of the start, that are tried
Score = Callable[[SentenceTransformer], float]


@dataclass(frozen=True, kw_only=True)
class Soup:
    """An average, and what was tried.

    Attributes:
        model: the one of the best score, or the plain average where there is no score.
        models: how many trainings are in it.
        start_share: weight of the start in it, between 0 and 1.
        scores: what was tried, a row each: models, start_share, score.
    """

    model: SentenceTransformer
    models: int
    start_share: float
    scores: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class Average:
    """How the weights of a saved model were averaged.

    Attributes:
        trainings: how many trainings are in it, this one among them.
        of: how many there were to choose from.
        start_share: weight of the start in it, between 0 and 1.
        score: its development score, 0 to 1; None without development data.
        tried: what was tried on the development data, a row each: models, start_share, score.
    """

    trainings: int
    of: int
    start_share: float
    score: float | None
    tried: pd.DataFrame

    def words(self) -> str:
        """`average of 2 of 3 trainings and 30 % of the start (84.1)`."""
        of_start = f"{100 * self.start_share:.3g} % of the start" if self.start_share else ""
        told = "" if self.score is None else f" ({100 * self.score:.1f})"
        if self.of == 1:
            return f"with {of_start}{told}" if of_start else "nothing of the start kept"
        which = f"average of {self.trainings} of" if self.trainings > 1 else "the best alone of"
        return f"{which} {self.of} trainings" + (f" and {of_start}" if of_start else "") + told

    def told(self) -> dict[str, object]:
        """JSON values."""
        own = {"trainings": self.trainings, "of": self.of, "start_share": self.start_share, "score": self.score}
        return {**own, "tried": self.tried.to_dict("records")}


def soup(
    models: Sequence[SentenceTransformer],
    start: SentenceTransformer | None = None,
    *,
    score: Score | None = None,
    shares: Sequence[float] = SHARES,
) -> Soup:
    """The average of some models' weights, with the share of their start that scores best.

    The models are added one by one, the best first, as long as the score does not fall (the greedy soup); the start is
    then mixed in with each of `shares`. Of equal scores the larger share of the start counts. Each mixture is as large
    and as fast as one model.

    Args:
        models: of one architecture, tuned from one start; one is enough where there is a start. They are not changed.
        start: the model that they started from; None to leave it out.
        score: of development data, never of test data; larger is better. Without it all models are averaged, and
            `shares` must hold one share alone.
        shares: of the start, at least 0 and less than 1.

    Raises:
        ParameterError: there is nothing to average, or to choose by; or a share does not lie in between.
        ModelError: the models are of different shape.
    """
    _check(models, start, score, shares)
    if start is None:
        shares = (0.0,)
    if score is None:
        weights = [(1 - shares[0]) / len(models)] * len(models)
        parts = [*zip(models, weights, strict=True), *([(start, shares[0])] if start is not None else [])]
        found = pd.DataFrame(columns=["models", "start_share", "score"])
        return Soup(model=averaged(parts), models=len(models), start_share=shares[0], scores=found)
    rows: list[dict[str, float]] = []
    chosen, best = _greedy(models, score, rows)
    share, model = 0.0, averaged([(each, 1 / len(chosen)) for each in chosen])
    for other in sorted(set(shares) - {0.0}):
        mixed = averaged([*((each, (1 - other) / len(chosen)) for each in chosen), (start, other)])  # type: ignore[list-item]
        rows.append({"models": len(chosen), "start_share": other, "score": score(mixed)})
        if rows[-1]["score"] >= best:
            best, share, model = rows[-1]["score"], other, mixed
    log.info("soup of %d of %d models with %.2f of their start: %.4f", len(chosen), len(models), share, best)
    return Soup(model=model, models=len(chosen), start_share=share, scores=pd.DataFrame(rows))


def average_in(
    model: SentenceTransformer,
    others: Sequence[SentenceTransformer],
    start: Mapping[str, Tensor] | None,
    share: float | None,
    score: Score | None,
) -> Average:
    """Average a model's weights, in place, with those of others, and then with those of their start.

    Args:
        others: tuned from the same start; with a score only those that help are in the average. They are not changed.
        start: weights that `weights_of` copied; None leaves them out.
        share: of the start; None for the one of `SHARES` that scores best.
        score: of development data, larger is better; None averages all.

    Raises:
        ParameterError: neither a share nor a score is told.
        ModelError: the models are of different shape.
    """
    found, tried = None, []
    if others:
        found = soup([model, *others], score=score)
        tried.append(found.scores)
        mix_in(model, weights_of(found.model), 1.0)
    if start is not None and share is None:
        begun = copy.deepcopy(model)
        mix_in(begun, start, 1.0)
        chosen = soup([model], begun, score=score)
        tried.append(chosen.scores)
        share = chosen.start_share
    if start is not None and share:
        mix_in(model, start, share)
    return Average(
        trainings=found.models if found else 1,
        of=1 + len(others),
        start_share=share or 0.0,
        score=None if score is None else score(model),
        tried=pd.concat(tried, ignore_index=True)
        if tried
        else pd.DataFrame(columns=["models", "start_share", "score"]),
    )


def averaged(parts: Sequence[tuple[SentenceTransformer, float]]) -> SentenceTransformer:
    """A copy of the first with the weighted sum of all models' weights; what is no floating-point number (positions,
    counters) is the first's.

    Raises:
        ModelError: the models are of different shape.
    """
    found = copy.deepcopy(parts[0][0])
    states = [(model.state_dict(), weight) for model, weight in parts]
    with torch.no_grad():
        for name, value in found.state_dict().items():
            if value.is_floating_point():
                value.copy_(sum(weight * state.float() for state, weight in _each(states, name, value)))  # type: ignore[arg-type]
    return found


def weights_of(model: SentenceTransformer) -> dict[str, Tensor]:
    """A copy of all its weights, in the CPU's memory."""
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}


def mix_in(model: SentenceTransformer, other: Mapping[str, Tensor], share: float) -> None:
    """Make the model's weights, in place, the weighted sum of its own and of others that `weights_of` copied; what is
    no floating-point number stays.

    Args:
        share: of the others, between 0 and 1.

    Raises:
        ModelError: they are of different shape; the model is as it was.
    """
    states, mixed = [(model.state_dict(), 1 - share), (other, share)], {}
    with torch.no_grad():
        # all sums before the first is written: two names may stand for one tensor
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                mixed[name] = sum(weight * state.float() for state, weight in _each(states, name, value))
        for name, value in model.state_dict().items():
            if name in mixed:
                value.copy_(mixed[name])


def _each(
    states: Sequence[tuple[Mapping[str, Tensor], float]], name: str, like: Tensor
) -> Iterator[tuple[Tensor, float]]:
    for state, weight in states:
        other = state.get(name)
        if other is None or other.shape != like.shape:
            raise ModelError(
                f"The models cannot be averaged: {name} is {list(like.shape)} in one and "
                f"{'missing' if other is None else list(other.shape)} in another. Give models tuned from one start."
            )
        yield other.to(like.device), weight


def _greedy(
    models: Sequence[SentenceTransformer], score: Score, rows: list[dict[str, float]]
) -> tuple[list[SentenceTransformer], float]:
    """The models that are averaged, and the score of their average."""
    scores = [score(model) for model in models]
    rows += [{"models": 1, "start_share": 0.0, "score": each} for each in scores]
    order = sorted(range(len(models)), key=lambda i: -scores[i])
    chosen, best = [models[order[0]]], scores[order[0]]
    for i in order[1:]:
        tried = [*chosen, models[i]]
        found = score(averaged([(each, 1 / len(tried)) for each in tried]))
        rows.append({"models": len(tried), "start_share": 0.0, "score": found})
        if found >= best:
            chosen, best = tried, found
    return chosen, best


def check_alike(models: Sequence[SentenceTransformer]) -> None:
    """Raise a `ModelError` where models are of different shape, so that their weights have no average."""
    states = [(model.state_dict(), 1.0) for model in models]
    for name, value in models[0].state_dict().items():
        list(_each(states, name, value))


def _check(
    models: Sequence[SentenceTransformer],
    start: SentenceTransformer | None,
    score: Score | None,
    shares: Sequence[float],
) -> None:
    if not models or (len(models) == 1 and start is None):
        raise ParameterError("There is nothing to average: give several models, or one and its start.")
    if bad := [share for share in shares if not 0 <= share < 1]:
        raise ParameterError(f"shares holds {bad[0]}; a share of the start lies between 0 and 1.")
    if not shares or (score is None and start is not None and len(shares) != 1):
        raise ParameterError(f"shares is {list(shares)}, and there is no score to choose by. Give one share.")
