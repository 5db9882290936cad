"""`Checks`: what a text or row must stand up to, beyond its form; and what it is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from gisttools.common import ParameterError, problems

LabelBy = Literal["centroids", "nearest", "none"]


@dataclass(frozen=True, kw_only=True)
class Checks:
    """What a text or row must stand up to.

    Attributes:
        label_by: how the guide judges a text's label: by the nearest centre of a label's seeds and line, by the five
            nearest labelled texts (`Known.labelled`, and seeds), or not at all.
        blind: ask the LLM a second time which label the text has, without telling the one it was written for.
        guide_order: the guide must find the positive nearer to the anchor than at least one negative; a negative for
            which that fails teaches nothing under GIST and is replaced. Switch it off where the guide does not know the
            language.
        top_k: of retrieval and reranking: the positive must be among so many texts nearest to the anchor; None: any
            place will do.
        skip_nearest: a mined negative is none of so many texts nearest to the anchor, for these may answer as well. Of
            small pools at most a third.
        near_eval: least Jaccard similarity of trigrams to a text of an evaluation set, as in `gisttools.data.overlap`.

    Raises:
        ParameterError: a value is out of range; all problems at once.
    """

    label_by: LabelBy = "centroids"
    blind: bool = False
    guide_order: bool = True
    top_k: int | None = 10
    skip_nearest: int = 10
    near_eval: float = 0.8

    def __post_init__(self) -> None:
        found = []
        if self.label_by not in get_args(LabelBy):
            found.append(f"label_by is {self.label_by!r}, must be one of {', '.join(get_args(LabelBy))}")
        if self.top_k is not None and self.top_k < 1:
            found.append(f"top_k is {self.top_k}, must be at least 1, or None")
        if self.skip_nearest < 0:
            found.append(f"skip_nearest is {self.skip_nearest}, must be at least 0")
        if not 0 < self.near_eval <= 1:
            found.append(f"near_eval is {self.near_eval}, must be above 0 and at most 1")
        if found:
            raise ParameterError(problems(f"Checks: {len(found)} problem(s)", found))


@dataclass(frozen=True, kw_only=True)
class Known:
    """Texts that generated ones are held against.

    Attributes:
        eval_texts: of evaluation sets; nothing in a row may equal one, or nearly.
        written: of earlier runs; a new text may not repeat one.
        labelled: real (text, label) pairs of training data, for `label_by="nearest"`, and to compare diversity with.
    """

    eval_texts: Sequence[str] = ()
    written: Sequence[str] = ()
    labelled: Sequence[tuple[str, str]] = ()
