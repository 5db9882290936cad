"""Asks a guide behind an OpenAI-compatible `/embeddings` endpoint: batched, a few requests at a time, retried."""

from __future__ import annotations

import asyncio
import copy
import json
import os
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import openai

from gisttools.common import (
    DataError,
    EndpointError,
    Health,
    ParameterError,
    error_words,
    in_background,
    is_local,
    open_client,
    safe_url,
    same_address,
    with_retries,
)
from gisttools.data import Leaving
from gisttools.models.options import ENDPOINT, OPENAI_URL, GuideOptions, guide_hosts
from gisttools.models.prompts import Prompts

_TEXTS, _CHARACTERS = 256, 200_000  # of one request; OpenAI takes at most 300,000 tokens
_AT_ONCE = 4
_TIMEOUT = 120.0  # seconds for one attempt

Put = Callable[[tuple[np.ndarray, np.ndarray]], None]  # takes numbers of texts and their vectors


class EndpointGuide:
    """Embeddings by an endpoint. Texts are sent with a prompt in front; nothing is sent twice that was answered once,
    for the caller keeps every batch as it arrives.

    Args:
        options: `name` is `endpoint:` and the name that the endpoint knows. `base_url` is its address with the version
            part, as `http://127.0.0.1:8080/v1`; None is OpenAI's. It is part of the identity: another server may
            serve other weights under the same name. An endpoint on this machine needs no key.

    Raises:
        ParameterError: the model's name is empty, or the address is none.
    """

    dimension: int | None = None  # known with the first answer
    portion = 8 * _TEXTS

    def __init__(self, options: GuideOptions) -> None:
        model, base_url = options.name.removeprefix(ENDPOINT), options.base_url
        self._base_url = base_url or OPENAI_URL
        if urlsplit(self._base_url).scheme not in ("http", "https") or not urlsplit(self._base_url).hostname:
            raise ParameterError(f"base_url is {base_url!r}, not an address such as http://127.0.0.1:8080/v1.")
        if not model:
            raise ParameterError(f"No model is named after {ENDPOINT!r}. Write {ENDPOINT}text-embedding-3-small, say.")
        self.name, self._model, self._key_variable = options.name, model, options.key_variable
        self.prompts = Prompts().with_user(options.query_said, options.document_said)
        self._prompt = self.prompts.alike
        self.url = safe_url(self._base_url)
        self._elsewhere = guide_hosts(options.name, base_url)
        self._told: list[str] = []  # shared by all prompts

    @property
    def prompt(self) -> str:
        """What stands before every text."""
        return self._prompt

    @property
    def identity(self) -> str:
        """Everything that decides a vector, as far as it is known."""
        return f"endpoint|{same_address(self._base_url)}|{self._model}|{self._prompt or None}"

    def with_prompt(self, prompt: str) -> EndpointGuide:
        """The same model with another prompt."""
        other = copy.copy(self)
        other._prompt = prompt
        return other

    def stream(self, texts: Sequence[str]) -> Generator[tuple[np.ndarray, np.ndarray]]:
        """Numbers of texts and their vectors, float32 (n, dimension), batch by batch as they arrive. Before the first
        leave this machine, that is told once, with what is in them.

        Raises:
            EndpointError: no key, a refusal, or nonsense; after the batches that were answered.
        """
        if not texts:
            return
        if not is_local(self._base_url) and not os.environ.get(self._key_variable):
            raise EndpointError(
                f"{self.url} needs a key: the environment variable {self._key_variable} is empty. Put the key there, "
                "or name the variable that holds it."
            )

        if self._elsewhere and not self._told:
            self._told.append(self.url)
            Leaving.of(self._elsewhere, texts, "More may follow.").tell()

        def work(put: Put) -> Awaitable[None]:
            return self._ask_all(texts, put)

        yield from in_background(work)

    async def _ask_all(self, texts: Sequence[str], put: Put) -> None:
        pending = _batches(texts)
        failed: list[EndpointError] = []
        health = Health(url=self.url, key_name=self._key_variable, model=self._model)
        async with open_client(self._base_url, self._key_variable, _TIMEOUT) as client:

            async def worker() -> None:
                for numbers in pending:
                    if failed:
                        return
                    try:
                        put((numbers, await self._ask(client, [texts[i] for i in numbers], health)))
                    except EndpointError as error:  # what the others have under way is paid for: let it arrive
                        failed.append(error)

            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(worker())
        if failed:
            raise failed[0]

    async def _ask(self, client: openai.AsyncOpenAI, texts: list[str], health: Health) -> np.ndarray:
        sent = [f"{self._prompt}{text}" for text in texts]

        async def call() -> object:
            # Not embeddings.create, which takes an answer apart without looking what it is.
            try:
                async with asyncio.timeout(_TIMEOUT):  # the client's own starts anew with every byte
                    body = {"model": self._model, "input": sent, "encoding_format": "float"}
                    return _Answer(await client.post("/embeddings", body=body, cast_to=str))
            except TimeoutError as error:
                raise openai.OpenAIError(f"no whole answer within {_TIMEOUT:g} s") from error

        try:
            answer = await with_retries(call, health)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise EndpointError(
                f"{self.url} refuses {len(texts)} texts of {min(map(len, texts))} to {max(map(len, texts))} characters "
                f"({error_words(error)}). Texts that are empty or longer than the model's limit are refused; leave "
                "them out."
            ) from error
        if isinstance(answer, str):
            raise EndpointError(f"{self.url} fails again and again: {answer}. Try later; what it answered is kept.")
        try:
            return _vectors(answer.text, len(texts))
        except DataError as error:
            raise EndpointError(
                f"{self.url} answers no vectors for {len(texts)} texts: {error}. Is {self._model!r} an embedding model?"
            ) from error


@dataclass(frozen=True)
class _Answer:
    """What came, so that it is told apart from the reason of a failure."""

    text: str


def _vectors(answer: str, n: int) -> np.ndarray:
    """The n vectors of an answer in the order of the texts, float32 (n, dimension).

    Raises:
        DataError: they are not there, or are no vectors; with the reason.
    """
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise DataError(f"it is no JSON ({type(error).__name__}): {' '.join(answer.split())[:200]}") from error
    data = found.get("data") if isinstance(found, dict) else None
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise DataError(f"it holds no list of data: {' '.join(answer.split())[:200]}")
    places = [item.get("index", place) for place, item in enumerate(data)]
    if len(data) != n or sorted(p for p in places if type(p) is int) != list(range(n)):
        raise DataError(f"it holds {len(data)} vectors, numbered {' '.join(str(places).split())[:80]}")
    return _matrix([item.get("embedding") for _, item in sorted(zip(places, data, strict=True), key=lambda p: p[0])])


def _matrix(rows: list[Any]) -> np.ndarray:
    """Lists of numbers as float32 (n, dimension). Raises DataError."""
    if not all(isinstance(row, list) and row and all(type(x) in (int, float) for x in row) for row in rows):
        raise DataError("an embedding is no list of numbers")
    if len(lengths := {len(row) for row in rows}) > 1:
        raise DataError(f"its vectors have {sorted(lengths)} numbers")
    try:
        with np.errstate(over="ignore"):
            vectors = np.array(rows, dtype=np.float64).astype(np.float32)
    except OverflowError:
        raise DataError("a vector holds what is no finite number") from None
    if not np.isfinite(vectors).all():
        raise DataError("a vector holds what is no finite number")
    return vectors


def _batches(texts: Sequence[str]) -> Iterator[np.ndarray]:
    """Numbers of the texts of each request: at most `_TEXTS` texts and, unless one alone has more, `_CHARACTERS`."""
    begin, characters = 0, 0
    for i, text in enumerate(texts):
        if i > begin and (i - begin == _TEXTS or characters + len(text) > _CHARACTERS):
            yield np.arange(begin, i)
            begin, characters = i, 0
        characters += len(text)
    if begin < len(texts):
        yield np.arange(begin, len(texts))
