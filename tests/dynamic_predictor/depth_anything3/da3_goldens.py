"""Goldens of the official code, and small networks with the made-up weights of their descriptions."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynamic_predictor.depth_anything3.network import Network, build_network
from dynamic_predictor.depth_anything3.settings import (
    BackboneSettings,
    HeadSettings,
    NestedSettings,
    NetworkSettings,
)
from dynamic_predictor.parity.made_up_weights import fill_with_made_up_weights, made_up_noise
from tests.paths import DATA

#: small goldens that come with the repository
GOLDENS = DATA / "da3"


def settings_of(config: Mapping[str, Any]) -> NetworkSettings:
    """The network settings in the description of a golden."""
    backbone = BackboneSettings(
        width=config["embed"],
        depth=config["depth"],
        heads=config["heads"],
        out_layers=tuple(config["out_layers"]),
        alternating_from=config["alt"] if config["alt"] >= 0 else None,
        feed_forward="swiglu" if config["swiglu"] else "mlp",
    )
    head = HeadSettings(config["features"], tuple(config["out_channels"]))
    return NetworkSettings(backbone, head, gaussians=config["swiglu"])


@torch.no_grad()
def filled(network: Network, overrides: Mapping[str, tuple[str, float]]) -> Network:
    """`network` with made-up weights, multiplied or shifted by the `overrides` of a golden."""
    parameters = network.state_dict()
    fill_with_made_up_weights(parameters)
    for key, (operation, number) in overrides.items():
        if operation == "mul":
            parameters[key] *= number
        else:
            parameters[key] += number
    return network


def golden_images(count: int, height: int, width: int) -> torch.Tensor:
    """The first `count` images of the any-view goldens at any size, normalized: (1, S, 3, H, W). Each is a sum of waves
    with made-up amplitudes, frequencies and phases, clipped to [0, 1]."""
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    images = []
    for view in range(count):
        amplitude, across, down, phase = np.moveaxis(made_up_noise(f"image:da3-tiny-{view}", (3, 8, 4)), -1, 0)[
            ..., None, None
        ]
        waves = amplitude * np.sin(2 * np.pi * (3 * across * x + 3 * down * y) + 3 * phase)
        images.append((0.5 + 0.12 * waves.sum(axis=1)).clip(0, 1))
    mean, deviation = (np.array(part)[:, None, None] for part in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return torch.from_numpy(((np.stack(images) - mean) / deviation).astype(np.float32))[None]


def read_arrays(shared: Path, name: str) -> dict[str, np.ndarray]:
    """The arrays of the golden file `name` of parameter-free functions."""
    with np.load(shared / "parity" / "da3" / f"{name}.npz") as arrays:
        return dict(arrays)


def tensors(arrays: Mapping[str, np.ndarray], *names: str) -> list[torch.Tensor]:
    return [torch.from_numpy(arrays[name]) for name in names]


class Golden:
    """One golden file with its description."""

    def __init__(self, folder: Path, name: str) -> None:
        self.description = json.loads((folder / f"{name}.json").read_text())
        self.arrays = np.load(folder / f"{name}.npz")

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def __contains__(self, key: str) -> bool:
        return key in self.arrays.files

    def tensor(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[key])

    def cases(self) -> list[str]:
        return sorted({key.split("/")[0] for key in self.arrays.files})

    def network(self, overrides: Mapping[str, Any] | None = None) -> Network:
        """The network of this golden."""
        config = self.description["config"]
        if "da3_metric" in config:
            network = build_network(NestedSettings(settings_of(config["da3"]), settings_of(config["da3_metric"])))
        else:
            network = build_network(settings_of(config))
        return filled(network, self.description["overrides"] if overrides is None else overrides)


def assert_close(actual: Any, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    """Asserts equal shapes, and equal values up to `tolerance` times the largest expected value."""
    actual = np.asarray(actual, np.float64)
    assert actual.shape == expected.shape
    scale = max(float(np.abs(expected).max()), 1e-9)
    np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=tolerance)
