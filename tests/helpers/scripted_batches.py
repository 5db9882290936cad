"""An OpenAI-compatible server on loopback with files and batches, which ends them as a script says."""

from __future__ import annotations

import email.parser
import email.policy
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from helpers.http_server import Handler, running

HANG = "hang"


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
class BatchServer:
    """A server for the length of a `with` block.

    Args:
        answer: status, headers and JSON for a chat completion's body, live or in a batch.
        end: how the batch of this number ends, by its number and its lines' bodies.
        created: called with the batch's number before the answer to its creation; HANG: there will be none.
    """

    answer: Callable[[dict], tuple[int, dict, dict]]
    end: Callable[[int, list[dict]], Ending] = lambda *_: Ending()
    created: Callable[[int], object] = lambda _: None
    may_end: threading.Event = field(default_factory=threading.Event)  # until it is set, all batches are in progress
    live: list[dict] = field(default_factory=list)  # bodies of live calls
    batches: list[dict] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)  # method and path of everything that was asked
    askers: set[tuple[str, str]] = field(default_factory=set)  # (authorization, method and path)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> BatchServer:
        self.may_end.set()
        self._files_made = 0
        self._closing = threading.Event()
        self._running = running(_handler(self))
        self.url = f"{self._running.__enter__()}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._running.__exit__(None, None, None)

    def wait_for(self, true: Callable[[], bool]) -> None:
        """Until what was asked of the server makes it true."""
        with self.changed:
            assert self.changed.wait_for(true, timeout=60), self.calls

    def bodies(self, number: int) -> list[dict]:
        """What the lines of a batch ask for."""
        return [line["body"] for line in self.lines(number)]

    def lines(self, number: int) -> list[dict]:
        content = self.files[self.batches[number]["input_file_id"]]
        return [json.loads(line) for line in content.split(b"\n") if line]

    def respond(self, method: str, path: str, query: dict, headers: Mapping, raw: bytes) -> object:
        """Status, headers and content (JSON, or bytes), or HANG."""
        with self.changed:
            self.calls.append(f"{method} {path}")
            self.askers.add((headers["authorization"], self.calls[-1]))
            self.changed.notify_all()
            match method, path.removeprefix("/v1").strip("/").split("/"):
                case "POST", ["chat", "completions"]:
                    self.live.append(json.loads(raw))
                    return self.answer(self.live[-1])
                case "POST", ["files"]:
                    return self._upload(headers["content-type"], raw)
                case "POST", ["batches"]:
                    return self._create(json.loads(raw))
                case "GET", ["batches"]:
                    return self._list(query)
                case "GET", ["batches", name] if name in [b["id"] for b in self.batches]:
                    number = [b["id"] for b in self.batches].index(name)
                    if self.may_end.is_set() and self.batches[number]["status"] == "in_progress":
                        self._finish(number)
                    return 200, {}, self.batches[number]
                case "GET", ["files", name, "content"] if name in self.files:
                    return 200, {}, self.files[name]
        return 404, {}, {"error": {"message": f"no {method} {path} here", "code": None}}

    def _upload(self, content_type: str, raw: bytes) -> object:
        parser = email.parser.BytesParser(policy=email.policy.HTTP)
        parts = parser.parsebytes(f"content-type: {content_type}\r\n\r\n".encode() + raw).iter_parts()
        form = {p.get_param("name", header="content-disposition"): p.get_payload(decode=True) for p in parts}
        if form["purpose"] != b"batch":
            return 400, {}, {"error": {"message": "purpose must be batch"}}
        name = self._keep(form["file"])
        about = {"id": name, "object": "file", "bytes": len(form["file"]), "created_at": 1, "filename": "x.jsonl"}
        return 200, {}, about | {"purpose": "batch", "status": "processed"}

    def _create(self, asked: dict) -> object:
        number = len(self.batches)
        asked |= {"id": f"batch_{number}", "object": "batch", "status": "in_progress", "created_at": 2_000_000_000}
        asked |= {"output_file_id": None, "error_file_id": None, "errors": None}
        self.batches.append(asked)
        lines = self.lines(number)
        proper = asked["endpoint"] == "/v1/chat/completions" and asked["completion_window"] == "24h"
        if not proper or len({line["custom_id"] for line in lines}) < len(lines):
            return 400, {}, {"error": {"message": "not a proper batch"}}
        self.changed.notify_all()
        return HANG if self.created(number) == HANG else (200, {}, asked)

    def _list(self, query: dict) -> object:
        newest = self.batches[::-1]
        begin = [b["id"] for b in newest].index(query["after"][0]) + 1 if "after" in query else 0
        page = newest[begin : begin + 2]
        return 200, {}, {"object": "list", "data": page, "has_more": begin + 2 < len(newest)}

    def _finish(self, number: int) -> None:
        lines, batch, output, errors = self.lines(number), self.batches[number], [], []
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


def _handler(server: BatchServer) -> type[Handler]:
    class Scripted(Handler):
        def do_POST(self) -> None:
            parts = urlsplit(self.path)
            told = server.respond(self.command, parts.path, parse_qs(parts.query), self.headers, self.body())
            if told == HANG:
                server._closing.wait(60)
                self.close_connection = True
                return
            self.reply(*told)

        do_GET = do_POST

    return Scripted
