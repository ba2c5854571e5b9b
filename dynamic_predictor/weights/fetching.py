"""Fetching weights: where the hub keeps a file is asked of its client, the bytes come by our own resumable download.

The hub's client itself starts an interrupted file from its beginning (since its version 2), which is no way to fetch
gigabytes.
"""

import urllib.parse
import zipfile
from pathlib import Path

from dynamic_predictor.weights.entry import WeightsFile
from dynamic_predictor.weights.finding import kept_at
from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.files.downloading import RefusedError, download, file_sha256
from scene.progress import Progress, ignore_progress

_RENEWALS = 20


def fetch_weights(
    entry: WeightsFile, folder: str | Path | None = None, *, progress: Progress = ignore_progress
) -> Path:
    """Fetches the file of `entry` and returns where it is. An interrupted download goes on where it stopped, also in
    another call; the file appears when it is whole and has the size and the SHA-256 that the registry and the hub
    state. `InputError` says which file to put where when there is no network."""
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
        metadata = _ask_hub(entry, file, path)
        tag = metadata.etag or ""
        known_size = entry.size if is_main else None
        known_sha256 = entry.sha256 if is_main else None
        location = urllib.parse.urlsplit(metadata.location)
        # the token is for the hub alone, never for the store that it sends us to
        at_hub = location.netloc == urllib.parse.urlsplit(constants.ENDPOINT).netloc
        have = _arrived(path)
        try:
            return download(
                metadata.location,
                path,
                size=known_size or metadata.size,
                # the tag of a large file is its SHA-256, that of a small one is shorter
                sha256=known_sha256 or (tag if len(tag) == 64 else None),
                headers=build_hf_headers() if at_hub else None,
                shown=f"https://huggingface.co/{entry.repository}/resolve/{entry.revision or 'main'}/{file}",
                progress=progress,
            )
        except RefusedError as error:
            # addresses of the store hold for an hour or so; a slow download needs several
            if error.status not in (401, 403) or _arrived(path) <= have or renewal + 1 == _RENEWALS:
                raise
    raise AssertionError("the last renewal returns or raises")


def _arrived(path: Path) -> int:
    part = path.with_name(f".{path.name}.part")
    return part.stat().st_size if part.is_file() else 0


def _ask_hub(entry: WeightsFile, file: str, path: Path):
    """What the hub says of a file: its size, checksum and present address (`HfFileMetadata`)."""
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
        raise InputError(f"HF_HUB_OFFLINE is set, nothing is fetched; {by_hand}.")
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
        raise InputError(f"The hub refuses {entry.source} ({_first_line(error)}); try later, or {by_hand}.") from error
    except OSError as error:
        raise InputError(f"{constants.ENDPOINT} cannot be reached; without a network, {by_hand}.") from error
    except Exception as error:
        # the client's transport raises errors of its own, of a package that changes between its versions
        if type(error).__module__.split(".")[0] in {"httpx", "httpx2", "httpcore", "httpcore2", "requests"}:
            raise InputError(f"{constants.ENDPOINT} cannot be reached; without a network, {by_hand}.") from error
        raise


def _unpack_member(archive: Path, entry: WeightsFile, path: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(entry.file) as source, atomic_file(path) as temporary:
            with temporary.open("wb") as stream:
                while block := source.read(1 << 20):
                    stream.write(block)
            if entry.sha256 is not None and file_sha256(temporary) != entry.sha256:
                raise InputError(f"{entry.file} of {entry.url} has another checksum than the known one.")
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        archive.unlink(missing_ok=True)
        raise InputError(f"{entry.url} is not the archive that holds {entry.file}; put that file at {path}.") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:160] if lines else type(error).__name__
