"""Finds characters that do not belong into a text: what nobody sees but a model reads, and what is left of a lost one.

A text is what a person sees of it. Two kinds of characters break that. *Invisible* ones (marks of direction, zero
width, tags) change what a tokenizer reads and nothing on the screen; without them the text is what was meant. *Broken*
ones (NUL and other controls, the sequences of a terminal, U+FFFD, half surrogate pairs, private use, what is no
character) stand where something was lost; nothing can bring it back.

Many of these belong into some script, and stay there: joiners in emoji and in Persian or Indic words, marks of
direction in Hebrew and Arabic, the zero-width space of Thai or Khmer, variation selectors, the tags of a flag, soft
hyphens.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

log = logging.getLogger(__name__)


def normalise(text: str) -> str:
    """NFKC, no case, single spaces: texts equal under this are the same text."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


_OVERRIDES = "\u202d\u202e"
_EMBEDDINGS = f"\u202a\u202b\u202c{_OVERRIDES}"
_DIRECTION = f"{_EMBEDDINGS}\u2066-\u2069\u200e\u200f\u061c"
_RIGHT_TO_LEFT = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
# scripts whose letters join, or stack by a joiner: Arabic to N'Ko, Devanagari to Sinhala, Tibetan to Mongolian
_JOINING = "\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1700-\u18af\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00011fff"
# scripts whose words have no spaces between them: Thai to Khmer, Chinese, Japanese
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u3040-\u30ff\u3400-\u9fff"
_EMOJI = "\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001faff\ufe0f\u20e3"
_FLAG = "\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]{1,6}\U000e007f"
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef\u180b-\u180d\u180f"
_FILLERS = "\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5\u180e"  # letters by their category that show nothing
_ZERO_WIDTH = (
    f"\u200b\u200c\u200d\u2060-\u2065\u206a-\u206f\ufeff\ufff0-\ufffb\u034f{_FILLERS}\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a"
)
_TAGS = "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
_SUSPECT = re.compile(
    rf"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff\ufdd0-\ufdef\ufffc-\uffff"
    rf"{_DIRECTION}{_ZERO_WIDTH}{_SELECTORS}{_TAGS}\U000f0000-\U0010ffff]"
)
# What stays, by its surroundings; the rest of the same characters goes.
_KEPT = re.compile(
    rf"(?P<flag>{_FLAG})|(?<=[{_JOINING}])[\u200c\u200d]|[\u200c\u200d](?=[{_JOINING}])"
    rf"|(?<=[{_EMOJI}\U0001f3fb-\U0001f3ff])\u200d(?=[{_EMOJI}])|(?<=[{UNSPACED}])\u200b|\u200b(?=[{UNSPACED}])"
    rf"|(?<=[^\s{_SELECTORS}])[\ufe00-\ufe0f\u180b-\u180d\u180f]|(?<=[\u3400-\u9fff\U00020000-\U0003ffff])[\U000e0100-\U000e01ef]"
    rf"|(?<=[^\s])\u034f(?=\w)|[\u115f\u1160](?=[\u1100-\u11ff])|(?<=[\u1100-\u115f])\u1160|\u2800(?=[\u2801-\u28ff])|(?<=[\u2801-\u28ff])\u2800"
)
_NAMES = (
    ("marks of direction", re.compile(f"[{_DIRECTION}]")),
    ("tags", re.compile(f"[{_TAGS}]")),
    ("zero-width characters", re.compile(f"[{_ZERO_WIDTH}]")),
    ("variation selectors", re.compile(f"[{_SELECTORS}]")),
)
_ESCAPES = re.compile("\x1b\\[[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|[\x1b\x9b\x90\x9d]")
_HALVES = re.compile("[\ud800-\udfff]")
_BROKEN = (
    ("terminal sequences", _ESCAPES),
    ("control characters", re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x8f\x91-\x9a\x9c\x9e\x9f]")),
    ("replacement characters (U+FFFD)", re.compile("[\ufffc\ufffd]")),
    ("half surrogate pairs", _HALVES),
    ("private use characters", re.compile("[\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd]")),
    ("no characters", re.compile("[\ufdd0-\ufdef\ufffe\uffff" + "".join(
        f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0x110000, 0x10000)) + "]")),
)  # fmt: skip


def broken(text: str) -> str | None:
    """What a text holds that stands for something lost, by name; None where it holds none of it."""
    if text.isascii() and text.isprintable():
        return None
    return next((name for name, pattern in _BROKEN if pattern.search(text)), None)


def has_halves(text: str) -> bool:
    """Whether a text holds half a surrogate pair: what is left of a character, and cannot be written or sent."""
    return not text.isascii() and _HALVES.search(text) is not None


def cleaned(text: str) -> str:
    """The text without what nobody sees and that no script needs; broken characters are left as they are."""
    if not _SUSPECT.search(text):
        return text
    return "".join(_visible(text))


def unseen(text: str) -> list[str]:
    """The names of all kinds of characters in a text that do not belong there, invisible or broken."""
    if not _SUSPECT.search(text):
        return []
    found = [name for name, pattern in _BROKEN if pattern.search(text)]
    gone = _gone(text)
    return found + [name for name, pattern in _NAMES if pattern.search(gone)]


def count_unseen(texts: Iterable[str]) -> dict[str, int]:
    """How many of the texts hold characters of each kind that do not belong there, the most first."""
    return dict(Counter(name for text in texts for name in unseen(text)).most_common())


def tell_unseen(where: str, texts: Iterable[str]) -> None:
    """Say in the log how many texts hold characters that do not belong there. Texts of the user's stay as they are."""
    if found := count_unseen(texts):
        told = ", ".join(f"{name} in {n:,}" for name, n in found.items())
        said = "%s: texts hold characters that do not show or stand for lost ones (%s); models read them as they are"
        log.warning(said, where, told)


def is_blank(text: str) -> bool:
    """Whether nothing of a text shows."""
    return not any(_shows(c) for c in text)


def _shows(character: str) -> bool:
    blank = unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cc", "Cf")
    return not blank and not re.match(f"[{_FILLERS}{_SELECTORS}\u034f]", character)


def _visible(text: str) -> list[str]:
    """The parts that stay: what is not suspect, and of that what its surroundings need."""
    return [part for part, stays in _parts(text) if stays]


def _gone(text: str) -> str:
    return "".join(part for part, stays in _parts(text) if not stays)


def _parts(text: str) -> Iterable[tuple[str, bool]]:
    """A text piece by piece, each with whether it stays."""
    by_direction = _direction_that_goes(text)
    kept = {i for m in _KEPT.finditer(text) for i in range(m.start(), m.end())}
    removable = re.compile(f"[{_ZERO_WIDTH}{_SELECTORS}{_TAGS}]")
    for i, c in enumerate(text):
        if c in by_direction:
            yield c, False
        else:
            yield c, i in kept or not removable.match(c)


def _direction_that_goes(text: str) -> str:
    """Marks of direction that a text does not need: all of them without a letter from right to left; with one, those
    that override what the letters say, and with them the embeddings, which share their end."""
    if not re.search(f"[{_RIGHT_TO_LEFT}]", re.sub(f"[{_DIRECTION}]", "", text)):
        return _EMBEDDINGS + "\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
    return _EMBEDDINGS if any(c in text for c in _OVERRIDES) else ""
