"""Keeps what the student knew: a term holds it near where it started, on texts that belong to no task.

A student tuned on one task drifts on others. Some general texts a step, embedded along with the batch and held to the
vectors that the untouched student gave them, cost little of the task's gain and keep most of the rest. It is learning
without forgetting (Li and Hoiem, arXiv 1606.09282) with vectors in the place of class scores.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gisttools.common import DataError, digest
from gisttools.data import TEXT_COLUMNS, find_set, is_lines, open_stream, read_lines
from gisttools.models import VectorCache, prompts_of
from gisttools.training.embedding import embed_columns
from gisttools.training.options import RetentionOptions

_COLUMNS = (*TEXT_COLUMNS, "sentence", "anchor", "positive", "passage", "document")


def general_texts() -> list[str]:
    """The package's own general sentences, in English: what SmolLM2-135M-Instruct (Apache-2.0) wrote of some three
    hundred subjects (`benchmarks/general_texts.py`). With them, holding a student needs neither files nor network."""
    return resources.files("gisttools.training").joinpath("general.txt").read_text(encoding="utf-8").splitlines()


class Retention:
    """General texts, and what the untouched student made of them.

    Args:
        texts: some thousand sentences, best of many subjects, none from an evaluation set.
        start: the untouched student's vectors, under the prompt that it is trained with for texts that are alike.
        options: the larger the weight, the nearer the student stays; the defaults if None.

    Raises:
        DataError: there are fewer than two texts.
    """

    def __init__(self, texts: Sequence[str], start: VectorCache, options: RetentionOptions | None = None) -> None:
        self.texts = list(dict.fromkeys(texts))
        if len(self.texts) < 2:
            raise DataError(f"There are {len(self.texts)} text(s) to retain; some thousand are wanted.")
        self.start, options = torch.from_numpy(start.embed(self.texts)), options or RetentionOptions()
        self.weight, self.texts_a_step = options.weight, options.texts_a_step

    @property
    def identity(self) -> str:
        """What decides this term, in a few words."""
        content = digest("\0".join(self.texts))
        return f"{self.weight} x {self.texts_a_step} of {content}"


class RetentionLoss(nn.Module):
    """`loss` plus weight * mean(1 - cos(student(x), start(x))) over texts x drawn anew each step.

    Args:
        model: the student.
        loss: what trains it.
        retention: the texts.

    `mean_distance()` tells the mean of 1 - cos since it was last called.
    """

    def __init__(self, model: nn.Module, loss: nn.Module, retention: Retention) -> None:
        super().__init__()
        self.model, self.loss, self.retention = model, loss, retention
        self._seen: list[Tensor] = []
        self.trained_loss: Tensor | None = None  # the last step's loss without this term

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        distance = self._distance()
        self._seen.append(distance.detach())  # read when asked: reading waits for the device
        trained = self.loss(sentence_features, labels)
        self.trained_loss = trained.detach()
        return trained + self.retention.weight * distance

    def _distance(self) -> Tensor:
        r = self.retention
        drawn = torch.randint(len(r.texts), (r.texts_a_step,))  # torch's generator: checkpoints keep its state
        texts = [r.texts[i] for i in drawn.tolist()]
        features = self.model.preprocess(texts, prompt=prompts_of(self.model).alike or None)
        device = next(self.model.parameters()).device
        features = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in features.items()}
        (vectors,) = embed_columns(self.model, [features])
        return 1 - F.cosine_similarity(vectors.float(), r.start[drawn].to(device), dim=-1).mean()

    def mean_distance(self) -> float | None:
        seen, self._seen = self._seen, []
        return float(torch.stack(seen).mean()) if seen else None

    def get_config_dict(self) -> dict[str, object]:
        """For the model card that sentence-transformers writes."""
        return {"retention_weight": self.retention.weight, "loss": type(self.loss).__name__}


def read_texts(names: Sequence[str | Path], *, most: int = 4000, seed: int = 0) -> list[str]:
    """Sentences of several sources: files, and sets on the hub.

    Long texts are cut at the ends of sentences, and what is shorter than 5 or longer than 35 words is left out: short
    texts cost little. Of more than `most` sentences a sample is taken.

    Args:
        names: text files (.txt); files of rows (`gisttools.data.FILE_ENDINGS`) and hub sets
            (`org/name#config@revision:split`) with a column that is named like a text.
        most: sentences in all.
        seed: of the sample.

    Raises:
        MissingError: a source does not exist.
        DataError: a source has no column of texts.
    """
    # the first rows are enough, and spare the network a set of millions
    read = (text for name in names for text in itertools.islice(_texts_of(name), 5 * most))
    found = list(dict.fromkeys(sentence for text in read for sentence in _sentences(text)))
    chosen = np.random.default_rng(seed).permutation(len(found))[:most]
    return [found[i] for i in sorted(chosen)]


def _sentences(text: str) -> Iterator[str]:
    for sentence in re.split(r"(?<=[.!?])\s+|\n+", text):
        if 5 <= len(sentence.split()) <= 35:
            yield sentence.strip()


def _texts_of(name: str | Path) -> Iterator[str]:
    path = Path(name).expanduser()
    if is_lines(path) and path.is_file():
        yield "\n".join(read_lines(path))
        return
    column = None
    for batch in open_stream(find_set(name)).batches:
        column = column or next((c for c in _COLUMNS if any(isinstance(text, str) for text in batch.get(c, ()))), None)
        if column is None:
            raise DataError(f"{name} has no column of texts ({', '.join(_COLUMNS)}); it has {', '.join(batch)}.")
        yield from (text for text in batch.get(column, ()) if isinstance(text, str))
