"""Languages of texts: their names for prompts, and whether a text is in the language and script that were asked for.

A language is told as in mteb, ISO 639-3 and script: eng-Latn. Which one a text is in is py3langid's judgement (Lui and
Baldwin, langid.py, 2012), heard only where it is sure; of short texts only the script is looked at.
"""

from __future__ import annotations

import unicodedata
from functools import cache

PATTERN = r"^[a-z]{3}-[A-Z][a-z]{3}$"
_LEAST_CHARACTERS = 20  # below it a language is anyone's guess
_SURE = 0.95  # probability from which another language is believed; of 756 English messages none was taken for another
_LEAST_LETTERS = 0.5  # share of a text's letters that must be of the script: names and brands may be foreign
# Languages so alike that one is often taken for the other in a single sentence.
_ALIKE = ({"no", "nb", "nn", "da", "sv"}, {"id", "ms", "jv"}, {"hr", "sr", "bs", "sl"}, {"gl", "pt", "es", "ca", "an"},
          {"cs", "sk"}, {"be", "ru", "uk"}, {"bg", "mk"}, {"nl", "af", "fy"}, {"ur", "hi", "fa"},
          {"tr", "az"}, {"ar", "arz", "ary"}, {"zh", "yue", "wuu"}, {"el", "grc"}, {"he", "hbo"}, {"zu", "xh"},
          {"uz", "uzs"})  # fmt: skip
_SCRIPTS = {  # first word of the Unicode names of a script's letters
    "Latn": {"LATIN"}, "Cyrl": {"CYRILLIC"}, "Grek": {"GREEK"}, "Arab": {"ARABIC"}, "Hebr": {"HEBREW"},
    "Deva": {"DEVANAGARI"}, "Beng": {"BENGALI"}, "Taml": {"TAMIL"}, "Telu": {"TELUGU"}, "Thai": {"THAI"},
    "Hang": {"HANGUL"}, "Kore": {"HANGUL", "CJK"}, "Hans": {"CJK"}, "Hant": {"CJK"},
    "Jpan": {"HIRAGANA", "KATAKANA", "CJK"}, "Geor": {"GEORGIAN"}, "Armn": {"ARMENIAN"}, "Ethi": {"ETHIOPIC"},
    "Guru": {"GURMUKHI"}, "Gujr": {"GUJARATI"}, "Knda": {"KANNADA"}, "Mlym": {"MALAYALAM"}, "Sinh": {"SINHALA"},
    "Khmr": {"KHMER"}, "Laoo": {"LAO"}, "Mymr": {"MYANMAR"}, "Orya": {"ORIYA"}, "Tibt": {"TIBETAN"},
}  # fmt: skip


def name_of(language: str) -> str:
    """The English name of a language, as a prompt says it: German of deu-Latn; the code itself where it has none."""
    from babel import Locale

    return Locale("en").languages.get(_short(language)) or language


def is_foreign(text: str, language: str) -> bool:
    """Whether a text is clearly not in this language: most letters are of another script, or the identifier is sure
    of another language. What it does not know is never foreign."""
    wanted = _SCRIPTS.get(language.partition("-")[2])
    letters = [c for c in text if c.isalpha()]
    if wanted and letters:
        own = sum(unicodedata.name(c, "").split(" ")[0].split("-")[0] in wanted for c in letters)
        if own < _LEAST_LETTERS * len(letters):
            return True
    code, (identifier, known) = _short(language), _identifier()
    code = "no" if code == "nb" else code  # as the identifier calls it
    if len(text) < _LEAST_CHARACTERS or code not in known:
        return False
    found, probability = identifier.classify(text)
    alike = found == code or any({found, code} <= group for group in _ALIKE)
    return not alike and probability >= _SURE


def _short(language: str) -> str:
    """The two-letter code of a language, where it has one."""
    from babel.core import get_global

    code = language.partition("-")[0]
    return {"tgl": "tl", "fil": "tl"}.get(code) or get_global("language_aliases").get(code) or code


@cache  # 4 MB, a second to load
def _identifier() -> tuple:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return identifier, frozenset(map(str, identifier.nb_classes))
