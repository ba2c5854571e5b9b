"""The background that is fetched from other frames is the wall behind the square."""

import numpy as np

from gaussian.metrics import psnr_static
from stillsplat.plate.background import BackgroundFinder
from tests.stillsplat.plate.wall_clip import COUNT, clean, mover, views


def test_it_is_the_wall_behind_the_square_and_sharper_than_the_render() -> None:
    all_views = views()
    finder = BackgroundFinder(all_views, range(COUNT))
    for index in (0, 6):
        found = finder.background(index)
        behind = mover(index)
        assert (found.count[behind] >= 3).all()
        fetched, rendered = (
            psnr_static(image, clean(index), behind) for image in (found.color, all_views[index].render)
        )
        assert fetched > 32 and fetched > rendered + 5
        assert not finder.never_seen(index).any()


def test_a_wrong_depth_is_aligned_away() -> None:
    all_views = views()
    for view in all_views:
        view.z_depth[:] = 4.1  # up to a pixel between neighboring frames and several pixels over the clip
    found = BackgroundFinder(all_views, range(COUNT)).background(6)
    assert psnr_static(found.color, clean(6), mover(6)) > 28


def test_without_a_source_the_render_is_all_there_is() -> None:
    all_views = views()
    found = BackgroundFinder(all_views, [6]).background(6)
    assert found.sources == [] and np.array_equal(found.color, all_views[6].render)


def test_brighter_frames_are_matched() -> None:
    all_views = views()
    for index in range(0, COUNT, 2):
        all_views[index].image[:] = np.clip(all_views[index].image * 0.8 + 0.02, 0, 1)
    found = BackgroundFinder(all_views, range(COUNT)).background(7)
    assert psnr_static(found.color, clean(7), mover(7)) > 30
