"""Images beside their depth in color."""

import numpy as np
import pytest

from scene.depth_colors import depth_colors
from scene.errors import InputError
from scene.formats.depth_vis import depth_beside
from scene.formats.registry import export
from scene.frames import MemoryFrames
from scene.images import write_jpeg
from tests.scene.formats.da3_export_goldens import golden_scene, load_goldens


def test_every_image_is_beside_its_depth(tmp_path):
    scene = golden_scene(load_goldens())
    export(scene, tmp_path, "depth_vis")
    assert sorted(path.name for path in (tmp_path / "depth_vis").iterdir()) == ["0000.jpg", "0001.jpg", "0002.jpg"]
    expected = depth_beside(scene.frames.rgb8(1), scene.z_depths[1])
    np.testing.assert_array_equal(expected[:, 28:], depth_colors(scene.z_depths[1]))
    write_jpeg(tmp_path / "expected.jpg", expected)
    assert (tmp_path / "depth_vis" / "0001.jpg").read_bytes() == (tmp_path / "expected.jpg").read_bytes()


def test_without_images_there_is_nothing_to_write(tmp_path):
    scene = golden_scene(load_goldens())
    scene.frames = MemoryFrames(np.zeros((0, 20, 28, 3), np.uint8))
    with pytest.raises(InputError, match="depth_vis needs images"):
        export(scene, tmp_path / "none", "depth_vis")
    assert not (tmp_path / "none").exists()
