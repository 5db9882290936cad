"""Counts the names of people in texts, where spaCy and a pipeline that knows names are installed (the extra `names`).

`pip install "gisttools[names]"` and `python -m spacy download en_core_web_sm`, or the pipeline of another language: a
text is read by each that is installed. A small pipeline overlooks names and takes other words for some.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from gisttools.common import first_line

if TYPE_CHECKING:
    from spacy.language import Language

log = logging.getLogger(__name__)

# what pipelines call a person: English and others; German, French and others; Polish; Swedish; Korean
_PEOPLE = frozenset(("PERSON", "PER", "persName", "PRS", "PS"))
_FINDERS = ("ner", "entity_ruler", "span_ruler")
_NEEDED = ("tok2vec", "transformer", *_FINDERS)
_CHARACTERS = 500_000  # that are read, of texts all over: a person waits for it


@dataclass(frozen=True)
class Names:
    """What was found.

    Attributes:
        different: names, each once, whatever its case.
        texts: that were read; of very many a part.
        by: the pipelines.
    """

    different: int
    texts: int
    by: tuple[str, ...]


@lru_cache(maxsize=4)  # a run tells of its texts more than once
def find_names(texts: tuple[str, ...]) -> Names | None:
    """The names of people in texts; None where no pipeline that knows names is installed."""
    pipelines = _pipelines()
    if not pipelines:
        return None
    step = max(1, -(-sum(map(len, texts)) // _CHARACTERS))
    read = texts[::step]
    found: set[str] = set()
    for pipeline in pipelines.values():
        longest = pipeline.max_length
        for document in pipeline.pipe(text[:longest].encode(errors="replace").decode() for text in read):
            found |= {" ".join(e.text.split()).casefold() for e in document.ents if e.label_ in _PEOPLE}
    return Names(len(found), len(read), tuple(pipelines))


@lru_cache(maxsize=1)
def _pipelines() -> dict[str, Language]:
    """The installed pipelines that find people, by name; with nothing but what they need for that. One that cannot be
    loaded, as of another version of spaCy, is told and passed over."""
    installed = sorted(entry.name for entry in entry_points(group="spacy_models"))
    if not installed or importlib.util.find_spec("spacy") is None:  # it takes seconds to import
        return {}
    import spacy

    found = {}
    for name in installed:
        try:
            pipeline = spacy.load(name)
        except (ImportError, OSError, ValueError) as error:
            log.warning("%s cannot be loaded, so it finds no names: %s", name, first_line(error))
            continue
        if any(finder in pipeline.pipe_names for finder in _FINDERS):
            for unused in set(pipeline.pipe_names) - set(_NEEDED):
                pipeline.disable_pipe(unused)
            found[name] = pipeline
    return found
