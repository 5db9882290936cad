"""Tells which languages texts are in, by py3langid (Lui and Baldwin, langid.py, 2012), heard where it is sure."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

NOT_SURE = "not sure"
_SURE = 0.8  # probability from which a language is believed
_LEAST_CHARACTERS = 20  # below it a language is anyone's guess,
_LEAST_FOREIGN = 4  # except where letters are not Latin, which few languages share
_SAMPLE = 1000  # texts


@cache  # 4 MB, a second to load
def language_identifier() -> tuple[Any, frozenset[str]]:
    """py3langid's identifier, with probabilities, and the two-letter codes that it knows."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return identifier, frozenset(map(str, identifier.nb_classes))


def languages_of(texts: Sequence[str]) -> dict[str, int]:
    """How many texts are in which language, by English name, the most frequent first; of a thousand of them where there
    are more. Texts that are too short to tell are judged together with others of their script, but for Latin letters,
    which many languages share: they count as `NOT_SURE`, as all of which the identifier is not sure."""
    from babel import Locale

    names = Locale("en").languages
    counts: Counter[str] = Counter()
    unsure: dict[str, list[str]] = {}
    for text in texts[:: max(1, len(texts) // _SAMPLE)][:_SAMPLE]:
        code = _language(text)
        if code is None:
            unsure.setdefault(script_of(text), []).append(text)
        else:
            counts[names.get(code, code)] += 1
    for script, short in unsure.items():
        code = None if script in ("", "LATIN") else _language(" ".join(short))
        counts[NOT_SURE if code is None else names.get(code, code)] += len(short)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


_BIBLIOGRAPHIC = frozenset((
    "alb", "arm", "baq", "bur", "chi", "cze", "dut", "fre", "geo", "ger", "gre", "ice", "mac", "mao", "may", "per",
    "rum", "slo", "tib", "wel",
))  # fmt: skip  # codes of ISO 639-2, for the shelves of libraries, that ISO 639-3 does not have


def language_code(texts: Sequence[str]) -> str | None:
    """The language that most of these texts are in (of a thousand, where there are more), as mteb writes it: eng-Latn;
    None where there is none that is told surely."""
    found = Counter(code for text in texts[:: max(1, len(texts) // _SAMPLE)][:_SAMPLE] if (code := _language(text)))
    return _long_code(found.most_common(1)[0][0]) if found else None


@cache
def _long_code(code: str) -> str | None:
    from babel.core import get_global

    aliases = (long for long, short in get_global("language_aliases").items() if short == code and len(long) == 3)
    longer = sorted(set(aliases) - _BIBLIOGRAPHIC, key=lambda long: (not long.startswith(code), long))
    known = longer[0] if longer else code if len(code) == 3 else None
    script = get_global("likely_subtags").get(code, "").split("_")
    return f"{known}-{script[1]}" if known and len(script) > 1 else None


def _language(text: str) -> str | None:
    """The two-letter code of a text's language; None where it is too short, or the identifier is not sure."""
    if sum(map(str.isalpha, text)) < (_LEAST_CHARACTERS if script_of(text) == "LATIN" else _LEAST_FOREIGN):
        return None
    code, probability = language_identifier()[0].classify(text)
    return str(code) if probability >= _SURE else None


def script_of(text: str) -> str:
    """The script of a text's first letter, as Unicode calls it: LATIN, CJK, ...; "" where there is none."""
    first = next((c for c in text if c.isalpha()), None)
    return unicodedata.name(first, "").split(" ")[0].split("-")[0] if first else ""
