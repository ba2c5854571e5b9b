"""Finding, fetching and checking weights through the command line."""

import argparse
import hashlib
import io
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from official_layouts import flat_tensors
from safetensors.torch import save_file

from dynamic_predictor.weights import registry
from dynamic_predictor.weights.finding import find_weights, require_weights
from dynamic_predictor.weights.registry import all_weights, weights_entry
from scene.errors import InputError
from stillsplat.cli import main


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
    das3r = tmp_path / "das3r_checkpoint-last.pth"
    torch.save({"model": flat_tensors("das3r"), "args": argparse.Namespace(model="x"), "epoch": 1}, das3r)
    assert main(["weights", "check", str(raft), str(das3r)]) == 2  # the checksum of RAFT's file is known, and another
    assert "checksum" in capsys.readouterr().err
    assert main(["weights", "check", str(das3r)]) == 0
    assert "das3r, 1139 tensors" in capsys.readouterr().out
    assert main(["weights", "check", str(das3r), "--as", "monst3r"]) == 2
    assert "holds the weights of das3r, not of monst3r" in capsys.readouterr().err


def test_check_names_what_is_wrong(weights_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = flat_tensors("sea-raft-spring-m")
    path = weights_folder / "sea-raft-spring-m" / "model.safetensors"
    path.parent.mkdir()

    def check(changed: dict[str, torch.Tensor]) -> str:
        # the hub's container keeps one of two aliases
        kept = {key: value.contiguous() for key, value in changed.items() if ".downsample.1." not in key}
        save_file(kept, path)
        assert main(["weights", "check", "sea-raft-spring-m"]) == 2
        return capsys.readouterr().err

    assert "init_conv.bias" in check({key: value for key, value in tensors.items() if key != "init_conv.bias"})
    assert "extra.key" in check(tensors | {"extra.key": torch.ones(2)})
    assert "init_conv.bias (3 instead of 256)" in check(tensors | {"init_conv.bias": torch.ones(3)})
    broken = check(tensors | {"init_conv.bias": torch.full((256,), float("nan"))})
    assert "not finite" in broken and "init_conv.bias" in broken
    path.write_bytes(path.read_bytes()[:-100])
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
