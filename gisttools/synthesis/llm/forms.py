"""Asks for answers in JSON, in the form that an endpoint knows, and says what is wrong with what comes back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from types import NoneType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

# Best first; an endpoint that refuses one is asked by the next. Some know JSON schemas, but not length limits in them.
RUNGS = ("json_schema", "json_schema without lengths", "json_object", "text")
_PLAIN = {"string": str, "integer": int, "number": float, "boolean": bool, "null": NoneType}
_LIMITS = {"minLength": "min_length", "maxLength": "max_length", "minItems": "min_length", "maxItems": "max_length",
           "minimum": "ge", "maximum": "le"}  # fmt: skip


def with_form(messages: Sequence[dict[str, str]], schema: dict, rung: int) -> dict:
    """`messages` and, where the rung has one, `response_format`, as a chat completion takes them."""
    messages = list(messages)
    if rung < 2:
        shown = schema if rung == 0 else _without_lengths(schema)
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": shown, "strict": True}}
        return {"messages": messages, "response_format": form}
    asked = in_words(schema)
    # in the part that all calls share, so that a server computes it once
    place = 0 if messages[0]["role"] == "system" else -1
    messages[place] = {**messages[place], "content": f"{messages[place]['content']}\n\n{asked}"}
    return {"messages": messages} | ({"response_format": {"type": "json_object"}} if rung == 2 else {})


def in_words(schema: dict) -> str:
    """What a prompt says of the form, where nothing else does."""
    return f"Answer with one JSON object that fits this JSON schema, and nothing else:\n{json.dumps(schema)}"


def fault(answer: dict | None, schema: dict) -> str | None:
    """What is wrong with the object that an answer holds, in a line for its writer; None where it fits the schema.

    Looked at: properties, required, additionalProperties, type, enum, items, and the limits of lengths and numbers.
    """
    if answer is None:
        return "there is no whole JSON object in it"
    try:
        _model(json.dumps(schema, sort_keys=True)).model_validate(answer)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in found[:5])
    return None


def unfit(answer: dict | None, schema: dict) -> str | None:
    """As `fault`, but of a list one item that fits is enough: one faulty text of five is no reason to pay for all of
    them again."""
    problem = fault(answer, schema)
    if problem is None or answer is None:
        return problem
    nodes = schema.get("properties", {})
    lists = [name for name, node in nodes.items() if node.get("type") == "array" and isinstance(answer.get(name), list)]
    fitting = dict(answer)
    for name in lists:
        item = {"properties": {"item": nodes[name].get("items", {})}, "required": ["item"]}
        fitting[name] = [one for one in answer[name] if fault({"item": one}, item) is None]
    some = {name: {**nodes[name], "minItems": 1, "maxItems": len(answer[name])} for name in lists}
    return problem if fault(fitting, {**schema, "properties": nodes | some}) else None


@lru_cache(maxsize=64)
def _model(schema: str) -> type[BaseModel]:
    return _object(json.loads(schema))


def _object(node: dict) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for number, (name, inner) in enumerate(node.get("properties", {}).items()):
        needed = name in node.get("required", ())
        kind = _type(inner) if needed else _type(inner) | None
        # a property may have a name that no field can have
        fields[f"field_{number}"] = (kind, Field(... if needed else None, alias=name))
    extra: Literal["forbid", "allow"] = "forbid" if node.get("additionalProperties") is False else "allow"
    return create_model("Answer", __config__=ConfigDict(strict=True, extra=extra), **fields)


def _type(node: dict) -> Any:
    kind = node.get("type")
    if "enum" in node:
        return Literal[tuple(node["enum"])]
    if kind == "object":
        return _object(node)
    if kind != "array" and kind not in _PLAIN:
        return Any
    plain: Any = list[_type(node.get("items", {}))] if kind == "array" else _PLAIN[kind]  # type: ignore[misc]
    limits = {ours: node[theirs] for theirs, ours in _LIMITS.items() if theirs in node}
    return Annotated[plain, Field(**limits)] if limits else plain


def _without_lengths(node: object) -> object:
    if isinstance(node, dict):
        return {k: _without_lengths(v) for k, v in node.items() if k not in ("minLength", "maxLength")}
    return [_without_lengths(v) for v in node] if isinstance(node, list) else node
