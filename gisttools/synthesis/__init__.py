"""Synthetic triplets from a task description and an LLM endpoint.

    task = read_task("prompts/tasks/support_intents.yaml")
    with serve_local() as server:
        llm = LLM(base_url=server.base_url, model=server.model, cache="llm.sqlite")
        outcome = generate(task, llm, requests=150, seed=0, embed=guide.embed, guide_id=guide.guide_id)

The names below are imported when first used, so that `import gisttools.synthesis` stays light.
"""

from __future__ import annotations

from importlib import import_module

_HOMES = {"read_task": "task", "open_llm": "endpoint", "LLM": "llm", "serve_local": "local", "generate": "generation"}
__all__ = ["LLM", "generate", "open_llm", "read_task", "serve_local"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
