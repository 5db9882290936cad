"""The contest: which way of training an encoder on labelled texts gives the best model for the same CPU seconds.

The sides are those of `sides.py`: sentence-transformers' losses, supervised contrastive loss, a linear head by
cross-entropy, SetFit, the frozen encoder, and this project. Every side trains all-MiniLM-L6-v2 on the train part of
each set for `--seconds` CPU seconds, and is scored on its test part by mteb's few-shot accuracy (classifiers fitted on
8 texts a label), by a classifier fitted on all training texts, and on STSBenchmark, which none of them trains on.

This project is trained as it is where nothing is set. The learning rate of each other side and set is the best of
`--rates` on a quarter of the train part that is held out, near copies on one side, after a third of the seconds; the
test part is looked at once a seed. Intervals are over seeds and test items together
(`gisttools.evaluation.crossed_interval`), on STSBenchmark over seeds.

`--curve 20 40 80 160` draws, for each set, the development score after so many CPU seconds, each side at its rate, into
`--folder`: the trainings of the picture are added where they are missing.

`--labels 8` gives each side 8 texts a label, for encoder and classifier both. A set is an mteb task, or NAME=FOLDER
with train and test files. Each training has a process of its own, and its result a file in `--folder`: a benchmark that
was stopped goes on where it was, and `--table` prints what there is. Without the hub's data, or with `--small`, an
embedded static student and data/support_intents stand in: the numbers say little. Prints tables and, last, a JSON line.

    python benchmarks/quality.py [--sets Banking77Classification ... hwu64=FOLDER] [--sides ours mnr ...]
        [--seeds 0 1 2] [--seconds 120] [--rates 1e-4 3e-4 1e-3] [--labels 8] [--curve 20 40 80] --folder DIR
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scoring import few_shot, interval, linear, remember, score

BASE, GUARD, ALL = "frozen", "STSBenchmark", "all labels"
SIDES = ("ours", "mnr", "gist", "cached_gist", "triplet", "supcon", "head", "setfit")
PARTS = ("ours-whole", "ours-unheld", "ours-start", "ours-mask")  # this project with a part changed: a table of its own
STUDENT = ("sentence-transformers/all-MiniLM-L6-v2", "8b3219a92973c328a8e22fadcfa821b5dc75636a")
SUPPORT = str(Path(__file__).parents[1] / "data" / "support_intents")
MOST_DEV = 1000  # held-out texts


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training: of a side on a set, by seed and learning rate, for so many CPU seconds."""

    set: str
    side: str
    seed: int
    rate: float
    seconds: float
    labels: int | None
    part: str  # "dev" or "test"
    student: str

    @property
    def name(self) -> str:
        """Of its files."""
        few = f"-{self.labels}" if self.labels else ""
        return f"{plain(self.set)}{few}-{self.part}-{self.side}-{self.seed}-{self.rate:g}-{self.seconds:g}"


def plain(name: str) -> str:
    """A set's name without where it lies."""
    return Path(name.split("=")[0]).name


def texts_of(name: str, part: str) -> tuple[list[str], list[str]]:
    """The texts and labels of a part of a set."""
    from gisttools.data import ReadOptions, read_labelled

    data = read_labelled(name.split("=")[-1], ReadOptions(split=part))
    return list(data.texts), [str(label) for label in data.labels]


def parts_of(cell: Cell):
    """What the cell trains on and is asked about: (texts, labels) each."""
    train = texts_of(cell.set, "train")
    if cell.labels:
        train = few_of(train, cell.labels, cell.seed)
    if cell.part == "test":
        return train, texts_of(cell.set, "test")
    from gisttools.data import split_texts

    held = split_texts(*train, share=0.25, seed=0).test
    kept, asked = (tuple([x for x, k in zip(side, mask, strict=True) if k] for side in train) for mask in (~held, held))
    rows = np.random.default_rng(0).permutation(len(asked[0]))[:MOST_DEV]
    return kept, tuple([side[i] for i in rows] for side in asked)


def few_of(train: tuple[list[str], list[str]], count: int, seed: int) -> tuple[list[str], list[str]]:
    """`count` texts of each label, drawn by the seed."""
    labels, rng = np.asarray(train[1]), np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(np.flatnonzero(labels == name))[:count] for name in np.unique(labels)])
    return [train[0][i] for i in rows], [train[1][i] for i in rows]


def run_cell(cell: Cell, folder: Path) -> None:
    """Train and score; leaves `<name>.npz` and, last, `<name>.json`."""
    import torch
    from sides import train

    from gisttools.models import open_model

    torch.set_num_threads(1)

    named = STUDENT if cell.student == STUDENT[0] else (cell.student, None)
    known, asked = parts_of(cell)
    facts = {"steps": 0, "cpu_seconds": 0.0}
    student = open_model(*named, device="cpu")
    if cell.side != BASE:
        student, facts = train(cell.side, named, *known, cell.seed, cell.rate, cell.seconds)
    remember(student)
    items = {}
    if cell.part == "dev":
        scores = {"few-shot": few_shot(student, known, asked)}
    else:
        right = linear(student, known, asked)
        scores, items = {ALL: 100 * float(right.mean())}, {ALL: right}
        if not cell.labels:
            named, folder_set = ([], [cell.set.split("=")[-1]]) if is_folder(cell.set) else ([cell.set], [])
            found, answers = score(student, named, folder_set, guards=[GUARD] if cell.student == STUDENT[0] else [])
            scores |= {"few-shot" if name != GUARD else name: value for name, value in found.items()}
            items |= {key if key.startswith(GUARD) else "few-shot": value for key, value in answers.items()}
    np.savez_compressed(folder / f"{cell.name}.npz", **items)
    partial = folder / f"{cell.name}.partial"
    partial.write_text(json.dumps({**vars(cell), "set": plain(cell.set), **facts, "scores": scores}), encoding="utf-8")
    partial.replace(folder / f"{cell.name}.json")


def is_folder(name: str) -> bool:
    """Whether a set is files here, not an mteb task."""
    return "=" in name or Path(name).exists()


class Contest:
    """The cells of a contest: runs those that are missing, reads the others."""

    def __init__(self, options: argparse.Namespace, student: str) -> None:
        self.o, self.student = options, student

    def cell(self, name: str, side: str, seed: int, rate: float, seconds: float, part: str) -> Cell:
        """One of them."""
        return Cell(
            set=name,
            side=side,
            seed=seed,
            rate=rate,
            seconds=seconds,
            labels=self.o.labels,
            part=part,
            student=self.student,
        )

    def result(self, cell: Cell) -> dict | None:
        """What it found, after running it where that is missing; None where it is missing and only tables are asked."""
        kept = self.o.folder / f"{cell.name}.json"
        if not kept.exists():
            if self.o.table:
                return None
            started = time.monotonic()
            command = [sys.executable, __file__, "--one", json.dumps(vars(cell)), "--folder", str(self.o.folder)]
            environment = {"OMP_WAIT_POLICY": "passive", **os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                raise SystemExit(f"{cell.name} failed:\n{done.stderr[-3000:]}")
            print(f"  {cell.name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        return json.loads(kept.read_text(encoding="utf-8"))

    def items(self, cell: Cell) -> dict[str, np.ndarray]:
        """What it got right, by score."""
        return dict(np.load(self.o.folder / f"{cell.name}.npz"))

    def rate(self, name: str, side: str) -> tuple[float, dict[float, float]]:
        """The learning rate of a side on a set, and the development scores of all that were tried."""
        if side.startswith("ours"):
            return self.own_rate(side), {}
        results = [(cell.rate, self.result(cell)) for cell in self.tried(name, side)]
        found = {rate: result["scores"]["few-shot"] for rate, result in results if result is not None}
        if found:
            return max(found, key=lambda rate: found[rate]), found
        return self.tested(name, side) or self.o.rates[0], {}

    def own_rate(self, side: str) -> float:
        """What this project trains at where nothing is set."""
        from gisttools.training.rates import USUAL

        if self.student != STUDENT[0]:
            return USUAL["static"].labelled
        return USUAL["transformer"].labelled if side in ("ours-whole", "ours-mask") else USUAL["transformer"].frozen

    def tested(self, name: str, side: str) -> float | None:
        """The learning rate of a test that there is, where those it was chosen from are not at hand."""
        start = f"{plain(name)}{f'-{self.o.labels}' if self.o.labels else ''}-test-{side}-"
        kept = self.o.folder.glob(f"{start}[0-9]*-{self.o.seconds:g}.json") if self.o.table else ()
        return next((json.loads(file.read_text(encoding="utf-8"))["rate"] for file in sorted(kept)), None)

    def cells(self, name: str, side: str) -> list[Cell]:
        """The trainings that are tested, of each seed; the frozen encoder has no seed, and few labels have."""
        rate, _ = self.rate(name, side)
        cells = []
        for seed in self.o.seeds:
            drawn = seed if side != BASE or self.o.labels else 0
            cells.append(self.cell(name, side, drawn, rate, self.o.seconds if side != BASE else 0, "test"))
        return cells

    def tried(self, name: str, side: str) -> list[Cell]:
        """The trainings of a side on a set by which its learning rate is chosen."""
        if len(self.o.rates) == 1 or side == BASE or side.startswith("ours"):
            return []
        return [self.cell(name, side, 0, rate, self.o.seconds / 3, "dev") for rate in self.o.rates]

    def run(self) -> None:
        """All cells, one seed of all sides after the other, so that what there is can be compared early."""
        pairs = [(name, side) for name in self.o.sets for side in (BASE, *self.o.sides)]
        self._run([cell for pair in pairs for cell in self.tried(*pair)])
        for place in range(len(self.o.seeds)):
            self._run([self.cells(*pair)[place] for pair in pairs])

    def curves(self, name: str, seconds: list[float]) -> dict[str, list[tuple[float, float]]]:
        """Of each side its development score (0 to 100) after so many seconds, from trainings of that length; of those
        that there are, where only tables are asked for."""
        cells = {
            side: [self.cell(name, side, 0, self.rate(name, side)[0], budget, "dev") for budget in sorted(seconds)]
            for side in self.o.sides
        }
        if not self.o.table:
            self._run([cell for of_side in cells.values() for cell in of_side])
        found = {}
        for side, of_side in cells.items():
            told = [(cell.seconds, self.result(cell)) for cell in of_side]
            found[side] = [(budget, result["scores"]["few-shot"]) for budget, result in told if result is not None]
        return {side: points for side, points in found.items() if points}

    def _run(self, cells: list[Cell]) -> None:
        with ThreadPoolExecutor(self.o.workers) as pool:
            list(pool.map(self.result, {cell.name: cell for cell in cells}.values()))


def report(contest: Contest) -> dict:
    """Print the tables of what there is; the figures behind them."""
    o, figures = contest.o, {}
    for name in o.sets:
        done = {}
        for side in (BASE, *o.sides):
            cells = [c for c in contest.cells(name, side) if (o.folder / f"{c.name}.json").exists()]
            if len(cells) == len(o.seeds):
                done[side] = cells
        if done:
            figures[name.split("=")[0]] = print_set(contest, name, done)
    return {"benchmark": "quality", "student": contest.student, "seconds": o.seconds, "seeds": o.seeds, "sets": figures}


def print_set(contest: Contest, name: str, done: dict[str, list[Cell]]) -> dict:
    """The table of one set: scores, and what the first side is ahead of each other by."""
    results = {side: [contest.result(c) for c in cells] for side, cells in done.items()}
    items = {side: [contest.items(c) for c in cells] for side, cells in done.items()}
    metrics, first = list(results[next(iter(done))][0]["scores"]), next((s for s in done if s != BASE), BASE)
    print(f"\n{name.split('=')[0]}, {contest.o.seconds:g} CPU seconds, seeds {contest.o.seeds}")
    print(
        f"{'side':<14}{'rate':>8}{'steps':>7}{'CPU s':>7}"
        + "".join(f"{m:>16}  {first + ' is ahead':>24}" for m in metrics)
    )
    found = {}
    for side, of_seeds in results.items():
        rate, tried = contest.rate(name, side)
        row = {
            "rate": rate,
            "dev": tried,
            **{k: float(np.mean([r[k] for r in of_seeds])) for k in ("steps", "cpu_seconds")},
        }
        cells = f"{side:<14}{rate if side != BASE else '':>8}{row['steps']:>7.0f}{row['cpu_seconds']:>7.0f}"
        for metric in metrics:
            values = [r["scores"][metric] for r in of_seeds]
            row[metric] = {"mean": round(float(np.mean(values)), 2), "by_seed": values}
            spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 and side != BASE else ""
            ahead = ""
            if side != first:
                gap = interval(metric, items[side], items[first])
                row[metric]["ahead"] = [round(100 * x, 2) for x in (gap.difference, gap.low, gap.high)]
                ahead = "{:+.1f} ({:+.1f} to {:+.1f})".format(*row[metric]["ahead"])
            cells += f"{f'{np.mean(values):.1f}{spread}':>16}  {ahead:>24}"
        print(cells)
        found[side] = row
    tried = {side: row["dev"] for side, row in found.items() if row["dev"]}
    for side, scores in tried.items():
        print(f"  rates of {side} on held-out train texts: " + ", ".join(f"{r:g}: {v:.1f}" for r, v in scores.items()))
    return found


def draw_curves(curves: dict[str, list[tuple[float, float]]], name: str, file: Path) -> None:
    """A line a side, the first one thick; each named at its end, names apart."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    ends = sorted((points[-1][1], side) for side, points in curves.items())
    low, high = min(y for points in curves.values() for _, y in points), ends[-1][0]
    gap, place = 0.05 * (high - low), float("-inf")
    first = next(iter(curves))
    for end, side in ends:
        points, ours = curves[side], side == first
        colour = "#0b6bb8" if ours else "#646b75"
        axes.plot(*zip(*points, strict=True), "o-", color=colour, linewidth=2.4 if ours else 1.1, markersize=4)
        place = max(end, place + gap)
        told = {"color": colour, "va": "center", "weight": "bold" if ours else "normal", "fontsize": 9}
        axes.annotate(f"{side} {end:.1f}", (points[-1][0] * 1.05, place), annotation_clip=False, **told)
    axes.set_xscale("log")
    ticks = sorted({x for points in curves.values() for x, _ in points})
    axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
    axes.minorticks_off()
    axes.set_xlim(ticks[0] * 0.92, ticks[-1] * 1.6)
    axes.set_xlabel("CPU seconds of the training")
    axes.set_title(f"{name}: accuracy by 8 texts a label, on held-out train texts", loc="left", fontsize=10)
    axes.grid(axis="y", color="#dcdfe4", linewidth=0.7)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, labelsize=9, labelcolor="#646b75")
    figure.savefig(file)


def have_hub_data(sets: list[str]) -> bool:
    """Whether model and data can be read; says what is missing where they cannot."""
    from gisttools.common import GistError
    from gisttools.data import load_task, mteb_task
    from gisttools.models import open_model

    try:
        for name in sets:
            texts_of(name, "train")
        load_task(mteb_task(GUARD))
        open_model(*STUDENT, device="cpu")
    except GistError as error:
        print(f"The hub's data or model are missing, so the small version runs instead. {error}\n")
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=["Banking77Classification", "AmazonCounterfactualClassification"])
    parser.add_argument("--sides", nargs="+", choices=[*SIDES, *PARTS], default=list(SIDES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=120.0, help="CPU seconds of a training")
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[1e-4, 3e-4, 1e-3], help="learning rates to choose from"
    )
    parser.add_argument("--labels", type=int, help="texts of each label; all of them if left out")
    parser.add_argument("--folder", type=Path, help="keeps results, so that a stopped benchmark goes on")
    parser.add_argument("--small", action="store_true", help="an embedded static student on data/support_intents")
    parser.add_argument("--workers", type=int, default=1, help="trainings at a time, a core each")
    parser.add_argument("--curve", type=float, nargs="+", default=[], help="draw scores after so many CPU seconds")
    parser.add_argument("--table", action="store_true", help="print what there is and run nothing")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_cell(Cell(**json.loads(options.one)), options.folder)
        return
    small = options.small or not have_hub_data(options.sets)
    if small:
        options.sets, options.sides, options.seeds = [SUPPORT], ["ours", "supcon", "mnr"], options.seeds[:1]
        options.seconds, options.rates = 4.0, [1e-2]
    options.folder = options.folder or Path(tempfile.mkdtemp(prefix="gisttools-quality-"))
    options.folder.mkdir(parents=True, exist_ok=True)
    contest = Contest(options, "embedded:wordllama-256" if small else STUDENT[0])
    if options.curve:
        for name in options.sets:
            title = name.split("=")[0]
            if found := contest.curves(name, options.curve):
                draw_curves(found, title, options.folder / f"{title}.svg")
                print(f"{title}: " + json.dumps(found))
        return
    if not options.table:
        contest.run()
    print(json.dumps(report(contest)))


if __name__ == "__main__":
    main()
