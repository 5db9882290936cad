"""Fills the templates of the pages, and puts style, script and data into one file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gisttools.common import whole_file
from gisttools.report.drawing import clean

_TEMPLATES = Path(__file__).parent / "templates"


def environment(*, autoescape: bool = False, finalize: Callable[[Any], Any] | None = None) -> Environment:
    """Templates of this folder; a name that a template uses and nobody gives is an error."""
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=autoescape,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style(*names: str) -> Markup:
    """The style sheets `names`, one after the other."""
    return Markup("\n".join((_TEMPLATES / name).read_text(encoding="utf-8").strip() for name in names))


def script(name: str) -> tuple[Markup, str]:
    """A script and the hash by which the page's content security policy lets it run, and no other."""
    code = (_TEMPLATES / name).read_text(encoding="utf-8").strip()
    return Markup(code), base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()


def as_json(content: object) -> Markup:
    """JSON that can stand in a script element: no NaN, no lone surrogate, no character that could end the element.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # half of a surrogate pair becomes \udXXX, which is how JSON writes it
    return Markup(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def as_markdown(text: object, longest: int = 4000) -> str:
    """Text that Markdown, and HTML within it, reads as mere text on one line."""
    text = " ".join(clean(text)[:longest].split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", text)


def write_files(folder: Path, content: Mapping[str, str]) -> None:
    """Write texts by file name into a folder, which is made where missing: all of them or none."""
    with ExitStack() as stack:
        for name, text in content.items():
            partial = stack.enter_context(whole_file(folder / name))
            partial.write_bytes(text.encode("utf-8", "replace"))
