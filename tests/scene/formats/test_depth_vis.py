"""Images beside their depth in color."""

import pytest

from scene.errors import InputError
from scene.formats.depth_vis import write_depth_vis
from tests.scene.formats.da3_export_goldens import load_goldens


def test_images_are_written_whole_or_not_at_all(tmp_path):
    golden = load_goldens()
    pairs = list(zip(golden["glb/images"], golden["glb/depth"], strict=True))
    assert write_depth_vis(tmp_path / "depth_vis", pairs) == 3
    assert sorted(path.name for path in (tmp_path / "depth_vis").iterdir()) == ["0000.jpg", "0001.jpg", "0002.jpg"]
    with pytest.raises(InputError):
        write_depth_vis(tmp_path / "none", [])
    assert not (tmp_path / "none").exists()
