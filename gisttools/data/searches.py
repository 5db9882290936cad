"""Reads searches to train on: queries, a corpus, and which of its documents answer which query, in the layouts in use.

- BEIR's: a folder with corpus, queries and `qrels/<split>` (see `folder_rows.read_searched`);
- LlamaIndex's: a JSON file with `queries`, `corpus` and `relevant_docs`, as its fine-tuning data sets are saved;
- MS MARCO's: a folder with `collection.tsv`, `queries.<split>.tsv` and `qrels.<split>.tsv`, without headers.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset

from gisttools.common import DataError, MissingError, first_line, problems, sha256
from gisttools.data.files import FILE_ENDINGS, file_kind, read_lines
from gisttools.data.folder_rows import Searched, read_searched
from gisttools.data.folders import eval_folder, has_split, some
from gisttools.data.labelled import wrong_text
from gisttools.data.options import FileOptions
from gisttools.data.triplets import make_triplets

Layout = Literal["beir", "llamaindex", "msmarco"]
_KEYS = ("queries", "corpus", "relevant_docs")
_WHOLE = re.compile(r"-?[0-9]+")
_OPENS = re.compile(rf'\s*\{{\s*"(?:{"|".join(_KEYS)})"\s*:\s*\{{')
_HEAD = 4096
_PACKINGS = ("", ".gz", ".zst")
_COLLECTION = "collection"


def search_layout(place: str | Path) -> Layout | None:
    """In which layout a folder or a file holds a search; None where it holds none. Only names and the first bytes are
    looked at."""
    path = Path(place).expanduser()
    if path.is_file():
        if file_kind(path) != ".json" or path.suffix.lower() != ".json":
            return None
        with path.open("rb") as file:
            return "llamaindex" if _OPENS.match(file.read(_HEAD).decode("utf-8-sig", "replace")) else None
    if not path.is_dir():
        return None
    if _tsv(path, _COLLECTION):
        return "msmarco"
    names = {stem for stem in ("corpus", "queries") for ending in FILE_ENDINGS if (path / f"{stem}{ending}").is_file()}
    return "beir" if len(names) == 2 else None


def read_search(place: str | Path, split: str = "train", encoding: str | None = None) -> Searched:
    """The queries of a split, the corpus, and which documents answer which query.

    Args:
        place: a folder or a file in one of the three layouts.
        split: of the queries; a file of LlamaIndex's holds one.
        encoding: of text that is not UTF-8.

    Raises:
        MissingError: there is no such file or folder, or no judgements of that split.
        DataError: it is in no layout that is known, texts or ids are empty, ids come twice, judgements name what is not
            there, or nothing is relevant; all problems at once.
    """
    path = Path(place).expanduser()
    if not path.exists():
        raise MissingError(f"There is no file and no folder {path}.")
    layout = search_layout(path)
    if layout == "beir":
        if not (has_split(path / "qrels", split) or (split == "test" and has_split(path, "qrels"))):
            raise MissingError(
                f"{path} lacks qrels/{split}.tsv, which say what answers which query. Add it, or name another split; "
                "what is trained on is no test any more."
            )
        return read_searched(eval_folder(f"{path}#retrieval", split, FileOptions(encoding=encoding), tell=False))
    if layout == "llamaindex":
        return _llamaindex(path, encoding)
    if layout == "msmarco":
        return _msmarco(path, split, encoding)
    raise DataError(
        f"{path} holds no search: neither corpus, queries and qrels/{split}, nor a JSON object of {', '.join(_KEYS)}, "
        f"nor {_COLLECTION}.tsv, queries.{split}.tsv and qrels.{split}.tsv."
    )


def passage_of(title: str, text: str) -> str:
    """Title and text of a document in one, as mteb puts them together."""
    return f"{title} {text}".strip()


def search_pairs(found: Searched, name: str, revision: str | None = None) -> Dataset:
    """A triplet table of each query with each document that is relevant to it, without negatives."""
    rows = [
        {
            "anchor": text.strip(),
            "positive": passage_of(*found.corpus[document]),
            "task_name": name,
            "task_type": "Retrieval",
            "source": "hub",
            "source_revision": revision,
        }
        for query, text in found.queries.items()
        for document, score in found.relevant[query].items()
        if score > 0
    ]
    return make_triplets({(row["anchor"], row["positive"]): row for row in rows}.values())


def search_revision(place: str | Path) -> str:
    """12 hex digits behind "sha256:", of a file, or of a folder's files and their names."""
    path = Path(place).expanduser()
    if path.is_file():
        return f"sha256:{sha256(path)[:12]}"
    import hashlib

    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")):
        digest.update(f"{file.relative_to(path).as_posix()} {sha256(file)}\n".encode("utf-8", "replace"))
    return f"sha256:{digest.hexdigest()[:12]}"


def _tsv(folder: Path, stem: str) -> Path | None:
    return next((f for packing in _PACKINGS if (f := folder / f"{stem}.tsv{packing}").is_file()), None)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = [key for key, n in Counter(key for key, _ in pairs).items() if n > 1]
        raise DataError(f"keys come more than once: {some(twice)}")
    return found


def _llamaindex(path: Path, encoding: str | None) -> Searched:
    try:
        told = json.loads(path.read_text(encoding=encoding or "utf-8-sig"), object_pairs_hook=_once)
    except DataError as error:
        raise DataError(f"{path}: {error}. Ids are unique: rename one of each.") from None
    except (ValueError, OSError, RecursionError, LookupError) as error:
        raise DataError(f"{path} cannot be read as JSON: {first_line(error)} Is the file whole?") from error
    wrong = [f"{key!r} is no object" for key in _KEYS if not isinstance(told.get(key), dict)]
    if wrong:
        raise DataError(problems(f"{path}: {len(wrong)} problem(s)", wrong, "Save the data set anew."))
    queries, corpus, relevant = (told[key] for key in _KEYS)
    if bad := [query for query, documents in relevant.items() if not isinstance(documents, list)]:
        raise DataError(f"{path}: 'relevant_docs' holds no lists for {some(bad)}. Save the data set anew.")
    judged = {str(query): {str(document): 1 for document in documents} for query, documents in relevant.items()}
    return _checked(path, dict(queries), {key: ("", text) for key, text in corpus.items()}, judged, [])


def _msmarco(path: Path, split: str, encoding: str | None) -> Searched:
    files = {
        "collection": _tsv(path, _COLLECTION),
        "queries": _tsv(path, f"queries.{split}") or _tsv(path, "queries"),
        "qrels": _tsv(path, f"qrels.{split}"),
    }
    if missing := [stem for stem, file in files.items() if file is None]:
        names = {"collection": "collection.tsv", "queries": f"queries.{split}.tsv", "qrels": f"qrels.{split}.tsv"}
        raise MissingError(
            f"{path} lacks {', '.join(names[stem] for stem in missing)}. Add them, or name another split."
        )
    wrong: list[str] = []
    rows = {stem: _fields(file, encoding, 4 if stem == "qrels" else 2, wrong) for stem, file in files.items() if file}
    texts = {stem: _by_id(files[stem], rows[stem], wrong) for stem in ("collection", "queries")}
    relevant: dict[str, dict[str, int]] = {}
    for number, (query, _, document, score) in enumerate(rows["qrels"], 1):
        if not _WHOLE.fullmatch(score.strip()):
            wrong.append(f"{files['qrels']}: line {number}: {score!r} is no whole number")
            continue
        relevant.setdefault(query, {})[document] = int(score)
    corpus = {key: ("", text) for key, text in texts["collection"].items()}
    return _checked(path, texts["queries"], corpus, relevant, wrong)


def _fields(file: Path, encoding: str | None, count: int, wrong: list[str]) -> list[list[str]]:
    """The fields of each line, of as many as there should be."""
    found, bad = [], []
    for number, line in enumerate(read_lines(file, encoding), 1):
        fields = line.split("\t") if count == 2 or "\t" in line else line.split()
        if len(fields) == count:
            found.append(fields)
        elif line.strip():
            bad.append(number)
    if bad:
        wrong.append(f"{file.name}: lines that have not {count} fields: {some(bad)}")
    return found


def _by_id(file: Path | None, rows: list[list[str]], wrong: list[str]) -> dict[str, str]:
    twice = [key for key, n in Counter(key for key, _ in rows).items() if n > 1]
    if twice:
        wrong.append(f"{file.name if file else ''}: ids come more than once: {some(twice)}")
    return dict(rows)  # type: ignore[arg-type]


def _checked(
    path: Path,
    queries: Mapping[str, Any],
    corpus: Mapping[str, tuple[str, Any]],
    relevant: Mapping[str, Mapping[str, int]],
    wrong: list[str],
) -> Searched:
    """The search, of queries that are judged; or all that is wrong with it."""
    wrong += _wrong_texts("queries", queries)
    wrong += _wrong_texts("documents", {key: text for key, (_, text) in corpus.items()})
    unknown = [query for query in relevant if query not in queries]
    lost = list(dict.fromkeys(d for own in relevant.values() for d in own if d not in corpus))
    wrong += [f"judgements name queries that are not there: {some(unknown)}"] if unknown else []
    wrong += [f"judgements name documents that are not there: {some(lost)}"] if lost else []
    if not wrong and not any(score > 0 for own in relevant.values() for score in own.values()):
        wrong.append("no document is relevant to any query")
    if wrong:
        raise DataError(problems(f"{path}: {len(wrong)} problem(s)", wrong, "Correct or drop these."))
    judged = {query: str(text) for query, text in queries.items() if query in relevant}
    return Searched(
        judged, {k: (title, str(text)) for k, (title, text) in corpus.items()}, {q: dict(relevant[q]) for q in judged}
    )


def _wrong_texts(what: str, texts: Mapping[str, Any]) -> list[str]:
    """A line for each reason why some are none, with their ids."""
    by_reason: dict[str, list[str]] = {}
    for key, text in texts.items():
        if why := wrong_text(text):
            by_reason.setdefault(why, []).append(key)
    return [f"{what}: a text {why}: {some(keys)}" for why, keys in by_reason.items()]
