"""Downloading of weights. The Hugging Face client resolves the address of a file, and `scene.files.downloading`
downloads it, because the client (since its version 2) restarts interrupted downloads from the beginning.
"""

import urllib.parse
import zipfile
from pathlib import Path

from dynamic_predictor.weights.entry import WeightsFile
from dynamic_predictor.weights.finding import kept_at
from scene.errors import InputError, first_line
from scene.files.atomic import atomic_file
from scene.files.downloading import RefusedError, download, file_sha256
from scene.progress import Progress, ignore_progress

#: how often an expired address is resolved again
_RENEWALS = 20
#: far above the files of the archives that are known
_MAX_MEMBER_BYTES = 8 << 30


def fetch_weights(
    entry: WeightsFile, folder: str | Path | None = None, *, progress: Progress = ignore_progress
) -> Path:
    """Downloads the file of `entry` and returns its path (`kept_at`). An interrupted download is resumed, also by a
    later call; the file appears at its path once it is complete and has the size and SHA-256 of the registry and the
    hub. Raises `InputError`, which tells how to get the file by hand, if the download is not possible."""
    path = kept_at(entry, folder)
    if entry.repository is not None:
        for companion in entry.companions:
            _fetch_from_hub(entry, companion, path.parent / companion, progress)
        return _fetch_from_hub(entry, entry.file, path, progress)
    if entry.url is None:
        raise InputError(
            f"{entry.name} is offered for download by hand only: save {entry.file_name} of {entry.page} as {path}."
        )
    if not entry.url.endswith(".zip"):
        return download(entry.url, path, size=entry.size, sha256=entry.sha256, progress=progress)
    archive = download(entry.url, path.parent / entry.url.rsplit("/", 1)[-1], progress=progress)
    _unpack_member(archive, entry, path)
    archive.unlink()
    return path


def _fetch_from_hub(entry: WeightsFile, file: str, path: Path, progress: Progress) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers

    is_main = file == entry.file
    for renewal in range(_RENEWALS):
        metadata = _hub_metadata(entry, file, path)
        tag = metadata.etag or ""
        known_size = entry.size if is_main else None
        known_sha256 = entry.sha256 if is_main else None
        location = urllib.parse.urlsplit(metadata.location)
        # the access token must not be sent to the storage server that the hub redirects to
        at_hub = location.netloc == urllib.parse.urlsplit(constants.ENDPOINT).netloc
        received = _received_bytes(path)
        try:
            return download(
                metadata.location,
                path,
                size=known_size or metadata.size,
                # the entity tag of a large file is its SHA-256, that of a small file is shorter
                sha256=known_sha256 or (tag if len(tag) == 64 else None),
                headers=build_hf_headers() if at_hub else None,
                shown=f"https://huggingface.co/{entry.repository}/resolve/{entry.revision or 'main'}/{file}",
                progress=progress,
            )
        except RefusedError as error:
            # addresses of the storage server expire after about an hour, so a slow download needs several
            expired = error.status in (401, 403) and _received_bytes(path) > received
            if not expired or renewal + 1 == _RENEWALS:
                raise
    raise AssertionError("the last renewal returns or raises")


def _received_bytes(path: Path) -> int:
    part = path.with_name(f".{path.name}.part")
    return part.stat().st_size if part.is_file() else 0


def _hub_metadata(entry: WeightsFile, file: str, path: Path):
    """Size, checksum and current address of a file on the hub (`HfFileMetadata`)."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    assert entry.repository is not None
    by_hand = f"put {file} of {entry.source} at {path}"
    if constants.HF_HUB_OFFLINE:
        raise InputError(f"HF_HUB_OFFLINE is set, so nothing is downloaded; {by_hand}.")
    url = hf_hub_url(entry.repository, file, revision=entry.revision)
    try:
        return get_hf_file_metadata(url)
    except GatedRepoError as error:
        raise InputError(
            f"{entry.source} asks you to accept its terms first: do so there, log in with `hf auth login`, and repeat."
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError) as error:
        raise InputError(f"{entry.source} no longer offers {file}; find it elsewhere and {by_hand}.") from error
    except HfHubHTTPError as error:
        raise InputError(f"The hub refuses {entry.source} ({first_line(error)}); try later, or {by_hand}.") from error
    except OSError as error:
        raise InputError(f"{constants.ENDPOINT} cannot be reached; without a network, {by_hand}.") from error
    except Exception as error:
        # errors of the client's HTTP package, which differs between versions of the client
        if type(error).__module__.split(".")[0] in {"httpx", "httpx2", "httpcore", "httpcore2", "requests"}:
            raise InputError(f"{constants.ENDPOINT} cannot be reached; without a network, {by_hand}.") from error
        raise


def _unpack_member(archive: Path, entry: WeightsFile, path: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(entry.file) as source, atomic_file(path) as temporary:
            limit = opened.getinfo(entry.file).file_size
            if limit > _MAX_MEMBER_BYTES:
                raise InputError(
                    f"{entry.file} of {entry.url} has {limit} bytes, more than any weights; do not use it."
                )
            with temporary.open("wb") as stream:
                while block := source.read(1 << 20):
                    stream.write(block)
            if entry.sha256 is not None and file_sha256(temporary) != entry.sha256:
                raise InputError(f"{entry.file} of {entry.url} has another checksum than the known one.")
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        archive.unlink(missing_ok=True)
        raise InputError(f"{entry.url} is not an archive with {entry.file}; put that file at {path}.") from error
