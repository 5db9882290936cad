"""Says how labelled texts are read, and how alike two texts must be to overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from pydantic import Field, SkipValidation

from gisttools.common import Options

if TYPE_CHECKING:
    import numpy as np

NEAR = 0.8  # least Jaccard similarity of near-duplicates, see `near_duplicates`
# In Banking77, between train and test, pairs above it are one sentence said twice ("Where can I find my PIN?", "Where
# do I find my PIN?"), by all-MiniLM-L6-v2 and by all-mpnet-base-v2; from 0.95 down also other questions of one answer.
SEMANTIC = 0.98

RowGroup: TypeAlias = dict[str, str | list[str]]  # what columns hold, of rows that are alike; see `row_groups`


class FileOptions(Options):
    """How to read files and folders of labelled texts, whatever reads them.

    test_share, dev_share: a file, or a folder that lacks the file of that split, is split on the fly, by content
        (`gisttools.data.split_texts`): whoever reads it with the same shares gets the same parts. Both are shares of
        all texts of the file.
    """

    about = "reading files of labelled texts"

    text_column: str | None = Field(None, description="where it is not one of the usual names")
    label_column: str | None = Field(None, description="where it is not one of the usual names")
    test_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="of files and folders without a test file: share of the texts to test on, e.g. 0.2",
    )
    dev_share: float | None = Field(
        None, gt=0, lt=1, description="the same for development; neither trained nor tested on"
    )
    encoding: str | None = Field(None, description="of text files that are not UTF-8, e.g. cp1252")
    drop_empty: bool | None = Field(None, description="leave out rows without text; null: of MTEB tasks alone")
    drop_unlabelled: bool | None = Field(None, description="leave out rows without label; null: of MTEB tasks alone")
    relabel: str | None = Field(
        None,
        description="labels_to_repair.csv of a convert run, edited: a changed new_label counts, an empty one drops",
    )

    def conflicts(self) -> list[str]:
        """One column for both, and shares that leave nothing to train on."""
        found = super().conflicts()
        if self.text_column is not None and self.text_column == self.label_column:
            found.append(f"text_column and label_column are both {self.text_column!r}")
        if self.test_share and self.dev_share and self.test_share + self.dev_share >= 1:
            found.append(f"test_share {self.test_share} and dev_share {self.dev_share} leave nothing to train on")
        return found

    @property
    def shares(self) -> dict[str, float]:
        """The shares that are told, by the split that they are for."""
        return {split: s for split, s in (("test", self.test_share), ("dev", self.dev_share)) if s is not None}


class ReadOptions(FileOptions):
    """How to read labelled texts; see `read_labelled`. Only `gisttools.data.read_sources` takes several subsets."""

    about = "reading labelled texts"

    split: str = Field("train", description="split of a task, hub set or folder")
    subset: str | list[str] | None = Field(None, description="subsets of multilingual tasks, or a configuration")
    revision: str | None = Field(None, description="commit of a hub data set")
    id_column: str | None = Field("id", description="its values must not repeat, where it exists; null: not looked at")


class TextVectors(Protocol):
    """What gives unit vectors of texts and keeps them; a `VectorCache` does."""

    def add(self, texts: Sequence[str]) -> np.ndarray:
        """Embed what has no vector yet; the row of each text, int64 (n,)."""

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Unit vectors, float32 (n, dimension)."""


def texts_read(guide: object, texts: Sequence[str]) -> np.ndarray:
    """Of which texts a vector of the guide says what they say, bool (n,), as its `reads` tells; else of all."""
    import numpy as np

    reads = getattr(guide, "reads", None)
    return np.ones(len(texts), dtype=bool) if reads is None else reads(texts)


class Tiers(Options):
    """Which tiers are asked, besides exact equality, and how alike two texts must be there.

    semantic: `SEMANTIC` if None. Needs a guide, which makes the vectors; without one that tier is left out.
    """

    about = "Tiers"

    near: float | None = Field(
        NEAR, gt=0, le=1, description="least likeness of near copies (Jaccard); null: not looked at"
    )
    semantic: float | None = Field(None, gt=0, le=1, description="least guide cosine of restatements; null: none")
    guide: SkipValidation[TextVectors | None] = Field(None, description="makes the vectors of the semantic tier")

    def conflicts(self) -> list[str]:
        """A semantic tier without a guide."""
        lacks = self.semantic is not None and self.guide is None
        found = [f"semantic is {self.semantic!r}, but there is no guide: give a VectorCache"] if lacks else []
        return super().conflicts() + found

    @property
    def thresholds(self) -> dict[str, float | None]:
        """What each tier asks for; None where it is not asked."""
        semantic = SEMANTIC if self.semantic is None else self.semantic
        return {"exact": 1.0, "near": self.near, "semantic": None if self.guide is None else semantic}


class ChunkOptions(Options):
    """How documents are cut into chunks; see `make_chunks`.

    chunk_size: most tokens of a chunk, its headings included, by the counter that is given: the student's tokenizer
        (`gisttools.models.token_counter`), else words and marks.
    chunk_overlap: a chunk begins with the last sentences of the one before, up to so many tokens; never across a
        heading.
    """

    about = "cutting documents"

    chunk_size: int = Field(256, ge=8, description="most tokens of a chunk, its headings included")
    chunk_overlap: int = Field(0, ge=0, description="tokens that a chunk repeats of the one before")
    drop_near_copies: float | None = Field(
        NEAR, gt=0, le=1, description="least likeness (Jaccard) of chunks of which only the first stays; null: all stay"
    )
    drop_boilerplate: bool = Field(True, description="leave out lines that repeat over many documents")

    def conflicts(self) -> list[str]:
        """More overlap than new text."""
        found = super().conflicts()
        if self.chunk_overlap > self.chunk_size // 2:
            found.append(f"chunk_overlap is {self.chunk_overlap}, must be at most half of chunk_size {self.chunk_size}")
        return found
