"""One server on loopback that behaves, or misbehaves, as a test says: every client of the package is tested against it.

A script decides what becomes of each call: an answer (`completion`, `embeddings`), an error (`refusal`), HANG or RESET.
`BatchServer` has files and batches as well.

Alone in a process, `python tests/helpers/server.py LATENCY` answers every call well after LATENCY seconds, writes its
address in a line, and ends when its standard input does: for the client's benchmark.
"""

from __future__ import annotations

import email.parser
import email.policy
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from gisttools.synthesis import LLM

HANG, RESET = "hang", "reset"  # no answer until the client gives up; the connection is reset
Answer = tuple[int, dict, object]  # status, headers, and JSON or bytes


def completion(content: str | None, *, finish: str = "stop", number: int = 0, **message) -> Answer:
    """A chat completion of 7 tokens in and 3 out."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    body = {"id": f"r{number}", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return 200, {}, body | {"usage": usage}


def embeddings(vectors: Sequence[Sequence[float]]) -> Answer:
    """The vectors of as many texts, the last one first, for endpoints may answer in any order."""
    rows = [{"object": "embedding", "index": i, "embedding": [*map(float, v)]} for i, v in enumerate(vectors)]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return 200, {}, {"object": "list", "model": "m", "data": rows[::-1], "usage": usage}


def refusal(status: int, message: str = "no", headers: dict | None = None, **error) -> Answer:
    """An error."""
    return status, headers or {}, {"error": {"message": message, **error}}


@dataclass(frozen=True)
class Call:
    """One request; `number` counts them from 0."""

    number: int
    method: str
    path: str  # without the query
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    content: bytes

    @property
    def name(self) -> str:
        """As `POST /v1/chat/completions`."""
        return f"{self.method} {self.path}"

    @property
    def body(self) -> dict:
        """The JSON that was sent."""
        return json.loads(self.content)


class Server:
    """A server for the length of a `with` block. Calls are answered side by side, so that a script may wait.

    Args:
        script: what becomes of a call, by its number and the JSON that was sent: an answer, HANG or RESET. A subclass
            that answers by more than these has `respond` of its own.
        latency: seconds before each answer.

    Attributes:
        url: address with its version part.
        calls: all of them so far.
    """

    def __init__(self, script: Callable[[int, dict], Answer | str] | None = None, *, latency: float = 0.0) -> None:
        self._script, self._latency = script, latency
        self.calls: list[Call] = []
        self.changed = threading.Condition()

    def __enter__(self) -> Server:
        self._server = _Listener(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def bodies(self) -> list[dict]:
        """The JSON of all calls."""
        return [call.body for call in self.calls]

    @property
    def names(self) -> list[str]:
        """Method and path of all calls."""
        return [call.name for call in self.calls]

    def llm(self, *, cache: str | os.PathLike | None = None, **options) -> LLM:
        """A client of this server, which asks for the model m."""
        from gisttools.synthesis import LLM, LLMOptions

        return LLM(LLMOptions(**{"base_url": self.url, "model": "m"} | options), cache=cache)

    def wait_for(self, true: Callable[[], bool]) -> None:
        """Until what was asked of the server makes it true."""
        with self.changed:
            assert self.changed.wait_for(true, timeout=60), self.names

    def respond(self, call: Call) -> Answer | str:
        """What becomes of a call."""
        return self._script(call.number, call.body)

    def take(self, method: str, address: str, headers: Mapping[str, str], content: bytes) -> Answer | str:
        """Count a call and respond to it."""
        parts = urlsplit(address)
        with self.changed:
            call = Call(len(self.calls), method, parts.path, parse_qs(parts.query), headers, content)
            self.calls.append(call)
            self.changed.notify_all()
        time.sleep(self._latency)
        return self.respond(call)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    owner: Server

    def handle_error(self, *arguments) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that has gone is no surprise
            super().handle_error(*arguments)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and content together, or the content waits for the headers to be acknowledged
    server: _Listener

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        told = self.server.owner.take(self.command, self.path, self.headers, content)
        if told in (HANG, RESET):
            self.close_connection = True
            if told == HANG:
                self.rfile.read(1)
                return
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
            return
        status, headers, answer = told
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": len(raw), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    do_GET = do_HEAD = do_POST

    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Ending:
    """How a batch ends.

    Attributes:
        status: as the endpoint says it.
        left_out: numbers of lines that are not executed.
        silent: nothing in the error file says so.
        dropped: its files are not there any more.
        errors: of a batch that failed.
    """

    status: str = "completed"
    left_out: tuple[int, ...] = ()
    silent: bool = False
    dropped: bool = False
    errors: tuple[dict, ...] = ()


@dataclass
class BatchServer(Server):
    """A server with the Batch API.

    Args:
        answer: what becomes of a chat completion's body, live or in a batch.
        end: how the batch of this number ends, by its number and its lines' bodies.
        created: called with the batch's number before the answer to its creation; HANG: there will be none.

    Attributes:
        may_end: until it is set, all batches are in progress.
        live: bodies of live calls.
        batches, files: what was submitted, and the content of files by id.
    """

    answer: Callable[[dict], Answer]
    end: Callable[[int, list[dict]], Ending] = lambda *_: Ending()
    created: Callable[[int], object] = lambda _: None
    may_end: threading.Event = field(default_factory=threading.Event)
    live: list[dict] = field(default_factory=list)
    batches: list[dict] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self.may_end.set()
        self._files_made = 0

    def bodies_of(self, number: int) -> list[dict]:
        """What the lines of a batch ask for."""
        return [line["body"] for line in self._lines(number)]

    def respond(self, call: Call) -> Answer | str:
        with self.changed:
            match call.method, call.path.removeprefix("/v1").strip("/").split("/"):
                case "POST", ["chat", "completions"]:
                    self.live.append(call.body)
                    return self.answer(self.live[-1])
                case "POST", ["files"]:
                    return self._upload(call.headers["content-type"], call.content)
                case "POST", ["batches"]:
                    return self._create(call.body)
                case "GET", ["batches"]:
                    return self._list(call.query)
                case "GET", ["batches", name] if name in [b["id"] for b in self.batches]:
                    number = [b["id"] for b in self.batches].index(name)
                    if self.may_end.is_set() and self.batches[number]["status"] == "in_progress":
                        self._finish(number)
                    return 200, {}, self.batches[number]
                case "GET", ["files", name, "content"] if name in self.files:
                    return 200, {}, self.files[name]
        return refusal(404, f"no {call.name} here", code=None)

    def _lines(self, number: int) -> list[dict]:
        content = self.files[self.batches[number]["input_file_id"]]
        return [json.loads(line) for line in content.split(b"\n") if line]

    def _upload(self, content_type: str, raw: bytes) -> Answer | str:
        parser = email.parser.BytesParser(policy=email.policy.HTTP)
        parts = parser.parsebytes(f"content-type: {content_type}\r\n\r\n".encode() + raw).iter_parts()
        form = {p.get_param("name", header="content-disposition"): p.get_payload(decode=True) for p in parts}
        if form["purpose"] != b"batch":
            return refusal(400, "purpose must be batch")
        name = self._keep(form["file"])
        about = {"id": name, "object": "file", "bytes": len(form["file"]), "created_at": 1, "filename": "x.jsonl"}
        return 200, {}, about | {"purpose": "batch", "status": "processed"}

    def _create(self, asked: dict) -> Answer | str:
        number = len(self.batches)
        asked |= {"id": f"batch_{number}", "object": "batch", "status": "in_progress", "created_at": 2_000_000_000}
        asked |= {"output_file_id": None, "error_file_id": None, "errors": None}
        self.batches.append(asked)
        lines = self._lines(number)
        proper = asked["endpoint"] == "/v1/chat/completions" and asked["completion_window"] == "24h"
        if not proper or len({line["custom_id"] for line in lines}) < len(lines):
            return refusal(400, "not a proper batch")
        self.changed.notify_all()
        return HANG if self.created(number) == HANG else (200, {}, asked)

    def _list(self, query: dict) -> Answer:
        newest = self.batches[::-1]
        begin = [b["id"] for b in newest].index(query["after"][0]) + 1 if "after" in query else 0
        page = newest[begin : begin + 2]
        return 200, {}, {"object": "list", "data": page, "has_more": begin + 2 < len(newest)}

    def _finish(self, number: int) -> None:
        lines, batch, output, errors = self._lines(number), self.batches[number], [], []
        ending = self.end(number, [line["body"] for line in lines])
        batch["status"] = ending.status
        if ending.errors:
            batch["errors"] = {"object": "list", "data": list(ending.errors)}
        for i, line in enumerate(lines if ending.status != "failed" else []):
            told = {"id": f"batch_req_{i}", "custom_id": line["custom_id"], "response": None, "error": None}
            if i not in ending.left_out:
                status, _, body = self.answer(line["body"])
                told["response"] = {"status_code": status, "request_id": "r", "body": body}
                (output if status == 200 else errors).append(told)
            elif not ending.silent:
                errors.append(told | {"error": {"code": "batch_expired", "message": "the window has closed"}})
        for name, told in (("output_file_id", output), ("error_file_id", errors)):
            # in another order than they were asked, and with a line separator that is no newline
            text = "\n".join(json.dumps(t, ensure_ascii=False) for t in reversed(told))
            batch[name] = self._keep(text.encode()) if told else None
            if told and ending.dropped:
                del self.files[batch[name]]
        batch["request_counts"] = {"total": len(lines), "completed": len(output), "failed": len(errors)}

    def _keep(self, content: bytes) -> str:
        self._files_made += 1
        name = f"file-{self._files_made}"
        self.files[name] = content
        return name


def main() -> None:
    """The server process of the benchmark."""
    status, headers, body = completion('{"text": "hello, this is a text of some length"}')
    answer = status, headers, json.dumps(body).encode()
    with Server(lambda *_: answer, latency=float(sys.argv[1])) as server:
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
