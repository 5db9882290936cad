"""Two processes that ask the same of one hostile server through one cache, and are killed: who paid for what?

    python tests/helpers/hostile.py --calls 1000 --kills 3

The server answers by the text of a request, in every way that an endpoint may answer. It counts each answer that it
sent whole, whoever got it: those are paid.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.server import RESET, Call, Server, completion, refusal

GOOD = '{"text": "fine"}'
TOKENS = (7, 3)  # of every answer, whatever the server says
KINDS = (
    ["good"] * 12
    + ["thoughts first", "half a character", "parts", "no usage", "negative usage", "absurd usage", "usage is text"]
    + ["busy once", "breaks off once", "nonsense once", "resets once", "slow", "error once"]
    + ["poison", "refused", "page", "deep"]
)
_FOR_GOOD = {"poison", "refused", "page", "deep"}  # never answered


def kind_of(text: str) -> str:
    """How the server answers this text."""
    return KINDS[int(hashlib.sha256(text.encode()).hexdigest(), 16) % len(KINDS)]


class Hostile(Server):
    """`paid`: answers sent whole, by text."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()

    def respond(self, call: Call):
        text = call.body["messages"][0]["content"].partition("\n")[0]  # what follows is the schema, for servers without
        with self.changed:
            self.seen[text] += 1
            first = self.seen[text] == 1
        told = self._told(kind_of(text), first, call.number)
        if told != RESET and told[0] == 200 and isinstance(told[2], dict):
            with self.changed:
                self.paid[text] += 1
        return told

    def _told(self, kind: str, first: bool, number: int):
        if kind == "poison":
            return refusal(500, "this one I never answer")
        if kind == "refused":
            return refusal(400, "not with me")
        if kind == "page":
            return 200, {"content-type": "text/html"}, b"<html>maintenance</html>"
        if kind == "deep":
            return 200, {}, b"[" * 50_000
        if first and kind in _ONCE:
            return _ONCE[kind]
        time.sleep(0.3 if kind == "slow" else 0.005)
        content = _CONTENT.get(kind, GOOD)
        status, headers, body = completion(content, number=number)
        return status, headers, {k: v for k, v in (body | _USAGE.get(kind, {})).items() if v is not None}


_ONCE = {
    "busy once": (429, {"Retry-After": "0.1"}, {"error": {"message": "slow down"}}),
    "breaks off once": (200, {"content-length": "9999"}, b'{"choices": ['),
    "nonsense once": (200, {}, b'{"hello": NaN}'),
    "resets once": RESET,
    "error once": (503, {}, b""),
}
_CONTENT = {
    "thoughts first": '<think>{"text": "draft"}</think>' + GOOD,
    "half a character": '{"text": "Grey \\ud800looks"}',
    "parts": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": GOOD}],
}
_USAGE = {
    "no usage": {"usage": None},
    "negative usage": {"usage": {"prompt_tokens": -10_000, "completion_tokens": -10_000}},
    "absurd usage": {"usage": {"prompt_tokens": 10**15, "completion_tokens": 10**15}},
    "usage is text": {"usage": {"prompt_tokens": "7", "completion_tokens": [3]}},
}


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        calls: HTTP requests that the server got.
        paid: answers that it sent whole.
        twice: answers beyond the first of a text.
        under_way: calls that were claimed when their process was killed.
        lost: texts that have an answer at the server and none in the end at one of the processes.
        usd, budget: by the server's count, and what both processes together might spend.
        answered: of each process.
    """

    calls: int
    paid: int
    twice: int
    under_way: int
    lost: list[str]
    usd: float
    budget: float
    kills: int
    seconds: float
    answered: list[int] = field(default_factory=list)


def run(folder: Path, calls: int, kills: int, budget: float, seed: int = 0) -> Outcome:
    """Two processes ask `calls` requests each, the same; `kills` times one of them is killed and started again."""
    import sqlite3

    rng, began = random.Random(seed), time.monotonic()
    cache = folder / "answers.sqlite"
    with Hostile() as server:

        def start(name: str) -> subprocess.Popen:
            told = [server.url, str(cache), str(calls), str(folder / f"{name}.json"), str(budget), name]
            return subprocess.Popen([sys.executable, __file__, "--client", *told], env=os.environ)

        processes = {name: start(name) for name in "ab"}
        under_way, killed = 0, 0
        for number in range(1, kills + 1):
            least = number * calls // (kills + 1)
            while len(server.paid) < least and all(p.poll() is None for p in processes.values()):
                time.sleep(0.01)
            name = rng.choice("ab")
            if processes[name].poll() is None:
                processes[name].send_signal(signal.SIGKILL)
                processes[name].wait()
                killed += 1
                with sqlite3.connect(cache, timeout=30) as sql:
                    pid = f"%|{processes[name].pid}|%"
                    under_way += sql.execute("SELECT COUNT(*) FROM claims WHERE owner LIKE ?", (pid,)).fetchone()[0]
                processes[name] = start(name)
        codes = [p.wait(timeout=500) for p in processes.values()]
        if any(codes):
            raise RuntimeError(f"a client ended with {codes}")
        found = [json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in "ab"]
        lost = [text for text in server.paid if any(answers.get(text) is None for answers in found)]
        paid = sum(server.paid.values())
        return Outcome(
            calls=len(server.calls), paid=paid, twice=paid - len(server.paid), under_way=under_way, lost=lost,
            usd=paid * (TOKENS[0] + TOKENS[1]) / 1e6, budget=budget, kills=killed,
            seconds=round(time.monotonic() - began, 1),
            answered=[sum(a is not None for a in f.values()) for f in found],
        )  # fmt: skip


def client(url: str, cache: str, calls: int, out: str, budget: float) -> None:
    """Ask, and write the answers by text."""
    import tenacity

    from gisttools.common import endpoints
    from gisttools.synthesis import LLM, LLMOptions
    from gisttools.synthesis.llm.asking import Request

    endpoints._wait = tenacity.wait_random(0, 0.1)  # what always fails would take a minute each
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    texts = [f"request {i}" for i in range(calls)]
    requests = [Request(messages=[{"role": "user", "content": text}], schema=schema) for text in texts]
    options = LLMOptions(
        base_url=url,
        model="m",
        concurrency=8,
        max_tokens=16,
        price_in=1.0,
        price_out=1.0,
        budget_usd=budget,
        timeout=10,
    )
    llm = LLM(options, cache=cache, job="hostile")
    Path(out).write_text(json.dumps({text: r.answer for text, r in zip(texts, llm.ask(requests), strict=True)}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", nargs=6)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--budget", type=float, default=1.0)
    told = parser.parse_args()
    if told.client:
        url, cache, calls, out, budget, _ = told.client
        client(url, cache, int(calls), out, float(budget))
        return
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(f"{run(Path(folder), told.calls, told.kills, told.budget)}\n")


if __name__ == "__main__":
    main()
