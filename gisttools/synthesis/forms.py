"""The form of an answer: how JSON is asked for, by what the endpoint knows, and how it is found in what comes back."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

# Best first; an endpoint that refuses one is asked by the next. Some know JSON schemas, but not length limits in them.
RUNGS = ("json_schema", "json_schema without lengths", "json_object", "text")


def with_form(messages: Sequence[dict[str, str]], schema: dict, rung: int) -> dict:
    """`messages` and, where the rung has one, `response_format`, as a chat completion takes them."""
    messages = list(messages)
    if rung < 2:
        shown = schema if rung == 0 else _without_lengths(schema)
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": shown, "strict": True}}
        return {"messages": messages, "response_format": form}
    asked = f"Answer with one JSON object that fits this JSON schema, and nothing else:\n{json.dumps(schema)}"
    messages[-1] = {**messages[-1], "content": f"{messages[-1]['content']}\n\n{asked}"}
    return {"messages": messages} | ({"response_format": {"type": "json_object"}} if rung == 2 else {})


def extract_json(content: str) -> dict | None:
    """The first JSON object in an answer, also behind a model's thoughts or inside a fenced block; None without one."""
    content = re.sub(r"<think>.*?</think>", "", content, flags=re.DOTALL)
    decoder = json.JSONDecoder(strict=False)
    for match in re.finditer(r"\{", content):
        try:
            value, _ = decoder.raw_decode(content, match.start())
        except (ValueError, RecursionError):
            continue
        return value if isinstance(value, dict) else None
    return None


def _without_lengths(node: object) -> object:
    if isinstance(node, dict):
        return {k: _without_lengths(v) for k, v in node.items() if k not in ("minLength", "maxLength")}
    return [_without_lengths(v) for v in node] if isinstance(node, list) else node
