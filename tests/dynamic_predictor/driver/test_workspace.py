"""The working folder of a clip whose lens distorts."""

from pathlib import Path

import numpy as np

from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.lens import Lens
from scene.undistortion import Undistortion
from tests.conftest import textured

_LENS = Lens("equidistant", 64, 48, 60.0, 60.0, 32.0, 24.0)


def test_frames_and_what_was_observed_are_undistorted_and_the_input_is_kept(tmp_path: Path) -> None:
    workspace = StreamWorkspace(tmp_path, {}, resume=False)
    images = [textured(64, 48, index) for index in range(3)]
    observed = np.full((48, 64), 255, np.uint8)
    observed[:, :20] = 0
    for index, image in enumerate(images):
        workspace.append(index / 10, image, observed=observed if index == 1 else None)
    workspace.finish_frames()
    assert workspace.lens is None
    workspace.set_lens(_LENS)
    for again in (workspace, StreamWorkspace(tmp_path, {}, resume=True)):
        undistortion = Undistortion.of(_LENS, centered=True)
        assert again.lens == _LENS
        np.testing.assert_array_equal(again.frames([2]).rgb8(0), undistortion.image(images[2]))
        np.testing.assert_array_equal(again.input_frames().rgb8(2), images[2])
        maps = again.observed()
        assert maps is not None and maps[0].all()
        np.testing.assert_allclose(maps[1], undistortion.mask(observed.astype(np.float32) / 255))
        assert list(again.frames().timestamps) == [0.0, 0.1, 0.2]
    assert StreamWorkspace(tmp_path, {}, resume=False).lens is None
