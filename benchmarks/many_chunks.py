"""The recipe `documents` on very many chunks: seconds and memory of each of its steps, by its own notebooks.

Documents are made of the words of the general texts of `gisttools.training`, as often as they occur there: Markdown
files of ten sections, each a chunk of about 120 words, so that 10,000 files are 100,000 chunks. Nobody could tell what
is asked on them, so what is measured is the work and not what came of it: questions are looked for among all chunks and
kept wherever theirs is found. Student and guide are the static model by default, whose own time hardly counts;
`--models` embeds 2,000 of the chunks with others as well, and tells texts a second.

Memory is the largest sum over all processes of the command, the kernel's and the embedded LLM's among them, looked at
ten times a second. Prints a line a step and, last, one JSON line. Everything is written to a temporary folder, or kept
in `--folder`.

    python benchmarks/many_chunks.py [--documents 10000] [--questions 1000] [--test-questions 200]
        [--models embedded:all-MiniLM-L6-v2] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

SECTIONS, PARAGRAPHS, SENTENCES = 10, 3, 4  # of a document, of a section, of a paragraph
STATIC = "embedded:wordllama-256"
EMBEDDED = 2_000


def write_documents(folder: Path, documents: int) -> None:
    """The files, in folders of 1,000."""
    from gisttools.training import general_texts

    words = [word for text in general_texts() for word in re.findall(r"[A-Za-z']+", text.lower())]
    draw = random.Random(0)
    for number in range(documents):
        file = folder / f"{number // 1000:03}" / f"{number:06}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_document(words, draw), encoding="utf-8")


def _document(words: list[str], draw: random.Random) -> str:
    def sentence(least: int, most: int) -> str:
        return " ".join(draw.choices(words, k=draw.randint(least, most))).capitalize()

    lines = [f"# {sentence(3, 6)}"]
    for _ in range(SECTIONS):
        lines.append(f"## {sentence(2, 5)}")
        for _ in range(PARAGRAPHS):
            lines.append(" ".join(f"{sentence(6, 14)}." for _ in range(SENTENCES)))
    return "\n\n".join(lines) + "\n"


def measured(options: argparse.Namespace, place: Path) -> list[dict]:
    """What each step of the recipe took: the command says a line when one ends."""
    recipe = ["documents", "--data", str(place / "documents"), "--student", options.student, "--guide", options.student]
    recipe += ["--questions", str(options.questions), "--test-questions", str(options.test_questions)]
    recipe += ["-p", "ask.top_k", "1000000"]
    process = psutil.Popen(
        [sys.executable, "-c", "from gisttools.cli.main import main; main()", "run", *recipe],
        env=os.environ | {"GISTTOOLS_RESULTS": str(place / "results"), "GISTTOOLS_CACHE": str(place / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    ended: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process.stdout, ended), daemon=True).start()
    found, started, peak = [], time.monotonic(), 0
    while process.poll() is None or not ended.empty():
        peak = max(peak, _memory(process))
        time.sleep(0.1)
        while not ended.empty():
            at, step, told = ended.get()
            found.append({"step": step, "seconds": round(at - started), "peak_mb": peak >> 20, "told": told})
            print("{step:<9} {seconds:>6} s {peak_mb:>7} MB  {told}".format(**found[-1]), flush=True)
            started, peak = at, 0
    if process.returncode:
        sys.exit(f"gisttools run {' '.join(recipe)} failed with {process.returncode}.")
    return found


def _read(lines: Iterable[str], ended: queue.SimpleQueue) -> None:
    for line in lines:
        if found := re.match(r"\[\d+/\d+\] (\w+)\b.*? \.\.\. (.*\d.*, .*)", line):
            ended.put((time.monotonic(), found[1], found[2]))


def _memory(process: psutil.Process) -> int:
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.Error:  # one of them has just ended
        pass
    return total


def embedding(model: str, place: Path) -> dict:
    """Texts a second of a model, on chunks drawn at random, one thread."""
    import pyarrow.parquet as pq
    import torch

    from gisttools.models import open_model

    torch.set_num_threads(1)
    (file,) = (place / "results").glob("*/chunks.parquet")
    texts = pq.read_table(file, columns=["text"])["text"].to_pylist()
    texts = random.Random(0).sample(texts, min(EMBEDDED, len(texts)))
    encoder = open_model(model, device="cpu")
    started = time.process_time()
    encoder.encode(texts, batch_size=64)
    seconds = time.process_time() - started
    return {"model": model, "texts": len(texts), "texts_per_cpu_second": round(len(texts) / seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=1_000)
    parser.add_argument("--test-questions", type=int, default=200)
    parser.add_argument("--student", default=STATIC, help="the guide as well")
    parser.add_argument("--models", nargs="*", default=[], help="whose texts a second are told")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = (options.folder or Path(scratch)).resolve()
        if not (place / "documents").exists():
            write_documents(place / "documents", options.documents)
        figures = measured(options, place)
        for model in options.models:
            figures.append(embedding(model, place))
            print("{model}: {texts_per_cpu_second} texts a CPU second".format(**figures[-1]), flush=True)
    print(json.dumps({"benchmark": "many_chunks", "documents": options.documents, "figures": figures}))


if __name__ == "__main__":
    main()
