"""What running notebooks as runs costs: over bare papermill, when all is done already, with many runs, side by side.

Each measurement is a process of its own, repeated, the sides in turn; the median counts. The parts:

notebook   `gisttools run convert` against `papermill notebooks/2_convert.ipynb`, same parameters, a new run each time
cached     `gisttools run` of a recipe of five steps, all done: two conversions, a training, an evaluation, a report
list       `gisttools runs` over 1,000 runs, with 10 and 100 artefacts in each manifest; and the reading alone, whose
           CPU seconds hold the imports too
start      `gisttools --help` and `import gisttools`, against Python itself
sweep      8 short runs one after the other in one process, and by `sweep(specs, workers=2)`
short      20 trainings of 5 steps by `sweep(specs, workers=1)`: each loads the libraries itself, and as forks of one
           process that has loaded them (`GISTTOOLS_WARM`)

Prints a table (next to other work, CPU seconds of a process and its children say more than wall seconds; Windows does
not tell them) and, last, one JSON line. Everything is written to a temporary folder.

    python benchmarks/workflow.py [--parts notebook cached list start sweep short] [--rounds 3] [--runs 8] [--short 20]
        [--manifests 1000]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUIDE = "embedded:wordllama-256"
SHORT = {"sources": ["data/support_intents"], "eval_files": [], "guide": GUIDE}
PARTS = ("notebook", "cached", "list", "start", "sweep", "short")
RECIPE = f"""
name: five
steps:
  - {{name: convert, verb: convert, parameters: {{eval_files: [], guide: "{GUIDE}"}}}}
  - {{name: again, verb: convert, parameters: {{eval_files: [], guide: "{GUIDE}", seed: 1}}}}
  - name: finetune
    verb: finetune
    parameters: {{triplets: [$convert], student: "{GUIDE}", guide: "{GUIDE}", max_steps: 5}}
  - {{name: evaluate, verb: evaluate, parameters: {{model: $finetune, baseline: null, guards: []}}}}
  - {{name: report, verb: report, parameters: {{evaluation: $evaluate}}}}
"""
READ = """
import time
from gisttools.workflow import all_runs
started = time.perf_counter()
assert len(all_runs()) == {count}
print(time.perf_counter() - started)
"""
SWEEP = """
import json, sys, time
from gisttools.workflow.execute import run_notebook
from gisttools.workflow.schedule import sweep
if __name__ == "__main__":
    specs = [("convert", {short} | {{"seed": seed}}) for seed in range({runs})]
    started = time.perf_counter()
    done = {call}
    assert [run.status for run in done] == ["ok"] * {runs}
    print(json.dumps([time.perf_counter() - started, [run.artefacts["triplets.parquet"] for run in done]]))
"""


SHORT_TRAININGS = """
import json
from gisttools.workflow.execute import run_notebook
from gisttools.workflow.schedule import sweep
if __name__ == "__main__":
    rows = run_notebook("convert", {short})
    told = {{"triplets": [rows.id], "student": "{guide}", "guide": "{guide}", "max_steps": 5}}
    done = sweep([("finetune", told | {{"seed": seed}}) for seed in range({runs})], workers=1)
    assert [run.status for run in done] == ["ok"] * {runs}
    print(json.dumps([run.artefacts["model/model.safetensors"] for run in done]))
"""


class Home:
    """A temporary folder: caches that all measurements share, and results for each that wants its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def process(self, command: list[str], results: str, **more: str) -> tuple[float, str]:
        """Seconds and output of a process that writes its runs to this results folder; `more` is in its environment."""
        told = {"GISTTOOLS_RESULTS": str(self.folder / results), "GISTTOOLS_CACHE": str(self.folder / "cache")}
        offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(self.folder / "hub")}
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | told | offline | more)
        seconds = time.perf_counter() - started
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        return seconds, done.stdout

    def gisttools(self, *arguments: str, results: str) -> float:
        return self.process([sys.executable, "-m", "gisttools.cli.main", *arguments], results)[0]

    def script(self, text: str, results: str, **more: str) -> tuple[float, str]:
        path = self.folder / "script.py"  # a file: spawned processes read it again
        path.write_text(text, encoding="utf-8")
        return self.process([sys.executable, str(path)], results, **more)


def children_cpu() -> float:
    """CPU seconds of all child processes so far that have ended, their children included."""
    told = os.times()
    return told.children_user + told.children_system


def in_turn(sides: dict, rounds: int) -> dict[str, dict[str, float]]:
    """Median of what each side's function (of the round) returns, and of its CPU seconds, all sides in each round."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for i in range(rounds):
        for name, measure in sides.items():
            before = children_cpu()
            seconds = measure(i)
            seen[name].append((seconds, children_cpu() - before))
    return {
        name: dict(zip(("seconds", "cpu"), map(statistics.median, zip(*found, strict=True)), strict=True))
        for name, found in seen.items()
    }


def once(measure) -> dict[str, float]:
    return in_turn({"": lambda _: measure()}, 1)[""]


def parameters(told: dict) -> list[str]:
    return [part for name, value in told.items() for part in ("-p", name, json.dumps(value))]


def notebook(home: Home, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    def bare(i: int) -> float:
        yaml = home.folder / "parameters.yaml"
        yaml.write_text(json.dumps(SHORT | {"seed": i}), encoding="utf-8")
        out = str(home.folder / "out.ipynb")
        told = ["notebooks/2_convert.ipynb", out, "-k", "python3", "-f", str(yaml), "--no-progress-bar"]
        return home.process([sys.executable, "-m", "papermill", *told], f"bare{i}")[0]

    def ours(i: int) -> float:
        return home.gisttools("run", "convert", *parameters(SHORT | {"seed": i}), results=f"ours{i}")

    bare(999)  # the guide's vectors are kept from here on
    found = in_turn({"bare papermill": bare, "gisttools run": ours}, args.rounds)
    return found | {"overhead": {k: found["gisttools run"][k] - found["bare papermill"][k] for k in ("seconds", "cpu")}}


def cached(home: Home, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    recipe = home.folder / "five.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    line = ["run", str(recipe)]
    first = once(lambda: home.gisttools(*line, results="five"))
    return {"first time": first} | in_turn({"all done": lambda _: home.gisttools(*line, results="five")}, args.rounds)


def write_runs(folder: Path, count: int, artefacts: int) -> None:
    """Manifests as runs leave them, of the five verbs in turn."""
    from gisttools.workflow import check_params, write_manifest

    verbs = ("synthesize", "convert", "finetune", "evaluate", "report")
    whole: dict[str, dict] = {}
    for i in range(count):
        verb, started = verbs[i % 5], datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=i)
        run = folder / f"{verb}-{started:%Y%m%dT%H%M%SZ}-{i:08x}"
        run.mkdir(parents=True)
        if verb not in whole:  # versions, hardware and git are the same for all
            told = {"verb": verb, "status": "ok", "headline": "accuracy 29.9 → 38.5 (+8.6 points)", "seconds": 1.0}
            more = {"parameters": check_params(verb, {}).model_dump(), "seeds": {}, "parents": [], "error": None}
            write_manifest(run, told | more)
            whole[verb] = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
        own = {"run_id": run.name, "started": started.isoformat(timespec="milliseconds"), "spec_hash": f"{i:064x}"}
        files = {"artefacts": {f"predictions/tuned/task_{n}.json": f"{n:064x}" for n in range(artefacts)}}
        text = json.dumps(whole[verb] | own | files, indent=1, ensure_ascii=False)
        (run / "manifest.json").write_text(text, encoding="utf-8")


def listing(home: Home, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    sides = {}
    for artefacts in (10, 100):
        results = f"many{artefacts}"
        write_runs(home.folder / results, args.manifests, artefacts)
        read = READ.format(count=args.manifests)
        sides[f"{artefacts} artefacts, reading alone"] = lambda _, r=results, s=read: float(home.script(s, r)[1])
        sides[f"{artefacts} artefacts, gisttools runs"] = lambda _, r=results: home.gisttools("runs", results=r)
    return in_turn(sides, args.rounds)


def start(home: Home, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    sides = {
        "python -c pass": lambda _: home.process([sys.executable, "-c", "pass"], "none")[0],
        "import gisttools": lambda _: home.process([sys.executable, "-c", "import gisttools"], "none")[0],
        "gisttools --help": lambda _: home.gisttools("--help", results="none"),
    }
    return in_turn(sides, 3 * args.rounds)


def side_by_side(home: Home, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    home.gisttools("run", "convert", *parameters(SHORT | {"seed": 999}), results="warm")  # the guide's vectors
    made: dict[str, list[str]] = {}

    def measure(side: str, call: str, i: int) -> float:
        script = SWEEP.format(short=SHORT, runs=args.runs, call=call)
        seconds, made[side] = json.loads(home.script(script, f"{side}{i}")[1].splitlines()[-1])
        return seconds

    sides = {
        "one after the other": "[run_notebook(verb, told) for verb, told in specs]",
        "two processes": "sweep(specs, workers=2)",
    }
    found = in_turn({s: lambda i, s=s, c=c: measure(s, c, i) for s, c in sides.items()}, max(1, args.rounds // 2))
    one, other = made.values()
    if one != other:
        sys.exit("The triplets of both sides differ.")
    return found | {
        "times faster": {"seconds": found["one after the other"]["seconds"] / found["two processes"]["seconds"]}
    }


def short(home: Home, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    made: dict[str, list[str]] = {}

    def measure(warm: str, runs: int, results: str) -> float:
        script = SHORT_TRAININGS.format(short=SHORT, guide=GUIDE, runs=runs)
        seconds, said = home.script(script, results, GISTTOOLS_WARM=warm)
        made[warm] = json.loads(said.splitlines()[-1])
        return seconds

    measure("1", 1, "warm-up")  # the guide's vectors, and all files of the libraries read once
    sides = {"each loads the libraries": "0", "forks of one that has": "1"}
    found = in_turn(
        {side: lambda i, w=w: measure(w, args.short, f"short{w}{i}") for side, w in sides.items()},
        max(1, args.rounds // 2),
    )
    if made["0"] != made["1"]:
        sys.exit("The models of both sides differ.")
    one, other = found.values()
    return found | {"times faster": {name: one[name] / other[name] for name in one}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=8, help="of the sweep")
    parser.add_argument("--short", type=int, default=20, help="trainings of the part of that name")
    parser.add_argument("--manifests", type=int, default=1000)
    args = parser.parse_args()
    functions = {"notebook": notebook, "cached": cached, "list": listing, "start": start, "sweep": side_by_side}
    functions["short"] = short
    found = {}
    with tempfile.TemporaryDirectory(prefix="gisttools-") as folder:
        for part in args.parts:
            found[part] = functions[part](Home(Path(folder)), args)
    print(f"{'part':<10}{'':<34}{'seconds':>9}{'CPU':>9}")
    for part, figures in found.items():
        for name, told in figures.items():
            print(f"{part:<10}{name:<34}" + "".join(f"{value:>9.2f}" for value in told.values()))
    rounded = {p: {n: {k: round(v, 3) for k, v in told.items()} for n, told in f.items()} for p, f in found.items()}
    told = ("rounds", "runs", "short", "manifests")
    options = {name: getattr(args, name) for name in told} | {"cores": os.cpu_count()}
    print(json.dumps({"benchmark": "workflow", **options, **rounded}))


if __name__ == "__main__":
    main()
