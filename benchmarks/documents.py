"""What questions of a small LLM on unlabelled documents are worth: MLQuestions, whose human queries are the test.

The corpus of MLQuestions (9,211 passages on machine learning) stands for the documents. An LLM asks on passages drawn
at random, blind to which of them people asked about; a fifth of all passages is held back for a synthetic test. The
student, all-MiniLM-L6-v2, is trained on what is left in several ways, as many steps each, and searches the whole corpus
with the 1,500 human queries, which nothing else ever sees: nDCG@10, paired by query (and seed).

Sides: `ours` (round trip, hard negatives by the guide, its mask, its scores as a small part of the targets, questions
against passages alone); `masked` (the recipe before: without these targets, negatives by guide and BM25); `taught` (the
one before that: all candidates, half of the targets are the guide's scores, no dropout); `untaught`
(that with the mask alone); `unguided` (that with neither mask nor targets); `in_batch` (the same questions, negatives
of the batch alone, no guide); `unmined` (no mined negatives, the guide's mask); `unfiltered` (`taught`, also on those
questions that filters of quality stopped); `sentences` (no LLM: a sentence in place of a question, for as many
passages again as `--sentences` says); `both` (questions and sentences, taught); `small` (`--small-folder`: questions of
another LLM, taught). `--freeze` leaves the first layers as they are; `--also`: other options of loss and training.

`--corpus docstrings` (docstrings.py) and `--corpus faqs` (faqs.py) are for choosing: other corpora with people's
queries, the first of what is installed. On docstrings `--pairs people` takes pairs by people in place of the LLM's
questions, on the same passages.

And what sentence-transformers makes of the same questions in its own trainer, in so many CPU seconds (`--seconds`), all
layers: on pairs `st_mnr` (MultipleNegativesRankingLoss), `st_gist` and `st_cached_gist` (GISTEmbedLoss and its cached
form at four times the batch, under the guide); `st_mnr_mined` (with as many negatives by its own `mine_hard_negatives`,
by the same guide, whose vectors are at hand) and `st_mnr_hard` (with our mined negatives, which is a part of ours).

The learning rate is the best of `--rates` for `ours` on the synthetic test, one seed; every side is trained at it. The
writing and each training are kept in `--folder`, so that a benchmark that was stopped goes on. Without the hub's data
it says so and ends.

    python benchmarks/documents.py --model qwen2.5-coder-1.5b-instruct-q4_k_m.gguf --folder DIR [--ask-only]
        [--calls 1500] [--steps 21] [--batch 32] [--negatives 2] [--distill 0.15] [--freeze 0] [--rates 1e-4]
        [--seeds 0 1 2] [--small-folder DIR2]
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import docstrings
import faqs
import numpy as np
import pyarrow as pa
from scoring import interval

from gisttools.common import GistError
from gisttools.data import (
    Chunk,
    ReadChunks,
    load_task,
    make_triplets_from_columns,
    mteb_task,
    read_triplets,
    split_of,
    write_triplets,
)

TASK, METRIC = "MLQuestions", "ndcg_at_10"
DOMAINS = {
    TASK: "a textbook and notes on machine learning",
    "docstrings": "the reference of Python's libraries for numbers, data and graphs",
    "faqs": "the manuals of Perl and Python",
}
STUDENT = ("sentence-transformers/all-MiniLM-L6-v2", "8b3219a92973c328a8e22fadcfa821b5dc75636a")
GUIDE = ("sentence-transformers/all-mpnet-base-v2", "9a3225965996d404b775526de6dbfe85d3368642")
SIDES = (
    "ours", "masked", "taught", "untaught", "unguided", "in_batch", "unmined", "unfiltered", "sentences", "both",
    "small",
)  # fmt: skip
PEERS = ("st_mnr", "st_gist", "st_cached_gist", "st_mnr_mined", "st_mnr_hard")
AS_THEY_COME = ("base", "guide")
UNGUIDED = ("in_batch", "unguided")
UNMINED = ("in_batch", "unmined")
UNTAUGHT = (*UNGUIDED, "masked", "untaught", "unmined")
SEARCH = {"dropout": True, "contrast_anchors": False, "contrast_positives": False}  # of `ours` and `masked`
A_LITTLE = 0.15  # the share of the guide's scores in the targets of `ours`
HALF = 0.5  # in those of the others that are taught
QUALITY = ("round-trip", "copied", "names-source", "near-duplicate", "not-text")  # what `unfiltered` takes all the same
HELD_BACK = 0.2
NEGATIVES = 2  # a question, where nothing is said
READ = 96  # tokens of a passage of those corpora that are for choosing
FEWEST_WORDS = 5  # of a sentence


def corpus_and_queries(options) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Passages and queries by id, and which passage answers which query."""
    if options.corpus != TASK:
        module = {"docstrings": docstrings, "faqs": faqs}[options.corpus]
        return module.passages_and_queries(options.folder / f"{options.corpus}.json")
    task = mteb_task(TASK)
    load_task(task)
    data = split_of(task, "default", "test")
    assert isinstance(data, dict)
    passages = {str(row["id"]): f"{row.get('title') or ''} {row['text']}".strip() for row in data["corpus"]}
    queries = {str(row["id"]): row["text"] for row in data["queries"]}
    return passages, queries, data["relevant_docs"]


def read_corpus(passages: dict[str, str], corpus: str) -> ReadChunks:
    """Each passage a chunk of a document of its own; a fifth, drawn at random, is held back."""
    names = list(passages)
    chunks = tuple(
        Chunk(id=n, document=n, title="", headings=(), text=passages[n], tokens=1, file=Path(corpus), line=1)
        for n in names
    )
    test = np.zeros(len(names), dtype=bool)
    test[np.random.default_rng(0).permutation(len(names))[: round(HELD_BACK * len(names))]] = True
    return ReadChunks(name=corpus, chunks=chunks, test=test)


def ask(options, read: ReadChunks) -> dict:
    """Let the LLM ask, where it has not yet; the summary of the writing."""
    from gisttools.models import GuideOptions, VectorCache
    from gisttools.synthesis import Checks, LLMOptions, SynthesisOptions, document_task, generate, open_llm

    told = options.folder / "summary.json"
    if told.exists():
        return json.loads(told.read_text(encoding="utf-8"))
    rows = round(options.calls / options.attempts / (1 + HELD_BACK))
    plan = SynthesisOptions(rows=rows, test_rows=round(HELD_BACK * rows), attempts=options.attempts, per_chunk=1.0)
    asked = LLMOptions(model=options.model, temperature=0.4, max_tokens=300, concurrency=options.slots, timeout=900.0)
    started = time.monotonic()
    with open_llm(
        asked, log=options.folder / "server.log", cache=options.folder / "llm.sqlite", job=options.corpus
    ) as llm:
        task = document_task(read, domain=DOMAINS[options.corpus], language="eng-Latn")
        done = generate(
            task, llm, VectorCache(GuideOptions(name=GUIDE[0], revision=GUIDE[1])), plan, checks=Checks(top_k=5)
        )
    write_triplets(done.accepted, options.folder / "accepted.parquet")
    write_triplets(done.rejected, options.folder / "rejected.parquet")
    summary = {**done.summary, "wall_seconds": round(time.monotonic() - started)}
    told.write_text(json.dumps(summary, default=str), encoding="utf-8")
    return summary


def rows_of(side: str, options, read: ReadChunks) -> Path:
    """The folder of a side's rows: pairs on the passages that are not held back, with mined negatives where it has
    some."""
    from datasets import concatenate_datasets

    miner = miner_of(side, options)
    same = dict.fromkeys(("ours", "masked", "taught", "untaught", "unguided", "st_mnr_hard"), "mined")
    side = same.get(side, "unmined" if side in PEERS else side)
    named = f"{side}-{options.sentences}" if side in ("sentences", "both") else side
    named += f"-{miner}" if side == "mined" else ""
    named += "-people" if options.pairs == "people" else ""
    named += "" if side in UNMINED or options.negatives == NEGATIVES else f"-{options.negatives}"
    folder = options.folder / "rows" / named
    if (folder / "triplets.parquet").exists():
        return folder
    source = options.small_folder if side == "small" else options.folder
    own = [chunk.passage for chunk, test in zip(read.chunks, read.test.tolist(), strict=True) if not test]
    held = {chunk.passage for chunk, test in zip(read.chunks, read.test.tolist(), strict=True) if test}
    tables = [
        pairs_of(docstrings.other_pairs(options.folder / "docstrings.json"))
        if options.pairs == "people"
        else read_triplets(source / "accepted.parquet")
    ]
    if side == "unfiltered":
        stopped = read_triplets(source / "rejected.parquet")
        tables.append(stopped.filter(lambda row: row["reject_reason"] in QUALITY and row["positive"]))
    if side in ("sentences", "both"):
        tables = [*(tables if side == "both" else []), sentences(own, options.sentences)]
    pairs = concatenate_datasets(tables).filter(lambda row: row["positive"] not in held)
    folder.mkdir(parents=True, exist_ok=True)
    if side not in UNMINED:
        pairs = mined(pairs, read, options.negatives, miner)
    write_triplets(pairs, folder / "triplets.parquet")
    return folder


def sentences(passages: list[str], count: int):
    """Pairs of a sentence and the passage that it stands in, drawn at random."""
    rng, found = np.random.default_rng(0), []
    for place in rng.permutation(len(passages)).tolist():
        parts = [part for part in re.split(r"(?<=[.!?]) +", passages[place]) if len(part.split()) >= FEWEST_WORDS]
        if len(parts) > 1:
            found.append((str(rng.choice(parts)), passages[place]))
    return pairs_of(found[:count])


def pairs_of(found: list[tuple[str, str]]):
    """Rows of query and passage."""
    anchors, positives = (pa.array(column) for column in zip(*found, strict=True))
    return make_triplets_from_columns({"anchor": anchors, "positive": positives, "task_name": "pairs"}, len(anchors))


def mined(pairs, read: ReadChunks, negatives: int, hard_from: str):
    """With hard negatives, so many each, by the guide, BM25 or both, among the passages that are not held back."""
    import pyarrow.parquet as pq

    from gisttools.data import CORPUS_FILE
    from gisttools.mining import MiningOptions, convert
    from gisttools.models import GuideOptions, VectorCache

    own = [chunk.passage for chunk, test in zip(read.chunks, read.test.tolist(), strict=True) if not test]
    with tempfile.TemporaryDirectory() as scratch:
        write_triplets(pairs, Path(scratch) / "triplets.parquet")
        pq.write_table(pa.table({"text": list(dict.fromkeys(own))}), Path(scratch) / CORPUS_FILE)
        mining = MiningOptions(strategy="hard", hard_from=hard_from, negatives=negatives)
        return convert([scratch], VectorCache(GuideOptions(name=GUIDE[0], revision=GUIDE[1])), mining=mining).triplets


def embedded(model, texts: dict[str, str], quick: bool = False) -> np.ndarray:
    """Unit vectors of texts, in their order; quick: in bfloat16."""
    import torch

    with torch.autocast("cpu", torch.bfloat16, enabled=quick):
        found = model.encode(list(texts.values()), batch_size=64, normalize_embeddings=True, show_progress_bar=False)
    return np.asarray(found, dtype=np.float32)


def searched(model, names: np.ndarray, documents: np.ndarray, queries, relevant) -> np.ndarray:
    """nDCG@10 of each query, in the order of `queries`, among documents with these names and vectors."""
    from gisttools.evaluation.items import query_scores

    asked, ranked = embedded(model, queries), {}
    for query, scores in zip(queries, asked @ documents.T, strict=True):
        best = np.argpartition(-scores, 100)[:100]
        ranked[query] = {str(names[i]): float(scores[i]) for i in best}
    found = query_scores(ranked, relevant, METRIC)
    assert found is not None
    return np.array([found[query] for query in queries])


def synthetic_test(folder: Path, read: ReadChunks) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """The questions on passages that are held back, and which passage answers each."""
    ids = {chunk.passage: chunk.id for chunk in read.chunks}
    held = {chunk.passage for chunk, test in zip(read.chunks, read.test.tolist(), strict=True) if test}
    rows = [row for row in read_triplets(folder / "accepted.parquet") if row["positive"] in held]
    return (
        {f"s{i}": row["anchor"] for i, row in enumerate(rows)},
        {f"s{i}": {ids[row["positive"]]: 1} for i, row in enumerate(rows)},
    )


def run_one(options, side: str, seed: int, rate: float) -> None:
    """Train one side and let it search; leaves its scores by query and, last, its means."""
    import torch

    from gisttools.models import GuideOptions, VectorCache, open_model
    from gisttools.training import (
        GISTLoss,
        GuideStore,
        LossOptions,
        Retention,
        RetentionOptions,
        TrainSettings,
        finetune,
        general_texts,
    )

    torch.set_num_threads(1)
    passages, queries, relevant = corpus_and_queries(options)
    read = read_corpus(passages, options.corpus)
    model, seconds = open_model(*STUDENT, device="cpu"), 0.0
    if options.corpus != TASK:
        model.max_seq_length = READ
    if side == "guide":
        model.encode = lambda texts, **_: VectorCache(GuideOptions(name=GUIDE[0], revision=GUIDE[1])).embed(texts)
    elif side in PEERS:
        own = [chunk.passage for chunk, test in zip(read.chunks, read.test.tolist(), strict=True) if not test]
        seconds = of_peer(side, model, rows_of(side, options, read), options, list(dict.fromkeys(own)), seed, rate)
    elif side != "base":
        table = read_triplets(rows_of(side, options, read) / "triplets.parquet")
        guide = None if side in UNGUIDED else VectorCache(GuideOptions(name=GUIDE[0], revision=GUIDE[1]))
        of_loss: dict[str, object] = {"temperature": 0.05, "distill": taught_by(side, options)}
        of_training: dict[str, object] = {"batch_size": options.batch, "freeze_layers": options.freeze}
        of_training |= {"max_steps": options.steps, "learning_rate": rate, "seed": seed, "dropout": False}
        for name, value in {**(SEARCH if side in ("ours", "masked") else {}), **changes(options)}.items():
            (of_loss if name in LossOptions.model_fields else of_training)[name] = value
        loss = GISTLoss(model, GuideStore.build(table, guide), LossOptions(**of_loss))
        settings = TrainSettings(**of_training)
        started = time.process_time()
        with tempfile.TemporaryDirectory() as scratch:
            held = None
            if options.retain:
                start = VectorCache(GuideOptions(name=STUDENT[0], revision=STUDENT[1], precision="float32"))
                held = Retention(general_texts(), start, RetentionOptions(weight=options.retain))
            finetune(loss, Path(scratch) / "model", settings, retention=held)
        seconds = time.process_time() - started
        model.eval()
    asked, answers = synthetic_test(options.folder, read) if options.pairs == "llm" else ({}, {})
    quick = options.corpus != TASK
    corpus = np.array(list(passages)), embedded(model, passages, quick)
    items = {"human": searched(model, *corpus, queries, relevant)}
    if asked:
        items["synthetic"] = searched(model, *corpus, asked, answers)
    name = cell(options, side, seed, rate)
    np.savez_compressed(options.folder / f"{name}.npz", **items)
    told = {"side": side, "seed": seed, "rate": rate, "cpu_seconds": round(seconds)}
    told |= {key: round(100 * float(values.mean()), 2) for key, values in items.items()}
    (options.folder / f"{name}.json").write_text(json.dumps(told), encoding="utf-8")


def miner_of(side: str, options) -> str:
    """Who finds the hard negatives of a side."""
    return options.hard_from or ("guide" if side == "ours" else "both")


def taught_by(side: str, options) -> float:
    """How much of a side's targets are the guide's scores."""
    told = options.distill if options.distill is not None else A_LITTLE if side == "ours" else HALF
    return 0.0 if side in UNTAUGHT else told


def changes(options) -> dict[str, object]:
    """Of the loss's and the training's options, by name."""
    return {name: json.loads(value) for name, value in (word.split("=", 1) for word in options.also)}


def of_peer(side: str, model, rows: Path, options, own: list[str], seed: int, rate: float) -> float:
    """Train the model in the trainer of sentence-transformers; CPU seconds. `own`: the passages to mine from."""
    from sentence_transformers.sentence_transformer.losses import (
        CachedGISTEmbedLoss,
        GISTEmbedLoss,
        MultipleNegativesRankingLoss,
    )
    from sides import fit

    from gisttools.models import open_model

    table = read_triplets(rows / "triplets.parquet")
    data = {"anchor": table["anchor"][:], "positive": table["positive"][:]}
    if side == "st_mnr_hard":
        whole = [row for row in table if len(row["negatives"]) >= options.negatives]
        data = {name: [row[name] for row in whole] for name in data}
        for i in range(options.negatives):
            data[f"negative_{i}"] = [row["negatives"][i] for row in whole]
    elif side == "st_mnr_mined":
        data = mined_by_peer(data, own, options)
    guide = open_model(*GUIDE, device="cpu") if "gist" in side else None
    batch = 4 * options.batch if side == "st_cached_gist" else options.batch
    if side == "st_gist":
        loss = GISTEmbedLoss(model, guide, temperature=0.05)
    elif side == "st_cached_gist":
        loss = CachedGISTEmbedLoss(model, guide, temperature=0.05, mini_batch_size=options.batch)
    else:
        loss = MultipleNegativesRankingLoss(model)
    started = time.process_time()
    steps = fit(model, loss, data, seed, rate, started + options.seconds, batch=batch)
    seconds = time.process_time() - started
    print(f"{side}: {steps} steps in {seconds:.0f} CPU seconds, {len(data['anchor'])} rows", file=sys.stderr)
    model.eval()
    return seconds


def mined_by_peer(pairs: dict[str, list[str]], own: list[str], options) -> dict[str, list[str]]:
    """The pairs with negatives by sentence-transformers' own mining under the guide, at the margin that its manual
    shows; pairs without enough are left out. Kept in a file, for the search is the same for every seed."""
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    from gisttools.models import GuideOptions, VectorCache, open_model

    kept = options.folder / "rows" / f"mined_by_peer-{options.pairs}.json"
    if not kept.exists():
        guide, vectors = open_model(*GUIDE, device="cpu"), VectorCache(GuideOptions(name=GUIDE[0], revision=GUIDE[1]))
        guide.encode_query = guide.encode_document = lambda texts, **_: np.array(vectors.embed(texts))
        found = mine_hard_negatives(
            Dataset.from_dict(pairs), guide, corpus=own, relative_margin=0.05, num_negatives=options.negatives,
            output_format="n-tuple", verbose=False,
        )  # fmt: skip
        kept.write_text(json.dumps(found.to_dict()), encoding="utf-8")
    return json.loads(kept.read_text(encoding="utf-8"))


def cell(options, side: str, seed: int, rate: float) -> str:
    """The name of a training's files."""
    if side in PEERS:
        told = f"{rate:g}-{options.seconds:g}s-{options.batch}"
    else:
        taught = taught_by(side, options)
        told = f"{rate:g}-{options.steps}-{options.batch}-{options.negatives}-{taught:g}-{options.freeze}"
        told += f"-{options.sentences}" if side in ("sentences", "both") else ""
        told += f"-{miner_of(side, options)}" if options.hard_from or side in ("ours", "masked") else ""
        told += f"-held{options.retain:g}" if options.retain else ""
        told += "".join(f"-{word}" for word in sorted(options.also)).replace("=", "_")
    name = side if side in AS_THEY_COME else f"{side}-{seed}-{told}"
    return f"{name}-people" if options.pairs == "people" else name


def result(options, side: str, seed: int, rate: float) -> dict:
    """What came of a training, after running it in a process of its own where that is missing."""
    kept = options.folder / f"{cell(options, side, seed, rate)}.json"
    if not kept.exists():
        named = ("corpus", "pairs", "folder", "steps", "batch", "negatives", "freeze", "sentences", "seconds", "retain")
        told = [word for name in named for word in (f"--{name}", str(getattr(options, name)))]
        told += ["--small-folder", str(options.small_folder)] if options.small_folder else []
        told += ["--also", *options.also] if options.also else []
        told += [] if options.distill is None else ["--distill", str(options.distill)]
        told += ["--hard-from", options.hard_from] if options.hard_from else []
        command = [sys.executable, __file__, *told, "--one", side, str(seed), str(rate)]
        subprocess.run(command, check=True)
    return json.loads(kept.read_text(encoding="utf-8"))


def report(options, sides: list[str], rate: float) -> dict:
    """Print the tables; the figures behind them."""
    passages, queries, relevant = corpus_and_queries(options)
    accepted = options.folder / "accepted.parquet"
    written = {row["positive"] for row in read_triplets(accepted)} if accepted.exists() else set()
    on_written = np.array([any(passages[d] in written for d in relevant[query]) for query in queries])
    items: dict[str, list[dict[str, np.ndarray]]] = {}
    for side in (*AS_THEY_COME, *sides):
        seeds = [0] * len(options.seeds) if side in AS_THEY_COME else options.seeds
        items[side] = [dict(np.load(options.folder / f"{cell(options, side, s, rate)}.npz")) for s in seeds]
        for found in items[side]:
            found |= {"written on": found["human"][on_written], "not written on": found["human"][~on_written]}
    told = {name: getattr(options, name) for name in ("steps", "batch", "negatives", "distill", "freeze")}
    figures: dict = {"benchmark": "documents", "rate": rate, **told, "sides": {}}
    parts = [name for name in ("human", "written on", "not written on", "synthetic") if name in items["base"][0]]
    parts = parts if written else ["human"]
    told_of = f"{int(on_written.sum())} of {len(on_written)} human queries on passages written on"
    print(f"nDCG@10 on {options.corpus}; {told_of}")
    for side, of_seeds in items.items():
        line, row = f"{side:<12}", {}
        for part in parts:
            mean = 100 * float(np.mean([found[part].mean() for found in of_seeds]))
            gap = interval(part, items["base"], of_seeds)
            row[part] = [round(x, 2) for x in (mean, *(100 * y for y in (gap.difference, gap.low, gap.high)))]
            change = "" if side == "base" else " {:+.1f} ({:+.1f} to {:+.1f})".format(*row[part][1:])
            line += f"  {part} {mean:.2f}{change}"
        print(line)
        figures["sides"][side] = row
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a GGUF file, or the name of an embedded LLM")
    parser.add_argument("--folder", type=Path, required=True, help="keeps what was done")
    parser.add_argument("--corpus", choices=list(DOMAINS), default=TASK)
    parser.add_argument("--pairs", choices=["llm", "people"], default="llm", help="people: of docstrings")
    parser.add_argument("--small-folder", type=Path, help="of another LLM's questions, asked with --ask-only")
    parser.add_argument("--calls", type=int, default=1500, help="at most")
    parser.add_argument("--attempts", type=float, default=1.25, help="calls for each question that is wanted, at most")
    parser.add_argument("--slots", type=int, default=2, help="calls at a time")
    parser.add_argument("--ask-only", action="store_true")
    parser.add_argument("--seconds", type=float, default=120.0, help="CPU time of the sides of sentence-transformers")
    parser.add_argument("--sides", nargs="+", choices=[*SIDES, *PEERS], default=list(SIDES[:-1]))
    parser.add_argument("--steps", type=int, default=21)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--negatives", type=int, default=NEGATIVES, help="mined, a question")
    parser.add_argument(
        "--hard-from", choices=["both", "guide", "bm25"], help="who mines; the guide for `ours`, else both"
    )
    parser.add_argument("--distill", type=float, help=f"{A_LITTLE} for `ours`, else {HALF}")
    parser.add_argument("--sentences", type=int, default=2000, help="of `sentences` and `both`")
    parser.add_argument("--freeze", type=int, default=0, help="layers that stay as they are")
    parser.add_argument(
        "--also", nargs="+", default=[], help="options of loss or training, e.g. contrast_anchors=false"
    )
    parser.add_argument("--retain", type=float, default=0.0, help="weight of general texts, as labelled texts have it")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--one", nargs=3, metavar=("SIDE", "SEED", "RATE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.one:
        run_one(options, options.one[0], int(options.one[1]), float(options.one[2]))
        return
    try:
        passages, _, _ = corpus_and_queries(options)
    except GistError as error:
        print(f"The hub's data are missing: {error}")
        return
    summary = {} if options.pairs == "people" else ask(options, read_corpus(passages, options.corpus))
    told = ("asked", "accepted", "reasons", "calls", "tokens_out", "wall_seconds")
    print(json.dumps({name: summary.get(name) for name in told}))
    if options.ask_only:
        return
    for side in AS_THEY_COME:
        result(options, side, 0, 0.0)
    rate = options.rates[0]
    if len(options.rates) > 1:
        tried = {rate: result(options, "ours", options.seeds[0], rate)["synthetic"] for rate in options.rates}
        print(f"rates on the synthetic test: {tried}")
        rate = max(tried, key=lambda r: tried[r])
    sides = [*options.sides, *(["small"] if options.small_folder and "small" not in options.sides else [])]
    for seed in options.seeds:
        for side in sides:
            result(options, side, seed, rate)
    print(json.dumps(report(options, sides, rate)))


if __name__ == "__main__":
    main()
