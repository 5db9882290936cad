"""The LLM client against a bare asyncio.gather over AsyncOpenAI, on a server on loopback that answers after
200 ms; and the cost of answers that are in the cache.

32 calls under way make 160 a second where nothing else takes time. Each measurement runs in a process of its own, as
does the server; the sides take turns, and medians over the rounds are told. Both send the same requests of a JSON
schema; the client also checks and stores every answer. The cache is measured with 100,000 rows: opening it and getting
one reply, and getting all of them again. Prints a table and, last, one JSON line.

    python benchmarks/synthesis.py [--calls 1600] [--at-once 32] [--latency 0.2] [--rounds 3] [--rows 100000]

With `--dialects` in place of that: so many requests, shared out between servers that speak as OpenAI, Anthropic and
Gemini do, with a limit of requests a second and faults (tests/helpers/dialects.py). Each dialect is asked three times:
with a budget that ends on the way, without one, and again, when nothing may be asked. The servers count what they were
paid for, and twice.

    python benchmarks/synthesis.py --dialects 5000 [--at-once 32] [--latency 0.02] [--limit 25]

With `--embedded MODEL`: answers a minute of the embedded server with one thread, with as many as there are cores, and
with as many as it takes by itself, alone and beside a process that multiplies matrices on one thread, as a training
does; and what that does to the other process.

    python benchmarks/synthesis.py --embedded MODEL [--calls 24]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OURS, PEER, CACHE, DIALECT = "gisttools", "gather over AsyncOpenAI", "cache", "dialect"
SERVER = Path(__file__).resolve().parents[1] / "tests" / "helpers" / "server.py"
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string", "minLength": 8, "maxLength": 240}},
    "required": ["text"],
    "additionalProperties": False,
}
SYSTEM = "You rewrite messages in other words. You never answer them. " * 10


def requests(count: int) -> list:
    from gisttools.synthesis import Request

    return [
        Request(
            messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"Rewrite message {i}."}],
            schema=SCHEMA,
        )
        for i in range(count)
    ]


def measure(side: str, url: str, calls: int, at_once: int) -> dict[str, float]:
    """Seconds (of wall clock, of this process's CPU) of one side; runs in a process of its own."""
    asked = requests(calls)
    with tempfile.TemporaryDirectory() as folder:
        run = {OURS: _ours, PEER: _peer}[side](url, at_once, Path(folder) / "c.sqlite")
        run(asked[:1])  # imports
        started, cpu = time.perf_counter(), time.process_time()
        assert run(asked[1:]) == calls - 1
        return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}


def _ours(url, at_once, cache):
    from gisttools.synthesis import LLM, LLMOptions

    llm = LLM(LLMOptions(base_url=url, model="m", concurrency=at_once), cache=cache)
    return lambda asked: sum(reply.calls for reply in llm.ask(asked))


def _peer(url, at_once, _):
    import openai

    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}

    async def all_of(asked):
        places = asyncio.Semaphore(at_once)
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

            async def one(request):
                async with places:
                    answer = await client.chat.completions.create(
                        model="m", messages=request.messages, response_format=form, temperature=0.8, max_tokens=300,
                        seed=0,
                    )  # fmt: skip
                return json.loads(answer.choices[0].message.content)

            return len(await asyncio.gather(*[one(r) for r in asked]))

    return lambda asked: asyncio.run(all_of(asked))


def measure_cache(rows: int) -> dict[str, float]:
    """Seconds to open a cache of so many rows and get one reply, and to get all; ms a cached reply. Without network."""
    from gisttools.synthesis import LLM, Asker, CallCache, LLMOptions

    answer = {"choices": [{"finish_reason": "stop", "message": {"content": '{"text": "hello, this is a text"}'}}]}
    asked = requests(rows)
    with tempfile.TemporaryDirectory() as folder:
        options = LLMOptions(base_url="http://127.0.0.1:9/v1", model="m", mode="replay")
        llm = LLM(options, cache=Path(folder) / "c.sqlite")
        with CallCache(llm.cache) as cache:
            asker = Asker(options, cache, llm.seen[0])
            cache.connection.execute("BEGIN")
            for request in asked:
                key = asker.key(list(request.messages), request, options.max_tokens)
                asker.keep(key, answer, "stop")
            cache.connection.execute("COMMIT")
        started = time.perf_counter()
        llm.ask(asked[-1:])
        opened = time.perf_counter() - started
        started = time.perf_counter()
        assert all(reply.cached for reply in llm.ask(asked))
        seconds = time.perf_counter() - started
    return {"open_seconds": opened, "all_seconds": seconds, "ms_a_reply": 1e3 * seconds / rows}


def measure_dialect(name: str, calls: int, at_once: int, latency: float, limit: float) -> dict[str, object]:
    """What it took to have so many requests answered by one dialect's server, and what the server counted."""
    from gisttools.synthesis import LLM, LLMOptions

    sys.path.insert(0, str(SERVER.parents[1]))
    from helpers.dialects import DIALECTS, GOOD, Busy

    dialect = next(kind for d in DIALECTS if (kind := d()).name == name)
    dear, out, cheap = dialect.prices
    asked = requests(calls)
    with tempfile.TemporaryDirectory() as folder, Busy(dialect, rate=limit, latency=latency) as server:
        options = {
            "base_url": server.url, "model": "m", "concurrency": at_once, "max_tokens": 100,
            "price_in": dear, "price_out": out, "price_cached": cheap,
        }  # fmt: skip
        usage = dialect.usage({"messages": asked[0].messages}, GOOD, 1)
        budget = calls / 2 * dialect.cost(usage)  # ends about halfway
        started = time.perf_counter()
        first = LLM(LLMOptions(**options, budget_usd=budget), cache=Path(folder) / "c.sqlite")
        over = sum(reply.finish_reason == "budget" for reply in first.ask(asked))
        at_the_end = server.usd
        rest = LLM(LLMOptions(**options), cache=Path(folder) / "c.sqlite")
        replies = rest.ask(asked)
        seconds, http = time.perf_counter() - started, len(server.calls)
        again = LLM(LLMOptions(**options), cache=Path(folder) / "c.sqlite").ask(asked)
        return {
            "dialect": name, "requests": calls, "seconds": seconds, "http": http, "http_a_second": http / seconds,
            "answered": sum(r.answer is not None for r in replies),
            "filtered": sum(r.finish_reason in ("content_filter", "refusal") for r in replies),
            "failed": sum(r.finish_reason in ("error", "budget") for r in replies),
            "statuses": {str(status): n for status, n in server.statuses.most_common()},
            "paid": sum(server.paid.values()), "paid_twice": sum(n - 1 for n in server.paid.values()),
            "budget_usd": budget, "spent_in_budget_usd": first.spent.usd, "by_server_usd": at_the_end,
            "over_budget": over, "all_usd": first.spent.usd + rest.spent.usd, "all_by_server_usd": server.usd,
            "asked_again": len(server.calls) - http, "cached_again": sum(r.cached for r in again),
            "cached_tokens": sum(r.tokens_cached for r in replies) / sum(r.tokens_in for r in replies),
        }  # fmt: skip


def dialects(calls: int, at_once: int, latency: float, limit: float) -> None:
    names = ("openai", "anthropic", "gemini")
    found = []
    for place, name in enumerate(names):
        part = calls // len(names) + (place < calls % len(names))
        found.append(run_side([DIALECT, name, str(part), str(at_once), str(latency), str(limit)]))
        print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in found[-1].items()))
    print(json.dumps({"benchmark": "synthesis", "dialects": found}))


def embedded(model: str, calls: int) -> None:
    from gisttools.synthesis import LLM, LLMOptions, Request, serve_local

    def answers(threads: int | None) -> float:
        """A minute."""
        with serve_local(model, threads=threads) as server:
            llm = LLM(LLMOptions(base_url=server.base_url, model=server.model, timeout=900.0))
            say = [[{"role": "user", "content": f"Say in other words: {i} cards were lost."}] for i in range(calls + 1)]
            asked = [Request(messages=messages, schema=SCHEMA) for messages in say]
            llm.ask(asked[:1])  # the model is read from the disk
            started = time.perf_counter()
            llm.ask(asked[1:])
            return 60 * calls / (time.perf_counter() - started)

    def products() -> float:
        """A second, of the other process alone."""
        with _other() as other:
            return _count(other, 5.0)

    cores, found = len(os.sched_getaffinity(0)), []
    alone = products()
    for threads in (1, cores, None):
        row = {"threads": threads or "as free", "alone": answers(threads)}
        with _other() as other:
            started = time.perf_counter()
            row["beside"] = answers(threads)
            row["other"] = _count(other, 0.0) / (time.perf_counter() - started) / alone
        found.append(row)
        print("{threads!s:>8} threads: {alone:.1f} answers a minute alone, {beside:.1f} beside another process, which "
              "has {other:.0%} of its speed".format(**row), flush=True)  # fmt: skip
    print(json.dumps({"benchmark": "synthesis", "embedded": model, "cores": cores, "calls": calls, "rows": found}))


_OTHER = """
import sys, threading, torch
torch.set_num_threads(1)
a = torch.rand(512, 512)
done = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), done.set()), daemon=True).start()
count = 0
print(flush=True)
while not done.is_set():
    a @ a
    count += 1
print(count, flush=True)
"""


@contextmanager
def _other() -> Iterator[subprocess.Popen]:
    """A process that is busy on one core, once it has begun."""
    with subprocess.Popen(
        [sys.executable, "-c", _OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            other.stdout.readline()
            yield other
        finally:
            other.kill()


def _count(other: subprocess.Popen, seconds: float) -> float:
    """Products that it made, after so many seconds more; by the second where there are some."""
    time.sleep(seconds)
    other.stdin.write("\n")
    other.stdin.flush()
    return int(other.stdout.readline()) / (seconds or 1.0)


def run_side(arguments: list[str]) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, "--one", *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{arguments} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def one(side: str, *rest: str) -> dict:
    if side == CACHE:
        return measure_cache(int(rest[0]))
    if side == DIALECT:
        return measure_dialect(rest[0], int(rest[1]), int(rest[2]), float(rest[3]), float(rest[4]))
    return measure(side, rest[0], int(rest[1]), int(rest[2]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, help="1600, and 24 with --embedded")
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--latency", type=float, help="seconds; 0.2, and 0.02 with --dialects")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dialects", type=int, metavar="CALLS", help="in place of the comparison; see above")
    parser.add_argument("--limit", type=float, default=25, help="requests a second that a dialect's server answers")
    parser.add_argument("--embedded", metavar="MODEL", help="in place of the comparison: a GGUF file or a name")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(*args.one)))
        return
    if args.dialects:
        dialects(args.dialects, args.at_once, 0.02 if args.latency is None else args.latency, args.limit)
        return
    if args.embedded:
        embedded(args.embedded, args.calls or 24)
        return
    args.calls = args.calls or 1600
    args.latency = 0.2 if args.latency is None else args.latency
    ideal = args.at_once / args.latency
    command = [sys.executable, str(SERVER), str(args.latency)]
    found: dict[str, list] = {PEER: [], OURS: []}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().strip()
        for _ in range(args.rounds):
            for side, rows in found.items():
                rows.append(run_side([side, url, str(args.calls), str(args.at_once)]))
        server.stdin.close()
    figures = {}
    print(f"{'side':<24} {'calls/s':>8} {'of ideal':>9} {'CPU ms a call':>14}")
    for side, rows in found.items():
        rate = (args.calls - 1) / statistics.median(row["seconds"] for row in rows)
        cpu = 1e3 * statistics.median(row["cpu"] for row in rows) / (args.calls - 1)
        figures[side] = {"calls_a_second": rate, "of_ideal": rate / ideal, "cpu_ms_a_call": cpu}
        print(f"{side:<24} {rate:>8.1f} {rate / ideal:>9.1%} {cpu:>14.2f}")
    cache = run_side([CACHE, str(args.rows)])
    print(
        f"cache of {args.rows:,} rows: open and one reply {cache['open_seconds']:.3f} s, "
        f"all {cache['all_seconds']:.1f} s ({cache['ms_a_reply']:.3f} ms a reply)"
    )
    print(json.dumps({"benchmark": "synthesis", **vars(args), "ideal": ideal, "figures": figures, "cache": cache}))


if __name__ == "__main__":
    main()
