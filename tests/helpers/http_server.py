"""HTTP servers on loopback for the length of a `with` block: what the endpoints of tests stand on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Keeps connections open and says nothing of what it does."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a body waits 40 ms until its headers are acknowledged

    def body(self) -> bytes:
        """What the request carries."""
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def reply(self, status: int, headers: Mapping, content: object) -> None:
        """Answer; what is not bytes goes as JSON."""
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": len(raw), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve; yields the address, without a path."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def endpoint(respond: Callable[[dict, Mapping], tuple[int, Mapping, object]]) -> Iterator[str]:
    """An endpoint that takes JSON and answers what `respond(body, headers)` says: status, headers and JSON. Yields its
    address."""

    class Answers(Handler):
        def do_POST(self) -> None:
            self.reply(*respond(json.loads(self.body()), self.headers))

    with running(Answers) as address:
        yield f"{address}/v1"
