"""What --refine-masks names, and the sentences where something is missing."""

import importlib.metadata

import pytest

from dynamic_predictor.driver.checks import check_options
from dynamic_predictor.driver.scene_driver import SceneDriver
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.mask_refinement.choice import chosen_weights, required_weights
from dynamic_predictor.mask_refinement.weights import SAM2
from dynamic_predictor.weights.registry import weights_entry
from scene.errors import InputError


@pytest.fixture
def no_weights(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STILLSPLAT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("dynamic_predictor.mask_refinement.choice.find_weights", _find(tmp_path))
    return tmp_path / "weights"


def _find(folder):
    def find(entry):
        path = folder / "weights" / entry.name / entry.file_name
        return path if path.exists() else None

    return find


def _version(monkeypatch, found: str | None):
    def version(name: str) -> str:
        if name == "transformers":
            if found is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return found
        return original(name)

    original = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", version)


def test_sizes(no_weights):
    assert chosen_weights("sam2:large").name == "sam2.1-hiera-large"
    assert chosen_weights("sam2") is SAM2["small"]  # asked for where there is none
    for size in ("tiny", "base-plus"):
        path = no_weights / SAM2[size].name / "model.safetensors"
        path.parent.mkdir(parents=True)
        path.touch()
        assert chosen_weights("sam2") is SAM2[size]
    for size, entry in SAM2.items():
        assert weights_entry(f"facebook/sam2.1-hiera-{size}") is entry and entry.license == "Apache-2.0"
        assert entry.verification.startswith("UNVERIFIED")


@pytest.mark.parametrize("text", ["sam", "sam2:", "sam2:huge", "", "sam2:tiny:tiny"])
def test_unknown_names_are_refused_before_any_work(text):
    with pytest.raises(InputError, match="write sam2, or sam2:SIZE with one of: tiny, small, base-plus, large"):
        check_options(DriverSettings("clip", refine_masks=text, device="cpu"))


def test_masks_of_the_user_are_not_refined():
    with pytest.raises(InputError, match="your own and stay as they are; leave out --refine-masks"):
        DriverSettings("clip", masks="masks", refine_masks="sam2")


def test_missing_things_are_one_sentence_before_any_frame_is_read(monkeypatch, no_weights):
    settings = DriverSettings("no such clip", predictor="geometric", refine_masks="sam2", device="cpu")
    for found, reason in (
        (None, r"needs the package transformers; install it: .* -m pip install '?transformers>=5.1'?$"),
        ("4.57.6", r"needs transformers 5.1 or newer, not 4.57.6; install it: .*transformers>=5.1'?$"),
        ("5.0.0", "5.1 or newer, not 5.0.0"),
        (
            "5.24.0",
            "The weights of sam2.1-hiera-small are not on this machine; fetch them with `stillsplat weights get "
            "sam2.1-hiera-small`, or put model.safetensors of https://huggingface.co/facebook/sam2.1-hiera-small at ",
        ),
    ):
        _version(monkeypatch, found)
        for asked in (lambda: required_weights("sam2"), lambda: SceneDriver(settings)):
            with pytest.raises(InputError, match=reason) as error:
                asked()
            assert "\n" not in str(error.value)
