"""Reads the rows of an evaluation folder by its kind, and refuses what mteb could not score, all problems at once.

Labelled texts to classify or to cluster; pairs of texts that mean the same (0 or 1) or do so more or less (a score);
queries with a corpus to search (retrieval) or with candidates to rank (reranking).
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from functools import partial

from gisttools.common import DataError, problems
from gisttools.data.characters import normalise
from gisttools.data.folders import (
    EvalFolder,
    RowProblems,
    identity,
    is_json_list,
    number,
    read_columns,
    refuse,
    some,
    texts_in,
    together,
    truth,
)
from gisttools.data.labelled import LabelledTexts, read_labelled, wrong_text
from gisttools.data.options import FileOptions, ReadOptions

log = logging.getLogger(__name__)
_NEIGHBOURS = 5  # that mteb's multi-label classifier looks at


@dataclass(frozen=True)
class LabelledSplits:
    """`test` is the split that is scored; `train` is None where only clusters are looked for."""

    kind: str
    train: LabelledTexts | None
    test: LabelledTexts

    @property
    def known(self) -> list[str]:
        """The names of all labels that can be answered, sorted."""
        return sorted((self.train or self.test).classes)

    @property
    def test_texts(self) -> list[str]:
        """The texts that are scored."""
        return self.test.texts


def read_scored(folder: EvalFolder) -> LabelledTexts:
    """The texts that are scored, with their labels.

    Raises:
        DataError: as `read_labelled`; also where cells of a CSV are lists written as JSON.
    """
    return _read(folder, folder.split)


def read_splits(folder: EvalFolder) -> LabelledSplits:
    """Texts and labels to classify, or to cluster. Where the kind was not named, lists of labels make it multi-label.

    Raises:
        DataError: a file is as `read_labelled` refuses it, texts have several labels where one is meant, the scored
            split has labels that train lacks, or there are too few train texts; all problems at once.
    """
    test, train = _both_splits(folder)
    several = [split.split for split in (train, test) if split is not None and split.label_sets is not None]
    kind = "multilabel_classification" if several and not folder.named else folder.kind
    wrong: list[str] = []
    fixes: list[str] = []
    if several and kind != "multilabel_classification":
        wrong.append(f"texts of {', '.join(several)} have several labels, {kind} needs one for each")
        fixes.append(f"Say {folder.path}#multilabel_classification, or give each text one label.")
    if train is not None:
        _check_learnable(folder, kind, train, test, wrong, fixes)
    if wrong:
        raise DataError(problems(f"{folder.path}: {len(wrong)} problem(s)", wrong, " ".join(fixes)))
    if train is not None and (unseen := sorted(set(train.classes) - set(test.classes))):
        log.warning("%s: %d label(s) have no %s text, nothing is said of them: %s", folder.path.name, len(unseen),
                    folder.split, ", ".join(unseen))  # fmt: skip
    if train is not None and (shared := {normalise(t) for t in train.texts} & {normalise(t) for t in test.texts}):
        log.warning("%s: %d text(s) of %s stand in train too, so that what is fitted on it has seen them, as %.60r."
                    " Take them out of train.", folder.path.name, len(shared), folder.split, min(shared))  # fmt: skip
    return LabelledSplits(kind, train, test)


def _both_splits(folder: EvalFolder) -> tuple[LabelledTexts, LabelledTexts | None]:
    jobs = {} if folder.kind == "clustering" else {"train": lambda: _read(folder, "train")}
    found = together({**jobs, "test": lambda: read_scored(folder)})
    return found["test"], found.get("train")


def _check_learnable(
    folder: EvalFolder, kind: str, train: LabelledTexts, test: LabelledTexts, wrong: list[str], fixes: list[str]
) -> None:
    """Add what a classifier cannot learn from the train texts, and what to do."""
    if kind == "multilabel_classification" and len(train) < _NEIGHBOURS:
        wrong.append(f"train holds {len(train)} texts; mteb's classifier looks at the {_NEIGHBOURS} nearest")
        fixes.append("Add train texts.")
    unknown = sorted(set(test.classes) - set(train.classes))
    if unknown:
        wrong.append(f"{len(unknown)} label(s) of the {folder.split} split never occur in train: {', '.join(unknown)}")
        fixes.append(
            "A classifier cannot learn labels that it never sees: add train texts for them, or take them out of "
            f"{folder.split}."
        )


def _read(folder: EvalFolder, split: str) -> LabelledTexts:
    told = folder.reading.part(FileOptions)
    texts = read_labelled(folder.path, ReadOptions(split=split, **told.model_dump()))
    if texts.label_sets is None and all(is_json_list(label) for label in texts.labels):
        raise DataError(
            f"{folder.path}, split {split}: the labels are lists written as JSON, such as {texts.labels[0]!r}. "
            "Save the file as JSONL or Parquet, where a cell can be a list."
        )
    return texts


@dataclass(frozen=True)
class Pairs:
    """`first` and `second` texts, and a value for each pair: 0 or 1, or a score of any range."""

    first: list[str]
    second: list[str]
    values: list[float]

    @property
    def test_texts(self) -> list[str]:
        """All texts that are scored."""
        return [*self.first, *self.second]


def read_pairs(folder: EvalFolder) -> Pairs:
    """The pairs that are scored.

    Raises:
        DataError: texts are empty, values are no numbers (of pair classification: not 0 or 1), or all values are
            equal; all problems at once.
    """
    file, columns = folder.files["test"], folder.columns["test"]
    cells = read_columns(file, columns, folder.reading.encoding)
    is_truth = folder.kind == "pair_classification"
    take, wanted = (truth, "not 0 or 1") if is_truth else (number, "no finite number")
    found = RowProblems(file.name)
    values: list[float] = []
    for row, cell in enumerate(cells["value"]):
        for role in ("first", "second"):
            if why := wrong_text(cells[role][row]):
                found.add(f"{columns[role]!r} {why}", row)
        value = take(cell)
        if value is None:
            found.add(f"{columns['value']!r} is {wanted}", row, cell)
        else:
            values.append(value)
    lines, fix = found.lines(), "Correct or drop these rows."
    if not lines and len(set(values)) < 2:
        seen = f"all {len(values)} pairs have the value {values[0]:g}" if values else "there are no rows"
        lines.append(f"{file.name}: {seen}, so that there is nothing to distinguish")
        fix = "Add pairs that " + ("do not mean the same." if values and values[0] else "mean the same, and others.")
    elif is_truth and any(number(v) is not None and truth(v) is None for v in cells["value"]):
        fix += f" If {columns['value']!r} is a score, say {folder.path}#sts."
    refuse(str(folder.path), lines, fix)
    if not is_truth:
        log.info("%s: scores of %d pairs, from %g to %g", folder.path, len(values), min(values), max(values))
    return Pairs(cells["first"], cells["second"], values)


@dataclass(frozen=True)
class Searched:
    """Queries by id, documents (title and text) by id, how relevant documents are by query and document id, and of
    reranking the documents to rank for each query."""

    queries: dict[str, str]
    corpus: dict[str, tuple[str, str]]
    relevant: dict[str, dict[str, int]]
    candidates: dict[str, list[str]] | None = None

    @property
    def test_texts(self) -> list[str]:
        """The queries: a corpus is there to be searched."""
        return list(self.queries.values())


def read_searched(folder: EvalFolder) -> Searched:
    """Corpus, queries and judgements in the layout of BEIR.

    As in mteb, queries without a judgement are left out, and those whose documents are all judged 0 count with score 0;
    both are logged.

    Raises:
        DataError: texts or ids are empty, ids come twice, judgements name ids that are unknown or are no whole numbers
            or contradict each other, or no document is relevant; all problems at once.
    """
    stems = [stem for stem in folder.files if stem in ("corpus", "queries", "qrels")]
    code = folder.reading.encoding
    found = together({s: partial(read_columns, folder.files[s], folder.columns[s], code) for s in stems})
    corpus, lines = _texts_by_id(folder, "corpus", found["corpus"])
    queries, more = _texts_by_id(folder, "queries", found["queries"])
    relevant, judged = _judgements(folder, found["qrels"], corpus, queries)
    lines += more + judged
    if not lines and not any(score > 0 for scores in relevant.values() for score in scores.values()):
        lines.append(f"{folder.files['qrels'].name}: no document is relevant to any query (no score above 0)")
    refuse(str(folder.path), lines, "Correct or drop these rows; ids are compared as strings, as they stand.")
    _tell(folder, corpus, queries, relevant)
    scored = {query: text for query, (_, text) in queries.items() if query in relevant}
    return Searched(scored, corpus, relevant)


def read_candidates(folder: EvalFolder) -> Searched:
    """Queries, each with documents that are relevant and others that are not. As in mteb, queries that have only one
    sort are left out; that is logged.

    Raises:
        DataError: texts are empty or no texts, a document stands in both lists of a query, or no query has both sorts;
            all problems at once.
    """
    file, columns = folder.files["test"], folder.columns["test"]
    cells = read_columns(file, columns, folder.reading.encoding)
    found, kept = RowProblems(file.name), []
    for row, query in enumerate(cells["query"]):
        if why := wrong_text(query):
            found.add(f"{columns['query']!r} {why}", row)
        lists = {}
        for role in ("positive", "negative"):
            texts = texts_in(cells[role][row], file)
            if texts is None:
                found.add(f"{columns[role]!r} is no list of texts", row, cells[role][row])
            lists[role] = texts or []
            for why in filter(None, map(wrong_text, lists[role])):
                found.add(f"a text of {columns[role]!r} {why}", row)
        if all(lists.values()):
            if both := [text for text in lists["positive"] if text in lists["negative"]]:
                found.add(f"a text is both {columns['positive']} and {columns['negative']}", row, both[0])
            kept.append((query, lists["positive"], lists["negative"]))
    lines = found.lines()
    if not lines and not kept:
        lines.append(f"{file.name}: no query has both {columns['positive']} and {columns['negative']} texts")
    refuse(str(folder.path), lines, "Correct or drop these rows.")
    if left := len(cells["query"]) - len(kept):
        log.warning("%s: %d queries left out that lack relevant texts or others", folder.path, left)
    return _ranked(kept)


def _ranked(rows: list[tuple[str, list[str], list[str]]]) -> Searched:
    """With the ids that mteb gives such rows: they decide between documents of equal score."""
    candidates: dict[str, list[str]] = {}
    data = Searched({}, {}, {}, candidates)
    for i, (query, positive, negative) in enumerate(rows):
        name = f"test_query{i}"
        data.queries[name] = query
        relevant = {f"apositive_{name}_{k:05d}": text for k, text in enumerate(positive)}
        others = {f"negative_{name}_{k:05d}": text for k, text in enumerate(negative)}
        data.corpus.update({document: ("", text) for document, text in (relevant | others).items()})
        data.relevant[name] = dict.fromkeys(relevant, 1) | dict.fromkeys(others, 0)
        candidates[name] = [*relevant, *others]
    return data


def _texts_by_id(folder: EvalFolder, stem: str, cells: dict[str, list]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Title and text by id, and what is wrong. A document may have no text where it has a title."""
    file, columns = folder.files[stem], folder.columns[stem]
    found, texts, twice = RowProblems(file.name), {}, Counter()
    titles = cells.get("title") or [""] * len(cells["text"])
    for row, (name, title, text) in enumerate(zip(cells["id"], titles, cells["text"], strict=True)):
        title, text = ("" if part is None and "title" in columns else part for part in (title, text))
        whole = f"{title} {text}" if title and isinstance(title, str) and isinstance(text, str) else text
        if why := wrong_text(whole):
            found.add(f"{columns['text']!r} {why}", row)
        if not isinstance(title, str):
            found.add("'title' is no text", row, title)
        key = identity(name)
        if key is None:
            found.add(f"{columns['id']!r} holds no id", row, name)
        elif key in texts:
            twice[key] += 1
        else:
            texts[key] = (title, text)
    lines = found.lines()
    if twice:
        lines.append(f"{file.name}: ids come more than once: {some(twice)}")
    if not texts and not lines:
        lines.append(f"{file.name}: there are no rows")
    return texts, lines


def _judgements(
    folder: EvalFolder, cells: dict[str, list], corpus: dict, queries: dict
) -> tuple[dict[str, dict[str, int]], list[str]]:
    """How relevant documents are, by query and document id, and what is wrong."""
    file, columns = folder.files["qrels"], folder.columns["qrels"]
    found, relevant = RowProblems(file.name), {}
    unknown: dict[str, dict[str, None]] = {"query": {}, "document": {}}
    for row, (query, document, score) in enumerate(zip(cells["query"], cells["document"], cells["score"], strict=True)):
        query_id, document_id = identity(query), identity(document)
        for role, name, known in (("query", query_id, queries), ("document", document_id, corpus)):
            if name is None:
                found.add(f"{columns[role]!r} holds no id", row, cells[role][row])
            elif name not in known:
                unknown[role][name] = None
        value = number(score)
        if value is None or not value.is_integer():
            found.add(f"{columns['score']!r} is no whole number", row, score)
        elif query_id is not None and document_id is not None:
            before = relevant.setdefault(query_id, {}).setdefault(document_id, int(value))
            if before != value:
                found.add("a document is judged again, and otherwise", row)
    lines = found.lines()
    for role, stem in (("query", "queries"), ("document", "corpus")):
        if unknown[role]:
            where = f"{len(unknown[role])} {columns[role]}(s) are not in {folder.files[stem].name}"
            lines.append(f"{file.name}: {where}: {some(unknown[role])}")
    return relevant, lines


def _tell(folder: EvalFolder, corpus: dict, queries: dict, relevant: dict) -> None:
    if left := len(queries) - len(relevant):
        log.info("%s: %d of %d queries left out, qrels say nothing about them", folder.path, left, len(queries))
    if none := sum(all(score <= 0 for score in scores.values()) for scores in relevant.values()):
        log.warning("%s: %d queries have no relevant document, their score is 0", folder.path, none)
    if own := sum(corpus.get(query) == queries[query] for query in relevant):
        log.warning("%s: %d queries stand in the corpus by their own id and will find themselves", folder.path, own)
