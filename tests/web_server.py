"""A web server on this machine that sends files in ranges, breaks off, refuses."""

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class RangeServer:
    """What the server has and what it was asked."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: list[str | None] = field(default_factory=list)
    drop_after: int | None = None  # bytes after which the next answers break off
    etag: str = '"one"'
    honours_ranges: bool = True
    fail_with: int | None = None
    head_headers: dict[str, dict[str, str]] = field(default_factory=dict)  # by path
    moved: dict[str, str] = field(default_factory=dict)  # path to new address
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, authorization


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, server_state: RangeServer, *arguments) -> None:
        self.state = server_state
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        state = self.state
        state.asked.append(("HEAD", self.path, self.headers.get("Authorization")))
        headers = state.head_headers.get(self.path)
        self.send_response(404 if headers is None else 302 if "Location" in headers else 200)
        for name, value in (headers or {"X-Error-Code": "EntryNotFound"}).items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        state = self.state
        state.asked.append(("GET", self.path, self.headers.get("Authorization")))
        wanted = self.headers.get("Range")
        state.ranges.append(wanted)
        if self.path in state.moved:
            self.send_response(302)
            self.send_header("Location", state.moved[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = state.files.get(self.path)
        if state.fail_with is not None or content is None:
            self.send_error(state.fail_with or 404)
            return
        start = 0
        if wanted and state.honours_ranges and self.headers.get("If-Range", state.etag) == state.etag:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", state.etag)
        self.end_headers()
        if state.drop_after is not None:
            body = body[: state.drop_after]
            self.close_connection = True
        with suppress(ConnectionError):  # the other side may have seen enough
            self.wfile.write(body)

    def log_message(self, *arguments) -> None:
        pass


@contextmanager
def running_server() -> Iterator[RangeServer]:
    """Serves until the block ends."""
    state = RangeServer(url="")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, state))
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
