"""An OpenAI-compatible server on loopback that does what a script says: for the client's tests and its benchmark.

Alone in a process, `python tests/helpers/scripted_llm.py LATENCY` answers every call well after LATENCY seconds, says
its address in a line, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

HANG, RESET = "hang", "reset"


def completion(content: str | None, *, finish: str = "stop", number: int = 0, **message) -> tuple[int, dict, dict]:
    """A chat completion, as a script returns it: status, headers, JSON."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    body = {"id": f"r{number}", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return 200, {}, body | {"usage": usage}


def refusal(status: int, message: str = "no", headers: dict | None = None, **error) -> tuple[int, dict, dict]:
    """An error, as a script returns it."""
    return status, headers or {}, {"error": {"message": message, **error}}


async def serve(script: Callable[[int, dict], object], latency: float, ready: Callable[[str], None]) -> None:
    """Serve until cancelled. `script(number of the call, body)` gives status, headers and JSON; HANG; or RESET."""
    count = 0

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(v) for k, _, v in _headers(head) if k == b"content-length")
                body = json.loads(await reader.readexactly(length))
                number, count = count, count + 1
                if latency:
                    await asyncio.sleep(latency)
                act = script(number, body)
                if act == HANG:
                    await reader.read()  # until the client gives up
                    return
                if act == RESET:
                    writer.transport.abort()
                    return
                status, headers, content = act
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                named = {"content-type": "application/json", "content-length": len(raw), **headers}
                lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
                writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + raw)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=512)
    async with server:
        ready(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        await asyncio.get_running_loop().create_future()


def _headers(head: bytes) -> list[tuple[bytes, bytes, bytes]]:
    return [line.lower().partition(b":") for line in head.split(b"\r\n")[1:]]


@contextmanager
def scripted(script: Callable[[int, dict], object], latency: float = 0.0) -> Iterator[str]:
    """Serve in a thread of this process; yields the address."""
    started, address, loops = threading.Event(), [], []

    async def main() -> None:
        loops.append((asyncio.get_running_loop(), asyncio.current_task()))
        await serve(script, latency, lambda url: (address.append(url), started.set()))

    def run() -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(main())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield address[0]
    finally:
        loop, task = loops[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)


def main() -> None:
    """The server process of the benchmark."""
    answer = completion('{"text": "hello, this is a text of some length"}')
    answer = answer[0], answer[1], json.dumps(answer[2]).encode()
    with scripted(lambda *_: answer, float(sys.argv[1])) as url:
        print(url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
