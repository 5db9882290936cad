"""Finds secrets in text and redacts them: what the environment holds under a key's name, and what looks like a key."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

REDACTED = "***"
_SHORTEST = 8  # shorter values would hide ordinary words
_WORDS = "API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?"
_NAMED = re.compile(rf"(^|[_-])({_WORDS})(_?\d+)?$", re.IGNORECASE)
_IN_QUERY = re.compile(rf"(^|[_-])({_WORDS}|SIG|SIGNATURE)$", re.IGNORECASE)
_LONG = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{32,}(?![A-Za-z0-9])")
_PASSWORD_IN_URL = re.compile(r"(?P<before>[a-z][a-z0-9+.-]*://)[^\s/:@\"'<>]*:[^\s/@\"'<>]+(?=@)", re.IGNORECASE)
_KEY_IN_URL = re.compile(
    rf"(?P<before>(?:[?&]|&amp;)(?:[a-z0-9]+[_-])*(?:{_WORDS}|SIG|SIGNATURE)=)[^\s&\"'<>\\]+", re.IGNORECASE
)
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
    """Secrets that the environment holds, in all spellings that text files give them, longest first: values of
    variables that are named like one, or named in `variables`; passwords and keys in addresses."""
    named, found = set(variables), set()
    for name, value in os.environ.items():
        found.update([value] if name in named or named_like_a_secret(name) else _in_address(value))
    spellings = {s for v in found if len(v) >= _SHORTEST for s in _spellings(v)}
    return sorted(spellings, key=len, reverse=True)


def redact(text: str, secrets: Iterable[str]) -> str:
    """`text` without these."""
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    return text


def redact_shapes(text: str) -> str:
    """`text` without what looks like a key, whether the environment holds it or not."""
    text = _PASSWORD_IN_URL.sub(rf"\g<before>{REDACTED}", text)
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
        told = [parts.password] if parts.password else []
    except ValueError:
        return []
    told += [v for name, v in parse_qsl(parts.query) if _IN_QUERY.search(name)]
    return [*told, *(unquote(v) for v in told)]


def _spellings(value: str) -> set[str]:
    return {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], html.escape(value),
            html.escape(value, quote=False), quote(value, safe=""), quote(value), repr(value)[1:-1]}  # fmt: skip


def _random(run: str) -> bool:
    """Small and capital letters and digits in no order: no word, and no hash, which is hexadecimal."""
    kinds = [sum(map(kind, run)) for kind in (str.islower, str.isupper, str.isdigit)]
    return min(kinds) >= 3 and len(set(run)) >= 16
