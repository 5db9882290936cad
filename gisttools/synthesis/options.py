"""Says how much is written (`SynthesisOptions`), and what rows must stand up to: `Checks`, and `Known` texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from gisttools.common import Options
from gisttools.data import NEAR

LabelBy = Literal["classifier", "centroids", "nearest", "none"]
FoundBy = Literal["either", "both", "guide", "bm25"]


class SynthesisOptions(Options):
    """How much is written, and by which prompts.

    rows: shared out equally between the task's groups (labels, topics, search terms); of documents those to train on.
    test_rows, per_chunk: of documents; rows on chunks that are held back, and the most that are wanted of a chunk, on
        average, however many rows are asked for.
    prompt: name or path of a prompt file; the kind's own where None.
    prompts: a folder of the user's, where prompts are looked for first.
    """

    about = "synthesis"

    rows: int = Field(100, ge=1, description="accepted rows wanted, equally many of each label or topic")
    test_rows: int | None = Field(
        None, ge=1, description="of documents: accepted questions to test with; null: a fifth of rows"
    )
    per_chunk: float = Field(3.0, gt=0, description="of documents: questions of a chunk, at most, on average")
    attempts: float = Field(
        4.0,
        ge=1,
        description="texts asked for, for each of them, at most; a call asks for one, or as many as its prompt says",
    )
    seed: int = Field(0, description="seed of the plan and of the LLM's sampling")
    prompt: str | Path | None = Field(None, description="prompt file, or its name; null: that of the task's kind")
    prompts: str | Path | None = Field(None, description="your own folder of prompts, looked into first")
    dry_run: bool = Field(False, description="ask for a few rows only, and say what all would take")


class Checks(Options):
    """What a text or row must stand up to, beyond its form.

    label_by: how the guide's vectors judge a text's label: by a classifier on all texts whose label is known (seeds,
        lines and `Known.labelled`), by the nearest centre of a label's seeds and line, by the five nearest of those
        texts, or not at all.
    correct_labels: where the classifier is sure of another label, ten times as likely as any other, a text gets that
        one in place of being dropped.
    blind: ask the LLM a second time which label the text has, without telling the one it was written for.
    least_score: the LLM is asked how well a row fits, from 1 to 5, and rows below this are dropped. Of questions on
        documents it sees question and chunk, of labels text and line, else anchor and positive.
    also_answers: of documents: the LLM is shown so many chunks, at most, that the guide finds nearer to a question than
        its own, one by one. Those that answer as well are answers too; where they do and its own does not, the question
        is dropped.
    guide_order: the guide must find the positive nearer to the anchor than at least one negative; a negative for which
        that fails teaches nothing under GIST and is replaced. Switch it off where the guide does not know the language.
    top_k: of retrieval and reranking: the positive must be among so many texts nearest to the anchor; None: any place
        will do.
    found_by: of documents: who must find the chunk again, among so many: the guide, BM25, one of them, or both. A
        question in other words than its chunk's teaches the most, and BM25 alone would stop it.
    skip_nearest: a mined negative is none of so many texts nearest to the anchor, for these may answer as well. Of
        small pools at most a third.
    near: least Jaccard similarity of trigrams to a text of an evaluation set, as in `gisttools.data.Tiers`.
    """

    about = "checks"

    label_by: LabelBy = Field(
        "classifier", description="classifier, nearest: by seeds and texts of labelled_files; centroids: by seeds"
    )
    correct_labels: bool = Field(
        False,
        description="a text that surely has another label gets that one, and is not dropped (label_by classifier)",
    )
    blind: bool = Field(False, description="a second call sorts each text without knowing its label")
    least_score: int | None = Field(
        None, ge=1, le=5, description="the LLM scores each row from 1 to 5; lower ones are dropped; null: not asked"
    )
    also_answers: int = Field(
        0,
        ge=0,
        description="of documents: the LLM says of so many chunks that the guide finds nearer if they answer too",
    )
    guide_order: bool = Field(True, description="the guide must find the positive nearer than a negative")
    top_k: int | None = Field(10, ge=1, description="the positive must be so near to its query; null: not looked at")
    found_by: FoundBy = Field("either", description="of documents: who must find the chunk among top_k")
    skip_nearest: int = Field(10, ge=0, description="nearest texts that are no mined negatives")
    near: float = Field(NEAR, gt=0, le=1, description="least likeness (Jaccard) to a test text of what is left out")

    @property
    def asking(self) -> list[str]:
        """Those that are switched on and ask an LLM."""
        told = {"blind": self.blind, "least_score": self.least_score is not None, "also_answers": self.also_answers}
        return [name for name, on in told.items() if on]


@dataclass(frozen=True, kw_only=True)
class Known:
    """Texts that generated ones are held against.

    Attributes:
        eval_texts: of evaluation sets; nothing in a row may equal one, or nearly.
        written: of earlier runs; a new text may not repeat one.
        labelled: real (text, label) pairs of training data, for `label_by`, and to compare diversity with.
    """

    eval_texts: Sequence[str] = ()
    written: Sequence[str] = ()
    labelled: Sequence[tuple[str, str]] = ()
