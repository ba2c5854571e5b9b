"""The registry of official weights."""

from pathlib import Path

import pytest

from dynamic_predictor.weights.registry import all_weights, given_weights, weights_entry
from scene.errors import InputError


def test_every_entry_has_a_source_and_a_license() -> None:
    for entry in all_weights().values():
        assert entry.license and entry.purpose and entry.source.startswith("https://")
        assert entry.sha256 is None or len(bytes.fromhex(entry.sha256)) == 32
        assert weights_entry(entry.name) is entry


def test_entries_by_official_names() -> None:
    for spelling in ("das3r", "Kai422kx/das3r", "das3r_checkpoint-last.pth", "DAS3R"):
        assert weights_entry(spelling).name == "das3r"
    assert weights_entry("MonST3R_PO-TA-S-W_ViTLarge_BaseDecoder_512_dpt.pth").name == "monst3r"
    with pytest.raises(InputError, match="das3r"):
        weights_entry("model.safetensors")


def test_files_given_by_official_name_are_found_in_weights_folders(weights_folder: Path, tmp_path: Path) -> None:
    """In the working folder first, then a file of that name, then another official file of the same weights."""
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
