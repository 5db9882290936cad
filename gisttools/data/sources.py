"""Expands lists of sources (presets by name), reads them all, and tells what kind a source is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from gisttools.common import DataError, MissingError, did_you_mean, problems
from gisttools.data.columns import is_triplet_shaped, labelled_columns
from gisttools.data.files import column_names, file_kind
from gisttools.data.hub import HubSet, find_set, is_hub_name, open_stream, parse_hub_name
from gisttools.data.labelled import LabelledTexts, read_labelled, shares_of, split_file
from gisttools.data.mteb_tasks import mteb_task, parse_task_name, task_names
from gisttools.data.options import ReadOptions
from gisttools.data.saved import is_saved
from gisttools.data.searches import search_layout
from gisttools.data.triplets import FILE_NAME

Kind = Literal["labelled", "triplets", "search"]
# The English classification tasks of MTEB(eng, v1) but AmazonPolarity: those whose train splits the method's paper adds
PRESETS = {
    "mteb_eng_v1_classification": (
        "AmazonCounterfactualClassification",
        "AmazonReviewsClassification",
        "Banking77Classification",
        "EmotionClassification",
        "ImdbClassification",
        "MTOPDomainClassification",
        "MTOPIntentClassification",
        "MassiveIntentClassification",
        "MassiveScenarioClassification",
        "ToxicConversationsClassification",
        "TweetSentimentExtractionClassification",
    )
}


def expand_sources(names: Sequence[str | Path]) -> list[str]:
    """The sources that these names stand for: each preset's tasks in its place, other names as they are, each once.

    Args:
        names: presets (`PRESETS`; English where a task has several languages), MTEB tasks (`Task#subset:split`), hub
            sets (`org/name#config@revision:split`), files and folders. Hub sets are not looked up.

    Raises:
        MissingError: names that are neither; all of them, with the nearest known names.
    """
    found, unknown = [], []
    for name in map(str, names):
        found += PRESETS.get(name, (name,))
        if name not in PRESETS and not _is_elsewhere(name):
            unknown.append(name)
    if unknown:
        known = task_names()
        unknown = [name for name in unknown if parse_task_name(name)[0] not in known]
    if unknown:
        lines = [f"{name!r}.{did_you_mean(parse_task_name(name)[0], [*PRESETS, *known])}" for name in unknown]
        raise MissingError(
            problems(
                f"{len(unknown)} source(s) are no preset, no MTEB task and no file or folder here:",
                lines,
                f"Presets: {', '.join(PRESETS)}. Give a hub set as org/name@revision, a file with its ending.",
            )
        )
    return list(dict.fromkeys(found))


def read_sources(sources: Sequence[str | Path], options: ReadOptions | None = None) -> list[LabelledTexts]:
    """Labelled texts of every source, in order, after `expand_sources`.

    Args:
        sources: as in `expand_sources`.
        options: for all of them. `subset` counts for MTEB tasks of several subsets and for hub sets; of several
            subsets each gives labelled texts of its own, named `Task#subset`.

    Raises:
        MissingError, DataError, ParameterError: as `expand_sources` and `gisttools.data.read_labelled`.
    """
    options = options or ReadOptions()
    return [read_labelled(name, own) for source in expand_sources(sources) for name, own in _each(source, options)]


def kind_of(source: str | Path | pd.DataFrame, options: ReadOptions | None = None) -> Kind:
    """Whether a source holds labelled texts or triplets, by its columns: an anchor and a positive make triplets, a text
    and a label labelled texts. MTEB tasks are labelled; a folder with `triplets.parquet` is triplets. Queries, a corpus
    and judgements, in a layout of `gisttools.data.read_search`, are a search.

    Args:
        source: as in `gisttools.data.read_labelled`; a hub set is asked for its first row.
        options: text and label columns named there make a source with both labelled; `split` names a folder's file.

    Raises:
        MissingError: there is no such source.
        DataError: the columns are of neither kind.
    """
    options = options or ReadOptions()
    if isinstance(source, pd.DataFrame):
        return _kind_by_columns("DataFrame", list(map(str, source.columns)), options)
    name, path = str(source), Path(source).expanduser()
    if name in PRESETS:
        return "labelled"
    if path.is_dir():
        if (path / FILE_NAME).is_file():
            return "triplets"
        if not split_file(path, "train") and search_layout(path):
            return "search"
        path = split_file(path, "train" if options.split in shares_of(path, options) else options.split) or path
    if path.is_file() and search_layout(path):
        return "search"
    if path.is_file() or is_saved(path) or file_kind(path):
        return _kind_by_columns(name, column_names(path, options.encoding), options)
    if path.is_dir() or is_hub_name(name):
        return _kind_by_columns(name, _first_columns(name, path, options), options)
    mteb_task(parse_task_name(name)[0])
    return "labelled"


def is_task(name: str) -> bool:
    """Whether a name, after `expand_sources`, is that of an MTEB task."""
    return not _is_elsewhere(name)


def _is_elsewhere(name: str) -> bool:
    return "/" in name or name.startswith("~") or bool(file_kind(name)) or Path(name).expanduser().exists()


def _each(source: str, options: ReadOptions) -> Iterator[tuple[str, ReadOptions]]:
    if options.subset is None or _is_local(source):
        yield source, options.part(ReadOptions, subset=None)
        return
    subsets = (options.subset,) if isinstance(options.subset, str) else tuple(options.subset)
    if "/" in source:
        named, mark = parse_hub_name(source), "#"
        several = named is not None and named.config is None
    else:
        task, subset, _ = parse_task_name(source)
        several = subset is None and len(mteb_task(task).metadata.hf_subsets) > 1
        mark = "#"
    if not several:
        yield source, options.part(ReadOptions, subset=None)
        return
    for subset in subsets:
        head = source.split("@")[0].split(":")[0]
        yield f"{head}{mark}{subset}{source[len(head) :]}", options.part(ReadOptions, subset=None)


# by the columns of labelled texts that are known already
_WHICH = {
    frozenset(): "Which one is the text, and which one the label? Set text_column and label_column to them.",
    frozenset(["label"]): "Which one is the text? Set text_column to it.",
    frozenset(["text"]): "Which one is the label? Set label_column to it.",
}


def _is_local(source: str) -> bool:
    return bool(file_kind(source)) or Path(source).expanduser().exists()


def _first_columns(name: str, path: Path, options: ReadOptions) -> list[str]:
    here = HubSet(path=str(path.resolve()), split=options.split, is_local=True)
    stream = open_stream(here if path.is_dir() else find_set(name), most=1, size=1)
    return list(next(stream.batches, {}))


def _kind_by_columns(name: str, columns: list[str], options: ReadOptions) -> Kind:
    found, wrong = labelled_columns(name, columns, options.text_column, options.label_column)
    named = options.text_column or options.label_column
    if not wrong and named:
        return "labelled"
    if is_triplet_shaped(columns):
        return "triplets"
    if not wrong:
        return "labelled"
    if named:
        raise DataError("\n".join(wrong))
    raise DataError(
        f"{name} holds neither labelled texts nor triplets that are known by their columns. Columns found: "
        f"{', '.join(columns) or 'none'}. {_WHICH[frozenset(found)]} Triplets have an anchor and a positive."
    )
