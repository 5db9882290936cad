"""One measured example of each of the six kinds of data: the tasks of prompts/tasks, written by a real LLM.

Measured of each: calls, rows a minute, which share of the texts passes, why others do not, in which share of the rows
a negative survives the guide's mask (live), and a judge that no filter uses: in which share of the rows, accepted and
rejected ones with all their texts, all-mpnet-base-v2 finds the positive nearer to the anchor than every negative.
all-MiniLM-L6-v2 is the guide; of translations, which neither of the two reads, the guide's order is not asked.

    python benchmarks/kinds.py --model qwen2.5-coder-1.5b-instruct-q4_k_m.gguf --folder DIR [--rows 16] [--kinds sts]

`--sentences FILE` leaves 200 sentences of STSBenchmark's train part there, for sentences.yaml, and asks nobody.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
from quality import STUDENT
from synthetic import GUIDE, vectors_of

TASKS = Path(__file__).parents[1] / "prompts" / "tasks"
KINDS = {  # of each: its task, and the prompt where it is not the kind's own
    "classification": ("support_intents", "classification_several"),
    "clustering": ("clustering", "classification_several"),
    "retrieval": ("retrieval_handbook", None),
    "reranking": ("reranking", None),
    "sts": ("sts", None),
    "bitext": ("bitext", None),
}


def write(kind: str, model: str, rows: int, threads: int | None, folder: Path) -> None:
    """Leaves the rows and the summary in `folder`, where they are not there yet."""
    from gisttools.data import write_triplets
    from gisttools.synthesis import LLM, Checks, LLMOptions, SynthesisOptions, generate, read_task, serve_local

    if (folder / "summary.json").exists():
        return
    name, prompt = KINDS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    checks = Checks(guide_order=False) if kind == "bitext" else Checks()
    with serve_local(model, threads=threads, log=folder / "server.log") as server:
        asked = LLMOptions(base_url=server.base_url, model=server.model, timeout=900.0)
        llm, started = LLM(asked, cache=folder / "llm.sqlite"), time.monotonic()
        options = SynthesisOptions(rows=rows, prompt=prompt)
        found = generate(read_task(TASKS / f"{name}.yaml"), llm, vectors_of(STUDENT), options, checks=checks)
    write_triplets(found.accepted, folder / "accepted.parquet")
    write_triplets(found.rejected, folder / "rejected.parquet")
    summary = found.summary | {"wall_minutes": (time.monotonic() - started) / 60}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")


def leave_sentences(file: Path) -> None:
    """200 first sentences of STSBenchmark's train part, of 6 to 16 words, drawn at random."""
    from gisttools.data import load_task, mteb_task, split_of

    task = mteb_task("STSBenchmark")
    load_task(task)
    data = split_of(task, "default", "train")
    found = list(dict.fromkeys(text for text in data["sentence1"] if 6 <= len(text.split()) <= 16))
    random.Random(0).shuffle(found)
    file.write_text("\n".join(found[:200]) + "\n", encoding="utf-8")


def in_order(rows, guide) -> tuple[float | None, int]:
    """The share of rows whose positive is nearer than every negative, by another model, and how many rows have all."""
    whole = [r for r in rows if r["anchor"] and r["positive"] and r["negatives"]]
    if not whole:
        return None, 0

    def unit(texts):
        return np.asarray(guide.embed(texts))

    anchors, positives = unit([r["anchor"] for r in whole]), unit([r["positive"] for r in whole])
    own = np.einsum("nd,nd->n", anchors, positives)
    nearest = [float((unit(list(r["negatives"])) @ a).max()) for r, a in zip(whole, anchors, strict=True)]
    return float(np.mean(own > np.array(nearest))), len(whole)


def share_of(value: float | None) -> str:
    """In words."""
    return "none" if value is None else f"{value:.0%}"


def main() -> None:
    from gisttools.data import read_triplets

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="path of a GGUF file, or the name of an embedded LLM")
    parser.add_argument("--folder", type=Path, help="keeps what was done")
    parser.add_argument("--sentences", type=Path, metavar="FILE", help="leave sentences there, and do nothing else")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--threads", type=int, help="of the LLM; as many as are free if left out")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    o = parser.parse_args()
    if o.sentences:
        leave_sentences(o.sentences)
        return
    if not (o.model and o.folder):
        parser.error("--model and --folder are needed")
    judge, figures = vectors_of(GUIDE), []
    print(f"{'kind':<16}{'calls':>6}{'texts':>7}{'rows':>6}{'a min':>7}{'passed':>8}{'live':>7}{'in order':>10}"
          f"{'rejected':>10}")  # fmt: skip
    for kind in o.kinds:
        folder = o.folder / kind
        write(kind, o.model, o.rows, o.threads, folder)
        told = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        (good, _), (bad, n) = (
            in_order(read_triplets(folder / f"{part}.parquet"), judge) for part in ("accepted", "rejected")
        )
        row = {"kind": kind, "calls": told["calls"], "texts": told["asked"], "rows": told["accepted"]}
        row |= {"minutes": told["wall_minutes"], "live": told["live_negatives"], "reasons": told["reasons"]}
        row["passed"] = (row["rows"] + told["reasons"].get("over-quota", 0)) / row["texts"]
        row |= {"in_order": good, "rejected_in_order": bad, "rejected_whole": n}
        print(f"{kind:<16}{row['calls']:>6}{row['texts']:>7}{row['rows']:>6}{row['rows'] / row['minutes']:>7.1f}"
              f"{row['passed']:>8.0%}{row['live']:>7}{share_of(good):>10}{f'{share_of(bad)} of {n}':>10}"
              f"  {row['reasons']}", flush=True)  # fmt: skip
        figures.append(row)
    print(json.dumps({"benchmark": "kinds", "model": Path(o.model).name, "kinds": figures}))


if __name__ == "__main__":
    main()
