"""Cameras by pycolmap, in its own process, on the rendered sample, whose cameras are known."""

import json

import cv2
import numpy as np
import pytest

from dynamic_predictor.geometric.colmap_cameras import pycolmap_cameras
from scene.frames import MemoryFrames
from tests.paths import ROOT

SAMPLE = ROOT / "data" / "sample"
CHOSEN = slice(0, 16, 2)
WIDTH, HEIGHT = 320, 181


def resized(folder: str, interpolation: int) -> np.ndarray:
    paths = sorted((SAMPLE / folder).iterdir())[CHOSEN]
    images = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]
    return np.stack([cv2.resize(image, (WIDTH, HEIGHT), interpolation=interpolation) for image in images])


def test_rotations_of_the_sample() -> None:
    cameras = json.loads((SAMPLE / "cameras.json").read_text())
    focal = cameras["fx"] * WIDTH / cameras["width"]
    masks = resized("mask", cv2.INTER_NEAREST)[..., 0].astype(np.float32) / 255
    found = pycolmap_cameras(MemoryFrames(resized("rgb", cv2.INTER_AREA)), masks, focal=focal)
    assert found is not None and found.focal == pytest.approx(focal)
    assert len(found.frames) >= 6
    truth = np.array([frame["world_from_camera"] for frame in cameras["frames"]])[CHOSEN][found.frames, :3, :3]
    # the angle between the rotations from the first registered frame to each other one
    error = (found.rotations @ found.rotations[0].T) @ (truth.transpose(0, 2, 1) @ truth[0]).transpose(0, 2, 1)
    angles = np.degrees(np.arccos(np.clip((np.trace(error, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert angles.max() < 0.5


def test_no_cameras_within_too_short_a_time() -> None:
    assert pycolmap_cameras(MemoryFrames(resized("rgb", cv2.INTER_AREA)), time_limit=0.01) is None
