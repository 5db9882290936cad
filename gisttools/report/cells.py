"""Tables as a notebook's cell shows them: nothing empty, and a dash where a value is missing."""

from __future__ import annotations

import pandas as pd
from IPython.display import Markdown

_MISSING, _DIGITS = "–", 4


def shown(table: pd.DataFrame | str, empty: str = "Nothing.") -> pd.DataFrame | Markdown:
    """A table without columns in which nothing stands, and with a dash where some value is missing; or a sentence.

    Args:
        table: or a sentence, such as why there is none.
        empty: what is said in place of a table without rows.
    """
    if isinstance(table, str) or table.empty:
        return Markdown(table if isinstance(table, str) else empty)
    missing = table.isna() | (table.astype(object) == "")
    there = table.loc[:, ~missing.all()]
    gaps = {
        name: there[name].map(_rounded).astype(object).where(~missing[name], _MISSING)
        for name in there
        if missing[name].any()
    }
    return there.assign(**gaps)


def _rounded(value: object) -> object:
    return round(value, _DIGITS) if isinstance(value, float) else value
