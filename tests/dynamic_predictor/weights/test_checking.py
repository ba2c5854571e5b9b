"""Verification and recognition of files, by `stillsplat weights check`."""

import argparse
import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dynamic_predictor.weights.checking import recognize
from stillsplat.cli import main
from tests.dynamic_predictor.weights.official_layouts import change_entry, flat_tensors, save_raft


def test_check_recognizes_files(weights_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raft = save_raft(tmp_path / "some.pth")
    assert main(["weights", "check", str(raft)]) == 2  # its checksum is not that of RAFT's published file
    assert "checksum" in capsys.readouterr().err
    small = tmp_path / "small.pth"
    torch.save(flat_tensors("da3-small"), small)
    assert main(["weights", "check", str(small)]) == 0
    assert "da3-small, 437 tensors, 34299463 values" in capsys.readouterr().out
    das3r = tmp_path / "das3r_checkpoint-last.pth"
    torch.save({"model": flat_tensors("das3r"), "args": argparse.Namespace(model="x"), "epoch": 1}, das3r)
    assert recognize(das3r).name == "das3r"
    assert main(["weights", "check", str(das3r), "--as", "monst3r"]) == 2
    assert "holds the weights of das3r, not of monst3r" in capsys.readouterr().err


def test_files_of_one_network_are_distinguished(weights_folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """The metric and the monocular model of Depth Anything 3 have the same keys; one checksum is known."""
    file = tmp_path / "some.pth"
    torch.save(flat_tensors("da3metric-large"), file)
    assert recognize(file).name == "da3mono-large"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    change_entry(monkeypatch, "da3metric-large", sha256=digest, size=None)
    assert recognize(file).name == "da3metric-large"
    assert main(["weights", "check", str(file), "--as", "da3-small"]) == 2
    assert "holds the weights of da3metric-large or da3mono-large, not of da3-small" in capsys.readouterr().err


def test_check_names_the_difference(weights_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_check_of_the_format_on_the_hub(weights_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Safetensors files contain only one of the two keys of a tensor."""
    path = weights_folder / "sea-raft-spring-m" / "model.safetensors"
    path.parent.mkdir()
    tensors = flat_tensors("sea-raft-spring-m")
    save_file({key: value.contiguous() for key, value in tensors.items() if ".downsample.1." not in key}, path)
    assert main(["weights", "check", "sea-raft-spring-m"]) == 0
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size - 100)
    assert main(["weights", "check", "sea-raft-spring-m"]) == 2
    assert "damaged or cut short" in capsys.readouterr().err
