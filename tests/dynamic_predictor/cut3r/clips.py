"""Clips and predictors for tests of the predictor."""

from typing import Any

import numpy as np

from dynamic_predictor.contract import Views
from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.cut3r.predictor import Cut3rPredictor
from dynamic_predictor.cut3r.settings import Cut3rSettings
from dynamic_predictor.cut3r.weights import CUT3R_224
from scene.frames import MemoryFrames
from tests.conftest import textured

SIZE = {"width": 60, "height": 40}


def clip(count: int, *, width: int = 60, height: int = 40) -> MemoryFrames:
    """Images that a camera moving over a texture would take."""
    base = textured(width + 3 * count, height + count, seed=4)
    return MemoryFrames(np.stack([base[i : i + height, 3 * i : 3 * i + width] for i in range(count)]))


def views_of(frames: MemoryFrames) -> list[Views]:
    """One view after the other."""
    return [Views(MemoryFrames(frames.rgb8(index)[None])) for index in range(len(frames))]


def predictor_of(network: Cut3rNetwork, **settings: Any) -> Cut3rPredictor:
    """A predictor with a small network, for images of 64 pixels."""
    chosen = Cut3rSettings(**{"image_size": 64, **settings})
    return Cut3rPredictor(CUT3R_224, network.config.head_type, chosen, network=network)
