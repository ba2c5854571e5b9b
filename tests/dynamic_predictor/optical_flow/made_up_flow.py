"""The images and weights of the goldens."""

import numpy as np
import torch

from dynamic_predictor.optical_flow.raft import RAFT
from dynamic_predictor.optical_flow.sea_raft import SeaRAFT
from dynamic_predictor.parity.made_up_weights import fill_with_made_up_weights, made_up_noise
from tests.paths import DATA

#: outputs of the official code for `smooth_image` and the made-up weights
GOLDENS = DATA / "optical_flow" / "goldens.npz"


def smooth_image(name: str, height: int, width: int) -> np.ndarray:
    """The image of the goldens: sums of sines whose amplitudes and phases are fixed by the name; float32 (3, H, W)."""
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    image = np.zeros((3, height, width))
    for channel, waves in enumerate(made_up_noise(f"image:{name}", (3, 8, 4))):
        for amplitude, along_x, along_y, phase in waves:
            image[channel] += amplitude * np.sin(2 * np.pi * (3 * along_x * x + 3 * along_y * y) + 3 * phase)
    return (0.5 + 0.12 * image).clip(0, 1).astype(np.float32)


def rgb_image(name: str, height: int = 80, width: int = 100) -> np.ndarray:
    """The same image as (H, W, 3)."""
    return smooth_image(name, height, width).transpose(1, 2, 0)


def filled(network: RAFT | SeaRAFT) -> RAFT | SeaRAFT:
    """`network` with the weights of the goldens."""
    fill_with_made_up_weights(network.state_dict())
    if isinstance(network, SeaRAFT):
        with torch.no_grad():
            network.flow_head[2].weight.mul_(0.02)
            network.flow_head[2].bias.mul_(0.02)
    return network.eval()


def assert_close_to_golden(found: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
