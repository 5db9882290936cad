"""Puts prompts before the texts of a training: anchors as queries, positives and negatives as documents, row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator

from gisttools.common import ModelError
from gisttools.models import RowPrompts
from gisttools.training.store import GuideStore


class PromptingCollator(SentenceTransformerDataCollator):
    """The trainer's collator, with the prompts of each row of a store. Its own knows one prompt a column, and rows of a
    batch may be of several tasks.

    Args:
        preprocess: the student's.
        store: knows a row by the id in the label column.
        prompts: of the store's rows.
        prompt_length: of a prompt in tokens, None where that is not known; of students that say it.
    """

    def __init__(
        self,
        preprocess: Callable[..., dict[str, Any]],
        store: GuideStore,
        prompts: RowPrompts,
        prompt_length: Callable[[str], int | None] | None,
    ) -> None:
        super().__init__(preprocess_fn=preprocess)
        self._store, self._row_prompts, self._length = store, prompts, prompt_length

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Tokens of each column, and how long the prompts before them are."""
        if not features:
            return {}
        ids = np.array([row["label"] for row in features], dtype=np.int64)
        pairs = [self._row_prompts.pairs[i] for i in self._row_prompts.which[self._store.row_numbers(ids)].tolist()]
        batch: dict[str, Any] = {"label": torch.from_numpy(ids)}
        for column in features[0]:
            if column != "label":
                prompts = [pair[0 if column == "anchor" else 1] for pair in pairs]
                tokens = self._tokens([row[column] for row in features], prompts)
                batch |= {f"{column}_{name}": value for name, value in tokens.items()}
        return batch

    def _tokens(self, texts: list[str], prompts: list[str]) -> dict[str, Any]:
        different = dict.fromkeys(prompts)
        if len(different) == 1:
            return self.preprocess_fn(texts, prompt=prompts[0] or None)
        tokens = self.preprocess_fn([prompt + text for prompt, text in zip(prompts, texts, strict=True)])
        if self._length is not None:
            lengths = {prompt: (self._length(prompt) or 0) if prompt else 0 for prompt in different}
            tokens["prompt_length"] = torch.tensor([lengths[prompt] for prompt in prompts])
        return tokens


def prompting(student: Any, store: GuideStore, prompts: RowPrompts) -> PromptingCollator:
    """The collator that puts these prompts before a store's texts, for a student.

    Raises:
        ModelError: the student sends texts on different routes.
    """
    if any(type(module).__name__ == "Router" for module in student):
        raise ModelError("This student has a Router: queries and documents take other routes. Train one without.")

    def length(prompt: str) -> int | None:
        return student.preprocess([""], prompt=prompt).get("prompt_length")

    return PromptingCollator(student.preprocess, store, prompts, length)
