"""Finding, fetching and checking weights through the command line."""

import argparse
import hashlib
import io
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dynamic_predictor.weights import registry
from dynamic_predictor.weights.checking import recognise
from dynamic_predictor.weights.finding import find_weights, given_weights, require_weights
from dynamic_predictor.weights.registry import all_weights, weights_entry
from scene.errors import InputError
from stillsplat.cli import main
from tests.dynamic_predictor.weights.official_layouts import flat_tensors


def change_entry(monkeypatch: pytest.MonkeyPatch, name: str, **changes) -> None:
    """The registry with another source for one entry."""
    entries = tuple(replace(e, **changes) if e.name == name else e for e in registry._ENTRIES)
    monkeypatch.setattr(registry, "_ENTRIES", entries)
    monkeypatch.setattr(registry, "_REGISTRY", {entry.name: entry for entry in entries})


def save_raft(path: Path, prefix: str = "module.") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({prefix + key: tensor for key, tensor in flat_tensors("raft-sintel").items()}, path)
    return path


def test_every_entry_says_where_and_under_which_licence() -> None:
    for entry in all_weights().values():
        assert entry.license and entry.purpose and entry.source.startswith("https://")
        assert entry.sha256 is None or len(bytes.fromhex(entry.sha256)) == 32
        assert weights_entry(entry.name) is entry


def test_names_that_users_of_das3r_know() -> None:
    for spelling in ("das3r", "Kai422kx/das3r", "das3r_checkpoint-last.pth", "DAS3R"):
        assert weights_entry(spelling).name == "das3r"
    assert weights_entry("MonST3R_PO-TA-S-W_ViTLarge_BaseDecoder_512_dpt.pth").name == "monst3r"
    with pytest.raises(InputError, match="das3r"):
        weights_entry("model.safetensors")


@pytest.mark.parametrize(
    "relative",
    ["das3r/model.safetensors", "das3r/das3r_checkpoint-last.pth", "das3r_checkpoint-last.pth", "das3r.safetensors"],
)
def test_places_where_files_are_found(weights_folder: Path, relative: str) -> None:
    assert find_weights("das3r") is None
    (weights_folder / relative).parent.mkdir(exist_ok=True)
    (weights_folder / relative).write_bytes(b"x")
    assert find_weights("das3r") == weights_folder / relative


def test_order_of_places(weights_folder: Path, tmp_path: Path) -> None:
    local = tmp_path / "weights" / "raft-sintel.pth"
    local.parent.mkdir()
    local.write_bytes(b"x")
    assert require_weights("raft-sintel").resolve() == local
    (weights_folder / "raft-sintel.pth").write_bytes(b"x")
    assert require_weights("raft-sintel") == weights_folder / "raft-sintel.pth"
    assert require_weights("raft-sintel", local) == local
    assert require_weights("raft-sintel", local.parent) == local
    with pytest.raises(InputError, match="nowhere"):
        require_weights("raft-sintel", tmp_path / "nowhere")


def test_a_file_that_is_named_is_found_where_weights_are_kept(weights_folder: Path, tmp_path: Path) -> None:
    """In the working folder, then under its name, then as any other official file of the same weights."""
    fetched = weights_folder / "das3r" / "model.safetensors"
    named = weights_folder / "das3r" / "das3r_checkpoint-last.pth"
    here = tmp_path / "das3r_checkpoint-last.pth"
    for path in (fetched, named, here):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        assert given_weights("das3r_checkpoint-last.pth").resolve() == path
    assert given_weights("das3r") == given_weights("Kai422kx/das3r") == fetched
    assert given_weights(named.parent) == named.parent
    with pytest.raises(InputError, match="There is no file nowhere/das3r.pth; `stillsplat weights list` says"):
        given_weights("nowhere/das3r.pth")
    with pytest.raises(InputError, match=r"The weights of monst3r are not .* put model.safetensors of .* at "):
        given_weights("MonST3R_PO-TA-S-W_ViTLarge_BaseDecoder_512_dpt.pth")


def test_hub_cache_is_searched(weights_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--Kai422kx--das3r"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"x")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    assert find_weights("das3r") == snapshot / "model.safetensors"


def test_what_other_packages_look_for_is_in_torchs_folder(
    weights_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    file = Path(torch.hub.get_dir()) / "checkpoints" / "alexnet-owt-7be5be79.pth"
    assert str(file).startswith(str(tmp_path))
    with pytest.raises(InputError, match=str(file)):
        require_weights("lpips-alexnet")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    assert find_weights("lpips-alexnet") == file


def test_list_and_path(weights_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save_raft(weights_folder / "raft-sintel.pth")
    assert main(["weights", "list"]) == 0
    listed = capsys.readouterr().out
    for name in all_weights():
        assert f"{name}  (" in listed
    assert f"here: {path}" in listed
    assert main(["weights", "path", "raft-sintel"]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    assert main(["weights", "path", "das3r"]) == 2
    error = capsys.readouterr().err
    assert "stillsplat weights get das3r" in error and str(weights_folder / "das3r" / "model.safetensors") in error
    assert main(["weights", "path", "nonsense"]) == 2


def test_check_recognises_files(weights_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raft = save_raft(tmp_path / "some.pth")
    assert main(["weights", "check", str(raft)]) == 2  # the checksum of RAFT's file is known, and another
    assert "checksum" in capsys.readouterr().err
    small = tmp_path / "small.pth"
    torch.save(flat_tensors("da3-small"), small)
    assert main(["weights", "check", str(small)]) == 0
    assert "da3-small, 437 tensors, 34299463 values" in capsys.readouterr().out
    das3r = tmp_path / "das3r_checkpoint-last.pth"
    torch.save({"model": flat_tensors("das3r"), "args": argparse.Namespace(model="x"), "epoch": 1}, das3r)
    assert recognise(das3r).name == "das3r"
    assert main(["weights", "check", str(das3r), "--as", "monst3r"]) == 2
    assert "holds the weights of das3r, not of monst3r" in capsys.readouterr().err


def test_files_of_one_network_are_told_apart(weights_folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """The metric and the monocular model of Depth Anything 3 have the same keys; one checksum is known."""
    file = tmp_path / "some.pth"
    torch.save(flat_tensors("da3metric-large"), file)
    assert recognise(file).name == "da3mono-large"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    change_entry(monkeypatch, "da3metric-large", sha256=digest, size=None)
    assert recognise(file).name == "da3metric-large"
    assert main(["weights", "check", str(file), "--as", "da3-small"]) == 2
    assert "holds the weights of da3metric-large or da3mono-large, not of da3-small" in capsys.readouterr().err


def test_check_names_what_is_wrong(weights_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = flat_tensors("sea-raft-spring-m")
    path = weights_folder / "Tartan-C-T-TSKH-spring540x960-M.pth"

    def check(changed: dict[str, torch.Tensor]) -> str:
        torch.save(changed, path)
        assert main(["weights", "check", "sea-raft-spring-m"]) == 2
        return capsys.readouterr().err

    assert "init_conv.bias" in check({key: value for key, value in tensors.items() if key != "init_conv.bias"})
    assert "extra.key" in check(tensors | {"extra.key": torch.ones(2)})
    assert "init_conv.bias (3 instead of 256)" in check(tensors | {"init_conv.bias": torch.ones(3)})
    for value in (float("nan"), float("inf"), -float("inf")):
        broken = check(tensors | {"init_conv.bias": torch.tensor([0.0] * 255 + [value])})
        assert "not finite" in broken and "init_conv.bias" in broken


def test_check_of_the_hubs_container(weights_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It keeps one of two names of a tensor."""
    path = weights_folder / "sea-raft-spring-m" / "model.safetensors"
    path.parent.mkdir()
    tensors = flat_tensors("sea-raft-spring-m")
    save_file({key: value.contiguous() for key, value in tensors.items() if ".downsample.1." not in key}, path)
    assert main(["weights", "check", "sea-raft-spring-m"]) == 0
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size - 100)
    assert main(["weights", "check", "sea-raft-spring-m"]) == 2
    assert "damaged or cut short" in capsys.readouterr().err


def test_licence_is_shown_and_asked(weights_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "get", "das3r"]) == 2
    captured = capsys.readouterr()
    assert "CC BY-NC-SA 4.0" in captured.out and "--yes" in captured.err


def test_get_unpacks_the_archive(
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
    """The web server as the hub: `put(repository, file, content, store=...)`, where large files lie in a store."""
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


def test_get_from_the_hub_goes_on_and_is_checked(
    weights_folder: Path, hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hub's own address for one file, a store with another host name for the other; the token stays at the hub."""
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


def test_an_address_that_expired_is_asked_for_again(weights_folder: Path, hub, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_what_the_hub_refuses(weights_folder: Path, hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "get", "das3r", "--yes"]) == 2
    assert "no longer offers config.json" in capsys.readouterr().err


def test_get_without_a_network(
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
