"""The goldens' image and weights."""

import numpy as np
import torch

from dynamic_predictor.optical_flow.raft import RAFT
from dynamic_predictor.optical_flow.sea_raft import SeaRAFT
from dynamic_predictor.parity.made_up_weights import fill_with_made_up_weights, made_up_noise


def smooth_image(name: str, height: int, width: int) -> np.ndarray:
    """The goldens' image: sums of sines whose amplitudes and phases are fixed by the name; float32 (3, H, W)."""
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    image = np.zeros((3, height, width))
    for channel, waves in enumerate(made_up_noise(f"image:{name}", (3, 8, 4))):
        for amplitude, along_x, along_y, phase in waves:
            image[channel] += amplitude * np.sin(2 * np.pi * (3 * along_x * x + 3 * along_y * y) + 3 * phase)
    return (0.5 + 0.12 * image).clip(0, 1).astype(np.float32)


def filled(network: RAFT | SeaRAFT) -> RAFT | SeaRAFT:
    """With the goldens' weights."""
    fill_with_made_up_weights(network.state_dict())
    if isinstance(network, SeaRAFT):
        with torch.no_grad():
            network.flow_head[2].weight.mul_(0.02)
            network.flow_head[2].bias.mul_(0.02)
    return network.eval()
