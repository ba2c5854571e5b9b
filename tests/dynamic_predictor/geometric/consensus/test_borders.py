"""Borders of masks on synthetic clips whose objects are known."""

import cv2
import numpy as np
import pytest

from dynamic_predictor.geometric.consensus.borders import refined_borders, rough_log_odds
from scene.frames import MemoryFrames

HEIGHT, WIDTH, COUNT = 144, 256, 5


def clip(object_color, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frames (COUNT, H, W, 3) of an ellipse of a color that passes over a gray texture, and its masks (COUNT, H, W)."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(0, 60, (HEIGHT, WIDTH, 1)), (0, 0), 2.0)[..., None] * 3
    frames, masks = [], []
    for frame in range(COUNT):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.ellipse(mask, (80 + 10 * frame, 70), (34, 22), 20, 0, 360, 1, -1)
        image = np.clip(120 + noise + rng.normal(0, 4, (HEIGHT, WIDTH, 3)), 0, 255)
        if object_color is not None:
            image[mask > 0] = np.array(object_color) + rng.normal(0, 8, (int(mask.sum()), 3))
        frames.append(np.clip(image, 0, 255).astype(np.uint8))
        masks.append(mask > 0)
    return np.stack(frames), np.stack(masks)


def rough(masks: np.ndarray, halo: int) -> list[np.ndarray]:
    """Masks that are too large by `halo` pixels."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * halo + 1, 2 * halo + 1))
    return [cv2.dilate(mask.astype(np.uint8), kernel).astype(np.float32) for mask in masks]


def agreement(found, masks: np.ndarray) -> float:
    result = np.stack([found[index] > 0.5 for index in range(COUNT)])
    return float((result & masks).sum() / (result | masks).sum())


@pytest.mark.parametrize("halo", [3, 5])
def test_a_halo_is_removed(halo):
    frames, masks = clip((190, 60, 40))
    start = rough(masks, halo)
    assert agreement(start, masks) < 0.85
    assert agreement(refined_borders(MemoryFrames(frames), start), masks) > 0.95


def test_a_missing_edge_of_the_object_is_added():
    frames, masks = clip((40, 70, 190))
    start = [mask * (np.arange(HEIGHT)[:, None] < 84) * 1.0 for mask in masks.astype(np.float32)]
    assert agreement(start, masks) < 0.9
    assert agreement(refined_borders(MemoryFrames(frames), start), masks) > 0.94


def test_without_any_difference_of_color_the_mask_stays():
    frames, masks = clip(None)
    start = rough(masks, 0)
    assert agreement(refined_borders(MemoryFrames(frames), start), masks) > 0.85


def test_an_empty_mask_stays_empty():
    frames, _ = clip((190, 60, 40))
    found = refined_borders(MemoryFrames(frames), np.zeros((COUNT, HEIGHT, WIDTH), np.float32))
    assert max(found[index].max() for index in range(COUNT)) == 0.0


def test_rough_log_odds_are_zero_at_the_border():
    mask = np.zeros((64, 64), np.float32)
    mask[:, 32:] = 1.0
    odds = rough_log_odds(mask, 1.0)
    assert odds[10, 31] < 0 < odds[10, 32]
    assert np.abs(odds[10, 31:33]).max() < 0.2
    assert (np.diff(odds[10]) >= 0).all()
