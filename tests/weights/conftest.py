"""A web server that sends files in ranges, and a machine without weights."""

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest


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


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, server_state: RangeServer, *arguments) -> None:
        self.state = server_state
        super().__init__(*arguments)

    def do_GET(self) -> None:
        state = self.state
        wanted = self.headers.get("Range")
        state.ranges.append(wanted)
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
            self.wfile.write(body[: state.drop_after])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture
def range_server() -> Iterator[RangeServer]:
    state = RangeServer(url="")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, state))
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where weights are found in this test."""
    folder = tmp_path / "all_weights"
    folder.mkdir()
    monkeypatch.setenv("STILLSPLAT_WEIGHTS", str(folder))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return folder
