"""Fetching weights: from the hub through its client, from elsewhere by a plain resumable download."""

import os
import socket
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

from dynamic_predictor.downloading import download, file_sha256
from dynamic_predictor.weights.finding import kept_at
from dynamic_predictor.weights.registry import WeightsFile
from scene.atomic import atomic_file
from scene.errors import InputError
from scene.progress import Progress, ignore_progress


def fetch_weights(
    entry: WeightsFile, folder: str | Path | None = None, *, progress: Progress = ignore_progress
) -> Path:
    """Fetches the file of `entry` and returns where it is. An interrupted download goes on where it stopped; the file
    appears when it is whole. `InputError` says which file to put where when there is no network."""
    path = kept_at(entry, folder)
    if entry.repository is not None:
        return _fetch_from_hub(entry, path, progress)
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


def _fetch_from_hub(entry: WeightsFile, path: Path, progress: Progress) -> Path:
    assert entry.repository is not None
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise InputError(
            f"HF_HUB_OFFLINE is set, nothing is fetched; put {entry.file_name} of {entry.source} at {path}."
        )
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )
    from huggingface_hub.utils.logging import set_verbosity_error

    by_hand = f"put {entry.file_name} of {entry.source} at {path}"
    if not _has_address(constants.ENDPOINT):
        raise InputError(f"{constants.ENDPOINT} cannot be reached; without a network, {by_hand}.")
    set_verbosity_error()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for file in (*entry.companions, entry.file):
            hf_hub_download(entry.repository, file, revision=entry.revision, local_dir=path.parent)
    except LocalEntryNotFoundError as error:  # the hub's client says this when it reaches nothing
        raise InputError(f"huggingface.co cannot be reached; without a network, {by_hand}.") from error
    except GatedRepoError as error:
        raise InputError(
            f"{entry.source} asks you to accept its terms first: do so there, log in with `hf auth login`, and repeat."
        ) from error
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        raise InputError(f"{entry.source} no longer offers {entry.file}; find it elsewhere and {by_hand}.") from error
    except HfHubHTTPError as error:
        raise InputError(f"The hub refuses {entry.source} ({_first_line(error)}); try later, or {by_hand}.") from error
    except OSError as error:
        raise InputError(f"{entry.name} could not be fetched ({_first_line(error)}); repeat, or {by_hand}.") from error
    except Exception as error:
        # the client's transport raises errors of its own, of a package that changes between its versions
        if type(error).__module__.split(".")[0] in {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "hf_xet"}:
            raise InputError(f"huggingface.co cannot be reached; without a network, {by_hand}.") from error
        raise
    fetched = path.parent / entry.file
    if entry.size is not None and fetched.stat().st_size != entry.size:
        raise InputError(f"{fetched} has {fetched.stat().st_size} bytes instead of {entry.size}; fetch it again.")
    if entry.sha256 is not None and file_sha256(fetched, progress) != entry.sha256:
        raise InputError(f"{fetched} has another checksum than the published one; remove it and fetch it again.")
    return fetched


def _has_address(url: str) -> bool:
    """Whether the name of the server can be looked up; at once, where the hub's client tries for half a minute. Behind
    a proxy the name need not be known here."""
    if urllib.request.getproxies():
        return True
    parts = urllib.parse.urlsplit(url)
    try:
        return bool(socket.getaddrinfo(parts.hostname, parts.port or 443))
    except OSError:
        return False


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
