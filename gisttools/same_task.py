"""Whether two results are of the same task: the same data, split, subsets and version of mteb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gisttools.common import DataError, problems

# what a task is, beside its name; the revision of a folder's task is a hash of its data
_WHAT = {
    "revision": "revision of the data",
    "split": "split",
    "subsets": "subsets",
    "mteb": "version of mteb",
}
_MEND = "Evaluate all of them anew on the same data, or leave one out."


def check_same_task(name: str, seen: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse results of one task that was not the same task for all models.

    Args:
        name: of the task.
        seen: by model, what its result says of the task (`revision`, `split`, `subsets`, `mteb`).

    Raises:
        DataError: they differ; everything that does, with the values.
    """
    if found := _differences(name, seen):
        raise DataError(problems(f"{name}: these results cannot be compared:", found, _MEND))


def _differences(name: str, seen: Mapping[str, Mapping[str, Any]]) -> list[str]:
    found = []
    for key, what in _WHAT.items():
        values = {who: told[key] for who, told in seen.items() if key in told}
        if len({repr(value) for value in values.values()}) > 1:
            found.append(f"{name}, {what}: " + ", ".join(f"{value} ({who})" for who, value in values.items()))
    return found
