"""Evaluated models for tests of comparisons, simulated item by item."""

from __future__ import annotations

from itertools import product

import numpy as np

from gisttools.evaluation.contenders import Contender, Scored, ScoredOn

PART = ("support", "default")
ABOUT = {"metric": "accuracy", "split": "test", "revision": "abc", "n_items": 40, "n_draws": 3, "items": "f00d"}


def contender(name, parameters, seed=0, *, base=0.3, tuned=0.4, part=PART, about=ABOUT, **given) -> Contender:
    """`base` and `tuned` are arrays (draws, items), or plain scores."""
    base, tuned = (Scored(score=float(np.mean(v)), values=v if np.ndim(v) else None) for v in (base, tuned))
    told = {"baseline": "student (1.0)", "targets": frozenset([part]), "seconds": 60.0}
    return Contender(
        name=name, parameters=parameters, seeds=(("seed", seed),), base={part: base}, tuned={part: tuned},
        about={part: ScoredOn(**about)}, **{**told, **given},
    )  # fmt: skip


def grid(
    gain, axes, *, seeds=(0, 1, 2), shape=(3, 40), by_seed=0.0, by_item=0.0, noise=0.1, rng=None, **given
) -> list[Contender]:
    """One contender for each combination of the axes and each seed. Each item has a share of its own, all models add
    `gain(**settings)`; items differ by `by_item` in what a parameter does to them, trainings by `by_seed`, cells by
    `noise`."""
    rng = rng or np.random.default_rng(3)
    base = rng.uniform(0.2, 0.5, shape[1]) + 0.05 * rng.normal(size=(shape[0], 1)) + noise * rng.normal(size=shape)
    liking = {name: by_item * rng.normal(size=shape[1]) for name in axes}
    found = []
    for i, (values, seed) in enumerate(product(product(*axes.values()), seeds)):
        settings = dict(zip(axes, values, strict=True))
        pull = sum(liking[name] * axes[name].index(value) for name, value in settings.items())
        tuned = base + gain(**settings) + by_seed * rng.normal() + pull + noise * rng.normal(size=shape)
        found.append(contender(f"evaluate-{i}", {**settings, "epochs": 10.0}, seed, base=base, tuned=tuned, **given))
    return found
