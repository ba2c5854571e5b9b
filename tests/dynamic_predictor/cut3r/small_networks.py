"""Small networks of CUT3R with made-up weights, and goldens that the official code computed with the same weights."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dynamic_predictor.cut3r.config import Cut3rConfig, HeadType, official_arguments
from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.cut3r.parity import OUTPUTS, filled_parameters
from dynamic_predictor.cut3r.roll import Rolled
from dynamic_predictor.das3r.official_layout import key_aliases
from dynamic_predictor.parity.case import network_without_values
from dynamic_predictor.parity.made_up_weights import fill_with_made_up_weights, made_up_noise
from tests.paths import DATA, SHARED

COPIES = DATA / "cut3r"
GOLDENS = SHARED / "parity" / "cut3r"
#: the pixels of the outputs that are in the copies
SAMPLE = (slice(None), slice(None), slice(3, None, 11), slice(5, None, 13))
#: the network of the goldens, with heads of published size
TINY = Cut3rConfig(
    encoder_width=64,
    encoder_depth=3,
    encoder_heads=4,
    decoder_width=96,
    decoder_depth=4,
    decoder_heads=6,
    state_decoder_heads=8,
    state_size=30,
    memory_size=12,
)
#: an even smaller network, for tests that only need one that runs
MINIMAL = Cut3rConfig(
    head_type="linear",
    encoder_width=64,
    encoder_depth=1,
    encoder_heads=4,
    ray_encoder_depth=1,
    decoder_width=32,
    decoder_depth=2,
    decoder_heads=2,
    state_decoder_heads=4,
    state_size=10,
    memory_size=4,
)


def filled_network(config: Cut3rConfig) -> Cut3rNetwork:
    """A network with made-up weights."""
    network = network_without_values(lambda: Cut3rNetwork(config))
    fill_with_made_up_weights(filled_parameters(network))
    return network


def tiny(head_type: HeadType) -> Cut3rConfig:
    """The configuration of the goldens."""
    return replace(TINY, head_type=head_type)


def wave_image(name: str, height: int, width: int) -> np.ndarray:
    """The image of the goldens called `name`, float32 RGB (3, height, width) in [0, 1]: smooth waves from its name."""
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    waves, image = made_up_noise(f"image:{name}", (3, 8, 4)), np.zeros((3, height, width))
    for channel in range(3):
        for size, across, down, phase in waves[channel]:
            image[channel] += size * np.sin(2 * np.pi * (3 * across * x + 3 * down * y) + 3 * phase)
    return (0.5 + 0.12 * image).clip(0, 1).astype(np.float32)


def golden_images() -> torch.Tensor:
    """The input of the goldens, (4, 3, 64, 96) in [-1, 1]."""
    return torch.from_numpy(np.stack([2 * wave_image(f"cut3r{index}", 64, 96) - 1 for index in range(4)]))


def shrunk(points: np.ndarray) -> np.ndarray:
    """The inverse of the growth of distances in the heads: p / |p| * log(1 + |p|)."""
    length = np.linalg.norm(points, axis=-1, keepdims=True)
    return points / np.maximum(length, 1e-8) * np.log1p(length)


def _with_the_side_of(expected: np.ndarray, ours: np.ndarray, atol: float) -> np.ndarray:
    """`ours` with the points mirrored that `expected` has on the other side of the image plane of the camera.

    The heads multiply a point by the sign of its z, so a z of zero within `atol` may end up on either side.
    """
    undecided = (np.abs(ours[..., 2:]) <= atol) & (np.abs(expected[..., 2:]) <= atol)
    other_side = (ours[..., :2] * expected[..., :2]).sum(axis=-1, keepdims=True) < 0
    return np.where(undecided & other_side, -ours, ours)


def assert_outputs(case: str, rolled: list[Rolled], golden: dict[str, np.ndarray], *, atol: float = 1e-4) -> None:
    """All outputs of all views, at the tolerance of the raw outputs: distances and confidences grow exponentially."""
    for name, field in OUTPUTS.items():
        ours = torch.stack([getattr(view.prediction, field) for view in rolled], dim=1).numpy()
        expected = golden[f"{case}_{name}"]
        if ours.shape != expected.shape:
            ours = ours[SAMPLE]
        assert ours.shape == expected.shape, name
        if name.startswith("pts3d"):
            ours, expected = shrunk(ours), shrunk(expected)
            ours = _with_the_side_of(expected, ours, atol)
        elif name.startswith("conf"):
            ours, expected = np.log(ours - 1), np.log(expected - 1)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=atol, err_msg=f"{case} {name}")


def model_string(config: Cut3rConfig) -> str:
    """The constructor call that official checkpoints store."""
    text = ", ".join(f"{name}={value!r}" for name, value in official_arguments(config).items())
    return f"ARCroco3DStereo(ARCroco3DStereoConfig({text}))"


def save_pth(network: Cut3rNetwork, path: Path) -> Path:
    """Writes a checkpoint as the official training does."""
    state = network.state_dict()
    state |= {alias: state[key] for alias, key in key_aliases(state).items()}
    torch.save({"model": state, "args": argparse.Namespace(model=model_string(network.config)), "epoch": 3}, path)
    return path
