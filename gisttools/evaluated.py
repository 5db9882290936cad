"""What an evaluation found: its tables, and how they are said in a line, shown as a table and written to disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sentence_transformers import SentenceTransformer

from gisttools.paper_scores import paper_scores
from gisttools.published import published_scores
from gisttools.scored_models import ScoredModel, scored
from gisttools.verdicts import by_variant, verdict_of

TABLES = ("scores", "comparison", "items", "overlap", "references", "averages", "failed")
_POINTS = ("base", "tuned", "difference", "low", "high")
_SHOWN = ("variant", "task", "subset", "metric", *_POINTS, "verdict", "n_seeds", "trained_on", "overlap", "n_test")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One recipe: its models, one for each seed, and what they were trained on.

    Attributes:
        name: tells it from other variants.
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


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was found.

    Attributes:
        scores: one row per role, task, subset and metric.
        comparison: one row per variant, task and subset.
        items: one row per variant and test text of classification tasks.
        overlap: one row per variant and test text that its training table holds.
        references: main scores of models that are shown beside: `name`, `kind`, `task`, `subset`, `metric`, `score`.
        averages: see `gisttools.verdicts.average_table`.
        failed: what could not be scored: `task`, `model` (its role, or the name of a reference), `error` in one line,
            `is_target`.
        speed: texts a second, by role.
        encoded: texts that this run embedded, by role; what was kept from earlier runs is not embedded again.
        variants: the recipes that were judged.
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

    def with_published(self, names: Sequence[str]) -> tuple[Evaluation, list[str]]:
        """The same with public scores of these models among the references, and notes on what is not there."""
        found, notes = published_scores(names, self.scores) if names else (self.references.head(0), [])
        references = pd.concat([self.references, found], ignore_index=True) if len(found) else self.references
        return replace(self, references=references), notes

    def headline(self) -> str:
        """One line for the first target task of the first variant: scores, difference, interval."""
        own = self.comparison[self.comparison["variant"] == self.comparison["variant"].iloc[0]]
        r = own.sort_values("is_target", ascending=False, kind="stable").iloc[0]
        text = f"{r.task} {r.metric} {100 * r.base:.1f} → {100 * r.tuned:.1f} ({100 * r.difference:+.1f} points"
        if not np.isnan(r.low):
            text += f", 95 % interval {100 * r.low:+.1f} to {100 * r.high:+.1f}"
        text += f", {r.n_seeds} seeds" if r.n_seeds > 1 else ""
        text += f", {len(self.variants)} variants" if len(self.variants) > 1 else ""
        text += f", {len(self.failed)} failed" if len(self.failed) else ""
        return f"{text}): {r.verdict}"

    def table(self) -> pd.DataFrame:
        """The comparison as people read it: points out of 100."""
        plain = {"subset": "default", "n_seeds": 1, "variant": self.comparison["variant"].iloc[0]}
        dull = [c for c, value in plain.items() if set(self.comparison[c]) == {value}]
        table = self.comparison[[c for c in (*_SHOWN, "p_holm") if c not in dull]]
        return table.assign(**{c: (100 * table[c]).round(1) for c in _POINTS}, p_holm=table["p_holm"].round(4))

    def save(self, folder: Path) -> None:
        """Write all tables as Parquet."""
        for name in TABLES:
            getattr(self, name).to_parquet(folder / f"{name}.parquet")

    def verdicts(self) -> dict[str, str]:
        """The overall word for each variant: HELPED, HURT, MIXED or NOT SHOWN."""
        rows = by_variant(self.comparison.to_dict("records"))
        lost = self.failed[self.failed["is_target"]]
        found = {}
        for variant, own in rows.items():
            scored_ = {row["task"] for row in own}
            found[variant] = verdict_of(own, len(set(lost["task"]) - scored_))
        return found

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
            "variants": [
                {"name": v.name, "models": [names[role] for role in v.roles], "n_seeds": len(v.roles)}
                for v in self.variants
            ],
            "revisions": {role: model.revision for role, model in opened.items()},
            "tasks": tasks,
            "averages": _records(self.averages),
            "references": list(dict.fromkeys(self.references["name"])),
            "paper": _records(paper_scores(self.comparison["group"].fillna(self.comparison["task"]))),
            "failed": _records(self.failed),
            "notes": list(notes),
            "speed": {role: {"texts_per_s": speed} for role, speed in self.speed.items()},
            "encoded": self.encoded,
            "dimension": {role: model.dimension for role, model in opened.items()},
            "prompts": {role: dict(model.prompts) for role, model in opened.items()},
            "size": {role: {"mb": model.megabytes} for role, model in opened.items()},
        }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON values; what is not a number is null."""
    rows = table.to_dict("records")
    return [{k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()} for row in rows]
