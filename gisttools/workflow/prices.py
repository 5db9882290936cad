"""What the rows of a training cost: US dollars paid to the LLM that wrote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.compute as pc
from datasets import Dataset

from gisttools.workflow.manifest import read_manifest
from gisttools.workflow.runs import as_run, read_summary


def rows_cost(names: Sequence[str], tables: Mapping[str, Dataset]) -> dict[str, Any]:
    """The dollars of the rows trained on, for the run's summary: `rows`, `rows_cost_usd`, `rows_priced`.

    Rows of a synthesize run cost that run's mean price of an accepted row: all of its answers were paid for, also those
    that the filters rejected, so N of A accepted rows cost N/A of the run. Rows from elsewhere cost what stands in
    their own `cost_usd`. Rows that name no price, such as labelled texts, count as nothing; `rows_priced` says how many
    do name one, and where none does `rows_cost_usd` is None: not known.

    A run of fewer requests would have been somewhat cheaper a row: the more there is, the more repeats are rejected.

    Args:
        names: what was trained on, as in the parameter `triplets`.
        tables: the rows of each, in that order (`triplet_sets.triplet_tables`, `subsets.nested_subset`).

    Raises:
        DataError: a synthesize run's summary is not the one that it wrote.
    """
    total, priced = 0.0, 0
    for name, table in zip(names, tables.values(), strict=True):
        price = _price_of_a_row(name)
        if price is not None:
            total, priced = total + price * len(table), priced + len(table)
        else:
            costs = table.select_columns("cost_usd").with_format("arrow")[:]["cost_usd"]
            total += pc.sum(costs).as_py() or 0.0
            priced += len(costs) - costs.null_count
    return {"rows": sum(map(len, tables.values())), "rows_cost_usd": total if priced else None, "rows_priced": priced}


def _price_of_a_row(name: str) -> float | None:
    """Dollars for an accepted row of a synthesize run; None for other names, and where the price is not known."""
    folder = as_run(name)
    if folder is None or read_manifest(folder)["verb"] != "synthesize":
        return None
    summary = read_summary(name)
    cost, accepted = summary.get("cost_usd"), summary.get("accepted")
    if cost is None or not accepted:
        return None
    return (cost + (summary.get("idea_cost_usd") or 0.0)) / accepted  # ideas are asked for before rows
