"""Says how an evaluation runs and judges: `EvaluateOptions`."""

from __future__ import annotations

from pydantic import Field

from gisttools.common import Options

ALLOWED_LOSS = 0.5  # points


class EvaluateOptions(Options):
    """How models are scored and compared; see `evaluate`."""

    about = "evaluating"

    allow_overlap: bool = Field(False, description="compare although the training table holds test texts")
    batch_size: int = Field(64, ge=1, description="texts embedded at a time")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the bootstrap and of random vectors")
    allowed_loss: float = Field(ALLOWED_LOSS, ge=0, description="points that a guard may lose")
    candidates: bool = Field(
        True, description="score the guide, TF-IDF, BM25 and a guess too, each with all labels, and say which to use"
    )
    cross_entropy: bool = Field(
        False, description="train the student with a linear head too, as many steps as the tuned model"
    )
    reranker: str | None = Field(
        None,
        description="of searches: a cross-encoder (name or folder) that puts the first documents in order; a candidate",
    )
    reranker_revision: str | None = Field(None, description="commit of a hub cross-encoder")
    rerank_depth: int = Field(50, ge=2, description="documents of each query that a cross-encoder puts in order")
