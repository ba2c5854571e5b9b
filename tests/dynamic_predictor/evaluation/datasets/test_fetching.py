"""Downloading data sets from a local server: resuming, checking, and unpacking only inside the target folder."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from data import dataset_commands
from dynamic_predictor.evaluation.datasets.fetching import (
    Archive,
    ArchivePart,
    PublishedDataset,
    ask_for_consent,
    describe,
    fetch_dataset,
    unpack,
)
from scene.errors import InputError

FILES = {f"training/final/alley_2/frame_{index:04d}.png": bytes([index]) * 3000 for index in range(5)}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("training/", b"")
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            record = tarfile.TarInfo(name)
            record.size = len(content)
            archive.addfile(record, io.BytesIO(content))
    return buffer.getvalue()


def dataset_of(*archives: Archive) -> PublishedDataset:
    return PublishedDataset("Made up", "CC0", "nobody", "http://nowhere", archives)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".unpacked-")
    }


def test_zip_is_downloaded_unpacked_and_removed(range_server, tmp_path: Path) -> None:
    range_server.files["/pictures.zip"] = zipped(FILES)
    dataset = dataset_of(Archive("pictures", (ArchivePart(f"{range_server.url}/pictures.zip"),)))
    fetch_dataset(dataset, tmp_path / "sintel")
    assert files_in(tmp_path / "sintel") == FILES
    requests = len(range_server.ranges)
    fetch_dataset(dataset, tmp_path / "sintel")
    assert len(range_server.ranges) == requests


def test_split_archive(range_server, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = {f"train/clip/rgbs/rgb_{index:05d}.jpg": rng.bytes(40_000) for index in range(8)}
    whole = tarred(files)
    cuts = [0, 1000, 100_000, 250_000, len(whole)]
    parts = []
    for ending, start, stop in zip(("aa", "ab", "ac", "ad"), cuts[:-1], cuts[1:], strict=True):
        range_server.files[f"/train.tar.gz.part{ending}"] = whole[start:stop]
        parts.append(ArchivePart(f"{range_server.url}/train.tar.gz.part{ending}", stop - start))
    archive = Archive("clips", tuple(parts))
    assert archive.name == "train.tar.gz" and archive.size == len(whole)
    fetch_dataset(dataset_of(archive), tmp_path, keep_archives=True)
    unpacked = {name: content for name, content in files_in(tmp_path).items() if ".tar.gz" not in name}
    assert unpacked == files
    assert (tmp_path / "train.tar.gz.partad").is_file()


def test_unpacking_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(FILES))
    first = next(iter(FILES))
    (tmp_path / first).parent.mkdir(parents=True)
    (tmp_path / first).write_bytes(bytes(3000))  # right size: taken as done
    second = list(FILES)[1]
    (tmp_path / second).write_bytes(b"half")
    unpack([tmp_path / "a.zip"], tmp_path)
    assert (tmp_path / first).read_bytes() == bytes(3000)
    assert (tmp_path / second).read_bytes() == FILES[second]


def test_damaged_archives(tmp_path: Path) -> None:
    content = bytearray(zipped({"training/big.bin": np.random.default_rng(1).bytes(50_000)}))
    content[20_000] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.zip is damaged"):
        unpack([tmp_path / "a.zip"], tmp_path)
    assert not list(tmp_path.rglob("big.bin*"))

    whole = bytearray(tarred({"train/big.bin": np.random.default_rng(1).bytes(50_000)}))
    flipped = whole.copy()
    flipped[-6] ^= 0xFF  # the checksum itself
    for damaged in (whole[:-10_000], flipped):
        (tmp_path / "a.tar.gz").write_bytes(damaged)
        with pytest.raises(InputError, match=r"a\.tar\.gz is damaged"):
            unpack([tmp_path / "a.tar.gz"], tmp_path)


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/outside.txt", "a/../../outside.txt", "..\\outside.txt"])
def test_entries_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "a.zip").write_bytes(zipped({name: b"x"}))
    (folder / "a.tar.gz").write_bytes(tarred({name: b"x"}))
    for archive in ("a.zip", "a.tar.gz"):
        with pytest.raises(InputError, match="outside"):
            unpack([folder / archive], folder)
    assert not (tmp_path / "outside.txt").exists()


def test_links_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("train")
        link.type, link.linkname = tarfile.SYMTYPE, "/tmp"
        archive.addfile(link)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(buffer.getvalue()))
    with pytest.raises(InputError, match="not a regular file"):
        unpack([tmp_path / "a.tar.gz"], tmp_path)
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "training").symlink_to(tmp_path)
    (tmp_path / "inside" / "a.zip").write_bytes(zipped({"training/x.txt": b"x"}))
    with pytest.raises(InputError, match="through a link"):
        unpack([tmp_path / "inside" / "a.zip"], tmp_path / "inside")


def test_license_must_be_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    for dataset in (dataset_commands.DAVIS, dataset_commands.SINTEL, dataset_commands.POINT_ODYSSEY):
        assert dataset.license in describe(dataset) and dataset.cite in describe(dataset)
    with pytest.raises(InputError, match="not accepted"):
        ask_for_consent(dataset_commands.DAVIS, accepted=False, ask=lambda question: "n")
    ask_for_consent(dataset_commands.DAVIS, accepted=False, ask=lambda question: "yes")
    with pytest.raises(InputError, match="--yes"):
        ask_for_consent(dataset_commands.DAVIS, accepted=False)
