"""The tiny networks of the goldens, with made-up weights, and the goldens' images."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from dynamic_predictor.parity.case import network_without_values
from dynamic_predictor.parity.made_up_weights import fill_with_made_up_weights, made_up_noise
from dynamic_predictor.streamvggt.architecture import Architecture, DenseHeadSizes, TrackerSizes
from dynamic_predictor.streamvggt.network import GeometryNetwork
from tests.paths import DATA, SHARED

GOLDENS = SHARED / "parity" / "streamvggt"
#: the same without what is inside the network, and with every fourth pixel of maps in both directions
COPIES = DATA / "streamvggt"

_DENSE = DenseHeadSizes(32, (16, 32, 48, 48))
#: the network of the goldens
TINY = Architecture(
    width=64,
    depth=4,
    heads=4,
    image_depth=3,
    image_heads=4,
    position_grid=5,
    taps=(0, 1, 2, 3),
    camera_depth=2,
    camera_heads=4,
    dense=_DENSE,
    tracker=TrackerSizes(_DENSE, levels=3, radius=3, width=48, depth=2),
)
_SMALL_DENSE = DenseHeadSizes(16, (8, 8, 16, 16))
#: an even smaller network, for tests that only need one that runs
MINIMAL = replace(
    TINY,
    width=32,
    heads=2,
    image_depth=1,
    image_heads=2,
    camera_depth=1,
    camera_heads=2,
    dense=_SMALL_DENSE,
    tracker=TrackerSizes(_SMALL_DENSE, levels=2, radius=1, width=16, depth=1, heads=2, virtual_tracks=4),
)


def filled_network(architecture: Architecture) -> GeometryNetwork:
    """A network with made-up weights."""
    network = network_without_values(lambda: GeometryNetwork(architecture))
    fill_with_made_up_weights(network.state_dict())
    return network


def golden_image(name: str, height: int, width: int) -> np.ndarray:
    """The image of the goldens called `name`, float32 (3, H, W) in [0, 1]: a sum of waves with made-up amplitudes,
    frequencies and phases."""
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    image = np.zeros((3, height, width))
    for channel, waves in enumerate(made_up_noise(f"image:{name}", (3, 8, 4))):
        for amplitude, across, down, phase in waves:
            image[channel] += amplitude * np.sin(2 * np.pi * (3 * across * x + 3 * down * y) + 3 * phase)
    return (0.5 + 0.12 * image).clip(0, 1).astype(np.float32)


def golden_images(count: int, height: int = 56, width: int = 70, name: str = "streamvggt") -> torch.Tensor:
    """The first `count` images of a clip of the goldens at any size, (1, S, 3, H, W)."""
    return torch.from_numpy(np.stack([golden_image(f"{name}{frame}", height, width) for frame in range(count)]))[None]


def at_golden_pixels(arrays: Mapping[str, np.ndarray], key: str, found: np.ndarray) -> np.ndarray:
    """`found` at the pixels of golden `key`, which may be a copy with fewer."""
    if found.ndim >= 4 and found.shape != arrays[key].shape:
        return found[:, :, ::4, ::4]
    return found
