"""Reads a task description: what the texts are for, what they are written from, and in which ways they should differ.

It is a YAML file that a person writes, so everything that is wrong with it is said at once.

A task of a kind *starts* from labels, topics, passages, documents, search terms or texts of the user's; each call then
starts from one *subject*: a seed of the label, a passage, a chunk, a term. From topics there are no subjects yet: a
first round of calls writes ideas, which are the subjects of the second (`plan.write_ideas`).

A language is named as in mteb, by ISO 639-3 and script: eng-Latn. Which one a text is in is py3langid's judgement (Lui
and Baldwin, langid.py, 2012), followed only where it is sure; of short texts only the script is looked at.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, ValidationError
from pydantic_core import ErrorDetails

from gisttools.common import DataError, MissingError, ParameterError, YamlProblem, did_you_mean, problems, read_yaml
from gisttools.data import ReadChunks, has_halves, language_code, language_identifier, normalise

PATTERN = r"^[a-z]{3}-[A-Z][a-z]{3}$"
REGISTERS = ("neutral", "polite", "annoyed", "casual")
PERSONAS = ("an ordinary person", "a person in a hurry", "a person who is new to this", "a person who knows this well")
LENGTHS = ("a few words", "one sentence", "two sentences")
DIFFICULTIES = ("plain", "less obvious")
FORMS = (
    "a question",
    "a few keywords",
    "a statement that somebody wants to check",
    "the title of a page that somebody looks for",
    "a message in a chat",
)
TRAIN, TEST = "train", "test"  # the groups of a task that starts from documents
WHOLE = "all"  # the one group of a task that starts from passages or texts
_LISTS = ("registers", "personas", "lengths", "difficulties", "forms", "passages", "search_terms", "texts")
_NOT_IN_FILES = ("documents", "held_back", "as_written")
_LEAST_CHARACTERS = 20  # below it a language is anyone's guess
_SURE = 0.95  # probability from which another language is believed; of 756 English messages, none
_LEAST_LETTERS = 0.5  # share of a text's letters that must be of the script: names and brands may be foreign
# Languages so alike that they are often confused in a single sentence.
_ALIKE = ({"no", "nb", "nn", "da", "sv"}, {"id", "ms", "jv"}, {"hr", "sr", "bs", "sl"}, {"gl", "pt", "es", "ca", "an"},
          {"cs", "sk"}, {"be", "ru", "uk"}, {"bg", "mk"}, {"nl", "af", "fy"}, {"ur", "hi", "fa"},
          {"tr", "az"}, {"ar", "arz", "ary"}, {"zh", "yue", "wuu"}, {"el", "grc"}, {"he", "hbo"}, {"zu", "xh"},
          {"uz", "uzs"})  # fmt: skip
_SCRIPTS = {  # first word of the Unicode names of a script's letters
    "Latn": {"LATIN"}, "Cyrl": {"CYRILLIC"}, "Grek": {"GREEK"}, "Arab": {"ARABIC"}, "Hebr": {"HEBREW"},
    "Deva": {"DEVANAGARI"}, "Beng": {"BENGALI"}, "Taml": {"TAMIL"}, "Telu": {"TELUGU"}, "Thai": {"THAI"},
    "Hang": {"HANGUL"}, "Kore": {"HANGUL", "CJK"}, "Hans": {"CJK"}, "Hant": {"CJK"},
    "Jpan": {"HIRAGANA", "KATAKANA", "CJK"}, "Geor": {"GEORGIAN"}, "Armn": {"ARMENIAN"}, "Ethi": {"ETHIOPIC"},
    "Guru": {"GURMUKHI"}, "Gujr": {"GUJARATI"}, "Knda": {"KANNADA"}, "Mlym": {"MALAYALAM"}, "Sinh": {"SINHALA"},
    "Khmr": {"KHMER"}, "Laoo": {"LAO"}, "Mymr": {"MYANMAR"}, "Orya": {"ORIYA"}, "Tibt": {"TIBETAN"},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of training data.

    Attributes:
        task_type: mteb's name of it.
        prompts: by what a task may start from, the prompt file that is used.
        small_prompts: the same, for a small LLM that more is asked of than it can do.
        hard_prompts: the same, where the task asks for `negatives: written` and another prompt writes them.
        documents: the prompt for chunks of documents, which no task file holds but which stand beside one.
        idea: of kinds that may start from topics, what an idea is, in the words of the prompt `ideas`.
        round_trip: the positive must be among the texts that the guide finds nearest to the anchor.
        voice: texts are what people say, so that a phrase of an assistant or of the prompt's rewriting gives it away.
    """

    task_type: str
    prompts: dict[str, str]
    small_prompts: dict[str, str] = field(default_factory=dict)
    hard_prompts: dict[str, str] = field(default_factory=dict)
    documents: str | None = None
    idea: str | None = None
    round_trip: bool = False
    voice: bool = False


KINDS = {
    "classification": Kind(
        task_type="Classification",
        prompts={"labels": "classification_several"},
        small_prompts={"labels": "classification"},
        voice=True,
    ),
    "clustering": Kind(task_type="Clustering", prompts={"labels": "clustering"}),
    "retrieval": Kind(
        task_type="Retrieval",
        prompts={
            "passages": "retrieval_from_passages",
            "topics": "retrieval_from_topics",
            "search_terms": "retrieval_from_terms",
        },
        hard_prompts={"passages": "retrieval_from_passages_hard"},
        documents="retrieval_from_documents",
        idea="a thing that somebody wants to find out or to find a text about",
        round_trip=True,
    ),
    "reranking": Kind(
        task_type="Reranking",
        prompts={"topics": "reranking", "search_terms": "reranking"},
        idea="a question that somebody types into a search box",
        round_trip=True,
    ),
    "sts": Kind(
        task_type="STS",
        prompts={"texts": "sts", "topics": "sts"},
        idea="a whole sentence that states some facts",
    ),
    "bitext": Kind(
        task_type="BitextMining",
        prompts={"texts": "bitext", "topics": "bitext"},
        idea="a whole sentence that states some facts",
    ),
}
STARTS = ("labels", "topics", "passages", "search_terms", "texts")
DOCUMENTS = "documents"  # one more, which no file names


class Label(BaseModel):
    """One class or theme: a line on what belongs to it, classes it is easily confused with, and a few real texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: StrictStr
    confusable: tuple[StrictStr, ...] = ()
    seeds: tuple[StrictStr, ...] = ()


def _lines(value: object) -> object:
    """A plain list of topics is one whose lines are their names."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return {name: name for name in value}
    return value


class Task(BaseModel):
    """A task description.

    `registers`, `personas`, `lengths` and `difficulties` are phrases that the prompt inserts as they stand. `forbidden`
    lists regular expressions (case does not matter) that show that a text is not what was asked for, such as words that
    only the other side of a conversation uses. A task starts from exactly one of `STARTS`, one that its kind
    knows. `documents`, which no file holds, are chunks by id to train on, `held_back` those to test on;
    `as_written`: what is written on a chunk is in the language that the chunk is in, where that is told surely.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: StrictStr
    kind: Literal["classification", "clustering", "retrieval", "reranking", "sts", "bitext"]
    description: StrictStr
    domain: StrictStr
    language: StrictStr = Field(pattern=PATTERN)
    target_language: StrictStr | None = Field(None, pattern=PATTERN)  # of bitext
    labels: dict[StrictStr, Label] = {}
    topics: Annotated[dict[StrictStr, StrictStr], BeforeValidator(_lines)] = {}
    passages: tuple[StrictStr, ...] = ()
    documents: dict[StrictStr, StrictStr] = {}
    held_back: dict[StrictStr, StrictStr] = {}
    as_written: bool = False
    search_terms: tuple[StrictStr, ...] = ()
    texts: tuple[StrictStr, ...] = ()
    negatives: Literal["written", "mined"] | None = None  # None: as the prompt of the kind has it
    registers: tuple[StrictStr, ...] = REGISTERS
    personas: tuple[StrictStr, ...] = PERSONAS
    lengths: tuple[StrictStr, ...] = LENGTHS
    difficulties: tuple[StrictStr, ...] = DIFFICULTIES
    forms: tuple[StrictStr, ...] = FORMS
    forbidden: tuple[StrictStr, ...] = ()

    @property
    def spec(self) -> Kind:
        """What there is to know of its kind."""
        return KINDS[self.kind]

    @property
    def start(self) -> str:
        """What it starts from: one of `STARTS`, or documents."""
        return next(name for name in (*STARTS, DOCUMENTS) if getattr(self, name))

    def prompt_for(self, *, small: bool) -> str:
        """Name of the prompt file that it uses unless another one is told; `small`: by `LLMOptions.small`."""
        if self.documents and self.spec.documents:
            return self.spec.documents
        hard = self.spec.hard_prompts if self.negatives == "written" else {}
        easy = self.spec.small_prompts if small else {}
        return hard.get(self.start) or easy.get(self.start) or self.spec.prompts[self.start]

    @property
    def groups(self) -> dict[str, str]:
        """What rows are shared out equally between, with a line each: labels, topics, search terms, or one for all."""
        if self.labels:
            return {name: label.about for name, label in self.labels.items()}
        if self.documents:
            parts = {TRAIN: self.documents, TEST: self.held_back}
            return {name: self.description for name, part in parts.items() if part}
        return dict(self.topics) or {term: term for term in self.search_terms} or {WHOLE: self.description}

    @property
    def seeds(self) -> list[str]:
        """Every text that the user gave: seeds of labels, passages, chunks, texts."""
        seeds = [text for label in self.labels.values() for text in label.seeds]
        return [*seeds, *self.passages, *self.documents.values(), *self.held_back.values(), *self.texts]

    @property
    def given(self) -> list[str]:
        """Every text of the user's that prompts may show the LLM: `seeds`, and search terms. Descriptions, topics and
        lines on labels are written for it, and are none."""
        return [*self.seeds, *self.search_terms]

    def table(self) -> pd.DataFrame:
        """One row a label (label, about, confusable, seeds), topic or search term; else the first texts."""
        if self.labels:
            rows = [(n, x.about, ", ".join(x.confusable), len(x.seeds)) for n, x in self.labels.items()]
            return pd.DataFrame(rows, columns=["label", "about", "confusable", "seeds"])
        if self.topics:
            return pd.DataFrame(list(self.topics.items()), columns=["topic", "about"])
        if self.documents:
            return pd.DataFrame(list(self.documents.items())[:20], columns=["chunk", "text"])
        return pd.DataFrame({self.start: list(getattr(self, self.start))}).head(20)


def read_task(
    path: str | Path, documents: Mapping[str, str] | None = None, held_back: Mapping[str, str] | None = None
) -> Task:
    """Read a task description from a YAML file. `passages`, `texts` and `search_terms` may name a file next to it: one
    text a line (.txt), or a file of rows with a column text.

    Args:
        path: the file.
        documents, held_back: chunks by id, where the task starts from documents; the file then tells the rest.

    Raises:
        MissingError: there is no such file, or one that it names.
        DataError: it is no YAML, or not a task description; all problems at once.
    """

    path = Path(path)
    if not path.is_file():
        raise MissingError(f"No task description at {path}. prompts/tasks/ holds examples to copy.")
    try:
        content = read_yaml(path)
    except YamlProblem as error:
        raise DataError(f"{path} is not readable as YAML: {error}. Quote texts that hold a colon or a #.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold keys and values, but holds a {type(content).__name__}.")
    found = list(bare_words(content))
    if found:  # what is not even text cannot be checked further
        raise DataError(problems(f"{path}: {len(found)} value(s) that YAML did not read as text", found))
    content |= {key: read_texts(path.parent / content[key]) for key in files_in(content)}
    if told := [key for key in _NOT_IN_FILES if key in content]:
        wrong = [f"{key}: no file holds it. Name the documents beside the task: -p documents RUN" for key in told]
        raise DataError(problems(f"{path}: {len(told)} problem(s)", wrong, "Fix the file, then retry."))
    if documents is not None:
        content |= {"documents": dict(documents), "held_back": dict(held_back or {})}
    try:
        task = Task.model_validate(content)
    except ValidationError as error:
        found = [in_words(e) for e in error.errors()]
        raise DataError(problems(f"{path}: {len(found)} problem(s)", found, "Fix the file, then retry.")) from None
    found = list(contradictions(task))
    if found:
        raise DataError(problems(f"{path}: {len(found)} problem(s)", found, "Fix the file, then retry."))
    return task


def document_task(
    read: ReadChunks,
    *,
    file: str | Path | None = None,
    domain: str | None = None,
    language: str | None = None,
) -> Task:
    """The task to write questions on the chunks of documents.

    Args:
        read: the chunks; nothing is trained on those that are held back.
        file: a task description of kind retrieval without passages, which tells the rest; else it is made here.
        domain: where the chunks come from, in a few words; the folder's name if None.
        language: of the questions; that of each chunk if None.

    Raises:
        As `read_task`; DataError: there are no chunks to train on; ParameterError: there is no such language.
    """
    parts = [
        {c.id: c.passage for c, t in zip(read.chunks, read.test.tolist(), strict=True) if t is side}
        for side in (False, True)
    ]
    if language is not None and not re.fullmatch(PATTERN, language):
        raise ParameterError(f"language is {language!r}, no language and script such as eng-Latn or deu-Latn.")
    if not parts[0]:
        raise DataError(f"{read.name}: there are no chunks to train on. Read the documents with a smaller test_share.")
    if file is not None:
        return read_task(file, *parts)
    told = language or language_code([chunk.text for chunk in read.chunks])
    return Task(
        name=read.name,
        kind="retrieval",
        description=f"What people look for in {domain or read.name}.",
        domain=domain or f"documents called {read.name!r}",
        language=told or "eng-Latn",
        as_written=language is None,
        lengths=("short", "with the details that matter"),
        documents=parts[0],
        held_back=parts[1],
    )


def files_in(content: dict) -> list[str]:
    """The keys of a task file that name a file instead of holding texts."""
    return [key for key in ("passages", "search_terms", "texts") if isinstance(content.get(key), str)]


def read_texts(path: Path) -> list[str]:
    """The texts of a file, each once: its lines (.txt), or the column text, passage or document of its rows.

    Raises:
        MissingError: there is no such file.
        DataError: it is of another kind, or has no such column.
    """
    from gisttools.data import RowFile, file_kind, find_column, is_lines, is_saved, plain_name, read_lines

    folder = os.path.isdir(path) and (is_saved(path) or (path / "dataset_dict.json").is_file())
    if not folder and not os.path.isfile(
        path
    ):  # Path.is_file refuses names as long as a text that should stand in a list
        raise MissingError(f"There is no file {str(path)[:300]}, which the task description names. Correct its path.")
    if is_lines(path):
        return list(dict.fromkeys(text for line in read_lines(path) if (text := line.strip())))
    if file_kind(path) is None and not folder:
        raise DataError(f"{path}: texts are read from .txt, .csv, .tsv, .jsonl, .json or .parquet. Convert it.")
    with RowFile(path) as file:
        column = find_column(file.columns, ("text", "passage", "document"))
        if column is None:
            names = ", ".join(file.columns)
            raise DataError(f"{path} has no column text, passage or document, but {names}. Rename one.")
        cells = [cell for part in file.parts([column]) for cell in part[column]]
    wrong = [i for i, cell in enumerate(cells) if isinstance(cell, list | dict | bytes)]
    if wrong:
        rows, seen = ", ".join(map(str, wrong[:5])), repr(cells[wrong[0]])[:60]
        raise DataError(f"{path}: {column!r} holds no text but {seen} in row(s) {rows}, counted from 0. Correct them.")
    texts = [plain_name(cell) for cell in cells]
    return list(dict.fromkeys(text for text in texts if text))


def bare_words(node: object, where: str = "") -> Iterator[str]:
    """YAML 1.1 reads no, yes, on, off as booleans, 12 as a number and 2024-01-01 as a date."""
    hint = "Put it in quotes."
    if isinstance(node, dict):
        for key, value in node.items():
            if not isinstance(key, str):
                yield f"{where or 'top level'}: the key {key!r} is a {type(key).__name__}, not a text. {hint}"
            yield from bare_words(value, f"{where}.{key}" if where else str(key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from bare_words(value, f"{where}[{i}]")
    elif node is not None and not isinstance(node, str):
        yield f"{where}: {node!r} is a {type(node).__name__}, not a text. {hint}"


def in_words(error: ErrorDetails) -> str:
    """One of pydantic's errors as a line for the file's writer."""
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        known = Label.model_fields if len(error["loc"]) == 3 else Task.model_fields
        return f"{where}: unknown key.{did_you_mean(str(error['loc'][-1]), known)} Known: {', '.join(known)}"
    if error["type"] == "missing":
        return f"{where}: is missing"
    if error["type"] == "string_pattern_mismatch":
        return f"{where}: {error['input']!r} is no language and script such as eng-Latn or deu-Latn"
    return f"{where}: {error['msg']} (found {error['input']!r:.80})"


def contradictions(task: Task) -> Iterator[str]:
    """What fits its type, but not the rest."""
    yield from _halves(task.model_dump())
    yield from _starts(task)
    yield from _languages(task)
    hard = [f"{kind} from {start}" for kind, spec in KINDS.items() for start in spec.hard_prompts]
    if task.negatives is not None and not any(getattr(task, start) for start in task.spec.hard_prompts):
        yield f"negatives: only {', '.join(hard)} has the choice; leave it out"
    for key in ("name", "description", "domain"):
        if not getattr(task, key).strip():
            yield f"{key}: is empty"
    for key in _LISTS:
        if key in task.model_fields_set and not getattr(task, key):
            yield f"{key}: is an empty list; leave it out" + (" to get the default" if key not in STARTS else "")
        yield from (f"{key}[{i}]: is empty" for i, t in enumerate(getattr(task, key)) if not t.strip())
    for i, pattern in enumerate(task.forbidden):
        yield from _pattern(f"forbidden[{i}]", pattern)
    yield from (f"topics.{name}: is empty" for name, line in task.topics.items() if not (name.strip() and line.strip()))
    yield from _labels(task)


def _halves(node: object, where: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _halves(str(key), f"a key of {where or 'the file'}")
            yield from _halves(value, f"{where}.{key}" if where else str(key))
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from _halves(value, f"{where}[{i}]")
    elif isinstance(node, str) and has_halves(node):
        yield f"{where}: {node!r:.60} holds half a surrogate pair, which is no character; write the text anew"


def _starts(task: Task) -> Iterator[str]:
    given, known = [key for key in (*STARTS, DOCUMENTS) if getattr(task, key)], list(task.spec.prompts)
    if given == [DOCUMENTS] and task.spec.documents:
        return
    wanted = f"a task of kind {task.kind} starts from one of: {', '.join(known)}"
    if len(given) != 1:
        yield f"{wanted}; given: {', '.join(given) or 'none'}"
    elif given[0] not in known:
        yield f"{given[0]}: {wanted}"


def _languages(task: Task) -> Iterator[str]:
    if (task.kind == "bitext") != (task.target_language is not None):
        yield f"target_language: bitext needs it and no other kind has it; this is {task.kind}"
    elif task.target_language == task.language:
        yield f"target_language: is {task.language} as well"


def _pattern(where: str, pattern: str) -> Iterator[str]:
    try:
        if re.compile(pattern).search(""):
            yield f"{where}: {pattern!r} matches every text"
    except re.error as error:
        yield f"{where}: {pattern!r} is no regular expression: {error}"


def _labels(task: Task) -> Iterator[str]:
    if task.labels and len(task.labels) < 2:
        yield f"labels: {len(task.labels)} given, at least 2 are needed"
    owner: dict[str, str] = {}
    alike: dict[str, str] = {}
    for name, label in task.labels.items():
        if not name.strip():
            yield "labels: a label has an empty name"
        elif name != name.strip():
            yield f"labels: {name!r} has white space at its ends"
        elif (first := alike.setdefault(unicodedata.normalize("NFKC", name), name)) != name:
            yield f"labels: {first!r} stands twice, as {first!a} and as {name!a}: write it alike"
        if not label.about.strip():
            yield f"labels.{name}.about: is empty"
        yield from _confusable(task, name, label)
        for i, text in enumerate(label.seeds):
            if not text.strip():
                yield f"labels.{name}.seeds[{i}]: is empty"
            elif (first := owner.setdefault(normalise(text), name)) != name:
                yield f"labels.{name}.seeds[{i}]: {text!r:.60} is also a seed of {first}"


def _confusable(task: Task, name: str, label: Label) -> Iterator[str]:
    for other in label.confusable:
        if other == name:
            yield f"labels.{name}.confusable: names itself"
        elif other not in task.labels:
            yield f"labels.{name}.confusable: there is no label {other!r}.{did_you_mean(other, task.labels)}"


def name_of(language: str) -> str:
    """The English name of a language, as a prompt says it: German of deu-Latn; the code itself where it has none."""
    from babel import Locale

    return Locale("en").languages.get(_short(language)) or language


def is_foreign(text: str, language: str) -> bool:
    """Whether a text is clearly not in this language: most letters are of another script, or the identifier is sure
    of another language. What it does not know is never foreign."""
    wanted = _SCRIPTS.get(language.partition("-")[2])
    letters = [c for c in text if c.isalpha()]
    if wanted and letters:
        own = sum(unicodedata.name(c, "").split(" ")[0].split("-")[0] in wanted for c in letters)
        if own < _LEAST_LETTERS * len(letters):
            return True
    code, (identifier, known) = _short(language), language_identifier()
    code = "no" if code == "nb" else code  # as the identifier calls it
    if len(text) < _LEAST_CHARACTERS or code not in known:
        return False
    found, probability = identifier.classify(text)
    alike = found == code or any({found, code} <= group for group in _ALIKE)
    return not alike and probability >= _SURE


def _short(language: str) -> str:
    """The two-letter code of a language, where it has one."""
    from babel.core import get_global

    code = language.partition("-")[0]
    return {"tgl": "tl", "fil": "tl"}.get(code) or get_global("language_aliases").get(code) or code
