"""What a model reads of a text: unknown tokens by number, models that know no text refused, lengths that fit."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from helpers import MINILM, WORDLLAMA
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from gisttools.common.errors import ModelError, ParameterError
from gisttools.models import VectorCache, open_model
from gisttools.models.reading import PROBES, check_length, most_positions, probe, reading_of, unknown_tokens

CHINESE = ["我的包裹在哪里", "怎么申请退款", "商品坏了要换货", "快递什么时候到"]
ENGLISH = ["where is my parcel", "how do I get a refund", "the item is broken", "when does it come"]


@pytest.fixture(scope="module")
def plain(minilm, tmp_path_factory):
    """MiniLM as a folder: copy it."""
    folder = tmp_path_factory.mktemp("plain") / "minilm"
    minilm.save(str(folder))
    return folder


def copy_of(plain, folder):
    shutil.copytree(plain, folder)
    return folder


def word_model(words: list[str], *, rows: int | None = None) -> SentenceTransformer:
    """A static model whose vocabulary is these words, of random weights; `rows`: of its table of vectors."""
    vocabulary = {word: i for i, word in enumerate(["[UNK]", "[PAD]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    torch.manual_seed(0)
    weights = torch.randn(rows or len(vocabulary), 8).numpy()
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu")


def test_unknown_tokens_are_those_of_a_count_by_hand(minilm):
    texts = ["我的包裹在哪里", "hello world", "", "   ", "สวัสดี"]
    unknown, tokens = unknown_tokens(minilm.tokenizer, texts)
    by_hand = [minilm.tokenizer.tokenize(text) for text in texts]
    assert tokens.tolist() == [len(found) for found in by_hand]
    assert unknown.tolist() == [found.count("[UNK]") for found in by_hand]
    assert unknown[0] > 0 == unknown[1]


def test_what_was_padded_or_cut_before_is_counted_the_same(minilm):
    before = unknown_tokens(minilm.tokenizer, CHINESE)
    minilm.encode(["a much longer text that is padded to, and cut, " * 100, "short"])
    after = unknown_tokens(minilm.tokenizer, CHINESE)
    assert [x.tolist() for x in before] == [x.tolist() for x in after]


def test_a_text_of_which_nothing_is_left_is_unknown(minilm):
    unknown, tokens = unknown_tokens(minilm.tokenizer, ["\u200b\u200b", ""])
    assert (unknown.tolist(), tokens.tolist()) == ([1, 0], [1, 0])


@pytest.mark.parametrize("kind", ["BPE", "Unigram", "WordLevel"])
def test_every_kind_of_tokenizer_says_what_it_does_not_know(kind):
    made = {
        "BPE": lambda: models.BPE({"<unk>": 0, "a": 1, "b": 2}, [], unk_token="<unk>"),
        "Unigram": lambda: models.Unigram([("<none>", 0.0), ("a", -1.0), ("b", -1.0)], unk_id=0),
        "WordLevel": lambda: models.WordLevel({"<unk>": 0, "a": 1, "b": 2}, unk_token="<unk>"),
    }
    tokenizer = Tokenizer(made[kind]())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    unk = "<none>" if kind == "Unigram" else "<unk>"
    for wrapped in (tokenizer, PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unk)):
        unknown, tokens = unknown_tokens(wrapped, ["a b", "a x", "x y"])
        assert (unknown / tokens).tolist() == [0.0, 0.5, 1.0]


def test_bytes_know_everything(wordllama):
    assert reading_of(wordllama.tokenizer, CHINESE).share == 0.0
    assert reading_of(wordllama.tokenizer, CHINESE).trouble("x") is None


def test_a_guide_says_with_the_number_what_it_hardly_reads(tmp_path, caplog):
    guide = VectorCache(MINILM, folder=tmp_path)
    found = guide.reading(CHINESE, warn=True)
    assert f"does not know {100 * found.share:.0f} % of the tokens" in caplog.text
    assert "paraphrase-multilingual-MiniLM-L12-v2" in caplog.text
    assert guide.reads([*CHINESE, *ENGLISH, *CHINESE]).tolist() == [False] * 4 + [True] * 4 + [False] * 4
    assert not len(guide._files)  # nothing was embedded for that
    caplog.clear()
    guide.reading(ENGLISH, warn=True)
    assert not caplog.text


def test_of_a_file_of_vectors_nothing_is_known(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(2, dtype=np.float32))
    (tmp_path / "x.txt").write_text("我的包裹在哪里\nb\n", encoding="utf-8")
    guide = VectorCache(str(tmp_path / "x.npy"), folder=tmp_path / "cache")
    assert guide.reading(["我的包裹在哪里"], warn=True) is None
    assert guide.reads(["我的包裹在哪里"]).tolist() == [True]


@pytest.mark.parametrize("left", [(), ("tokenizer_config.json",)])
def test_a_folder_without_its_tokenizer_is_refused(plain, tmp_path, left):
    folder = copy_of(plain, tmp_path / "lost")
    for name in {"tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"} - set(left):
        (folder / name).unlink(missing_ok=True)
    for open_it in (open_model, lambda name: VectorCache(name, folder=tmp_path / "cache")):
        with pytest.raises(ModelError, match=r"does not know 100 % of the tokens of plain texts.*tokenizer is missing"):
            open_it(str(folder))


def test_a_tokenizer_of_a_handful_of_words_is_not_the_models(plain, tmp_path):
    folder = copy_of(plain, tmp_path / "foreign")
    told = json.loads((folder / "tokenizer.json").read_text())
    kept = dict(list(told["model"]["vocab"].items())[:200])  # [PAD], unused ones, [UNK], [CLS], ...
    told["model"]["vocab"] = kept
    (folder / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match="its tokenizer is missing or not its own"):
        open_model(str(folder))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda w: w.fill_(float("nan")), "all zero or not finite"),
        (lambda w: w.zero_(), "all zero or not finite|nearly the same vector"),
        (lambda w: w.copy_(w[:1].expand_as(w)), "nearly the same vector.*largest cosine is 1.0000, must be under 0.98"),
    ],
)
def test_weights_that_tell_nothing_apart_are_refused(tmp_path, damage, said):
    model = open_model(WORDLLAMA)
    with torch.no_grad():
        damage(next(iter(model.parameters())))
    model.save(str(tmp_path / "flat"))
    with pytest.raises(ModelError, match=said):
        open_model(str(tmp_path / "flat"))


@pytest.mark.parametrize("script", ["Chinese", "Thai", "Cyrillic"])
def test_a_model_of_one_script_is_a_model(script, tmp_path):
    letters = sorted({c for text in PROBES[script] for c in text})
    tokenizer = Tokenizer(models.WordLevel({c: i for i, c in enumerate(["[UNK]", *letters])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    torch.manual_seed(0)
    weights = torch.randn(len(letters) + 1, 16).numpy()
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)]).save(str(tmp_path / "one"))
    assert open_model(str(tmp_path / "one")).get_embedding_dimension() == 16


def test_a_model_of_words_of_its_own_is_a_model(tmp_path):
    words = [a + b + c for a in "ACDE" for b in "FGHI" for c in "KLMN"]  # proteins, say
    word_model(words).save(str(tmp_path / "own"))
    assert open_model(str(tmp_path / "own"))
    word_model(words, rows=10 * len(words)).save(str(tmp_path / "cut"))
    with pytest.raises(ModelError, match="its tokenizer is missing or not its own"):
        open_model(str(tmp_path / "cut"))


def random_bert(folder, minilm, **config) -> None:
    """A bare transformer of random weights, without a modules.json."""
    torch.manual_seed(0)
    size = len(minilm.tokenizer)
    told = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, **config}
    BertModel(BertConfig(vocab_size=size, **told)).save_pretrained(str(folder))
    minilm.tokenizer.save_pretrained(str(folder))


def test_a_bare_transformer_may_have_all_vectors_close_together(tmp_path, minilm):
    random_bert(tmp_path / "bare", minilm)
    model = open_model(str(tmp_path / "bare"))
    with torch.no_grad():  # as those of many language models before they are trained to embed
        model[0].auto_model.encoder.layer[-1].output.LayerNorm.bias += 5.0
    model[0].auto_model.save_pretrained(str(tmp_path / "bare"))
    again = open_model(str(tmp_path / "bare"))
    vectors = again.encode(list(PROBES["Latin"]), normalize_embeddings=True)
    assert (vectors @ vectors.T).min() > 0.98
    with pytest.raises(ModelError, match="nearly the same vector"):
        probe(again, "x")


@pytest.mark.parametrize("positions", [40, 512])
def test_more_tokens_than_positions_are_refused_with_the_number(tmp_path, minilm, positions):
    random_bert(tmp_path / "bare", minilm, max_position_embeddings=positions)
    model = open_model(str(tmp_path / "bare"))
    assert most_positions(model) == positions
    assert check_length(model, positions, "max_length") is None
    assert f"max_length is {positions + 1}, but the model has positions for {positions}" in check_length(
        model, positions + 1, "max_length"
    )


def test_a_folder_that_reads_beyond_its_positions_is_refused(plain, tmp_path):
    folder = copy_of(plain, tmp_path / "long")
    path = folder / "sentence_bert_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_seq_length": 5000}))
    config = json.loads((folder / "tokenizer_config.json").read_text()) | {"model_max_length": 5000}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="max_seq_length is 5000, but the model has positions for 512"):
        open_model(str(folder))


def test_roberta_counts_positions_from_behind_the_padding(tmp_path):
    from transformers import RobertaConfig, RobertaModel

    model = RobertaModel(RobertaConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                                       intermediate_size=8, max_position_embeddings=66))  # fmt: skip

    class Wrapped(torch.nn.Module):
        auto_model = model

    assert most_positions([Wrapped()]) == 64
    ids = torch.full((1, 64), 5)
    assert model(ids).last_hidden_state.shape == (1, 64, 8)
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, 65), 5))


def test_a_revision_of_what_has_none_is_refused(plain):
    for name in (str(plain), MINILM):
        with pytest.raises(ParameterError, match="has no revision 'main'"):
            open_model(name, "main")


def test_the_probe_is_one_small_batch(monkeypatch, minilm):
    asked = []
    encode = SentenceTransformer.encode
    monkeypatch.setattr(SentenceTransformer, "encode", lambda self, x, **o: asked.append(x) or encode(self, x, **o))
    probe(minilm, "x")
    assert [len(texts) for texts in asked] == [len(PROBES["Latin"])]
