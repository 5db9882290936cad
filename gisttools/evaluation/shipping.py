"""Leaves the model that is advised as one folder to be used: encoder, classifier, label names and how to call them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from gisttools.common import write_whole
from gisttools.evaluation.fitting import Labelled
from gisttools.evaluation.usage import measured_lines, python_lines, shell_lines
from gisttools.models import Classifier, Linear, encode_of, measured_on, prompts_of


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """What is left to be used.

    Attributes:
        name: of the candidate.
        encoder: its model; the first seed's, where there are several.
        linear: its classifier, calibrated on the test texts; None for a search.
        prompt: what stood before the texts.
        about: what was measured, see `gisttools.models.measured_on`; also task, classes, and texts it was fitted on.
    """

    name: str
    encoder: SentenceTransformer
    linear: Linear | None = None
    prompt: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """What a summary says of it, as JSON values."""
        return {"name": self.name, "classifier": self.linear is not None, **self.about}

    def save(self, folder: Path) -> None:
        """Write the folder."""
        self.encoder.save(str(folder), create_model_card=False)
        if self.linear is not None:
            # without its threshold: who wants "none of these" asks for it, for it costs right answers
            encode = encode_of(self.encoder, self.prompt)
            Classifier(encode=encode, linear=self.linear, prompt=self.prompt, about=dict(self.about)).save(folder)
        write_whole(folder / "README.md", self.readme())

    def readme(self) -> str:
        """What it is, what was measured, and the lines that use it, wherever the folder is copied to."""
        told = dict(self.about)
        said = [f"# {self.name}", "", *measured_lines(told), "", "In this folder:", ""]
        return "\n".join(
            [*said, "```python", *python_lines(".", told), "```", "", "```", *shell_lines(".", told), "```", ""]
        )


def shipped(
    name: str,
    encoder: SentenceTransformer,
    linear: Linear,
    part: Labelled,
    vectors: NDArray[Any],
    told: Mapping[str, Any],
) -> Shipped:
    """A classifier calibrated and measured on test texts, with the prompt that stood before them.

    Args:
        name: of the candidate.
        encoder, linear: fitted on other texts.
        part, vectors: the test texts, and their vectors (n, dimension) as they were scored.
        told: what else there is to say.
    """
    metadata = part.task.metadata
    prompt = prompts_of(encoder).of(metadata.name, metadata.type, searches=False)[0]
    found, measured = measured_on(linear, vectors, part.test_labels)
    about = {**told, **measured, "labels": list(found.labels)}
    return Shipped(name=name, encoder=encoder, linear=found, prompt=prompt, about=about)
