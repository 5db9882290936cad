"""Open the LLM that a run's parameters name: the embedded one, which is started and stopped, or any other endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from gisttools.synthesis.llm import LLM
from gisttools.synthesis.local import serve_local


class LLMParams(Protocol):
    """The parameters that say which LLM, and how to ask it; `SynthesizeParams` has them."""

    llm_base_url: str  # "embedded", or the address of an OpenAI-compatible endpoint
    llm_model: str
    llm_key_variable: str
    temperature: float
    max_tokens: int
    concurrency: int
    seed: int


@contextmanager
def open_llm(params: LLMParams, *, log: str | Path | None = None, cache: str | Path | None = None) -> Iterator[LLM]:
    """An `LLM` for the length of a `with` block.

    Args:
        params: which one, and how to ask it.
        log: file for what the embedded server writes.
        cache: SQLite file of answers; `llm.sqlite` in the package's cache folder where None.

    Raises:
        MissingError, EndpointError: the embedded server cannot be started.
        ParameterError: a value is out of range.
    """
    if cache is None:
        from gisttools.vectors import cache_folder  # the guides need torch

        cache = cache_folder() / "llm.sqlite"

    def llm(base_url: str, model: str) -> LLM:
        return LLM(
            base_url=base_url,
            model=model,
            api_key_env=params.llm_key_variable,
            temperature=params.temperature,
            max_tokens=params.max_tokens,
            concurrency=params.concurrency,
            seed=params.seed,
            cache=cache,
        )

    if params.llm_base_url != "embedded":
        yield llm(params.llm_base_url, params.llm_model)
        return
    with serve_local(params.llm_model, slots=params.concurrency, log=log) as server:
        yield llm(server.base_url, server.model)
