"""Says in a few lines how a model that an evaluation left is used, and what was measured of it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def python_lines(folder: Path | str, told: Mapping[str, Any]) -> list[str]:
    """How Python uses it."""
    if "labels" not in told:
        return [
            "from gisttools.models import search",
            "",
            'for hit in search("' + str(folder) + '", ["a first document", "a second one"], "what is asked for"):',
            "    print(hit.score, hit.text)",
        ]
    found = [
        "from gisttools import Classifier",
        "",
        f'classifier = Classifier.load("{folder}")',
        'print(classifier.predict(["a first text", "a second one"]))',
    ]
    if told.get("threshold"):
        found.append(f'print(classifier.predict(["a text"], threshold={told["threshold"]:.2f}))  # None: none of these')
    return found


def shell_lines(folder: Path | str, told: Mapping[str, Any]) -> list[str]:
    """How the command line uses it."""
    if "labels" not in told:
        return [f'gisttools search {folder} documents/ "what is asked for"']
    column = f" --text {shlex.quote(str(told['text_column']))}" if told.get("text_column") else ""
    return [f"gisttools predict {folder} texts.csv{column} --out labelled.csv"]


def measured_lines(told: Mapping[str, Any]) -> list[str]:
    """What was measured, a sentence or two."""
    if "labels" not in told:
        return [f"A model for searches, measured on {told.get('task', 'a search')}."]
    found = [
        f"A classifier of {len(told['labels'])} labels, fitted on {told.get('fitted_on', 'all')} texts. Of "
        f"{told['texts']:,} test texts it labels "
        f"{100 * told['accuracy']:.1f} % right; the probability that it gives is off by "
        f"{100 * told['calibration_error']:.1f} points on average (expected calibration error)."
    ]
    if told.get("threshold") and told.get("right_lost") is not None:
        caught = told.get("wrong_caught")
        also = "" if caught is None else f" and {100 * caught:.0f} % of the wrong ones"
        found.append(
            f'With threshold={told["threshold"]:.2f} it says "none of these" in place of '
            f"{100 * told['right_lost']:.0f} % "
            f"of its right answers{also}, each text judged by a threshold that others chose. Texts that belong to no "
            "label were not tested."
        )
    return found
