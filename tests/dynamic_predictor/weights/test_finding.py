"""Where weights are found on this machine."""

from pathlib import Path

import pytest
import torch

from dynamic_predictor.weights.finding import find_weights, require_weights
from dynamic_predictor.weights.registry import weights_entry
from scene.errors import InputError


@pytest.mark.parametrize(
    "relative",
    ["das3r/model.safetensors", "das3r/das3r_checkpoint-last.pth", "das3r_checkpoint-last.pth", "das3r.safetensors"],
)
def test_paths_where_files_are_found(weights_folder: Path, relative: str) -> None:
    assert find_weights(weights_entry("das3r")) is None
    (weights_folder / relative).parent.mkdir(exist_ok=True)
    (weights_folder / relative).write_bytes(b"x")
    assert find_weights(weights_entry("das3r")) == weights_folder / relative


def test_search_order(weights_folder: Path, tmp_path: Path) -> None:
    local = tmp_path / "weights" / "raft-sintel.pth"
    local.parent.mkdir()
    local.write_bytes(b"x")
    assert require_weights(weights_entry("raft-sintel")).resolve() == local
    (weights_folder / "raft-sintel.pth").write_bytes(b"x")
    assert require_weights(weights_entry("raft-sintel")) == weights_folder / "raft-sintel.pth"
    assert require_weights(weights_entry("raft-sintel"), local) == local
    assert require_weights(weights_entry("raft-sintel"), local.parent) == local
    with pytest.raises(InputError, match="nowhere"):
        require_weights(weights_entry("raft-sintel"), tmp_path / "nowhere")


def test_hub_cache_is_searched(weights_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--Kai422kx--das3r"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"x")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    assert find_weights(weights_entry("das3r")) == snapshot / "model.safetensors"


def test_entries_of_other_packages_are_in_torchs_folder(
    weights_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    file = Path(torch.hub.get_dir()) / "checkpoints" / "alexnet-owt-7be5be79.pth"
    assert str(file).startswith(str(tmp_path))
    with pytest.raises(InputError, match=str(file)):
        require_weights(weights_entry("lpips-alexnet"))
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    assert find_weights(weights_entry("lpips-alexnet")) == file
