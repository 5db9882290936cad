"""Leaves the model that is advised as one folder to be used: encoder, classifier, label names and how to call them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from gisttools.common import write_whole
from gisttools.models import Classifier, Linear, encode_of, measured_on

LOST = 0.05  # share of the right answers that the threshold for "none of these" may take away


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """What is left to be used.

    Attributes:
        name: of the candidate.
        encoder: its model; the first seed's, where there are several.
        linear: its classifier, calibrated on the test texts; None for a search.
        threshold: of "none of these".
        about: what was measured, see `gisttools.models.measured_on`; also task, classes, and texts it was fitted on.
    """

    name: str
    encoder: SentenceTransformer
    linear: Linear | None = None
    threshold: float = 0.0
    about: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the folder; what a summary says of it, as JSON values."""
        self.encoder.save(str(folder), create_model_card=False)
        if self.linear is not None:
            # without its threshold: who wants "none of these" asks for it, for it costs right answers
            Classifier(encode=encode_of(self.encoder), linear=self.linear, about=dict(self.about)).save(folder)
        write_whole(folder / "README.md", self.readme(folder))
        return {"name": self.name, "classifier": self.linear is not None, **self.about}

    def readme(self, folder: Path) -> str:
        """What it is, what was measured, and the lines that use it."""
        told = dict(self.about)
        lines = [f"# {self.name}", "", *_measured(told), "", "```python", *python_lines(folder, told), "```", ""]
        return "\n".join([*lines, "```", *shell_lines(folder, told), "```", ""])


def shipped(
    name: str,
    encoder: SentenceTransformer,
    linear: Linear,
    vectors: NDArray[Any],
    labels: Sequence[str],
    **told: object,
) -> Shipped:
    """A classifier calibrated and measured on test texts.

    Args:
        name: of the candidate.
        encoder, linear: fitted on other texts.
        vectors, labels: (n, dimension), (n,) of the test texts.
        told: what else there is to say.
    """
    found, threshold, measured = measured_on(linear, vectors, labels, lost=LOST)
    about = {**told, **measured, "labels": list(found.labels)}
    return Shipped(name=name, encoder=encoder, linear=found, threshold=threshold, about=about)


def python_lines(folder: Path | str, told: Mapping[str, Any]) -> list[str]:
    """How Python uses it."""
    if "labels" not in told:
        return [
            "from gisttools import search",
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
    return [f"gisttools predict {folder} texts.csv --out labelled.csv"]


def _measured(told: Mapping[str, Any]) -> list[str]:
    if "labels" not in told:
        return [f"A model for searches, measured on {told.get('task', 'a search')}."]
    found = [
        f"A classifier of {len(told['labels'])} labels. Of {told['texts']:,} test texts it labels "
        f"{100 * told['accuracy']:.1f} % right; the probability that it gives is off by "
        f"{100 * told['calibration_error']:.1f} points on average (expected calibration error)."
    ]
    if told.get("threshold") and told.get("right_lost") is not None:
        caught = told.get("wrong_caught")
        also = "" if caught is None else f" and {100 * caught:.0f} % of the wrong ones"
        found.append(
            f'With threshold={told["threshold"]:.2f} it says "none of these" in place of '
            f"{100 * told['right_lost']:.0f} % "
            f"of its right answers{also}. That is what texts of known labels show; others were not tested."
        )
    return found
