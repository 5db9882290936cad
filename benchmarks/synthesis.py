"""The LLM client against a bare asyncio.gather over AsyncOpenAI, on a server on loopback that answers after
200 ms; and the cost of answers that are in the cache.

32 calls under way make 160 a second where nothing else takes time. Each measurement runs in a process of its own, as
does the server; the sides take turns, and medians over the rounds are told. Both send the same requests of a JSON
schema; the client also checks and stores every answer. The cache is measured with 100,000 rows: opening it and getting
one reply, and getting all of them again. Prints a table and, last, one JSON line.

    python benchmarks/synthesis.py [--calls 1600] [--at-once 32] [--latency 0.2] [--rounds 3] [--rows 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OURS, PEER, CACHE = "gisttools", "gather over AsyncOpenAI", "cache"
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


def run_side(arguments: list[str]) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, "--one", *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{arguments} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1600)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        side, *rest = args.one
        found = measure_cache(int(rest[0])) if side == CACHE else measure(side, rest[0], int(rest[1]), int(rest[2]))
        print(json.dumps(found))
        return
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
