"""Tells which languages texts are in, by py3langid (Lui and Baldwin, langid.py, 2012), heard where it is sure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

NOT_SURE = "not sure"
_SURE = 0.95  # probability from which a language is believed
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
    are more. Texts too short to tell, and those of which the identifier is not sure, count as `NOT_SURE`."""
    from babel import Locale

    names = Locale("en").languages
    identifier, _ = language_identifier()
    counts: Counter[str] = Counter()
    for text in texts[:: max(1, len(texts) // _SAMPLE)][:_SAMPLE]:
        letters = [c for c in text if c.isalpha()]
        foreign = sum(not c.isascii() for c in letters) > len(letters) / 2
        code, probability = None, 0.0
        if len(letters) >= (_LEAST_FOREIGN if foreign else _LEAST_CHARACTERS):
            code, probability = identifier.classify(text)
        counts[names.get(str(code), str(code)) if code and probability >= _SURE else NOT_SURE] += 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
