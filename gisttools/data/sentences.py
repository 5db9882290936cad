"""Makes training pairs of documents without an LLM: a sentence of a chunk as the query, the chunk as its passage.

Such a query is easy to find again, so a loss that only pulls it to its chunk has little to teach. A guide that teaches
(`gisttools.training.LossOptions`, distill) says of each sentence how near it is to every other passage of the batch,
and that is what the student learns.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset

from gisttools.common import DataError
from gisttools.data.characters import normalise
from gisttools.data.chunk_table import ReadChunks
from gisttools.data.chunks import sentences_of
from gisttools.data.triplets import FILE_NAME, make_triplets_from_columns, write_triplets

_FEWEST_WORDS = 5  # of a sentence
_FEWEST_CHARACTERS = 12  # where a script has no spaces


def sentence_pairs(read: ReadChunks, count: int, *, seed: int = 0) -> Dataset:
    """Pairs (sentence, chunk) of chunks that are not held back, in an order drawn by seed; a chunk comes up again when
    all others have, with another sentence.

    Sentences of five words or more (of scripts without spaces, twelve characters) of chunks that have two sentences or
    more; the same sentence stands once.

    Args:
        read: the chunks.
        count: how many pairs, at most: there may be fewer sentences.
        seed: of the draw.

    Raises:
        DataError: there is no such sentence.
    """
    rng = np.random.default_rng(seed)
    own = [chunk for chunk, is_test in zip(read.chunks, read.test.tolist(), strict=True) if not is_test]
    drawn: list[tuple[int, int, str, int]] = []  # round, place in the order, sentence, chunk
    for place, i in enumerate(rng.permutation(len(own)).tolist()):
        found = _sentences(own[i].text)
        drawn += [(turn, place, found[j], i) for turn, j in enumerate(rng.permutation(len(found)).tolist())]
    once: dict[str, tuple[str, int]] = {}
    for _, _, sentence, i in sorted(drawn):
        if len(once) == count:
            break
        once.setdefault(normalise(sentence), (sentence, i))
    if not once:
        raise DataError(f"{read.name}: no chunk that is trained on has two sentences of {_FEWEST_WORDS} words or more.")
    chunks = [own[i] for _, i in once.values()]
    columns = {
        "anchor": pa.array([sentence for sentence, _ in once.values()], pa.string()),
        "positive": pa.array([chunk.passage for chunk in chunks], pa.string()),
        "task_name": read.name,
        "task_type": "Retrieval",
        "source": "sentence",
        "seed_ids": pa.array([[chunk.id] for chunk in chunks], pa.list_(pa.string())),
    }
    return make_triplets_from_columns(columns, len(chunks))


def save_sentence_pairs(read: ReadChunks, count: int, folder: str | Path, *, seed: int = 0) -> Dataset:
    """Write `sentence_pairs` as `triplets.parquet`, and beside it `corpus.parquet`, the chunks among which negatives
    are mined; returns the pairs. Raises as `sentence_pairs`."""
    pairs = sentence_pairs(read, count, seed=seed)
    read.save_corpus(folder)
    write_triplets(pairs, Path(folder) / FILE_NAME)
    return pairs


def _sentences(text: str) -> list[str]:
    """The sentences of a chunk that say something by themselves; none of a chunk that is a single one."""
    parts = [" ".join(text[begin:end].split()) for begin, end in sentences_of(text)]
    long = [p for p in parts if len(p.split()) >= _FEWEST_WORDS or (" " not in p and len(p) >= _FEWEST_CHARACTERS)]
    return list(dict.fromkeys(long)) if len(parts) > 1 else []
