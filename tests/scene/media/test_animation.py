"""Animations in files that are named like single images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scene.media.animation import animation_images, is_animated
from tests.scene.media.clips import textured

KINDS = {"clip.webp": {"lossless": True}, "clip.png": {}}


@pytest.mark.parametrize("name", KINDS)
def test_images_and_times(tmp_path: Path, name: str) -> None:
    images = textured(5)
    first, *rest = [Image.fromarray(image) for image in images]
    first.save(tmp_path / name, save_all=True, append_images=rest, duration=[40, 40, 80, 40, 40], **KINDS[name])
    assert is_animated(tmp_path / name)
    found = list(animation_images(tmp_path / name))
    assert [image.position for image in found] == list(range(5))
    assert np.allclose([image.time for image in found], [0, 0.04, 0.08, 0.16, 0.2])
    for image, expected in zip(found, images, strict=True):
        assert np.array_equal(image.pixels, expected) and image.observed is None


def test_single_images_are_no_animation(tmp_path: Path) -> None:
    for name in KINDS:
        Image.fromarray(textured(1)[0]).save(tmp_path / name)
        assert not is_animated(tmp_path / name)
