"""Finds secrets in text and redacts them: what the environment holds under a key's name, and what looks like a key.

A secret is found in every spelling that a writer of this package gives to text: as it is; escaped for JSON, a page's
script, HTML, addresses, Python, a shell, CSV, YAML, Markdown or LaTeX, each also within another; broken over lines; cut
off; in base64, alone or with what stands beside it, as in a header of basic authentication.
"""

from __future__ import annotations

import base64
import binascii
import html.entities
import json
import os
import re
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import chain
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

REDACTED = "***"
_SHORTEST = 8  # shorter values would hide ordinary words
_WORDS = "API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?"
_NAMED = re.compile(rf"(^|[_-])({_WORDS})(_?\d+)?$", re.IGNORECASE)
_IN_QUERY = re.compile(rf"(^|[_-])({_WORDS}|SIG|SIGNATURE)$", re.IGNORECASE)
_LONG = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{32,}(?![A-Za-z0-9])")
_SCHEME = r"[a-z][a-z0-9+.-]{0,20}(?:://|:\\+/\\+/|%3A%2F%2F)"
_PASSWORD = r"[^\s/:@\"'<>]*:[^\s/@\"'<>]+"
_NAME = r"[^\s/:@\"'<>?#&,;()\[\]{}|\\]+"
_AT = r"(?=@|%40)"
_PASSWORD_IN_URL = re.compile(rf"(?P<before>{_SCHEME}){_PASSWORD}{_AT}", re.IGNORECASE)
_NAME_IN_URL = re.compile(rf"(?P<before>{_SCHEME}){_NAME}{_AT}", re.IGNORECASE)
_NAME_OF_SERVER = re.compile(rf"https?://{_NAME}@", re.IGNORECASE)
_KEY_IN_URL = re.compile(
    rf"(?P<before>(?:[?&]|&amp;|\\+u0026|%26|%3F)(?:[a-z0-9]+[_-])*(?:{_WORDS}|SIG|SIGNATURE)(?:=|%3D|\\+u003d))"
    r"[^\s&\"'<>\\]+",
    re.IGNORECASE,
)
_BASIC = re.compile(r"(?<=[Bb]asic )[A-Za-z0-9+/_-]{8,}={0,2}")
_SHAPES = {  # prefixes that their makers gave to keys, so that they are found
    "an API key (sk-...)": r"sk-(?=[\w-]*\d)[A-Za-z0-9_-]{16,}",
    "a token of the Hugging Face hub": r"hf_[A-Za-z0-9]{20,}",
    "an AWS access key": r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    "a Google API key": r"AIza[A-Za-z0-9_-]{30,}",
    "a GitHub token": r"(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{22,})",
    "a GitLab token": r"glpat-[\w-]{20,}",
    "a Slack token": r"xox[abprs]-[\w-]{10,}",
    "an API key (gsk_...)": r"gsk_[A-Za-z0-9]{20,}",
    "an API key (nvapi-...)": r"nvapi-[\w-]{20,}",
    "a JSON web token": r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}",
    "a bearer token": r"(?:(?<=Bearer )|(?<=bearer ))[\w.~+/-]{16,}=*",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:\\n|[\w+/=\s])*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
}
_SHAPED = {name: re.compile(rf"(?<![A-Za-z0-9_-]){shape}") for name, shape in _SHAPES.items()}


def named_like_a_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret: OPENAI_API_KEY, HF_TOKEN, password."""
    return bool(_NAMED.search(name))


def known_secrets(variables: Iterable[str] = ()) -> list[str]:
    """Secrets that the environment holds, longest first: values of variables that are named like one, or named in
    `variables`; passwords and keys in addresses, and user names that stand there without a password."""
    named, found = set(variables), set[str]()
    for name, value in os.environ.items():
        found.update(_parts(value) if name in named or named_like_a_secret(name) else _in_address(value))
    return sorted((v for v in found if len(v) >= _SHORTEST), key=len, reverse=True)


def redact(text: str, secrets: Iterable[str]) -> str:
    """`text` without these, in whatever spelling."""
    squeezed: str | None = None
    for secret in secrets:
        for spelling in _spellings(secret):
            squeezed = _squeezed(text) if squeezed is None else squeezed
            if spelling.core in squeezed or spelling.core in text:
                text, before = spelling.redacted(text), text
                squeezed = squeezed if text is before else None
    return text


def may_hold(raw: bytes, secrets: Iterable[str]) -> bool:
    """Whether UTF-8 text may hold one of these, unless it is broken over lines; quick, and never wrongly False."""
    return any(spelling.core.encode() in raw for secret in secrets for spelling in _spellings(secret))


def redact_shapes(text: str) -> str:
    """`text` without what looks like a key, whether the environment holds it or not."""
    for address in (_PASSWORD_IN_URL, _NAME_IN_URL):
        text = address.sub(rf"\g<before>{REDACTED}", text)
    text = _BASIC.sub(lambda found: REDACTED if _is_basic(found[0]) else found[0], text)
    text = _KEY_IN_URL.sub(rf"\g<before>{REDACTED}", text)
    for shape in _SHAPED.values():
        text = shape.sub(REDACTED, text)
    return text


def without_secrets(text: str, variables: Iterable[str] = ()) -> str:
    """`text` without secrets that the environment holds and without what looks like one; see `known_secrets`."""
    return redact_shapes(redact(text, known_secrets(variables)))


def secret_in(text: str) -> str | None:
    """What kind of secret `text` seems to hold, in words; None if it looks harmless."""
    if _PASSWORD_IN_URL.search(text):
        return "an address with a password"
    if _NAME_OF_SERVER.search(text):
        return "an address with a user name"
    if _KEY_IN_URL.search(text):
        return "an address with a key"
    for name, shape in _SHAPED.items():
        if shape.search(text):
            return name
    return "a long token" if any(_random(run) for run in _LONG.findall(text)) else None


def safe_url(url: str) -> str:
    """The address without user name, password and keys among its arguments."""
    parts = urlsplit(url)
    query = "&".join(a for a in parts.query.split("&") if not _IN_QUERY.search(a.partition("=")[0]))
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query)).rstrip("/")


def _in_address(value: str) -> list[str]:
    if "://" not in value:
        return []
    try:
        parts = urlsplit(value)
        told = [parts.password or parts.username or ""]
    except ValueError:
        return []
    told += [v for name, v in parse_qsl(parts.query) if _IN_QUERY.search(name)]
    return [*told, *(unquote(v) for v in told)]


def _parts(value: str) -> list[str]:
    """A secret, and what of it may stand alone: without space around it and the scheme in front, its lines, its values
    where it is JSON, what an address holds."""
    bare = value.strip()
    found = [value, bare, re.sub(r"^(?:Bearer|Basic|Token)\s+", "", bare, flags=re.IGNORECASE), *_in_address(value)]
    if "\n" in bare:
        found += [line.strip() for line in bare.splitlines() if len(line.strip()) >= _LINE]
    if bare.startswith("{"):
        try:
            told = json.loads(bare)
        except (ValueError, RecursionError):
            told = {}
        found += [v for k, v in told.items() if isinstance(v, str) and named_like_a_secret(k)]
    return found


def _is_basic(run: str) -> bool:
    """Whether base64 holds a user name and a password."""
    try:
        told = base64.b64decode(run.rstrip("=").translate(_STANDARD) + "=" * (-len(run.rstrip("=")) % 4)).decode()
    except (binascii.Error, ValueError):
        return False
    return ":" in told and told.isprintable()


_LINE = 16  # characters of a line that counts as a secret of its own
_CUT = 10  # least characters of a secret that is cut off; half of a longer one
_STANDARD = str.maketrans("-_", "+/")
_BREAK = re.compile(r"\\+[nrt]")  # a line's end within JSON
_GAP = r"(?:\\*[ \t]*\r?\n[ \t]*|\\+(?:r\\+)?n[ \t]*)?"
_ENDS = re.compile(r"\.\.\.|…|[\s\"'`<>)\]},;|\\&]|\Z")  # where a text was cut
_RUN = re.compile(r"[A-Za-z0-9]+")
_TEX = {"\\": "textbackslash", "~": "textasciitilde", "^": "textasciicircum", "<": "textless", ">": "textgreater",
        "|": "textbar"}  # fmt: skip
_CONTROL = {"\n": "n", "\r": "r", "\t": "t"}


class _Spelling:
    """Finds one secret, or one encoding of it.

    Args:
        text: what is looked for, escaped in whatever way.
        whole_run: letters and digits around it go as well: a character of base64 belongs to two bytes.
        cut: what is cut off after half of it counts, too.
    """

    def __init__(self, text: str, *, whole_run: bool = False, cut: bool = False) -> None:
        self._text, self._whole_run = text, whole_run
        self._least = max(_CUT, (len(text) + 1) // 2) if cut else len(text)
        runs = _RUN.findall(text[: self._least])
        self.core = max(runs, key=len, default="")  # no writer escapes letters and digits

    @cached_property
    def _parts(self) -> list[str]:
        last = len(self._text) - 1
        return [_escaped(c, last=i == last) for i, c in enumerate(self._text)]

    @cached_property
    def _begin(self) -> re.Pattern[str]:
        return re.compile(_GAP.join(self._parts[: self._least]))

    @cached_property
    def _all(self) -> re.Pattern[str]:
        return re.compile(_GAP.join(self._parts))

    @cached_property
    def _rest(self) -> list[re.Pattern[str]]:
        return [re.compile(_GAP + part) for part in self._parts[self._least :]]

    def redacted(self, text: str) -> str:
        """`text` with *** where the secret stood."""
        kept, place = [], 0
        for begin, end in self._found(text):
            kept.append(text[place:begin])
            place = end
        return REDACTED.join([*kept, text[place:]]) if kept else text

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        place = 0
        while found := self._begin.search(text, place):
            begin = found.start()
            whole = self._all.match(text, begin)
            end = whole.end() if whole else self._extended(text, found.end())
            if end is None or _within_escape(text, begin):
                place = begin + 1
                continue
            if self._whole_run:
                begin, end = _run_around(text, begin, end, place)
            yield begin, end
            place = end

    def _extended(self, text: str, end: int) -> int | None:
        """Where a secret that is cut off ends; None where something else follows its beginning."""
        for part in self._rest:
            more = part.match(text, end)
            if more is None:
                break
            end = more.end()
        return end if _ENDS.match(text, end) else None


@lru_cache(maxsize=512)
def _spellings(secret: str) -> list[_Spelling]:
    raw = secret.encode("utf-8", "surrogateescape")
    coded = {raw.hex(), raw.hex().upper(), *chain.from_iterable(_base64(raw, shift) for shift in range(3))}
    found = [_Spelling(text, whole_run=True) for text in sorted(coded) if len(text) >= _SHORTEST]
    return [_Spelling(secret, cut=True), *found]


def _squeezed(text: str) -> str:
    """Without spaces and line breaks, so that a text that was broken over lines is found."""
    return _BREAK.sub("", "".join(text.split()))


def _base64(raw: bytes, shift: int) -> Iterator[str]:
    """The characters that these bytes alone decide, in both alphabets, where `shift` bytes more than a multiple of
    three stand before them."""
    text = base64.b64encode(bytes(shift) + raw).decode()[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
    yield text
    yield text.translate(str.maketrans("+/", "-_"))


def _escaped(c: str, *, last: bool) -> str:
    """A pattern of all that a character may become, however often it is escaped; `last`: what follows it is not part of
    the secret."""
    if c.isascii() and c.isalnum():
        return c
    code, plain = ord(c), re.escape(c)
    units = c.encode("utf-16-be", "surrogatepass")
    pairs = [units[i : i + 2].hex() for i in range(0, len(units), 2)]
    percent = "".join(rf"%(?:25)*{byte:02x}" for byte in c.encode("utf-8", "surrogateescape"))
    as_bytes = "".join(rf"\\+x{byte:02x}" for byte in c.encode("utf-8", "surrogateescape"))
    entities = "|".join({f"#0*{code}", f"#x0*{code:x}", *(n.rstrip(";") for n in _ENTITIES.get(c, ()))})
    ways = [
        "".join(rf"\\+u(?i:{pair})" for pair in pairs),
        rf"\\+U(?i:{code:08x})",
        rf"\\*(?:&|\\+u0026)(?:amp;)*(?i:{entities});",
        rf"\\*(?i:{percent})",
        f"(?i:{as_bytes})",
        *([rf"\\+x(?i:{code:02x})"] if code < 256 else []),
        *([rf"\\+{_CONTROL[c]}"] if c in _CONTROL else []),
        *([rf"\\{_TEX[c]}(?:\{{\}})?"] if c in _TEX else []),
    ]
    if c == "\\":  # twice as many with each level; no more, for the next character may have some of its own
        ways += [r"\\{16}", r"\\{8}", r"\\{4}", r"\\{2}", r"\\"]
    elif c.isspace():
        ways += [r"\s+", r"\+", "&nbsp;"]
    else:
        ways += [r"'\\*\"'\\*\"'|'\\+''"] if c == "'" else []
        if c in "'\"":  # twice, as in CSV; behind the last one the quotes of the text around may stand
            ways += [rf"(?<!\\){c}{c}|\\+{c}\\+{c}" if last else rf"(?:\\*{c}){{2,8}}"]
        ways.append(rf"\\*{plain}")
    return f"(?:{'|'.join(ways)})"


_ENTITIES: dict[str, list[str]] = {}
for _entity, _character in html.entities.html5.items():
    _ENTITIES.setdefault(_character, []).append(_entity)


def _within_escape(text: str, begin: int) -> bool:
    """Whether a text begins with what is the second half of an escape, such as the n of a line break in JSON: without
    it the first half would spoil what follows."""
    if text[begin] not in "bfnrtux":
        return False
    before = text[:begin]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _run_around(text: str, begin: int, end: int, least: int) -> tuple[int, int]:
    """The whole run of base64 around a part of it."""
    while begin > least and (text[begin - 1].isalnum() or text[begin - 1] in "+/_-"):
        begin -= 1
    while end < len(text) and (text[end].isalnum() or text[end] in "+/_=-"):
        end += 1
    return begin, end


def _random(run: str) -> bool:
    """Small and capital letters and digits in no order: no word, and no hash, which is hexadecimal."""
    kinds = [sum(map(kind, run)) for kind in (str.islower, str.isupper, str.isdigit)]
    return min(kinds) >= 3 and len(set(run)) >= 16
