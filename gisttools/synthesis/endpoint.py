"""Open the LLM that a run's parameters name: the embedded one, which is started and stopped, or any other endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

from gisttools.common import ParameterError, cache_folder
from gisttools.synthesis.llm import LLM
from gisttools.synthesis.local import find_model, identity, serve_local


class LLMParams(Protocol):
    """The parameters that say which LLM, and how to ask it; `SynthesizeParams` has them."""

    llm_base_url: str  # "embedded", or the address of an OpenAI-compatible endpoint
    llm_model: str
    llm_key_variable: str
    temperature: float
    max_tokens: int
    concurrency: int
    seed: int
    llm_mode: Literal["auto", "record", "replay"]
    llm_transport: Literal["live", "batch"]
    llm_context: int
    llm_timeout: float
    requests_per_minute: float | None
    tokens_per_minute: float | None
    budget_usd: float | None
    budget_tokens: int | None
    price_in: float | None
    price_out: float | None


@contextmanager
def open_llm(params: LLMParams, *, log: str | Path | None = None, cache: str | Path | None = None) -> Iterator[LLM]:
    """An `LLM` for the length of a `with` block.

    Args:
        params: which one, and how to ask it.
        log: file for what the embedded server writes.
        cache: SQLite file of answers; `llm.sqlite` in the package's cache folder where None.

    Raises:
        MissingError, EndpointError: the embedded server cannot be started.
        ParameterError: a value is out of range, or batches are asked of the embedded server.
    """
    if cache is None:
        cache = cache_folder() / "llm.sqlite"

    def llm(base_url: str, model: str, price: tuple[float | None, float | None]) -> LLM:
        return LLM(
            base_url=base_url,
            model=model,
            api_key_env=params.llm_key_variable,
            temperature=params.temperature,
            max_tokens=params.max_tokens,
            concurrency=params.concurrency,
            seed=params.seed,
            cache=cache,
            mode=params.llm_mode,
            transport=params.llm_transport,
            timeout=params.llm_timeout,
            requests_per_minute=params.requests_per_minute,
            tokens_per_minute=params.tokens_per_minute,
            budget_usd=params.budget_usd,
            budget_tokens=params.budget_tokens,
            price_in=price[0],
            price_out=price[1],
        )

    if params.llm_base_url != "embedded":
        yield llm(params.llm_base_url, params.llm_model, (params.price_in, params.price_out))
        return
    if params.llm_transport == "batch":
        raise ParameterError(
            "llm_transport is 'batch', but the embedded server (llm_base_url 'embedded') has no Batch API. Set "
            "llm_transport to live, or llm_base_url to an endpoint that has one."
        )
    free = (0.0, 0.0)
    if params.llm_mode == "replay":  # the file says which answers count; nobody is asked
        yield llm("http://127.0.0.1/v1", identity(find_model(params.llm_model)), free)
        return
    with serve_local(params.llm_model, slots=params.concurrency, context=params.llm_context, log=log) as server:
        yield llm(server.base_url, server.model, free)
