"""Cuts documents into chunks: what a search finds, and what questions are written on.

A chunk never crosses a heading, keeps paragraphs whole where they fit, else sentences; only what is longer than half a
chunk by itself is cut at a space, or anywhere. The text stays as it is written. Sizes are counted once for each
sentence, then of each chunk as a whole, for tokens of parts need not add up.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gisttools.common import DataError, digest
from gisttools.data.characters import normalise
from gisttools.data.copies import document_groups, firsts_and_groups, near_groups
from gisttools.data.documents import Document
from gisttools.data.languages import languages_of
from gisttools.data.near_duplicates import runs
from gisttools.data.options import ChunkOptions
from gisttools.data.splitting import split_texts
from gisttools.data.structure import Block

CountTokens = Callable[[Sequence[str]], Sequence[int]]  # the tokens of each text
_TOKEN = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"[^\W\d_]+")
# after a full stop and the like, also in quotes and brackets; in scripts without spaces right behind the mark
_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’)\]]{0,3}\s+|(?<=[。！？])|\n+")
_SLICE = 4_000_000  # characters of documents whose sentences are counted at once
_SHORTEST = 12  # characters of a piece that is cut off by itself
_CHARACTERS = 20  # of a token at most, on average: a word of any length counts as one where it is not known
_ROUNDS = 8  # of cutting a document anew where a chunk has more tokens than its parts
_MOST_DOCUMENTS = 0.05  # a line that stands in this share of the documents,
_FEWEST_DOCUMENTS = 5  # and in so many,
_FEWEST_WORDS = 3  # and has so many words, is boilerplate


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A part of a document.

    Attributes:
        id: of the document, its place there and its content: `guide/keys.md#3-1f2e3d4c`. The same text at the same
            place has the same id, whatever else changes.
        document: the document's id.
        title: the document's; "" where it has none.
        headings: those above the chunk, the outermost first. Where they and the title would take more than half a
            chunk, the innermost that fit.
        text: as it is written.
        tokens: how many `passage` has; no less than one for each 20 characters.
        file, line: where it begins; `line` as in `Block`.
    """

    id: str
    document: str
    title: str
    headings: tuple[str, ...]
    text: str
    tokens: int
    file: Path
    line: int

    @property
    def heading(self) -> str:
        """Title and headings in one line; "" where there are none."""
        return _heading(self.title, self.headings)

    @property
    def passage(self) -> str:
        """What is embedded: heading and text, put together as mteb does with the title and text of a corpus."""
        return f"{self.heading} {self.text}".strip()


@dataclass(frozen=True, kw_only=True)
class Chunks(Sequence[Chunk]):
    """The chunks of documents, and what was left out.

    Attributes:
        chunks: in the order of the documents.
        dropped: how many chunks were dropped, by reason.
        boilerplate: lines that were left out, in their normal form, with the number of documents that they stood in.
        told_groups: `groups`, where they are known already, as where near copies were dropped.
    """

    chunks: tuple[Chunk, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    boilerplate: Mapping[str, int] = field(default_factory=dict)
    told_groups: np.ndarray | None = None

    @cached_property
    def groups(self) -> np.ndarray:
        """For each chunk a number, int64 (n,): documents that are near copies share one."""
        if self.told_groups is not None:
            return self.told_groups
        kinds = near_groups([normalise(chunk.text) for chunk in self.chunks])
        return document_groups(kinds, [chunk.document for chunk in self.chunks])

    @cached_property
    def languages(self) -> dict[str, int]:
        """How many chunks are in which language, as `languages_of` tells."""
        return languages_of([chunk.text for chunk in self.chunks])

    def __getitem__(self, place: int) -> Chunk:  # type: ignore[override]
        return self.chunks[place]

    def __len__(self) -> int:
        return len(self.chunks)


_ID = re.compile(r"(.+)#\d+-[0-9a-f]{8}", re.DOTALL)


def document_of(chunk: str) -> str:
    """The document of a chunk, by the chunk's id; another id as it is."""
    found = _ID.fullmatch(chunk)
    return found[1] if found else chunk


def count_words(texts: Sequence[str]) -> list[int]:
    """Words and marks of each text: a count of tokens where there is no tokenizer."""
    return [len(_TOKEN.findall(text)) for text in texts]


def make_chunks(
    documents: Iterable[Document], options: ChunkOptions | None = None, count_tokens: CountTokens = count_words
) -> Chunks:
    """Cut documents into chunks of at most `chunk_size` tokens, and drop boilerplate and near copies.

    A line (of three words or more, no code) is boilerplate where it stands in 5 documents or more and in one of twenty;
    a document that consists of such lines alone keeps them. Of near copies the first stays, unless they differ in a
    number: that may be the only thing that they say.

    Args:
        documents: as `read_documents` gives them; ids must not repeat.
        options: `ChunkOptions()` if None.
        count_tokens: the tokens of each of some texts; `gisttools.models.token_counter` makes that of a model.

    Raises:
        DataError: two documents have one id.
    """
    options, documents = options or ChunkOptions(), list(documents)
    twice = [name for name, n in Counter(d.id for d in documents).items() if n > 1]
    if twice:
        raise DataError(f"{len(twice)} id(s) of documents come more than once, such as {twice[0]!r}. Rename them.")
    boilerplate = boilerplate_of(documents) if options.drop_boilerplate else {}
    count, found = _counting(count_tokens), list[Chunk]()
    for begin, end in runs(np.array([sum(len(b.text) for b in d.blocks) for d in documents]), _SLICE):
        part = documents[begin:end]
        drafts = [_Draft(document, _without(document, boilerplate), options.chunk_size) for document in part]
        found += _cut(drafts, options, count)
    if options.drop_near_copies is None:
        return Chunks(chunks=tuple(found), boilerplate=boilerplate)
    kept, kinds = firsts_and_groups([normalise(chunk.text) for chunk in found], options.drop_near_copies)
    copies = len(found) - len(kept)
    return Chunks(
        chunks=tuple(found[i] for i in kept.tolist()),
        dropped={"near copy of another chunk": copies} if copies else {},
        boilerplate=boilerplate,
        told_groups=document_groups(kinds, [chunk.document for chunk in found])[kept],
    )


def _counting(count_tokens: CountTokens) -> CountTokens:
    """The counter, by which no text is shorter than its characters allow: what a model does not know, such as a picture
    written as letters, is one token to some, and would make a chunk of megabytes."""

    def counted(texts: Sequence[str]) -> list[int]:
        return [max(int(n), -(-len(text) // _CHARACTERS)) for n, text in zip(count_tokens(texts), texts, strict=True)]

    return counted


def split_chunks(chunks: Chunks, share: float, *, seed: int = 0) -> np.ndarray:
    """Which chunks to test on, bool (n,), about `share` of them: whole documents, and those that are near copies of one
    another (of half their chunks or more) on one side. Decided by content, as all splits here.

    Raises:
        ParameterError, DataError: as `gisttools.data.split_texts`.
    """
    return split_texts([chunk.text for chunk in chunks], share=share, seed=seed, groups=chunks.groups).test


def boilerplate_of(documents: Sequence[Document]) -> dict[str, int]:
    """Lines that repeat over many documents, in their normal form, with the number of documents, the most first."""
    counts = Counter(line for document in documents for line in {normalise(own) for own in _lines(document)})
    least = max(_FEWEST_DOCUMENTS, _MOST_DOCUMENTS * len(documents))
    found = {line: n for line, n in counts.items() if n >= least and len(_WORD.findall(line)) >= _FEWEST_WORDS}
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def _lines(document: Document) -> Iterator[str]:
    return (line for block in document.blocks if not block.is_code for line in block.text.split("\n") if line.strip())


def _without(document: Document, boilerplate: Mapping[str, int]) -> Sequence[Block]:
    """The blocks without boilerplate; all of them where nothing else is there."""
    if not boilerplate:
        return document.blocks
    found = []
    for block in document.blocks:
        lines = block.text.split("\n")
        kept = [i for i, line in enumerate(lines) if block.is_code or normalise(line) not in boilerplate]
        if any(lines[i].strip() for i in kept):
            text = "\n".join(lines[i] for i in kept).rstrip("\n")
            found.append(replace(block, text=text, line=block.line + (kept[0] if document.verbatim else 0)))
    return found or document.blocks


def _heading(title: str, headings: Sequence[str]) -> str:
    return " > ".join(part for part in (title, *headings) if part)


class _Piece(NamedTuple):
    """A sentence, or a part of one, of a block, and its tokens."""

    block: int
    begin: int
    end: int
    tokens: int


class _Head(NamedTuple):
    """What stands above a chunk, and its tokens."""

    title: str
    headings: tuple[str, ...]
    tokens: int


Heads = dict[tuple[str, tuple[str, ...]], _Head]  # by the document's title and the block's headings


@dataclass
class _Draft:
    """A document that is being cut."""

    document: Document
    blocks: Sequence[Block]
    size: int
    pieces: list[_Piece] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)


def _cut(drafts: Sequence[_Draft], options: ChunkOptions, count_tokens: CountTokens) -> Iterator[Chunk]:
    """The chunks of some documents, whose tokens are counted together."""
    _find_pieces(drafts, options.chunk_size // 2, count_tokens)
    heads = _heads(drafts, options.chunk_size // 2, count_tokens)
    todo = list(drafts)
    for _ in range(_ROUNDS):
        made = [[*_packed(draft, heads, options.chunk_overlap)] for draft in todo]
        totals = iter(count_tokens([chunk.passage for chunks in made for chunk in chunks]))
        for draft, chunks in zip(todo, made, strict=True):
            draft.chunks = [_numbered(chunk, i, int(next(totals))) for i, chunk in enumerate(chunks)]
        over = [max((c.tokens for c in draft.chunks), default=0) - options.chunk_size for draft in todo]
        again = [(draft, more) for draft, more in zip(todo, over, strict=True) if 0 < more < draft.size]
        for draft, more in again:
            draft.size -= max(more, draft.size // 16)
        todo = [draft for draft, _ in again]
        if not todo:
            break
    for draft in drafts:
        yield from draft.chunks


def _find_pieces(drafts: Sequence[_Draft], most: int, count_tokens: CountTokens) -> None:
    """The sentences of each document; those of more tokens than `most` in parts."""
    todo = [
        (n, i, *span) for n, d in enumerate(drafts) for i, b in enumerate(d.blocks) for span in sentences_of(b.text)
    ]
    done: list[tuple[int, _Piece]] = []
    while todo:
        long = most * _CHARACTERS  # no need to count
        halves = [half for part in todo if part[3] - part[2] > long for half in _halves(drafts, *part)]
        todo = [part for part in todo if part[3] - part[2] <= long]
        counts = count_tokens([drafts[n].blocks[i].text[begin:end] for n, i, begin, end in todo])
        for (n, i, begin, end), tokens in zip(todo, counts, strict=True):
            if tokens > most and end - begin > 1:
                halves += _halves(drafts, n, i, begin, end)
            else:
                done.append((n, _Piece(i, begin, end, int(tokens))))
        todo = halves
    for n, piece in sorted(done):
        drafts[n].pieces.append(piece)


def _halves(drafts: Sequence[_Draft], n: int, i: int, begin: int, end: int) -> list[tuple[int, int, int, int]]:
    middle = _middle(drafts[n].blocks[i].text, begin, end)
    return [(n, i, begin, middle), (n, i, middle, end)]


def sentences_of(text: str) -> Iterator[tuple[int, int]]:
    """Where the sentences and lines of a text begin and end, the white space behind them included; very short ones go
    with the next."""
    begin = 0
    for mark in _SENTENCE.finditer(text):
        if mark.end() - begin >= _SHORTEST:
            yield begin, mark.end()
            begin = mark.end()
    if begin < len(text):
        yield begin, len(text)


def _middle(text: str, begin: int, end: int) -> int:
    """Where to cut: behind a space near the middle, else right there."""
    middle = (begin + end) // 2
    space = text.rfind(" ", begin + 1, middle)
    return space + 1 if space > begin + (end - begin) // 4 else middle


def _heads(drafts: Sequence[_Draft], most: int, count_tokens: CountTokens) -> Heads:
    """What stands above the chunks under each heading: as many of title and headings, the innermost first, as have no
    more tokens than `most`; of a single one its beginning."""
    found: Heads = {}
    todo = {(key := (draft.document.title, block.headings)): key for draft in drafts for block in draft.blocks}
    while todo:
        counts = count_tokens([_heading(*parts) for parts in todo.values()])
        longer = {}
        for (key, (title, headings)), tokens in zip(todo.items(), counts, strict=True):
            if tokens <= most or len(_heading(title, headings)) < 2:
                found[key] = _Head(title, headings, int(tokens))
            else:
                longer[key] = _shorter(title, headings)
        todo = longer
    return found


def _shorter(title: str, headings: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Without the outermost; of a single one its first half."""
    if title and headings:
        return "", headings
    if len(headings) > 1:
        return "", headings[1:]
    return title[: len(title) // 2], tuple(h[: len(h) // 2] for h in headings)


def _packed(draft: _Draft, heads: Heads, overlap: int) -> Iterator[Chunk]:
    """The chunks of a document, whose numbers are still to come."""
    blocks, whole = draft.blocks, Counter()
    for piece in draft.pieces:
        whole[piece.block] += piece.tokens
    held: list[_Piece] = []
    begun = filled = 0  # pieces of `held` that the chunk before has too; tokens of all
    for piece in draft.pieces:
        room = draft.size - heads[draft.document.title, blocks[piece.block].headings].tokens
        if held and blocks[held[-1].block].headings != blocks[piece.block].headings:
            yield _chunk(draft, held, heads)
            held, begun, filled = [], 0, 0
        left = room - filled
        opens = not held or held[-1].block != piece.block
        breaks = opens and left < whole[piece.block] <= room  # a paragraph that the next chunk holds whole
        if (piece.tokens > left or breaks) and len(held) > begun:
            yield _chunk(draft, held, heads)
            held = _tail(held, min(overlap, room - piece.tokens))
            begun, filled = len(held), sum(p.tokens for p in held)
        held.append(piece)
        filled += piece.tokens
    if len(held) > begun:
        yield _chunk(draft, held, heads)


def _tail(pieces: list[_Piece], most: int) -> list[_Piece]:
    """The last pieces that have no more tokens than `most` together."""
    count = total = 0
    for piece in reversed(pieces):
        total += piece.tokens
        if total > most:
            break
        count += 1
    return pieces[len(pieces) - count :]


def _chunk(draft: _Draft, pieces: Sequence[_Piece], heads: Heads) -> Chunk:
    document, first = draft.document, draft.blocks[pieces[0].block]
    spans: dict[int, tuple[int, int]] = {}
    for piece in pieces:
        begin, _ = spans.get(piece.block, (piece.begin, 0))
        spans[piece.block] = begin, piece.end
    text = "\n\n".join(draft.blocks[i].text[begin:end].strip() for i, (begin, end) in spans.items())
    head = heads[document.title, first.headings]
    above = 0
    if document.verbatim:  # a sentence that ends right before a new line leaves it to the next one
        rest = first.text[pieces[0].begin :]
        above = first.text.count("\n", 0, pieces[0].begin + len(rest) - len(rest.lstrip()))
    return Chunk(
        id="",
        document=document.id,
        title=head.title,
        headings=head.headings,
        text=text.strip(),
        tokens=0,
        file=document.file,
        line=first.line + above,
    )


def _numbered(chunk: Chunk, position: int, tokens: int) -> Chunk:
    return replace(chunk, id=f"{chunk.document}#{position}-{digest(chunk.passage, 4)}", tokens=tokens)
