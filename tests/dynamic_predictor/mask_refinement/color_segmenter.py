"""A `VideoSegmenter` that knows objects by their color, and a clip of colored things for it."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from dynamic_predictor.mask_refinement.contract import Prompt, tracking_order
from scene.frames import Frames, MemoryFrames

GROUND, RED, GREEN, BLUE = (120, 120, 120), (220, 30, 30), (30, 200, 40), (40, 60, 230)
WIDTH, HEIGHT = 160, 120

Place = tuple[int, int, int, int]


class ColorSegmenter:
    """Finds what has the color of the first point; `floods`: colors with which it finds the whole picture."""

    name = "colors"

    def __init__(self, floods: Sequence[tuple[int, int, int]] = ()) -> None:
        self.floods = set(floods)
        #: the prompts of each call
        self.asked: list[list[Prompt]] = []
        self.followed: list[list[list[Prompt]]] = []

    def segmented(self, image: np.ndarray, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        self.asked.append(list(prompts))
        return [self._found(image, _color(image, prompt)) for prompt in prompts]

    def tracked(
        self, frames: Frames, objects: Sequence[Sequence[Prompt]]
    ) -> Iterator[tuple[int, list[np.ndarray | None]]]:
        self.followed.append([list(prompts) for prompts in objects])
        colors = [_color(frames.rgb8(prompts[0].frame), prompts[0]) for prompts in objects]
        for step in tracking_order(len(frames), objects):
            image = frames.rgb8(step.frame)
            yield (
                step.frame,
                [
                    self._found(image, color) if concerned else None
                    for color, concerned in zip(colors, step.concerned, strict=True)
                ],
            )

    def _found(self, image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
        if color in self.floods:
            return np.ones(image.shape[:2], bool)
        return (image == color).all(axis=-1)


def _color(image: np.ndarray, prompt: Prompt) -> tuple[int, int, int]:
    column, row = np.floor(prompt.points[0]).astype(int)
    red, green, blue = image[row, column].tolist()
    return red, green, blue


def clip_of(things: Sequence[tuple[tuple[int, int, int], Sequence[Place | None]]]) -> tuple[MemoryFrames, np.ndarray]:
    """Frames with colored rectangles (x, y, width, height) at their places in each frame, and what shows each of them:
    bool (things, N, H, W)."""
    count = len(things[0][1])
    images = np.full((count, HEIGHT, WIDTH, 3), GROUND, np.uint8)
    shown = np.zeros((len(things), count, HEIGHT, WIDTH), bool)
    for index, (color, places) in enumerate(things):
        for frame, place in enumerate(places):
            if place is not None:
                x, y, width, height = place
                images[frame, y : y + height, x : x + width] = color
                shown[:, frame, y : y + height, x : x + width] = False
                shown[index, frame, y : y + height, x : x + width] = True
    return MemoryFrames(images), shown


def with_halo(shown: np.ndarray, pixels: int = 4) -> np.ndarray:
    """Motion masks (N, H, W) float32 with a halo around what is `shown`, bool (N, H, W)."""
    kernel = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    return np.stack([cv2.dilate(mask.astype(np.uint8), kernel) for mask in shown]).astype(np.float32)
