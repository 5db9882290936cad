"""What is said of a curve of scores against the number of rows: its table, its headline, and what it cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True, kw_only=True)
class GainCurve:
    """The score by size.

    Attributes:
        table: one row a size, ascending: rows, cost_usd (NaN: not known), priced_rows (rows that name a price), seeds,
            score and its standard deviation over seeds (seed_sd); gain over the baseline with low and high; gain over
            the size before (step, step_low, step_high; NaN for the first); seed_scores, one a seed.
        task, metric: what was scored.
        base: the baseline's score.
        enough: more rows than these no longer pay (`gisttools.gain.enough`); 0 where training is not shown to help at
            all, the largest size where more rows still paid, None where intervals are missing.
        may_hide: the largest gain that a larger size may have over it for all that is known: the highest upper end of
            an interval.
    """

    table: pd.DataFrame
    task: str
    metric: str
    base: float
    enough: int | None
    may_hide: float

    @property
    def sizes(self) -> list[int]:
        return self.table["rows"].tolist()

    @property
    def priced(self) -> bool:
        """Whether the dollars of every size are known, and are not all nothing."""
        costs = self.table["cost_usd"]
        return bool(costs.notna().all() and (costs > 0).any())

    def no_price(self) -> str:
        """Why there is no curve against dollars."""
        costs = self.table["cost_usd"]
        if costs.notna().all():
            return "No curve against dollars: these rows cost nothing."
        of = "these rows" if costs.isna().all() else "the rows of some sizes"
        return (
            f"No curve against dollars: the price of {of} is not known. Labelled texts have none; of rows that an LLM "
            "wrote, 1_synthesize tells it where price_in and price_out are set."
        )

    def verdict(self) -> str:
        """Where more rows no longer pay, in a few words."""
        if self.enough is None:
            return "whether more rows pay is not known: intervals are missing"
        if self.enough == 0:
            return "no size is shown to help"
        if len(self.sizes) == 1:
            return "one size does not say whether more would pay"
        if self.enough == self.sizes[-1]:
            return f"still pays at {self.enough:,} rows, the most tried"
        return f"more than {self.enough:,} rows no longer pays"

    def caveat(self) -> str:
        """What the verdict does not rule out."""
        if self.enough is None or self.enough == self.sizes[-1]:
            return ""
        beaten = f"No larger size is shown to beat {self.enough:,} rows" if self.enough else "No size is shown to help"
        return f"{beaten}; up to {100 * self.may_hide:.1f} points may hide in the noise of seeds and test items."

    def headline(self) -> str:
        """One line: the smallest and the largest size, their gains, and the verdict."""
        ends = self.table.iloc[[0, -1] if len(self.table) > 1 else [0]]
        rows = " → ".join(f"{n:,}" for n in ends["rows"])
        money = f" (${' → $'.join(dollars(c) for c in ends['cost_usd'])})" if self.priced else ""
        gains = " → ".join(f"{100 * g:+.1f}" for g in ends["gain"])
        return f"{rows} rows{money}: {gains} points; {self.verdict()}"

    def shown(self) -> pd.DataFrame:
        """The table as people read it: points out of 100."""
        points = ["score", "seed_sd", "gain", "low", "high", "step", "step_low", "step_high"]
        table = self.table.drop(columns=["seed_scores", "priced_rows"])
        return table.assign(**{c: (100 * table[c]).round(1) for c in points})

    def summary(self) -> dict[str, Any]:
        """The numbers of the curve, for the run's summary."""
        rows = self.table.replace({np.nan: None}).to_dict("records")
        told = {"task": self.task, "metric": self.metric, "base": self.base, "enough": self.enough}
        return {**told, "verdict": self.verdict(), "caveat": self.caveat(), "sizes": rows}

    def save(self, folder: Path) -> None:
        """Write the table as Parquet."""
        self.table.to_parquet(folder / "curve.parquet")


def dollars(amount: float) -> str:
    """A sum of dollars, without the sign: cents, and two digits of what is less."""
    if amount <= 0 or amount >= 0.995:
        return f"{amount:,.2f}"
    return f"{amount:.{max(2, 1 - math.floor(math.log10(amount)))}f}"
