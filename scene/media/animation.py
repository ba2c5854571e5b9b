"""Animated image files (WebP, PNG, AVIF), which carry the names of single images."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import ImageSequence

from scene.media.decoding import DecodedImage
from scene.media.image_header import opened_image, read_header

#: seconds of an image whose file gives it none, as browsers have it
_SHORTEST = 0.1


def is_animated(path: Path) -> bool:
    """Whether an image file holds more than one image that follow each other."""
    return read_header(path).count > 1


def animation_images(path: Path) -> Iterator[DecodedImage]:
    """The images of an animation as viewers compose them, one in memory at a time."""
    time = 0.0
    with opened_image(path) as animation:
        for position, image in enumerate(ImageSequence.Iterator(animation)):
            layers = np.array(image.convert("RGBA"))
            alpha = np.ascontiguousarray(layers[..., 3])
            observed = None if (alpha == 255).all() else alpha
            yield DecodedImage(position, time, np.ascontiguousarray(layers[..., :3]), observed)
            milliseconds = float(image.info.get("duration", 0) or 0)
            time += milliseconds / 1000.0 if milliseconds > 0 else _SHORTEST
