"""Questions that people ask and passages that answer them, from two manuals: data to choose settings by.

The manuals of Perl and Python have lists of frequent questions. A question is the query, the start of its answer the
passage; the starts of all other sections are passages too, and an LLM is let ask on both.

    python benchmarks/faqs.py PERL_PODS PYTHON_SOURCES FOLDER/faqs.json

The first folder holds perlfaq1.pod and the other pods (Debian's perl-doc has them), the second faq/general.rst.txt and
the other sources of Python's documentation (Debian's python3.11-doc). Another version has other texts.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PASSAGE = (40, 100)  # words: at least, and where it is cut; the answer to a question may be shorter
ANSWER = 15  # words at least
_PODS = re.compile(r"perl(?!\d|toc|delta|artistic|gpl|hist|cn|jp|ko|tw|source)\w*\.pod")
_POD_CODE = re.compile(r"[A-Z]<<+ (.*?) >>+|[A-Z]<([^<>]*)>", re.DOTALL)
_RST_LINE = re.compile(r"[=\-~^*+#\"']{3,}\s*")
_RST_ROLE = re.compile(r":[\w:]+:`~?([^`<]*?)(?:\s*<[^`]*>)?`|`([^`<]*?)(?:\s*<[^`]*>)?`_{0,2}|``([^`]*)``")


def passages_and_queries(keep: Path) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Passages and queries by id, and which passage answers which query, of what was written to a file."""
    found = json.loads(keep.read_text(encoding="utf-8"))
    passages = {name: passage for name, (_, passage) in found.items()}
    asked = [name for name, (query, _) in found.items() if query]
    return passages, {f"q-{n}": found[n][0] for n in asked}, {f"q-{n}": {n: 1} for n in asked}


def _sections_of_pod(text: str) -> Iterator[tuple[str, str]]:
    """Heading and prose of each section; what is indented is code."""
    heading, prose = "", []
    for part in re.split(r"\n\s*\n", text):
        if found := re.match(r"=head\d\s+(.*)", part, re.DOTALL):
            yield heading, " ".join(prose)
            heading, prose = _plain_pod(found[1]), []
        elif part[:1] not in ("=", " ", "\t"):
            prose.append(_plain_pod(part))
    yield heading, " ".join(prose)


def _plain_pod(text: str) -> str:
    before, text = None, re.sub(r"X<[^<>]*>", "", text)  # entries of the index
    while before != text:
        before, text = text, _POD_CODE.sub(lambda m: (m[1] or m[2] or "").partition("|")[0], text)
    return " ".join(text.split())


def _sections_of_rst(text: str) -> Iterator[tuple[str, str]]:
    """Heading and prose of each section; directives and what is indented are left out."""
    heading, prose = "", []
    for part in re.split(r"\n\s*\n", text):
        lines = [line for line in part.strip("\n").splitlines() if not line.startswith(".. _")]
        at = next((i for i, line in enumerate(lines) if i and _RST_LINE.fullmatch(line) and lines[i - 1].strip()), None)
        if at is not None and len(lines[at].strip()) >= len(lines[at - 1].strip()):
            yield heading, " ".join(prose)
            heading, prose, lines = _plain_rst(lines[at - 1]), [], lines[at + 1 :]
        if lines and not lines[0].startswith((" ", "\t", "..", "|", "+", "=")):
            prose.append(_plain_rst(" ".join(lines)))
    yield heading, " ".join(prose)


def _plain_rst(text: str) -> str:
    text = _RST_ROLE.sub(lambda m: next(group for group in m.groups() if group is not None), text)
    return " ".join(text.replace("*", "").replace("::", ":").replace("----", "").split())


def _found(pods: Path, sources: Path) -> dict[str, tuple[str, str]]:
    """Query (empty where a section answers no question) and passage by place, no text twice."""
    files = [(file, _sections_of_pod) for file in sorted(pods.glob("*.pod")) if _PODS.fullmatch(file.name)]
    files += [(file, _sections_of_rst) for file in sorted(sources.rglob("*.rst.txt")) if "whatsnew" not in file.parts]
    found: dict[str, tuple[str, str]] = {}
    taken: set[str] = set()
    for file, sections in files:
        questions = "faq" in f"{file.parent.name}/{file.name}"
        for number, (heading, prose) in enumerate(sections(file.read_text(encoding="utf-8", errors="replace"))):
            query = heading if questions and heading.endswith("?") else ""
            words = prose.split()
            passage = " ".join(words[: PASSAGE[1]])
            if len(words) >= (ANSWER if query else PASSAGE[0]) and not taken & {query or passage, passage}:
                found[f"{file.name}:{number}"] = query, passage
                taken |= {query or passage, passage}
    return found


if __name__ == "__main__":
    told = _found(Path(sys.argv[1]), Path(sys.argv[2]))
    Path(sys.argv[3]).write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
    print(f"{len(told)} passages, {sum(bool(query) for query, _ in told.values())} questions")
