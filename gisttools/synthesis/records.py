"""Reads files that other tools left as plain rows: one of named values for each text, whatever the tool.

What their outputs look like, by their source (distilabel 1.5.3, bespokelabs-curator 0.1.31, data-designer 0.9.7) and by
the providers' batch files:

- distilabel: a row has the columns of its steps: `generation` (one text, or a list of them), `input_text` and `label`,
  `anchor`, `positive` and `negative`, `user_query`, `positive_document` and `hard_negative_document`; beside them
  `model_name` and `distilabel_metadata` with the raw answers, which is left alone. A call that failed leaves null.
  `Distiset.save_to_disk` writes a folder of `save_to_disk` for each of its parts.
- curator: what its `parse` returns; without one `response`, which is a text or, of structured output, an object.
- Data Designer: columns that its user named, a structured one being an object, `..__trace` beside some; files are
  exported as CSV, JSONL or Parquet, or lie as `parquet-files/batch_00000.parquet`.
- A batch's output has a line for each call, `custom_id` and `response.body` (OpenAI: a chat completion or a response)
  or `result.message` (Anthropic); a call that failed has an error in its place. The answer is a text, or JSON as text.

Values inside objects get names with points (`response.text`), an answer that is JSON becomes the object that it is, and
a list of objects as many rows, whose values keep their own names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gisttools.common import DataError, MissingError
from gisttools.data import FILE_ENDINGS, WRITTEN_COLUMNS, RowFile, file_kind, find_nested, is_saved
from gisttools.synthesis.llm.answers import BadAnswer, answer_text, content_of, extract_json, said, usage_of

CUSTOM_ID = "custom_id"
_ALONE = ("distilabel_metadata",)  # objects that hold what led to a text, and no text
_DEEPEST = 6
_FENCED = re.compile(r"^```\w*\s*(.*?)\s*```$", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row of a file.

    Attributes:
        row: its number, from 1: of JSON lines the line, where none is empty.
        cells: what it holds, by name.
        finish, model, tokens: of a batch's answer, how it ended ("error" where none came), by whom it is, and how many
            tokens went in and out.
        why: of a call that failed, the reason.
    """

    row: int
    cells: dict[str, Any] = field(default_factory=dict)
    finish: str = "stop"
    model: str = ""
    tokens: tuple[int, int] = (0, 0)
    why: str = ""


def files_in(path: Path) -> list[Path]:
    """The file itself; of a folder the data sets of `save_to_disk` in it, else its files of rows.

    Raises:
        MissingError: there is no such file or folder.
        DataError: the folder holds neither.
    """
    if not path.exists():
        raise MissingError(f"There is no file or folder {path}, which should hold texts. Correct its path.")
    if path.is_file() or is_saved(path):
        return [path]
    saved = sorted(p.parent for p in path.rglob("state.json") if is_saved(p.parent))
    found = saved or sorted(p for p in path.iterdir() if p.is_file() and file_kind(p.name))
    if not found:
        raise DataError(f"{path} holds no file of the kinds {', '.join(FILE_ENDINGS)}. Name a folder that does.")
    return found


def records(file: RowFile, answers: Collection[str] = ()) -> Iterator[Record]:
    """The rows of a file, in order. `answers`: columns that may hold an answer of an LLM, beside those of usual names.

    Raises:
        DataError: the file is broken, as `RowFile` says.
    """
    known = {*WRITTEN_COLUMNS, *answers}
    for number, row in enumerate(file.rows(), 1):
        if CUSTOM_ID in row and not {"response", "result"}.isdisjoint(row):
            yield from _of_batch(number, row)
        else:
            unfolded = {name: _unfolded(v) if name in known else v for name, v in row.items()}
            yield from (Record(row=number, cells=cells) for cells in _rows(unfolded))


def _of_batch(number: int, row: Mapping[str, Any]) -> Iterator[Record]:
    """The texts of one answer, or the call that failed."""
    response = _completion(row)
    try:
        told = said(response)
    except BadAnswer:
        why = content_of({"response": response})
        yield Record(row=number, cells={CUSTOM_ID: row[CUSTOM_ID]}, finish="error", why=why)
        return
    finish = "refusal" if told.refusal else told.finish or "stop"
    answer = {"text": told.refusal} if told.refusal else _unfolded(told.text)
    answers = answer if isinstance(answer, dict) else {"text": answer}
    tokens = usage_of(response)
    for place, cells in enumerate(_rows({CUSTOM_ID: row[CUSTOM_ID], **answers})):
        yield Record(
            row=number, cells=cells, finish=finish, model=told.model or "", tokens=tokens if not place else (0, 0)
        )


def _completion(row: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a batch's line as a chat completion; an object with an error where there is none."""
    result, response = row.get("result"), row.get("response")
    if isinstance(result, dict):
        message = result.get("message")
        if result.get("type") != "succeeded" or not isinstance(message, dict):
            return {"error": result.get("error") or {"message": str(result.get("type"))}}
        return _as_chat(message.get("content"), message.get("stop_reason"), message)
    body = response.get("body") if isinstance(response, dict) else None
    if isinstance(body, dict) and isinstance(body.get("output"), list):  # of the Responses API
        parts = [part for item in body["output"] if isinstance(item, dict) for part in item.get("content") or []]
        why = (body.get("incomplete_details") or {}).get("reason")
        return _as_chat(parts, why, body)
    if isinstance(body, dict) and "choices" in body:
        return body
    told = row.get("error") or (body.get("error") if isinstance(body, dict) else None)
    status = response.get("status_code") if isinstance(response, dict) else None
    return {"error": told or {"message": f"status {status}"}}


def _as_chat(content: object, finish: object, told: Mapping[str, Any]) -> dict[str, Any]:
    usage = told.get("usage") or {}
    counts = {"prompt_tokens": usage.get("input_tokens"), "completion_tokens": usage.get("output_tokens")}
    choice = {"message": {"content": content}, "finish_reason": finish}
    return {"choices": [choice], "model": told.get("model"), "usage": counts}


def _unfolded(value: object) -> object:
    """An answer without the model's thoughts; the object or list that it is, where it is JSON."""
    if not isinstance(value, str):
        return value
    plain = answer_text(value).strip()
    fenced = _FENCED.match(plain)
    plain = fenced[1] if fenced else plain
    if plain[:1] in ("{", "["):
        try:
            found = json.loads(plain)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict) or (isinstance(found, list) and found):
            return found
    found = extract_json(plain) if "{" in plain else None
    return found if found is not None and find_nested(list(_flat(found)), WRITTEN_COLUMNS) else plain


def _rows(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The row by plain names; where it holds one list of objects, a row for each of them."""
    flat = _flat(row)
    lists = [name for name, value in flat.items() if _are_objects(value)]
    if len(lists) != 1:
        yield flat
        return
    several = flat.pop(lists[0])
    for one in several:
        yield {**flat, **_flat(one)}


def _are_objects(value: object) -> bool:
    """Whether it is a list of objects that are no turns of a chat."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return False
    return all(isinstance(one, dict) and not {"role", "content"} <= set(one) for one in value)


def _flat(row: Mapping[str, Any], before: str = "", depth: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict) and name not in _ALONE and depth < _DEEPEST:
            found |= _flat(value, f"{before}{name}.", depth + 1)
        else:
            found[f"{before}{name}"] = value
    return found
