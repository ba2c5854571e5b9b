"""Downloads from the hub and from other servers, by `stillsplat weights get`."""

import hashlib
import io
import shutil
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from dynamic_predictor.weights.registry import all_weights
from stillsplat.cli import main
from tests.dynamic_predictor.weights.official_layouts import change_entry, save_raft


def test_download_unpacks_the_archive(
    weights_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, range_server, capsys
) -> None:
    content = save_raft(tmp_path / "made.pth").read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("models/raft-things.pth", b"other")
        archive.writestr("models/raft-sintel.pth", content)
    range_server.files["/models.zip"] = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    change_entry(monkeypatch, "raft-sintel", url=f"{range_server.url}/models.zip", sha256=digest)
    assert main(["weights", "get", "raft-sintel", "--yes"]) == 0
    fetched = weights_folder / "raft-sintel" / "raft-sintel.pth"
    assert fetched.read_bytes() == content
    assert [path.name for path in fetched.parent.iterdir()] == ["raft-sintel.pth"]
    assert main(["weights", "check", "raft-sintel"]) == 0
    assert "SHA-256" in capsys.readouterr().out

    shutil.rmtree(fetched.parent)
    change_entry(monkeypatch, "raft-sintel", url=f"{range_server.url}/models.zip", sha256="0" * 64)
    assert main(["weights", "get", "raft-sintel", "--yes"]) == 2
    assert not fetched.exists()


@pytest.fixture
def hub(range_server, monkeypatch: pytest.MonkeyPatch):
    """The web server as the hub; `put(repository, file, content, store=...)` adds a file, a large one at the address
    `store`, which the hub redirects to."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", range_server.url)
    template = range_server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    def put(repository: str, file: str, content: bytes, *, store: str | None = None) -> None:
        path = f"/{repository}/resolve/main/{file}"
        headers = {"X-Repo-Commit": "a" * 40}
        if store is None:
            headers |= {"ETag": '"0123456789"', "Content-Length": str(len(content))}
        else:
            digest = hashlib.sha256(content).hexdigest()
            headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content)), "Location": store}
        range_server.head_headers[path] = headers
        range_server.files[path if store is None else urlsplit(store).path] = content

    range_server.put = put
    return range_server


def test_download_from_the_hub_is_resumed_and_checked(
    weights_folder: Path, hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file is at the hub's own address, the other on a server with another name, which must not get the token."""
    from scene.files import downloading

    monkeypatch.setattr(downloading.time, "sleep", lambda seconds: None)
    content = np.random.default_rng(0).bytes(1_000_000)
    repository = "Kai422kx/das3r"
    store = hub.url.replace("127.0.0.1", "localhost") + "/store/abc"
    hub.put(repository, "config.json", b"{}")
    hub.put(repository, "model.safetensors", content, store=store)
    config = weights_folder / "das3r" / "config.json"
    file = weights_folder / "das3r" / "model.safetensors"
    hub.drop_after = 150_000
    assert main(["weights", "get", "das3r", "--yes"]) == 2
    assert config.read_bytes() == b"{}" and not file.exists()
    assert "huggingface.co/Kai422kx/das3r" in capsys.readouterr().err
    hub.drop_after = None
    assert main(["weights", "get", "das3r", "--yes"]) == 0
    assert file.read_bytes() == content
    assert hub.ranges[-1] == "bytes=600000-"
    assert sorted(path.name for path in file.parent.iterdir()) == ["config.json", "model.safetensors"]
    for method, path, authorization in hub.asked:
        if path.startswith(("/store", "/Kai422kx")):
            assert (authorization == "Bearer hf_secret") == path.startswith("/Kai422kx"), (method, path)

    file.unlink()
    hub.files["/store/abc"] = bytes(len(content))  # another file of the same size
    assert main(["weights", "get", "das3r", "--yes"]) == 2
    assert "checksum" in capsys.readouterr().err and not file.exists()


def test_expired_addresses_are_resolved_again(weights_folder: Path, hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from dynamic_predictor.weights import fetching
    from scene.files import downloading

    content = np.random.default_rng(0).bytes(100_000)
    store = hub.url.replace("127.0.0.1", "localhost") + "/store/abc"
    hub.put("lch01/StreamVGGT", "checkpoints.pth", content, store=store)
    asked = []

    def expiring(url: str, path: Path, **options) -> Path:
        asked.append(url)
        if len(asked) == 1:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.part").write_bytes(content[:40_000])
            raise downloading.RefusedError("expired", 403)
        return downloading.download(url, path, **options)

    monkeypatch.setattr(fetching, "download", expiring)
    assert main(["weights", "get", "streamvggt", "--yes"]) == 0
    assert len(asked) == 2 and hub.ranges == ["bytes=40000-"]
    assert (weights_folder / "streamvggt" / "checkpoints.pth").read_bytes() == content


def test_missing_file_on_the_hub(weights_folder: Path, hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "get", "das3r", "--yes"]) == 2
    assert "no longer offers config.json" in capsys.readouterr().err


def test_download_without_a_network(
    weights_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import socket

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def no_network(*arguments):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    for name in all_weights():
        assert main(["weights", "get", name, "--yes"]) == 2
        error = capsys.readouterr().err
        kept = tmp_path / "torch" if all_weights()[name].in_torch_hub else weights_folder / name
        assert str(kept) in error and error.count("\n") == 1, name
