"""Where the uncertainty of a difference comes from: few-shot draws, test items, training seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gisttools.common import is_number
from gisttools.report.data import ReportData
from gisttools.report.words import main_rows, records, task_name

SOURCES = {
    "draws": "few-shot draws",
    "items": "test items",
    "both": "single answers",
    "seeds": "training seeds",
}


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The standard error of one task's difference (a share of 1), and each source's share of its variance.

    `both` is what single answers add that neither their draw nor their item explains.
    """

    task: str
    error: float
    shares: dict[str, float]


def noise(data: ReportData) -> list[Noise]:
    """One entry for each task whose noise can be taken apart: draws crossed with items, or seeds beside items."""
    found = []
    for r in records(main_rows(data)):
        shares = _of_items(data, r)
        seed, item = r["seed_error"], r["item_error"]
        error = r["standard_error"]
        if is_number(seed) and is_number(item) and seed**2 + item**2 > 0:
            by_seed = seed**2 / (seed**2 + item**2)
            shares = {k: v * (1 - by_seed) for k, v in (shares or {"items": 1.0}).items()} | {"seeds": by_seed}
            error = error if is_number(error) else float(np.sqrt(seed**2 + item**2))
        if shares and is_number(error) and error > 0:
            found.append(Noise(task=task_name(r), error=float(error), shares=shares))
    return found


def crossed_shares(gain: NDArray) -> dict[str, float] | None:
    """Shares of the variance of a matrix's mean, (draws, items): by draws, by items, and by what neither explains.

    The parts are those of the two-way interval: the spread of the draws' means and that of the items' means, each less
    the noise of single cells, and that noise. None where nothing varies, or there is one draw or one item.
    """
    draws, items = gain.shape
    if draws < 2 or items < 2:
        return None
    by_draw, by_item = gain.mean(axis=1), gain.mean(axis=0)
    rest = gain - by_draw[:, None] - by_item[None] + gain.mean()
    cells = float((rest**2).sum()) / ((draws - 1) * (items - 1)) / gain.size
    parts = {
        "draws": max(float(by_draw.var(ddof=1)) / draws - cells, 0.0),
        "items": max(float(by_item.var(ddof=1)) / items - cells, 0.0),
        "both": cells,
    }
    whole = sum(parts.values())
    return {k: v / whole for k, v in parts.items()} if whole > 0 else None


def gains(items: pd.DataFrame) -> NDArray | None:
    """Tuned minus base of every draw and item, (draws, items); None where draws were not kept or differ in number."""
    if not {"base_draws", "tuned_draws"} <= set(items) or items.empty:
        return None
    pairs = list(zip(items["base_draws"], items["tuned_draws"], strict=True))
    if any(_length(b) != _length(t) or _length(b) == 0 for b, t in pairs) or len({_length(b) for b, _ in pairs}) > 1:
        return None
    return np.asarray([np.asarray(t, dtype=float) - np.asarray(b, dtype=float) for b, t in pairs]).T


def items_of(data: ReportData, row: Any) -> pd.DataFrame | None:
    """The saved items behind a row of the comparison."""
    if data.items is None:
        return None
    part = data.items[data.items["task"] == row["task"]]
    if "subset" in part and isinstance(row["subset"], str):
        part = part[part["subset"] == row["subset"]]
    return part if len(part) else None


def _of_items(data: ReportData, row: Any) -> dict[str, float] | None:
    items = items_of(data, row)
    gain = None if items is None or row["metric"] != "accuracy" else gains(items)
    return None if gain is None else crossed_shares(gain)


def _length(values: object) -> int:
    return len(values) if hasattr(values, "__len__") else 0
