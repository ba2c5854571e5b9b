"""What no frame has seen is invented once, on the right surface, and is the same from all cameras."""

import numpy as np

from scene.progress import ignore_progress
from stillsplat.plate.background import BackgroundFinder
from stillsplat.plate.completion import completed_depth, invent
from tests.stillsplat.plate.wall_clip import COUNT, HEIGHT, WIDTH, clean, views


def test_a_plane_goes_on() -> None:
    rows, columns = np.mgrid[:60, :80]
    depth = (1.0 / (0.1 + 0.002 * rows + 0.001 * columns)).astype(np.float32)
    region = np.zeros((60, 80), bool)
    region[20:40, 30:60] = True
    found = completed_depth(np.where(region, 1.0, depth), region)
    np.testing.assert_allclose(found[region], depth[region], rtol=0.01)
    assert np.array_equal(found[~region], (1 / (1 / depth))[~region])


def test_the_same_from_all_cameras() -> None:
    all_views = views()
    for index, view in enumerate(all_views):
        # a place of the wall that is hidden in every frame
        left = 90 - 3 * index
        view.hidden[40:60, left : left + 20] = True
        view.image[40:60, left : left + 20] = 0.0
        view.ground[38:62, left - 2 : left + 22] = 0.0
    invention = invent(BackgroundFinder(all_views, range(COUNT)), ignore_progress)
    assert len(invention.gaussians) > 200
    patches = []
    for index in (0, 7, 13):
        color, alpha = invention.seen_from(all_views[index])
        left = 90 - 3 * index
        assert (alpha[42:58, left + 2 : left + 18] > 0.5).mean() > 0.9
        patches.append(color[44:56, left + 4 : left + 16])
    assert np.abs(patches[0] - patches[1]).mean() < 0.05 and np.abs(patches[0] - patches[2]).mean() < 0.05
    assert patches[0].std() > 0.3 * clean(0).std()


def test_nothing_to_invent() -> None:
    # in the last frames the square leaves the part of the wall that others see
    invention = invent(BackgroundFinder(views()[:10], range(10)), ignore_progress)
    color, alpha = invention.seen_from(views()[0])
    assert len(invention.gaussians) == 0 and color.shape == (HEIGHT, WIDTH, 3) and not alpha.any()
