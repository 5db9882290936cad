"""Languages: their names for prompts, and which texts are clearly not in the one that was asked for."""

from __future__ import annotations

import json

import pytest
from helpers import PROMPTS_FOLDER

from gisttools.synthesis.task import is_foreign, name_of

SENTENCES = {
    "eng-Latn": "Where is my parcel, I have been waiting for two weeks now.",
    "deu-Latn": "Wo bleibt mein Päckchen, ich warte seit zwei Wochen darauf.",
    "fra-Latn": "Où est mon colis, je l'attends depuis deux semaines maintenant.",
    "pol-Latn": "Gdzie jest moja paczka, czekam na nią już dwa tygodnie.",
    "fin-Latn": "Missä pakettini on, olen odottanut sitä jo kaksi viikkoa.",
    "rus-Cyrl": "Где моя посылка, я жду её уже две недели.",
    "ell-Grek": "Πού είναι το δέμα μου, το περιμένω εδώ και δύο εβδομάδες.",
    "heb-Hebr": "איפה החבילה שלי, אני מחכה לה כבר שבועיים.",
    "hin-Deva": "मेरा पार्सल कहाँ है, मैं दो हफ़्ते से इंतज़ार कर रहा हूँ।",
    "tha-Thai": "พัสดุของฉันอยู่ที่ไหน ฉันรอมาสองสัปดาห์แล้ว",
    "zho-Hans": "我的包裹在哪里，我已经等了两个星期了，请告诉我什么时候会到。",
    "jpn-Jpan": "私の荷物はどこですか、もう二週間も待っていますが届きません。",
    "kor-Kore": "제 소포는 어디에 있나요, 두 주 동안 기다리고 있습니다.",
    "arb-Arab": "أين الطرد الخاص بي، أنا أنتظره منذ أسبوعين.",
}


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("eng-Latn", "English"),
        ("deu-Latn", "German"),
        ("zho-Hans", "Chinese"),
        ("cmn-Hans", "Chinese"),
        ("arb-Arab", "Arabic"),
        ("swh-Latn", "Swahili"),
        ("nob-Latn", "Norwegian Bokmål"),
        ("fil-Latn", "Tagalog"),
        ("xyz-Latn", "xyz-Latn"),
    ],
)
def test_a_language_has_its_english_name_or_its_code(code, name):
    assert name_of(code) == name


@pytest.mark.parametrize("language", SENTENCES)
def test_a_text_is_not_foreign_in_its_own_language(language):
    assert not is_foreign(SENTENCES[language], language)


@pytest.mark.parametrize("language", SENTENCES)
def test_a_text_is_foreign_in_every_language_unlike_its_own(language):
    others = [other for other in SENTENCES if other != language]
    assert [other for other in others if not is_foreign(SENTENCES[language], other)] == []


@pytest.mark.parametrize("text", ["Wo ist es denn?", "Bonjour", "nein danke", "ok"])
def test_the_language_of_a_short_text_is_not_judged(text):
    assert not is_foreign(text, "eng-Latn")


@pytest.mark.parametrize(("text", "language"), [("где?", "eng-Latn"), ("where?", "rus-Cyrl"), ("where?", "jpn-Jpan")])
def test_the_script_of_a_short_text_is_judged(text, language):
    assert is_foreign(text, language)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Mein iPhone 15 Pro Max von Apple lädt nicht mehr.", "deu-Latn"),
        ("Мой iPhone 15 Pro не заряжается с вчерашнего вечера.", "rus-Cyrl"),
        ("我的 iPhone 15 Pro 从昨天晚上开始就充不上电了。", "zho-Hans"),
    ],
)
def test_names_in_another_script_do_not_make_a_text_foreign(text, language):
    assert not is_foreign(text, language)


@pytest.mark.parametrize(
    "text",
    ["", "1234567890 1234567890 1234", "??? !!! ... --- /// ???", "🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂"],
)
def test_a_text_without_letters_is_of_no_script(text):
    assert not is_foreign(text, "xyz-Cyrl")


@pytest.mark.parametrize(
    ("text", "languages"),
    [
        ("Hvor er pakken min, jeg har ventet på den i to uker nå.", ["nob-Latn", "nno-Latn", "dan-Latn", "swe-Latn"]),
        ("Gdje je moja narudžba, čekam već dvije sedmice.", ["hrv-Latn", "bos-Latn", "srp-Latn", "slv-Latn"]),
        ("Di mana paket saya, saya sudah menunggu dua minggu.", ["ind-Latn", "zsm-Latn"]),
        ("¿Dónde está mi paquete? Llevo dos semanas esperando.", ["spa-Latn", "glg-Latn", "cat-Latn", "por-Latn"]),
    ],
)
def test_languages_that_are_alike_are_not_told_apart(text, languages):
    assert [language for language in languages if is_foreign(text, language)] == []


@pytest.mark.parametrize("language", ["nob-Latn", "nno-Latn", "dan-Latn"])
def test_english_is_foreign_in_the_nordic_languages(language):
    assert is_foreign(SENTENCES["eng-Latn"], language)


@pytest.mark.parametrize("language", ["sun-Latn", "xyz-Latn"])
def test_of_a_language_that_the_identifier_does_not_know_the_script_alone_is_judged(language):
    assert not is_foreign(SENTENCES["eng-Latn"], language)
    assert is_foreign(SENTENCES["rus-Cyrl"], language)


def test_of_a_script_that_is_not_known_the_language_alone_is_judged():
    assert not is_foreign(SENTENCES["eng-Latn"], "eng-Dsrt")
    assert is_foreign(SENTENCES["deu-Latn"], "eng-Dsrt")


@pytest.mark.parametrize("name", ["train.jsonl", "test.jsonl"])
def test_all_texts_of_the_example_data_are_english(name):
    lines = (PROMPTS_FOLDER.parent / "data" / "support_intents" / name).read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    assert len(texts) > 100
    assert [text for text in texts if is_foreign(text, "eng-Latn")] == []
