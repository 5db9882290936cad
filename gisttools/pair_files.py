"""Pairs of texts of an evaluation folder: whether both mean the same (0 or 1), or how much so (a score)."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from gisttools.eval_files import EvalFolder
from gisttools.eval_rows import RowProblems, number, read_columns, refuse, truth
from gisttools.label_rows import wrong_text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pairs:
    """`first` and `second` texts, and a value for each pair: 0 or 1, or a score of any range."""

    first: list[str]
    second: list[str]
    values: list[float]

    @property
    def test_texts(self) -> list[str]:
        """All texts that are scored."""
        return [*self.first, *self.second]


def read_pairs(folder: EvalFolder) -> Pairs:
    """The pairs that are scored.

    Raises:
        DataError: texts are empty, values are no numbers (of pair classification: not 0 or 1), or all values are
            equal; all problems at once.
    """
    file, columns = folder.files["test"], folder.columns["test"]
    cells = read_columns(file, columns)
    yes_no = folder.kind == "pair_classification"
    take, wanted = (truth, "not 0 or 1") if yes_no else (number, "no finite number")
    found, values = RowProblems(file.name), []
    for row, value in enumerate(cells["value"]):
        for role in ("first", "second"):
            if why := wrong_text(cells[role][row]):
                found.add(f"{columns[role]!r} {why}", row)
        values.append(take(value))
        if values[-1] is None:
            found.add(f"{columns['value']!r} is {wanted}", row, value)
    lines, mend = found.lines(), "Mend or drop these rows."
    if not lines and len(set(values)) < 2:
        seen = f"all {len(values)} pairs have the value {values[0]:g}" if values else "there are no rows"
        lines.append(f"{file.name}: {seen}, so that nothing can be told apart")
        mend = "Add pairs that " + ("do not mean the same." if values and values[0] else "mean the same, and others.")
    elif yes_no and any(number(v) is not None and truth(v) is None for v in cells["value"]):
        mend += f" If {columns['value']!r} is a score, say {folder.path}#sts."
    refuse(str(folder.path), lines, mend)
    if not yes_no:
        log.info("%s: scores of %d pairs, from %g to %g", folder.path, len(values), min(values), max(values))
    return Pairs(cells["first"], cells["second"], values)
