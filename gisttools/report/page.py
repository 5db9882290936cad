"""Fills the templates of the pages, and puts style, script and data into one file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from html import escape
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


def script(*names: str) -> tuple[Markup, str]:
    """Scripts, one after the other, and the hash by which the page's content security policy lets them run alone."""
    code = "\n".join((_TEMPLATES / name).read_text(encoding="utf-8").strip() for name in names)
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


class Inline:
    """A page as the last line of a notebook's cell shows it: in a frame, with its own scripts and links, in Jupyter and
    in the executed copy; its text where frames are not shown.

    Args:
        page: a self-contained HTML file.
        text: the same as Markdown.
        height: of the frame, in pixels.
    """

    def __init__(self, page: Path, text: Path | None = None, *, height: int = 900) -> None:
        self.page, self.text, self.height = page, text, height

    def __repr__(self) -> str:
        return str(self.page)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        # without a base of its own the links within the page would open the notebook in the frame
        source = self.page.read_text(encoding="utf-8").replace("<head>", '<head><base href="about:srcdoc">', 1)
        frame = (
            f"<p>The whole page; it is also the file <code>{escape(str(self.page))}</code>.</p>"
            f'<iframe title="The page" srcdoc="{escape(source)}" '
            f'style="width:100%;height:{self.height}px;border:1px solid #8888"></iframe>'
        )
        text = {} if self.text is None else {"text/markdown": self.text.read_text(encoding="utf-8")}
        return {"text/plain": repr(self), **text, "text/html": frame}


def write_files(folder: Path, content: Mapping[str, str]) -> None:
    """Write texts by file name into a folder, which is made where missing: all of them or none."""
    with ExitStack() as stack:
        for name, text in content.items():
            partial = stack.enter_context(whole_file(folder / name))
            partial.write_bytes(text.encode("utf-8", "replace"))
