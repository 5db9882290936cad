"""Cleans what leaves this machine for others to read: no secrets, and no places of it.

Places are the folders that a run knows of (home, project, results) and whatever else is written like a path from the
root. Texts of data are left as they are but for secrets: they are what is shared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gisttools.common import (
    anonymous,
    known_secrets,
    may_hold,
    project_root,
    redact,
    redact_shapes,
    results_folder,
    whole_file,
)

_DEEP = 3  # parts of a place that is known by itself: /root, which may be a word, only with what lies in it
_TEXTS = ("anchor", "positive", "negatives", "anchor_label", "positive_label", "negative_labels")
_PARTS = re.compile(r"(<script\b.*?</script>|<style\b.*?</style>|<[^>]*>)", re.DOTALL)
_DATA = re.compile(r"<script\b[^>]*application/json")


class Cleaner:
    """Cleans texts, pages, settings and tables.

    Args:
        variables: of the environment that hold keys, besides those that are named like one.
    """

    def __init__(self, variables: Iterable[str] = ()) -> None:
        self._secrets = known_secrets(variables)
        places = {Path.home(), project_root(), results_folder(), results_folder().resolve()} - {Path("/")}
        self._patterns = [_pattern(place) for place in sorted(places, key=lambda p: len(str(p)), reverse=True)]

    def text(self, text: str) -> str:
        """Text that people read: a card, a table of scores."""
        return anonymous(self._own(text))

    def page(self, html: str) -> str:
        """A page: paths go in what is shown and in data; code, style and tags lose the places of this machine alone."""
        found = _PARTS.split(html)
        shown = [self.text(p) if not p.startswith("<") or _DATA.match(p) else self._own(p) for p in found]
        return "".join(shown)

    def settings(self, text: str) -> str:
        """The JSON of a model's settings; it is written anew only where it held something. What is no JSON is read as
        text."""
        try:
            told = json.loads(text)
        except (ValueError, RecursionError):
            return self._own(text)
        clean = self._settings(told)
        return text if clean == told else json.dumps(clean, indent=2, ensure_ascii=False) + "\n"

    def table(self, source: Path, target: Path) -> tuple[int, int]:
        """A Parquet table of triplets: paths go in all that is said of the texts, and not in the texts.

        Returns:
            Its rows, and how many different texts they hold.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows, texts = 0, set[int]()
        with pq.ParquetFile(source) as file, whole_file(target) as partial_file:
            schema = file.schema_arrow.remove_metadata()
            with pq.ParquetWriter(partial_file, schema, compression="zstd") as out:
                for part in file.iter_batches(batch_size=10_000):
                    columns = []
                    for name, column in zip(schema.names, part.columns, strict=True):
                        values = column.to_pylist()
                        clean = partial(self._cell, is_text=name in _TEXTS)
                        columns.append(pa.array([clean(v) for v in values], schema.field(name).type))
                        if name in _TEXTS[:3]:
                            texts.update(hash(text) for value in values for text in _listed(value))
                    out.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
                    rows += part.num_rows
        return rows, len(texts)

    def left(self, raw: bytes) -> str | None:
        """What of this a file still holds, in words; None where it is clean."""
        text = raw.decode("utf-8", errors="replace")
        if may_hold(raw, self._secrets) and redact(text, self._secrets) != text:
            return "a secret of the environment"
        return next(("a place of this machine" for pattern in self._patterns if pattern.search(text)), None)

    def _own(self, text: str) -> str:
        text = redact_shapes(redact(text, self._secrets))
        for pattern in self._patterns:
            text = pattern.sub("…", text)
        return text

    def _cell(self, value: Any, *, is_text: bool) -> Any:
        if isinstance(value, str):
            return redact(value, self._secrets) if is_text else self.text(value)
        return [self._cell(v, is_text=is_text) for v in value] if isinstance(value, list) else value

    def _settings(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {k: self._settings(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self._settings(v, name) for v in value]
        if not isinstance(value, str):
            return value
        if name.endswith("name_or_path") and (Path(value).is_absolute() or value.startswith(("~", "."))):
            return Path(value).name  # where the model lay
        return self._own(value)


def _pattern(place: Path) -> re.Pattern[str]:
    """A place as it is, escaped for Markdown or JSON, or as in an address."""
    told = str(place)
    spelled = ("".join(c if c.isalnum() else rf"\\*{re.escape(c)}" for c in told), re.escape(quote(told)))
    end = r"(?!\w)" if len(place.parts) >= _DEEP else r"(?=[/\\]+\w)"
    return re.compile(rf"(?<![\w.])(?:{'|'.join(spelled)}){end}")


def _listed(value: Any) -> Sequence[str]:
    return [] if value is None else [value] if isinstance(value, str) else value
