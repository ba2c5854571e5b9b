"""Downloads published data sets: shows the license, resumes downloads, and unpacks archives file by file."""

import gzip
import os
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from scene.errors import InputError
from scene.files.atomic import writing_error
from scene.files.downloading import download, format_bytes
from scene.progress import Progress, ignore_progress

_BLOCK = 1 << 20
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError)


@dataclass(frozen=True)
class ArchivePart:
    """A file to download. `size` and `sha256` are None where they are not published."""

    url: str
    size: int | None = None
    sha256: str | None = None

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Archive:
    """A .zip or .tar.gz archive, possibly split into parts. `holds` describes its content to the user."""

    holds: str
    parts: tuple[ArchivePart, ...]

    @property
    def name(self) -> str:
        """The name of the whole archive."""
        return self.parts[0].name.removesuffix(".partaa")

    @property
    def size(self) -> int | None:
        """Bytes of all parts together; None where unknown."""
        sizes = [part.size for part in self.parts]
        return sum(size for size in sizes if size is not None) if None not in sizes else None


@dataclass(frozen=True)
class PublishedDataset:
    """A published data set: its license, citation, page with the terms of use, and archives."""

    title: str
    license: str
    cite: str
    page: str
    archives: tuple[Archive, ...]


def describe(dataset: PublishedDataset) -> str:
    """The license, citation and sizes of a data set, to show before the download."""
    lines = [dataset.title, f"  license: {dataset.license}", f"  cite: {dataset.cite}", f"  terms: {dataset.page}"]
    for archive in dataset.archives:
        size = f", {format_bytes(archive.size)}" if archive.size is not None else ""
        lines.append(f"  {archive.name}: {archive.holds}{size}")
    return "\n".join(lines)


def ask_for_consent(dataset: PublishedDataset, *, accepted: bool, ask: Callable[[str], str] = input) -> None:
    """Shows the license and sizes. Raises `InputError` unless the user accepts the license now or has `accepted` it."""
    print(describe(dataset), flush=True)
    if accepted:
        return
    if not sys.stdin.isatty() and ask is input:
        raise InputError("The license cannot be confirmed without a terminal; repeat with --yes if you accept it.")
    if ask("Download under this license? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise InputError("Nothing was downloaded because the license was not accepted.")


def fetch_dataset(
    dataset: PublishedDataset,
    folder: str | Path,
    *,
    keep_archives: bool = False,
    progress: Progress = ignore_progress,
) -> None:
    """Downloads the archives into `folder` and unpacks them there.

    An interrupted call can be repeated: downloads are resumed, existing files of the right size are not unpacked again,
    and an empty file `.unpacked-NAME` marks a finished archive. Archives are removed after unpacking unless
    `keep_archives`. An archive that the user has put into `folder` is not downloaded.
    """
    folder = Path(folder)
    for archive in dataset.archives:
        done = folder / f".unpacked-{archive.name}"
        if done.exists():
            continue
        paths = [
            download(part.url, folder / part.name, size=part.size, sha256=part.sha256, progress=progress)
            for part in archive.parts
        ]
        unpack(paths, folder, progress=progress)
        try:
            done.touch()
            if not keep_archives:
                for path in paths:
                    path.unlink()
        except OSError as error:
            raise writing_error(folder, error) from error


def unpack(parts: Sequence[Path], folder: Path, *, progress: Progress = ignore_progress) -> None:
    """Unpacks a .zip, or a .tar.gz whose parts are read in order, without joining them on the disk.

    Writes only regular files inside `folder`, each completely or not at all, and verifies the checksums in the archive.
    Raises `InputError` for a damaged archive, for entries outside `folder`, and when the disk is full.
    """
    name = parts[0].name
    try:
        if name.endswith(".zip"):
            _unpack_zip(parts[0], folder, progress)
        else:
            _unpack_tar(parts, folder, progress)
    except _DAMAGE as error:
        raise InputError(f"{parts[0]} is damaged; remove it and repeat the command to download it again.") from error
    except OSError as error:
        raise writing_error(folder, error) from error


def _unpack_zip(path: Path, folder: Path, progress: Progress) -> None:
    with zipfile.ZipFile(path) as archive:
        records = [record for record in archive.infolist() if not record.is_dir()]
        targets = [_target(folder, record.filename, path) for record in records]
        missing = sum(
            record.file_size for record, target in zip(records, targets, strict=True) if not _is_there(target, record)
        )
        if missing > shutil.disk_usage(folder).free:
            raise InputError(f"{folder} has no room for the {format_bytes(missing)} in {path.name}; make room first.")
        for done, (record, target) in enumerate(zip(records, targets, strict=True), start=1):
            if not _is_there(target, record):
                with archive.open(record) as source:
                    _write(source, target)
            progress(f"unpack {path.name} (files)", done, len(records))


def _is_there(target: Path, record: zipfile.ZipInfo) -> bool:
    return target.is_file() and target.stat().st_size == record.file_size


def _unpack_tar(parts: Sequence[Path], folder: Path, progress: Progress) -> None:
    total = sum(part.stat().st_size for part in parts)
    with _JoinedFiles(parts) as joined, gzip.GzipFile(fileobj=joined) as unzipped:  # type: ignore[arg-type]
        with tarfile.open(fileobj=unzipped, mode="r|") as archive:
            for record in archive:
                if record.isfile():
                    target = _target(folder, record.name, parts[0])
                    source = archive.extractfile(record)
                    if source is not None and not (target.is_file() and target.stat().st_size == record.size):
                        _write(source, target)
                elif not record.isdir():
                    raise InputError(
                        f"{parts[0]} holds {record.name}, which is not a regular file; it is not unpacked."
                    )
                progress(f"unpack {parts[0].name} (MiB read)", joined.tell() >> 20, max(total >> 20, 1))
        while unzipped.read(_BLOCK):  # reads the padding and the checksum, which gzip verifies
            pass


def _target(folder: Path, name: str, archive: Path) -> Path:
    """The path of an archive's file in `folder`. Raises `InputError` when it would be outside of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or ":" in path.parts[0]:
        raise InputError(f"{archive} has a file {name} outside of {folder}; it is not unpacked.")
    target = folder / path
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{archive} has a file {name} that leaves {folder} through a link; it is not unpacked.")
    return target


def _write(source: IO[bytes], target: Path) -> None:
    """Writes a hidden file and renames it, so that an interruption never leaves an incomplete file as `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    try:
        with temporary.open("wb") as stream:
            shutil.copyfileobj(source, stream, _BLOCK)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


class _JoinedFiles:
    """A stream over the contents of several files in order."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files: Iterator[Path] = iter(paths)
        self._current: IO[bytes] | None = None
        self._position = 0

    def __enter__(self) -> "_JoinedFiles":
        return self

    def __exit__(self, *error: object) -> None:
        if self._current is not None:
            self._current.close()

    def read(self, count: int = -1) -> bytes:
        while True:
            if self._current is None:
                path = next(self._files, None)
                if path is None:
                    return b""
                self._current = path.open("rb")
            block = self._current.read(count)
            if block or count == 0:
                self._position += len(block)
                return block
            self._current.close()
            self._current = None

    def tell(self) -> int:
        return self._position
