"""Opens what a synthesis starts from: the chunks of a run on documents and the test that comes of them, texts written
elsewhere, and the task that describes either."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gisttools.common import MissingError, plural
from gisttools.workflow.folders import artefact, as_run, open_run, paths
from gisttools.workflow.params import ReadParams, SynthesizeParams
from gisttools.workflow.places import resolve

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from gisttools.data import ReadChunks
    from gisttools.synthesis import Task, WrittenTexts

log = logging.getLogger(__name__)
_SMALLEST = 8  # tokens of a chunk


def tests_of(names: Sequence[str]) -> list[str]:
    """As `paths`, of what is scored: a synthesize run on documents stands for the test that it left.

    Raises:
        MissingError: a run left none.
        DataError: the files of one changed since.
    """
    found = []
    for name in names:
        folder = as_run(name)
        if folder is None:
            found += paths([name])
            continue
        run = open_run(folder)
        tests = dict.fromkeys(file.partition("/")[0] for file in run.artefacts if file.endswith("/queries.jsonl"))
        if not tests:
            raise MissingError(
                f"{run.id} left no test. A synthesize run on documents leaves one, where chunks were held back "
                "(test_share) and questions on them were accepted."
            )
        found += [str(run.artefact(test)) for test in tests]
    return found


def read_documents_of(params: ReadParams, student: SentenceTransformer) -> ReadChunks:
    """The documents, cut as the student counts tokens. Raises as `read_chunks`."""
    from gisttools.data import ChunkOptions, count_words, read_chunks
    from gisttools.models import token_counter

    counter = token_counter(student)
    size = params.chunk_size or ChunkOptions.defaults()["chunk_size"]
    if counter is not None and counter.most is not None:
        if params.chunk_size is not None and size > counter.most:
            log.warning(
                "chunk_size is %d, but %s reads no more than %d tokens of a text: it will not see the ends of chunks.",
                size, params.student, counter.most,
            )  # fmt: skip
        size = size if params.chunk_size is not None else min(size, max(counter.most, _SMALLEST))
    return read_chunks(
        resolve(params.data),
        params.part(ChunkOptions, chunk_size=size),
        counter or count_words,
        share=params.test_share,
        seed=params.seed,
        column=params.text_column,
        encoding=params.encoding,
        strict=params.strict,
    )


def chunks_of(params: SynthesizeParams) -> ReadChunks | None:
    """The chunks that questions are asked on; None where no documents are told. Raises as `load_chunks`."""
    from gisttools.data import CHUNKS_FILE, load_chunks

    return None if params.documents is None else load_chunks(artefact(params.documents, CHUNKS_FILE))


def check_task_to_come(params: SynthesizeParams) -> None:
    """What can be said of task and prompt before there are chunks: those of a step that is still to be run. Raises as
    `read_task`, `load_prompt`, `check_prompt`, `check_checks`."""
    from gisttools.synthesis import Checks, Task, check_checks, check_prompt, load_prompt, read_task

    chunks = {"a chunk": "that is still to come"}
    if params.described is not None:
        task = read_task(resolve(params.described), chunks)
    else:
        told = dict.fromkeys(("name", "description", "domain"), "documents")
        task = Task(**told, kind="retrieval", language="eng-Latn", documents=chunks)
    check_checks(task, params.part(Checks))
    check_prompt(load_prompt(prompt_of(params) or "retrieval_from_documents", prompts_of(params)))


def written_of(params: SynthesizeParams) -> WrittenTexts | None:
    """The texts that were written elsewhere; None where none are told. Raises as `read_task`, `read_written`."""
    from gisttools.synthesis import read_task, read_written

    if not params.texts:
        return None
    labelled = None if params.described is None else bool(read_task(resolve(params.described)).labels)
    files = [resolve(file) for file in params.texts]
    return read_written(files, params.texts_columns, labelled=labelled, encoding=params.encoding)


def task_of(params: SynthesizeParams, written: WrittenTexts | None = None) -> Task:
    """The task description, with the chunks of documents where these are told, and the seeds of texts that were
    written elsewhere. Raises as `read_task`, `load_chunks`, `document_task`, `WrittenTexts.task`."""
    from gisttools.synthesis import document_task, read_task

    read, file = chunks_of(params), params.described
    if written is not None:
        if file is None:
            return written.task(domain=params.domain, language=params.language)
        return written.with_seeds(read_task(resolve(file)))
    if read is None:
        return read_task(resolve(params.task))
    described = None if file is None else resolve(file)
    return document_task(read, file=described, domain=params.domain, language=params.language)


def synthetic_told(files: Sequence[str]) -> list[str]:
    """A note on each test that an LLM wrote."""
    from gisttools.data import document_of

    found = []
    for name in files:
        folder = as_run(name)
        if folder is None:
            continue
        told = open_run(folder).summary
        for test in map(Path, tests_of([name])):
            lines = (test / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
            own: dict[str, str] = {}  # the first answer to a question is the chunk that it was written on
            for query, chunk, *_ in (line.split("\t") for line in lines):
                own.setdefault(query, chunk)
            on = len({document_of(chunk) for chunk in own.values()})
            taken = "one chunk taken as the answer to each"
            if len(lines) > len(own):
                taken = f"{plural(len(lines), 'chunk')} taken as answers, those that the LLM found beside included"
            found.append(
                f"{test.name} is a synthetic test: {plural(len(own), 'question')} on {plural(on, 'document')} that "
                f"were held back, written by {told['llm_model']}, {taken}. People ask otherwise, and other chunks may "
                "answer too: it tells that a training did something, not how good a model is. On MLQuestions, where "
                "people's queries are known as well, it saw as much gain in trainings that brought those queries "
                "nothing as in one that brought 2.4 points: choose between trainings by people's questions. Questions "
                "on one document are not independent, so that the interval counts documents."
            )
    return found


def prompts_of(params: SynthesizeParams) -> Path | None:
    """The user's folder of prompts."""
    return resolve(params.prompts) if params.prompts else None


def prompt_of(params: SynthesizeParams) -> str | Path | None:
    """The prompt that is told: a path, or a name as it is."""
    named = params.prompt is not None and not params.prompt.endswith((".yaml", ".yml"))
    return params.prompt if params.prompt is None or named else resolve(params.prompt)
