"""Resumable HTTP downloads whose size and checksum are verified; files appear whole or not at all."""

import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scene.errors import InputError
from scene.files.atomic import writing_error
from scene.progress import Progress, ignore_progress

_BLOCK = 1 << 20
_ATTEMPTS = 4
#: of files whose size neither we nor the server know
LARGEST_UNANNOUNCED = 64 << 30
_HEADERS = {"User-Agent": "stillsplat", "Accept-Encoding": "identity"}


class RefusedError(InputError):
    """The server answered, with the HTTP status `status`."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but sends credentials only to the server that they are for."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # the names are those of the base class
        redirected = super().redirect_request(req, fp, code, msg, headers, newurl)
        if (
            redirected is not None
            and urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc
        ):
            redirected.remove_header("Authorization")
        return redirected


class _Interrupted(Exception):
    """The connection ended before the file did; what has arrived is kept."""


def download(
    url: str,
    path: str | Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    headers: Mapping[str, str] | None = None,
    shown: str | None = None,
    progress: Progress = ignore_progress,
    timeout: float = 30.0,
    pause: float = 1.0,
) -> Path:
    """Fetches `url` to `path` and returns it; a file that is there already and passes the checks is left alone.

    `headers` go with every request; `shown` is the address in messages, by default `url`.

    What has arrived lies beside it as `.NAME.part`, also after an interruption, and the next call asks for the rest
    (HTTP ranges, with the server's entity tag so that a changed file starts anew). The file gets its name only when
    its size and SHA-256 are right. A dropped connection is taken up again a few times, `pause` seconds apart at first.
    Raises `InputError`: no network, disk full, wrong size or checksum; `RefusedError` when the server refuses.
    """
    path = Path(path)
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url} is not a web address (http or https).")
    if path.is_file() and (size is None or path.stat().st_size == size):
        if sha256 is None or file_sha256(path, progress) == sha256:
            return path
    part = path.with_name(f".{path.name}.part")
    tag_file = path.with_name(f".{path.name}.part.tag")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        request = _Request(url, shown or url, part, tag_file, path, size, dict(headers or {}), progress, timeout)
        _fetch_with_retries(request, pause)
        _check(part, shown or url, size, sha256, progress)
        os.replace(part, path)
        tag_file.unlink(missing_ok=True)
    except OSError as error:
        raise writing_error(path, error) from error
    return path


def file_sha256(path: str | Path, progress: Progress = ignore_progress) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    path = Path(path)
    digest = hashlib.sha256()
    total, done = path.stat().st_size, 0
    with path.open("rb") as stream:
        while block := stream.read(4 * _BLOCK):
            digest.update(block)
            done += len(block)
            progress(f"checksum of {path.name} (MiB)", done >> 20, max(total >> 20, 1))
    return digest.hexdigest()


def format_bytes(count: int) -> str:
    """A number of bytes for people: 137 MB, 6.8 GB."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            value = count / scale
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{count} bytes"


@dataclass(frozen=True)
class _Request:
    """What is to be fetched, from where, and where it lies until it is whole."""

    url: str
    shown: str
    part: Path
    tag_file: Path
    path: Path
    size: int | None
    headers: dict[str, str]
    progress: Progress
    timeout: float


def _fetch_with_retries(request: _Request, pause: float) -> None:
    for attempt in range(_ATTEMPTS):
        before = _length(request.part)
        if request.size is not None and before == request.size:
            return
        try:
            _fetch(request)
            return
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # nothing is left to send, or the file there is shorter than ours
                request.part.unlink(missing_ok=True)
            elif error.code in (408, 425, 429, 500, 502, 503, 504) and attempt + 1 < _ATTEMPTS:
                pass
            else:
                raise RefusedError(
                    f"The server refuses {request.shown} ({error.code} {error.reason}); "
                    f"fetch it by hand and put it at {request.path}.",
                    error.code,
                ) from error
        except (urllib.error.URLError, TimeoutError, http.client.HTTPException, _Interrupted, ConnectionError) as error:
            if attempt + 1 == _ATTEMPTS or (not before and _length(request.part) == 0):
                raise InputError(_unreachable(request.shown, request.path, error)) from error
        time.sleep(pause * 2**attempt)
    raise InputError(
        f"The server does not send the rest of {request.shown}; try again later, or put the file at {request.path}."
    )


def _fetch(request: _Request) -> None:
    """One request for what is missing."""
    have = _length(request.part)
    headers = _HEADERS | request.headers
    tag = request.tag_file.read_text() if have and request.tag_file.is_file() else ""
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag:
            headers["If-Range"] = tag
    asked = urllib.request.Request(request.url, headers=headers)
    opener = urllib.request.build_opener(_Redirects)
    with opener.open(asked, timeout=request.timeout) as answer:
        start = _start_of(answer) if answer.status == 206 else 0
        if start not in (0, have):
            raise _Interrupted("the server sent another range than requested")
        expected = _content_length(answer)
        total = None if expected is None else start + expected
        if total is not None and request.size is not None and total != request.size:
            raise InputError(
                f"{request.shown} has {total} bytes where {request.size} are expected: it was replaced there; "
                f"fetch the file by hand and put it at {request.path}."
            )
        _require_room(request.part, expected)
        new_tag = answer.headers.get("ETag", "")
        # a weak tag may not be used for ranges
        request.tag_file.write_text("" if new_tag.startswith("W/") else new_tag)
        _receive(answer, request, start, total)


def _receive(answer: http.client.HTTPResponse, request: _Request, start: int, total: int | None) -> None:
    done = start
    with request.part.open("r+b" if start else "wb") as stream:
        stream.seek(start)
        while True:
            try:
                block = answer.read(_BLOCK)
            except (TimeoutError, http.client.HTTPException, ConnectionError) as error:
                raise _Interrupted(str(error)) from error
            if not block:
                break
            done += len(block)
            _refuse_excess(request, done, total)
            stream.write(block)
            if total:
                request.progress(f"{request.path.name} (MiB)", done >> 20, max(total >> 20, 1))
    if total is not None and done < total:
        raise _Interrupted("the connection was closed early")


def _refuse_excess(request: _Request, done: int, total: int | None) -> None:
    """Raises `InputError`, and removes what has arrived, when the server sends more than it announced or than any file
    that is fetched here has: such an answer may never end."""
    limits = [limit for limit in (request.size, total) if limit is not None]
    limit = min(limits) if limits else LARGEST_UNANNOUNCED
    if done <= limit:
        return
    request.part.unlink(missing_ok=True)
    request.tag_file.unlink(missing_ok=True)
    reason = "which it announced" if limits else "as no file has"
    raise InputError(
        f"{request.shown} sends more than {format_bytes(limit)}, {reason}; fetch the file by hand and put it at "
        f"{request.path}."
    )


def _check(part: Path, url: str, size: int | None, sha256: str | None, progress: Progress) -> None:
    length = _length(part)
    if size is not None and length != size:
        part.unlink(missing_ok=True)
        raise InputError(f"{url} gave {length} bytes where {size} are expected; try again.")
    if sha256 is not None and file_sha256(part, progress) != sha256:
        part.unlink(missing_ok=True)
        raise InputError(f"{url} gave a file with another checksum than the published one; it was removed, try again.")


def _require_room(part: Path, expected: int | None) -> None:
    free = shutil.disk_usage(part.parent).free
    if expected is not None and expected > free:
        raise InputError(
            f"{part.parent} has room for {format_bytes(free)} and {format_bytes(expected)} are needed; make room."
        )


def _start_of(answer: http.client.HTTPResponse) -> int:
    """The first byte of a partial answer: `Content-Range: bytes 100-199/200`."""
    value = answer.headers.get("Content-Range", "")
    with suppress(ValueError, IndexError):
        return int(value.split()[1].split("-")[0][:18])
    return -1


def _content_length(answer: http.client.HTTPResponse) -> int | None:
    value = answer.headers.get("Content-Length", "")
    return int(value) if re.fullmatch("[0-9]{1,18}", value) else None


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _unreachable(url: str, path: Path, error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return f"{url} cannot be reached ({reason}); without a network, fetch it elsewhere and put it at {path}."
