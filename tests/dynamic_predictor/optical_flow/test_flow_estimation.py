"""The interface to optical flow: any size, weights as published, a word when something stands in."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dynamic_predictor.optical_flow.estimation import DISFlow, NetworkFlow, create_optical_flow
from dynamic_predictor.optical_flow.raft import RAFT
from dynamic_predictor.optical_flow.sea_raft import SeaRAFT
from scene.errors import InputError
from tests.dynamic_predictor.optical_flow.made_up_flow import smooth_image


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STILLSPLAT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def image(name: str, height: int = 80, width: int = 100) -> np.ndarray:
    return smooth_image(name, height, width).transpose(1, 2, 0)


def test_dis_finds_a_shift() -> None:
    wall = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (140, 180, 3)).astype(np.uint8), (9, 9), 3)
    first, second = wall[20:120, 20:160], wall[17:117, 25:165]
    estimate = DISFlow().estimate(first, second)
    assert estimate.uncertainty is None and estimate.displacement.dtype == np.float32
    inner = estimate.displacement[20:-20, 20:-20].reshape(-1, 2)
    np.testing.assert_allclose(np.median(inner, axis=0), (-5, 3), atol=0.1)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (61, 97), (200, 70), (8, 120), (1, 1)])
def test_any_size(sea_raft: SeaRAFT, height: int, width: int) -> None:
    flow = NetworkFlow("sea-raft", sea_raft, iterations=1)
    estimate = flow.estimate(image("a", height, width), image("b", height, width))
    assert estimate.displacement.shape == (height, width, 2) and estimate.displacement.dtype == np.float32
    assert estimate.uncertainty is not None and estimate.uncertainty.shape == (height, width)
    assert (estimate.uncertainty > 0).all()


def test_padding_is_taken_off_again(raft: RAFT) -> None:
    """A padded image gives the flow of the image that is padded by hand, cropped."""
    first, second = image("a", 70, 83), image("b", 70, 83)
    padded = [cv2.copyMakeBorder(side, 1, 1, 2, 3, cv2.BORDER_REPLICATE) for side in (first, second)]
    flow = NetworkFlow("raft", raft, iterations=1)
    expected = flow.estimate(*padded).displacement[1:-1, 2:-3]
    np.testing.assert_allclose(flow.estimate(first, second).displacement, expected, atol=1e-5)


def test_eight_bit_images_are_the_same(raft: RAFT) -> None:
    first, second = (np.rint(image(name) * 255).astype(np.uint8) for name in "ab")
    flow = NetworkFlow("raft", raft, iterations=1)
    from_bytes = flow.estimate(first, second).displacement
    from_floats = flow.estimate(first.astype(np.float32) / 255, second.astype(np.float32) / 255).displacement
    np.testing.assert_array_equal(from_bytes, from_floats)


@pytest.mark.parametrize("pairs_at_once", [1, 3])
def test_every_image_is_encoded_once(raft: RAFT, pairs_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [image(name) for name in "abc"]
    pairs = [(0, 1), (1, 0), (0, 2), (2, 1)]
    flow = NetworkFlow("raft", raft, iterations=1, pairs_at_once=pairs_at_once)
    expected = [flow.estimate(pictures[i], pictures[j]).displacement for i, j in pairs]
    encoded = []
    encode = RAFT.encode
    monkeypatch.setattr(RAFT, "encode", lambda self, images: encoded.append(1) or encode(self, images))
    reports = []
    found = list(flow.estimate_pairs(pictures, pairs, lambda *report: reports.append(report)))
    assert len(encoded) == 3 and reports[-1][1:] == (4, 4)
    for estimate, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(estimate.displacement, reference, rtol=1e-3, atol=1e-3)


def test_images_that_are_loaded_when_asked_for(raft: RAFT) -> None:
    class Loaded:
        def __init__(self) -> None:
            self.asked: list[int] = []

        def __getitem__(self, index: int, /) -> np.ndarray:
            self.asked.append(index)
            return image("abc"[index])

    for estimator in (NetworkFlow("raft", raft, iterations=1), DISFlow()):
        loaded = Loaded()
        between = estimator.between(loaded)
        there, back = between(0, 2), between(2, 0)
        assert loaded.asked == [0, 2]
        for estimate, names in ((there, "ac"), (back, "ca")):
            expected = estimator.estimate(image(names[0]), image(names[1]))
            np.testing.assert_allclose(estimate.displacement, expected.displacement, atol=1e-5)


def test_official_files_load(no_weights: Path, sea_raft: SeaRAFT, raft: RAFT) -> None:
    state = {"module." + key: value for key, value in raft.state_dict().items()}
    folder = no_weights / "weights"
    folder.mkdir()
    torch.save(state, folder / "raft-sintel.pth")
    # the hub's container drops one of two names of the same tensor
    kept = {key: value.clone() for key, value in sea_raft.state_dict().items() if ".bn3." not in key}
    (folder / "sea-raft-spring-m").mkdir()
    save_file(kept, folder / "sea-raft-spring-m" / "model.safetensors")
    first, second = image("a"), image("b")
    for name, network in (("raft", raft), ("sea-raft", sea_raft)):
        loaded = create_optical_flow(name, iterations=1)
        assert loaded.name == name
        expected = NetworkFlow(name, network, iterations=1).estimate(first, second)
        np.testing.assert_array_equal(loaded.estimate(first, second).displacement, expected.displacement)


def test_missing_weights_are_told(no_weights: Path) -> None:
    told = []
    flow = create_optical_flow("auto", warn=told.append)
    assert flow.name == "dis"
    assert len(told) == 1 and "stillsplat weights get sea-raft-spring-m" in told[0]
    with pytest.raises(InputError, match="raft-sintel"):
        create_optical_flow("raft")
    assert create_optical_flow("dis").name == "dis"


def test_what_cannot_be_used(no_weights: Path, raft: RAFT) -> None:
    with pytest.raises(InputError, match="choose one of"):
        create_optical_flow("farneback")
    wrong = no_weights / "wrong.pth"
    torch.save(raft.state_dict(), wrong)
    with pytest.raises(InputError, match=r"wrong\.pth.*SeaRAFT: it lacks"):
        create_optical_flow("sea-raft", weights=wrong, warn=print)
    broken = dict(raft.state_dict())
    broken["update_block.flow_head.conv2.bias"] = torch.full((2,), float("nan"))
    torch.save(broken, wrong)
    with pytest.raises(InputError, match="not finite"):
        create_optical_flow("raft", weights=wrong).estimate(image("a"), image("b"))
    flow = NetworkFlow("raft", raft, iterations=1)
    with pytest.raises(InputError, match="one size"):
        flow.estimate(image("a", 80, 100), image("b", 80, 120))
    with pytest.raises(InputError, match="RGB"):
        flow.estimate(np.zeros((80, 100), np.float32), np.zeros((80, 100), np.float32))
    with pytest.raises(InputError, match="one size"):
        DISFlow().estimate(image("a", 80, 100), image("b", 80, 120))
