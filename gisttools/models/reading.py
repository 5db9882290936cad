"""Tells what a model reads of a text: which share of the tokens it knows, and whether it tells fixed texts apart.

A tokenizer of one language turns the words of another into one and the same unknown token, so that texts which have
nothing in common get one vector; a model folder that lost its tokenizer opens with an empty vocabulary and does so with
every text. Either gives scores that look like scores.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gisttools.common import ModelError, first_line

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
LEAST_READ = 0.75  # share of a text's tokens that are known, for its vector to say what it says
_TOLD_FROM = 0.05  # share of unknown tokens, or of texts that are hardly read, from which on it is told
_SAMPLE = 1000  # texts
_LONGEST = 2000  # characters of a text that are looked at: as many as most models read

# of a probe: the largest cosine of two texts, and the largest share of unknown tokens
_ALIKE, _UNKNOWN = 0.98, 0.5
_SAME = 0.9999  # of a bare language model, whose vectors may all lie close together before it is trained
# In each script texts that have nothing in common, of different lengths. A model of one language passes by its own.
PROBES = {
    "Latin": (
        "The cat sleeps on a warm stone in the garden.",
        "Invoice 4711 is due within thirty days.",
        "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
        "Football",
    ),
    "Cyrillic": ("Кошка спит на тёплом камне.", "Счёт нужно оплатить в течение тридцати дней.", "Футбол"),
    "Greek": ("Η γάτα κοιμάται πάνω στην πέτρα.", "Το τιμολόγιο λήγει σε τριάντα ημέρες.", "Ποδόσφαιρο"),
    "Arabic": ("القطة تنام على حجر دافئ في الحديقة.", "يجب دفع الفاتورة خلال ثلاثين يوما.", "كرة القدم"),
    "Hebrew": ("החתול ישן על אבן חמה בגינה.", "יש לשלם את החשבונית תוך שלושים יום.", "כדורגל"),
    "Devanagari": ("बिल्ली गर्म पत्थर पर सो रही है।", "बिल का भुगतान तीस दिनों में करना होगा।", "फुटबॉल"),
    "Bengali": ("বিড়ালটি গরম পাথরের উপর ঘুমাচ্ছে।", "ত্রিশ দিনের মধ্যে বিল পরিশোধ করতে হবে।", "ফুটবল"),
    "Tamil": ("பூனை சூடான கல்லின் மீது தூங்குகிறது.", "முப்பது நாட்களுக்குள் பணம் செலுத்த வேண்டும்.", "கால்பந்து"),
    "Thai": ("แมวนอนหลับบนก้อนหินอุ่น", "ต้องชำระใบแจ้งหนี้ภายในสามสิบวัน", "ฟุตบอล"),
    "Georgian": ("კატას თბილ ქვაზე სძინავს.", "ანგარიში ოცდაათ დღეში უნდა გადაიხადოთ.", "ფეხბურთი"),
    "Chinese": ("猫在花园里温暖的石头上睡觉。", "发票必须在三十天内付清。", "足球"),
    "Japanese": ("猫は庭の暖かい石の上で寝ています。", "請求書は三十日以内にお支払いください。", "サッカー"),
    "Korean": ("고양이가 따뜻한 돌 위에서 잔다.", "청구서는 삼십 일 안에 지불해야 합니다.", "축구"),
}
_USUAL = ("<unk>", "[UNK]", "<UNK>")  # what the unknown token is called where a tokenizer does not say
_OWN = 12  # texts made of the model's own tokens, of a model that reads none of the scripts above
_FEWEST_OWN = 2 * _OWN  # tokens of its own that it must have for that


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How much a model reads of some texts.

    Attributes:
        texts: how many were looked at.
        tokens, unknown: of all of them; how many the model's tokenizer does not know.
        hardly: texts of whose tokens fewer than `LEAST_READ` are known.
    """

    texts: int
    tokens: int
    unknown: int
    hardly: int

    @property
    def share(self) -> float:
        """Of the tokens, those that are unknown."""
        return self.unknown / self.tokens if self.tokens else float(self.texts > 0)

    @property
    def facts(self) -> dict[str, float | int]:
        """The numbers, for a summary."""
        return {"texts": self.texts, "unknown_share": round(self.share, 4), "hardly_read": self.hardly}

    def trouble(self, who: str) -> str | None:
        """What to tell of `who` ("guide NAME"), where it matters; else None."""
        if self.share < _TOLD_FROM and self.hardly < _TOLD_FROM * self.texts:
            return None
        return (
            f"{who} does not know {100 * self.share:.0f} % of the tokens of these texts ({self.unknown:,} of "
            f"{self.tokens:,}, in {self.texts:,} texts that were looked at) and hardly reads {self.hardly:,} of the "
            f"texts: it cannot tell apart what differs in these words. Name a model that knows their language, such as "
            f"{MULTILINGUAL}."
        )


def unknown_tokens(tokenizer: Any, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """How many tokens of each text are unknown, and how many it has, int64 (n,) each; None where that cannot be told.

    A text of which nothing at all is left counts as one unknown token. Tokenizers that fall back on bytes know all.
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(backend, "encode_batch"):
        return _unknown_in_python(tokenizer, texts)
    unknown = _unknown_id(tokenizer, backend)
    counts = []
    for found in backend.encode_batch([text[:_LONGEST] for text in texts], add_special_tokens=False):
        ids, real = np.asarray(found.ids, dtype=np.int64), np.asarray(found.attention_mask, dtype=bool)
        counts.append(((ids[real] == unknown).sum() if unknown is not None else 0, real.sum()))
    return _counted(counts, texts)


def _unknown_id(tokenizer: Any, backend: Any) -> int | None:
    """The number of the unknown token; None where there is none."""
    told = getattr(backend.model, "unk_token", None) or getattr(tokenizer, "unk_token", None)
    for token in [told] if told else _USUAL:
        if (number := backend.token_to_id(token)) is not None:
            return number
    if type(backend.model).__name__ == "Unigram":  # tells its number to nobody but a file
        return json.loads(backend.to_str())["model"].get("unk_id")
    return None


def _unknown_in_python(tokenizer: Any, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray] | None:
    unknown = getattr(tokenizer, "unk_token_id", None)
    if unknown is None or not hasattr(tokenizer, "convert_tokens_to_ids"):
        return None
    rows = [tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text[:_LONGEST])) for text in texts]
    return _counted([(sum(i == unknown for i in ids), len(ids)) for ids in rows], texts)


def _counted(counts: Sequence[tuple[Any, Any]], texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    unknown, tokens = np.array(counts, dtype=np.int64).reshape(-1, 2).T
    lost = (tokens == 0) & np.array([bool(text.strip()) for text in texts], dtype=bool)
    return np.where(lost, 1, unknown), np.where(lost, 1, tokens)


def read_by(tokenizer: Any, texts: Sequence[str]) -> np.ndarray:
    """Of which texts at least `LEAST_READ` of the tokens are known, bool (n,); all where that cannot be told."""
    found = unknown_tokens(tokenizer, texts) if len(texts) else None
    if found is None:
        return np.ones(len(texts), dtype=bool)
    unknown, tokens = found
    return tokens - unknown >= LEAST_READ * tokens


def reading_of(tokenizer: Any, texts: Sequence[str]) -> Reading | None:
    """How much is read of texts, of a thousand of them where there are more; None where that cannot be told."""
    sample = list(texts[:: max(1, len(texts) // _SAMPLE)])[:_SAMPLE]
    found = unknown_tokens(tokenizer, sample) if sample else None
    if found is None:
        return None
    unknown, tokens = found
    hardly = int((tokens - unknown < LEAST_READ * tokens).sum())
    return Reading(texts=len(sample), tokens=int(tokens.sum()), unknown=int(unknown.sum()), hardly=hardly)


def student_reading(student: SentenceTransformer, texts: Sequence[str], name: str = "") -> Reading | None:
    """How much a model that is to be trained reads of its texts, with a warning where that is too little."""
    found = reading_of(student.tokenizer, texts)
    if found and (trouble := found.trouble(f"Student {name}".rstrip())):
        log.warning("%s", trouble)
    return found


def most_positions(model: SentenceTransformer) -> int | None:
    """The longest text, in tokens, that the model has positions for; None where it has no such limit."""
    from torch import nn

    transformer = getattr(model[0], "auto_model", None)
    if transformer is None:
        return None
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in ("position_embeddings", "wpe"):
            # RoBERTa and its kin count from behind the padding's place
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    if hasattr(transformer.config, "relative_attention_num_buckets"):
        return None  # T5: what it calls positions is no limit
    return getattr(transformer.config, "max_position_embeddings", None)


def check_length(model: SentenceTransformer, length: int | None, where: str) -> str | None:
    """What is wrong with a length limit of so many tokens, told as `where`; None where nothing is."""
    most = most_positions(model)
    if length is None or most is None or length <= most:
        return None
    return f"{where} is {length}, but the model has positions for {most} tokens: set it to {most} or less"


def probe(model: SentenceTransformer, name: str, *, trained: bool = True) -> None:
    """Refuse a model that cannot tell fixed texts apart.

    It must pass in one script (`PROBES`), or, if it knows the tokens of none, on texts made of its own vocabulary:
    most tokens known, vectors finite and not zero, and no two texts nearly the same.

    Args:
        name: for the error.
        trained: to make vectors of texts. A bare language model is not, and is refused only where they are the same.

    Raises:
        ModelError: it does not pass; the reason is told.
    """
    if (trouble := check_length(model, model.max_seq_length, "its max_seq_length")) is not None:
        raise ModelError(f"Model {name} cannot read texts: {trouble}, in the folder's sentence_bert_config.json.")
    tokenizer = getattr(model, "tokenizer", None)
    shares = {script: _share(tokenizer, texts) for script, texts in PROBES.items()}
    groups = [PROBES[script] for script in sorted(shares, key=shares.__getitem__) if shares[script] < _UNKNOWN]
    if not groups:
        own = _own_texts(model)
        if own is None:
            raise ModelError(
                f"Model {name} does not know {100 * min(shares.values()):.0f} % of the tokens of plain texts, whatever "
                f"the script: its tokenizer is missing or not its own ({_vocabulary(tokenizer)} tokens). Put its "
                "tokenizer files (tokenizer.json, or vocab.txt) into its folder, or download it again."
            )
        groups = [tuple(own)]
    alike = _ALIKE if trained else _SAME
    # what it reads best is one batch; only where it fails there the other scripts are looked at
    troubles = [_trouble(model, name, texts, alike) for texts in groups[:1]]
    if troubles[0] is None:
        return
    troubles += [_trouble(model, name, texts, alike) for texts in groups[1:]]
    if None not in troubles:
        raise ModelError(f"Model {name} {troubles[0]}")


def _share(tokenizer: Any, texts: Sequence[str]) -> float:
    """Of the tokens of texts, those that are unknown; 0 where that cannot be told."""
    found = reading_of(tokenizer, texts)
    return found.share if found else 0.0


def _trouble(model: SentenceTransformer, name: str, texts: Sequence[str], alike: float) -> str | None:
    """What is wrong with the vectors of texts that have nothing in common; None where nothing is."""
    try:
        found = model.encode(list(texts), prompt="", show_progress_bar=False, convert_to_tensor=True)
    except (RuntimeError, ValueError, IndexError, KeyError, TypeError) as error:  # a tokenizer that is not its own, ...
        raise ModelError(
            f"Model {name} opens, but makes no vectors: {first_line(error)} Its files may not belong together: "
            "download it again."
        ) from error
    vectors = found.float().cpu().numpy().astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    sound = np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)
    if not sound.all():
        return (
            f"gives vectors that are all zero or not finite for plain texts ({int((~sound).sum())} of {len(texts)}). "
            "Its weights are damaged, or its training went astray: take another one."
        )
    cosines = (vectors / norms) @ (vectors / norms).T
    largest = float(cosines[~np.eye(len(texts), dtype=bool)].max())
    if largest < alike:
        return None
    return (
        f"gives nearly the same vector for texts that have nothing in common: their largest cosine is {largest:.4f}, "
        f"must be under {alike:g}. Its tokenizer or weights are not its own, or its vectors collapsed in training: "
        "take another one."
    )


def _vocabulary(tokenizer: Any) -> int:
    return len(tokenizer.get_vocab()) if hasattr(tokenizer, "get_vocab") else 0


def _own_texts(model: SentenceTransformer) -> list[str] | None:
    """Texts of the model's own tokens, of another script or none (proteins, code points); None where it has hardly any,
    or far fewer than it has vectors for: then the tokenizer is not the model's."""
    tokenizer = model.tokenizer
    if not hasattr(tokenizer, "get_vocab"):
        return None
    special = set(getattr(tokenizer, "all_special_tokens", ()))
    tokens = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])]
    tokens = [
        token for token in tokens if token not in special and any(map(str.isalnum, token)) and token[:1] not in "[<"
    ]
    tables = ("word_embeddings.weight", "embed_tokens.weight", "wte.weight", "embedding.weight")
    rows = max((w.shape[0] for n, w in model.named_parameters() if n.endswith(tables)), default=0)
    if len(tokens) < _FEWEST_OWN or len(tokens) < rows / 2:
        return None
    picked = [tokens[i] for i in np.linspace(0, len(tokens) - 1, 4 * _OWN).astype(int).tolist()]
    texts = [" ".join(picked[i::_OWN]) for i in range(_OWN)]
    counts = unknown_tokens(tokenizer, texts)
    known = counts is None or (counts[0] / np.maximum(counts[1], 1)).mean() < _UNKNOWN
    return texts if known else None
