"""Watches whether a training goes well, and ends it where it does not: a loss that rises, vectors that collapse.

Losses are compared like with like: of whole batches, set by set where a batch holds one set, as means over several
steps, without what holds the student (`retain`). Vectors are those of a fixed sample of the training's texts.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import stats
from sentence_transformers import SentenceTransformer
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from gisttools.common import ModelError
from gisttools.models import Spread, spread_of
from gisttools.training.batches import BatchPlan
from gisttools.training.rates import Rate
from gisttools.training.store import GuideStore

log = logging.getLogger(__name__)
TEXTS = 64  # of the sample
_AT_ONCE = 16  # texts embedded
LOOKS = 10  # at the sample, evenly over a training; in a long one more at its beginning
_FIRST = 10  # the first of those steps, each next one twice as late
_SHARE, _FEWEST, _MOST = 0.2, 3, 50  # of a set's whole batches, the steps that a mean is taken of at either end
_CHANCE = 1e-3  # of taking noise for a loss that rises
_LEAST_RISE = 0.02  # of the start


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Where a loss came from and where it went.

    Attributes:
        start, end: means over the first and the last whole batches, like with like; NaN where there was none.
        error, freedom: standard error of their difference and its degrees of freedom; NaN where there are too few
            steps to say.
        steps: how many steps each mean is of, in all sets.
    """

    start: float
    end: float
    error: float = math.nan
    freedom: float = math.nan
    steps: int = 0

    @property
    def rose(self) -> bool:
        """Does the loss end above its start, by more than chance?"""
        if math.isnan(self.error):
            return False
        return self.end - self.start > max(
            float(stats.t.isf(_CHANCE, self.freedom)) * self.error, _LEAST_RISE * abs(self.start)
        )

    def words(self) -> str:
        """`loss 1.83 to 0.94`; of a single step its loss."""
        if math.isnan(self.start):
            return "loss not known"
        one = self.steps == 0
        return f"loss {self.start:.2f}" if one else f"loss {self.start:.2f} to {self.end:.2f}"


def trend_of(losses: Sequence[float], sizes: Sequence[int], sets: Sequence[int] | None = None) -> Trend:
    """The trend of a loss over steps.

    Args:
        losses: one a step; not all that are planned need be there.
        sizes: rows of each step's batch. A loss grows with the batch, so only whole ones count: each set's largest.
        sets: the set of each step's rows; None where batches are mixed.
    """
    parts = _alike(losses, sizes, sets)
    judged = [part for part in parts if len(part) >= 2 * _FEWEST]
    parts = judged or [part for part in parts if len(part) > 1] or parts[:1]
    if not parts:
        return Trend(start=math.nan, end=math.nan)
    counts = np.array([len(part) for part in parts])
    weights, widths = counts / counts.sum(), [_width(n) for n in counts.tolist()]
    ends = [(part[: w or 1], part[-(w or 1) :]) for part, w in zip(parts, widths, strict=True)]
    start, end = weights @ [[side.mean() for side in pair] for pair in ends]
    trend = Trend(start=float(start), end=float(end), steps=sum(widths))
    if not judged:
        return trend
    variances = [sum(side.var(ddof=1) for side in pair) / w for pair, w in zip(ends, widths, strict=True)]
    # as many as one end of the smallest set has: cautious, for the ends differ in how noisy they are
    return replace(trend, error=float(np.sqrt((weights**2) @ variances)), freedom=min(widths) - 1)


def _alike(losses: Sequence[float], sizes: Sequence[int], sets: Sequence[int] | None) -> list[np.ndarray]:
    """The losses that are known of whole batches, set by set."""
    n = len(losses)
    values, rows = np.asarray(losses, dtype=float), np.asarray(sizes[:n])
    group = np.zeros(n, dtype=int) if sets is None else np.asarray(sets[:n])
    parts = []
    for one in np.unique(group):
        chosen = group == one
        chosen &= (rows == rows[chosen].max()) & np.isfinite(values)
        if chosen.any():
            parts.append(values[chosen])
    return parts


def _width(steps: int) -> int:
    """How many steps a mean is of, at either end of so many; 0 for a single one."""
    if steps < 2 * _FEWEST:
        return steps // 2
    return min(max(round(_SHARE * steps), _FEWEST), _MOST)


class Watch(TrainerCallback):
    """Ends a training whose vectors have collapsed; says afterwards whether its loss rose.

    A collapse counts when two looks in a row find it, or the last one does: a first burst may pass.

    Args:
        student: as it is before it is trained.
        store: whose texts are looked at.
        plan: all batches.
        rate: for what is said.
        fixed: is the loss the same from the first step to the last? Not where its temperature moves.
        agreed: makes the first process's answer that of all.
    """

    def __init__(
        self,
        student: SentenceTransformer,
        store: GuideStore,
        plan: BatchPlan,
        rate: Rate,
        *,
        fixed: bool,
        agreed: Callable[[bool], bool],
    ) -> None:
        self.student, self.rate, self.fixed, self._agreed = student, rate, fixed, agreed
        self.texts, self.groups = sample_of(store)
        self.steps, self.looks = plan.steps, looks(plan.steps)
        one_set = plan.mix.batches == "one_set"
        set_of_row = np.zeros(plan.rows, dtype=int)
        for number, rows in enumerate(plan.sets):
            set_of_row[rows] = number
        told = [(len(batch), int(set_of_row[batch[0]])) for batch in plan.batches()]
        self._sizes, self._sets = [size for size, _ in told], [of for _, of in told] if one_set else None
        self._losses: list[Tensor | float] = []
        self.start = self._spread()
        self.collapse, self._before = "", False

    def add(self, loss: Tensor) -> None:
        """Take a step's loss. It is read when it is asked for: reading waits for the device."""
        self._losses.append(loss)

    @property
    def losses(self) -> list[float]:
        """One a step."""
        self._losses = [float(loss) for loss in self._losses]
        return list(self._losses)

    @losses.setter
    def losses(self, losses: Sequence[float]) -> None:
        self._losses = list(losses)

    def trend(self) -> Trend:
        """Where the loss came from and where it went."""
        return trend_of(self.losses, self._sizes, self._sets)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step not in self.looks or self.start is None:
            return
        why = self._why()
        certain = bool(why) and (self._before or state.global_step >= self.steps)
        self._before = bool(why)
        if self._agreed(certain):
            self.collapse = f"at step {state.global_step} of {self.steps}: {why or 'as the first process found'}"
            log.error("the vectors have collapsed %s", self.collapse)
            control.should_training_stop, control.should_save, control.should_evaluate = True, False, False

    def _why(self) -> str:
        now = self._spread()
        if now is None or self.start is None:
            return ""
        trend = self.trend()
        # where the loss has halved, few directions are what the texts ask for
        return now.collapse(self.start, few_will_do=self.fixed and trend.end < trend.start / 2)

    def _spread(self) -> Spread | None:
        """Of the sample now; None where there are too few texts, or a vector is not finite, which the loss refuses."""
        if len(self.texts) < 2:
            return None
        trains = self.student.training
        vectors = self.student.encode(self.texts, batch_size=_AT_ONCE, show_progress_bar=False)
        self.student.train(trains)
        return spread_of(vectors, self.groups) if np.isfinite(vectors).all() else None

    def refuse(self, *, best_kept: bool) -> None:
        """Raise a `ModelError` where the vectors collapsed or the loss rose.

        Args:
            best_kept: were the weights of an earlier step kept, by a development score? Then the last ones' loss is
                only logged.
        """
        if self.collapse:
            raise ModelError(f"The training was ended: the student's vectors collapsed {self.collapse}. {self._fix}")
        trend = self.trend()
        if not (self.fixed and self._agreed(trend.rose)):
            return
        said = (
            f"the loss ended above its start: {trend.start:.2f} to {trend.end:.2f}, means of {trend.steps} steps each"
        )
        if best_kept:
            log.warning("%s; the weights of the best development score were kept. %s", said, self.rate.advice)
            return
        raise ModelError(f"The training spoilt the student: {said}. {self._fix}")

    @property
    def _fix(self) -> str:
        return " ".join(filter(None, [self.rate.warning, self.rate.advice, "No model was saved."]))


def looks(steps: int) -> set[int]:
    """The steps after which the sample is looked at."""
    found, early = {math.ceil(steps * i / LOOKS) for i in range(1, LOOKS + 1)}, _FIRST
    while early < steps / LOOKS:
        found.add(early)
        early *= 2
    return found


def sample_of(store: GuideStore) -> tuple[list[str], np.ndarray]:
    """Texts from all over the table, none twice, with the number of their label (-1: none)."""
    rows = np.unique(np.linspace(0, len(store.table) - 1, TEXTS).round().astype(int))
    part = store.table.select(rows.tolist())
    found: dict[str, int] = {}
    for place, column in enumerate(("anchor", "positive")):  # positives where there are few anchors
        labels = store.label_ids[rows, place]
        labels = labels if labels.ndim == 1 else labels[:, 0]  # of several labels one will do
        for text, label in zip(part[column][:], labels.tolist(), strict=True):
            found.setdefault(text, label)
    texts = list(found)[:TEXTS]
    return texts, np.array([found[text] for text in texts])


def own_loss(loss: torch.nn.Module, whole: Tensor) -> Tensor:
    """The part of a step's loss that trains; what holds the student near its start grows by its nature."""
    part = getattr(loss, "trained_loss", None)
    return whole if part is None else part
