"""Puts prompts before the texts of a training: anchors as queries, positives and negatives as documents, row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator

from gisttools.common import ModelError
from gisttools.models import RowPrompts
from gisttools.training.labelled import LabelledRows
from gisttools.training.store import GuideStore


class PromptingCollator(SentenceTransformerDataCollator):
    """The trainer's collator, with the prompts of each row of a store. Its own knows one prompt a column, and rows of a
    batch may be of several tasks.

    Args:
        preprocess: the student's.
        rows: of triplets, or labelled texts; they know a row by the id in the label column.
        prompts: of the rows of the table behind them.
        prompt_length: of a prompt in tokens, None where that is not known; of students that say it.
    """

    def __init__(
        self,
        preprocess: Callable[..., dict[str, Any]],
        rows: GuideStore | LabelledRows,
        prompts: RowPrompts,
        prompt_length: Callable[[str], int | None] | None,
    ) -> None:
        super().__init__(preprocess_fn=preprocess)
        self._rows, self._row_prompts, self._length = rows, prompts, prompt_length

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Tokens of each column, and how long the prompts before them are."""
        if not features:
            return {}
        ids = np.array([row["label"] for row in features], dtype=np.int64)
        batch: dict[str, Any] = {"label": torch.from_numpy(ids)}
        for number, column in enumerate(name for name in features[0] if name != "label"):
            prompts = self._row_prompts.of_places(*self._places(ids, number))
            tokens = self._tokens([row[column] for row in features], prompts)
            batch |= {f"{column}_{name}": value for name, value in tokens.items()}
        return batch

    def _places(self, ids: np.ndarray, column: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the table, and in which of its columns (0 is the anchor) the texts of a batch's column stand."""
        if isinstance(self._rows, LabelledRows):
            return self._rows.places_of(ids)
        return self._rows.row_numbers(ids), np.full(len(ids), column)

    def _tokens(self, texts: list[str], prompts: list[str]) -> dict[str, Any]:
        different = dict.fromkeys(prompts)
        if len(different) == 1:
            return self.preprocess_fn(texts, prompt=prompts[0] or None)
        tokens = self.preprocess_fn([prompt + text for prompt, text in zip(prompts, texts, strict=True)])
        if self._length is not None:
            lengths = {prompt: (self._length(prompt) or 0) if prompt else 0 for prompt in different}
            tokens["prompt_length"] = torch.tensor([lengths[prompt] for prompt in prompts])
        return tokens


def prompting(student: Any, rows: GuideStore | LabelledRows, prompts: RowPrompts) -> PromptingCollator:
    """The collator that puts these prompts before the texts of triplets, or before labelled texts, for a student.

    Raises:
        ModelError: the student sends texts on different routes.
    """
    if any(type(module).__name__ == "Router" for module in student):
        raise ModelError("This student has a Router: queries and documents take other routes. Train one without.")

    def length(prompt: str) -> int | None:
        return student.preprocess([""], prompt=prompt).get("prompt_length")

    return PromptingCollator(student.preprocess, rows, prompts, length)
