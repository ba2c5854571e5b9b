"""Checkpoints in every official container, and files that are none."""

import argparse
import os
import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dynamic_predictor.weights.reading import read_checkpoint, read_config
from scene.errors import InputError
from tests.dynamic_predictor.weights.official_layouts import flat_tensors

TENSORS = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.tensor([1.0, -1.0])}


def assert_same(found: dict[str, torch.Tensor]) -> None:
    assert found.keys() == TENSORS.keys()
    for key, tensor in TENSORS.items():
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=0)


def test_state_dict_in_new_and_old_torch_format(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "new.pth")
    torch.save(TENSORS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_same(read_checkpoint(tmp_path / "new.pth").tensors)
    assert_same(read_checkpoint(tmp_path / "old.pth").tensors)


def test_torch_files_named_as_safetensors_are_not_called_damaged(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors is a torch checkpoint .* rename it to model\.pth"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_memory_has_no_room_for_are_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(TENSORS, path) if suffix == ".pth" else save_file(TENSORS, path)

    def no_room(*args: object, **options: object) -> None:
        raise RuntimeError("unable to mmap 99 bytes from file: Cannot allocate memory (12)")

    def no_room_either(*args: object, **options: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(torch, "load", no_room)
    monkeypatch.setattr("safetensors.safe_open", no_room_either)
    with pytest.raises(InputError, match="memory is not enough for the 0.0 GiB of"):
        read_checkpoint(path)


def test_training_checkpoint_of_dust3r_family(tmp_path: Path) -> None:
    model = "AsymmetricCroCo3DStereo(pos_embed='RoPE100')"
    content = {
        "args": argparse.Namespace(model=model, lr=5e-5),
        "model": {"module." + key: tensor for key, tensor in TENSORS.items()},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4}]},
        "epoch": 49,
        "best_so_far": np.float64(0.25),
    }
    torch.save(content, tmp_path / "checkpoint-last.pth")
    checkpoint = read_checkpoint(tmp_path / "checkpoint-last.pth")
    assert_same(checkpoint.tensors)
    assert checkpoint.arguments is not None and checkpoint.arguments.model == model


def test_configuration_objects_of_other_packages_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUT3R's checkpoints carry an OmegaConf configuration; the package is not needed and its code does not run."""
    module = types.ModuleType("omegaconf.dictconfig")

    class DictConfig:
        def __init__(self) -> None:
            self.content = {"model": "ARCroco3DStereo()"}

        def __getstate__(self) -> dict:
            return {"_content": self.content}

        def __setstate__(self, state: dict) -> None:
            raise AssertionError("the package's own code ran")

    DictConfig.__module__, DictConfig.__qualname__ = "omegaconf.dictconfig", "DictConfig"
    module.DictConfig = DictConfig  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
    monkeypatch.setitem(sys.modules, "omegaconf.dictconfig", module)
    torch.save({"model": TENSORS, "args": DictConfig()}, tmp_path / "cut3r.pth")
    monkeypatch.delitem(sys.modules, "omegaconf.dictconfig")
    monkeypatch.delitem(sys.modules, "omegaconf")
    checkpoint = read_checkpoint(tmp_path / "cut3r.pth")
    assert_same(checkpoint.tensors)
    assert checkpoint.arguments is None


def test_safetensors_with_configuration(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"depth_mode": ["exp", -Infinity, Infinity]}')
    checkpoint = read_checkpoint(tmp_path / "model.safetensors")
    assert_same(checkpoint.tensors)
    assert checkpoint.config == {"depth_mode": ["exp", float("-inf"), float("inf")]}


def test_real_layout_keeps_every_key_and_shape(tmp_path: Path) -> None:
    tensors = flat_tensors("das3r")
    torch.save({"model": tensors, "args": argparse.Namespace(model="x")}, tmp_path / "das3r.pth")
    shapes = read_checkpoint(tmp_path / "das3r.pth").shapes
    assert shapes == {key: tuple(tensor.shape) for key, tensor in tensors.items()}


class _Attack:
    def __reduce__(self) -> tuple:
        return os.system, ("touch owned",)


@pytest.mark.parametrize("new_format", [True, False])
def test_code_is_refused_by_name(tmp_path: Path, new_format: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": TENSORS, "args": _Attack()}, tmp_path / "bad.pth", _use_new_zipfile_serialization=new_format)
    with pytest.raises(InputError, match=r"posix\.system"):
        read_checkpoint(tmp_path / "bad.pth")
    assert not (tmp_path / "owned").exists()


class _RunsCode:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickle_with_code_is_named_and_not_run(tmp_path: Path, protocol: int, capsys) -> None:
    path = tmp_path / "plain.pth"
    path.write_bytes(
        pickle.dumps({"model": _RunsCode(), "much": bytes(3_000_000 if protocol > 1 else 100_000)}, protocol)
    )
    with pytest.raises(InputError, match="would run .*, which no|would run code") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value) and "code ran" not in capsys.readouterr().out
    path.write_text("only text\nand no code")
    with pytest.raises(InputError, match="not a checkpoint of torch"):
        read_checkpoint(path)


def test_plain_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"weights": [1, 2]}))
    with pytest.raises(InputError, match="not a checkpoint of torch"):
        read_checkpoint(tmp_path / "plain.pkl")


@pytest.mark.parametrize("container", ["new.pth", "old.pth", "model.safetensors"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.98])
def test_truncated_files(tmp_path: Path, container: str, keep: float) -> None:
    path = tmp_path / container
    tensors = {f"layer{index}.weight": torch.rand(50, 40) for index in range(5)}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=container == "new.pth")
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InputError, match=str(path)):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", b"\x89PNG\r\n\x1a\n" + bytes(80), b"PK\x03\x04" + bytes(60), bytes(200), b"{" * 100]
)
def test_files_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "thing.pth").write_bytes(content)
    with pytest.raises(InputError):
        read_checkpoint(tmp_path / "thing.pth")


def test_damage_anywhere_is_one_sentence(tmp_path: Path) -> None:
    """With bytes overwritten anywhere, the file is read or `InputError` is raised, never another exception."""
    torch.save({"model": {f"k{i}": torch.ones(20) for i in range(20)}}, tmp_path / "good.pth")
    content = bytearray((tmp_path / "good.pth").read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        start = int(rng.integers(0, len(content) - 8))
        damaged[start : start + 8] = rng.bytes(8)
        (tmp_path / "bad.pth").write_bytes(damaged)
        try:
            read_checkpoint(tmp_path / "bad.pth")
        except InputError:
            refused += 1
    assert refused > 20


def test_compressed_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(10_000_000))
    with pytest.raises(InputError, match="compressed archive"):
        read_checkpoint(tmp_path / "bomb.pth")


def test_missing_file_and_no_tensors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_checkpoint(tmp_path / "nothing.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(InputError, match="no parameters"):
        read_checkpoint(tmp_path / "empty.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="list"):
        read_checkpoint(tmp_path / "list.pth")


def test_bad_configuration(tmp_path: Path) -> None:
    assert read_config(tmp_path) is None
    for content in ("{", "[1]", '"x"', "[" * 100_000):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(InputError, match=r"config\.json"):
            read_config(tmp_path)
