"""Decides which rows meet in which batch: one or several triplet sets, mixed in a batch or one set at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from sentence_transformers.base.sampler import DefaultBatchSampler

from gisttools.common import ParameterError
from gisttools.training.options import Mix


class BatchPlan(DefaultBatchSampler):
    """All batches of a training, from the first step to the last, as row numbers.

    A plan is decided by its arguments alone, whatever was drawn before: a training that was stopped finds its place
    again by counting batches. Where several devices train together, each batch is handed out in equal consecutive
    parts, one a device, as `accelerate` deals them.

    Args:
        set_of_row: number of the set that each row belongs to, int (N,), from 0.
        batch_size: rows a step, over all devices.
        steps: number of steps; None for `passes` over the rows.
        passes: how many times N rows are drawn, where `steps` is None.
        mix: see `Mix`.
        seed: of all draws.
        devices: how many parts a batch is dealt in.

    Raises:
        ParameterError: the mix does not fit the sets, or the batch size the devices.
    """

    def __init__(
        self,
        set_of_row: Sequence[int] | np.ndarray,
        *,
        batch_size: int,
        steps: int | None = None,
        passes: float = 1.0,
        mix: Mix | None = None,
        seed: int = 0,
        devices: int = 1,
    ) -> None:
        set_of_row = np.asarray(set_of_row)
        super().__init__(range(len(set_of_row)), batch_size // devices or 1, False, seed=seed)
        self.batch_size = None  # batches differ in size; told one size, accelerate would drop the others
        self.mix, self.devices, self.rows = mix or Mix(), devices, len(set_of_row)
        self.sets = [np.flatnonzero(set_of_row == s) for s in range(int(set_of_row.max(initial=-1)) + 1)]
        self.mix.check(len(self.sets))
        if batch_size < 1 or batch_size % devices:
            raise ParameterError(f"batch_size is {batch_size}, must be >= 1 and divide among {devices} device(s).")
        self.whole = batch_size  # rows a step
        self.steps = max(1, round(passes * self._steps_a_pass())) if steps is None else steps

    def __len__(self) -> int:
        return self.steps * self.devices

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches():
            for part in np.split(batch, self.devices):
                yield part.tolist()

    def batches(self) -> Iterator[np.ndarray]:
        """The rows of each step."""
        rng = np.random.default_rng(self.seed)  # anew for each iteration: a plan is the same however often it is read
        draw = self._passes if self.mix.mix == "proportional" else self._draws
        for _, batch in zip(range(self.steps), draw(rng), strict=False):
            yield batch

    def _passes(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Every row once a pass."""
        while True:
            if self.mix.batches == "mixed":
                yield from self._cut(rng.permutation(self.rows))
            else:
                batches = [b for rows in self.sets for b in self._cut(rng.permutation(rows))]
                for i in rng.permutation(len(batches)):
                    yield batches[i]

    def _cut(self, rows: np.ndarray) -> list[np.ndarray]:
        """Batches of like size; the last is what is left, as far as it divides among the devices."""
        cut = [rows[i : i + self.whole] for i in range(0, len(rows), self.whole)]
        cut[-1] = cut[-1][: len(cut[-1]) - len(cut[-1]) % self.devices]
        return [b for b in cut if len(b)]

    def _steps_a_pass(self) -> int:
        if self.mix.mix == "proportional" and self.mix.batches == "one_set":
            return sum(len(self._cut(rows)) for rows in self.sets)
        return -(-self.rows // self.whole)

    def _draws(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Sets drawn by weight or in turn, each with an order of its own that begins anew when it is through."""
        streams = [_Stream(rows, np.random.default_rng([self.seed, s])) for s, rows in enumerate(self.sets)]
        weights = np.asarray(self.mix.weights or [1.0] * len(streams), dtype=float)
        weights /= weights.sum()
        step = 0
        while True:
            if self.mix.batches == "one_set":
                turn = step % len(streams) if self.mix.mix == "round_robin" else rng.choice(len(streams), p=weights)
                stream = streams[turn]
                # a set smaller than a batch gives a smaller batch, not the same rows twice
                size = min(self.whole, len(stream.rows) - len(stream.rows) % self.devices)
                batch = stream.take(size or self.devices)
            else:
                if self.mix.mix == "round_robin":
                    turns = (step * self.whole + np.arange(self.whole)) % len(streams)
                    counts = np.bincount(turns, minlength=len(streams))
                else:
                    counts = rng.multinomial(self.whole, weights)
                batch = rng.permutation(np.concatenate([s.take(n) for s, n in zip(streams, counts, strict=True)]))
            step += 1
            yield batch


class _Stream:
    """Rows of one set in an order drawn anew each time it is through."""

    def __init__(self, rows: np.ndarray, rng: np.random.Generator) -> None:
        self.rows, self.rng, self.left = rows, rng, rows[:0]

    def take(self, n: int) -> np.ndarray:
        taken = self.left[:n]
        self.left = self.left[n:]
        while len(taken) < n:
            self.left = self.rng.permutation(self.rows)
            taken, self.left = np.concatenate([taken, self.left[: n - len(taken)]]), self.left[n - len(taken) :]
        return taken
