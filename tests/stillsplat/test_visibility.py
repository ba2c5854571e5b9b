"""What was never seen: a wall behind a box, seen by cameras whose view is known in closed form."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from scene.camera import Camera
from stillsplat.visibility import CoarseView, coarse_view, seen_counts, write_visibility

WIDTH, HEIGHT, FOCAL = 40, 20, 20.0


def camera(x: float) -> Camera:
    """A camera at (x, 0, 0) that looks along z; a wall at z = 10 is 20 units wide in it, half a unit per pixel."""
    pose = np.eye(4)
    pose[0, 3] = x
    return Camera(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, pose)


WALL, NOTHING = np.full((HEIGHT, WIDTH), 10.0, np.float32), np.zeros((HEIGHT, WIDTH), bool)


def test_points_outside_behind_and_covered_are_not_counted() -> None:
    beside = CoarseView(camera(5.0), WALL, NOTHING)  # sees the wall from x = -5, column 10 of the first camera
    box = WALL.copy()
    box[:, :4] = 5.0
    occluded = CoarseView(camera(0.0), box, NOTHING)  # a box hides the first four columns
    moving = NOTHING.copy()
    moving[:5] = True
    covered = CoarseView(camera(0.0), WALL, moving)  # something moves over the first five rows
    turned = camera(0.0).moved(np.diag([-1.0, 1.0, -1.0, 1.0]))
    away = CoarseView(turned, WALL, NOTHING)  # looks the other way
    counts = seen_counts(CoarseView(camera(0.0), WALL, NOTHING), [beside, occluded, covered, away])
    columns, rows = np.arange(WIDTH)[None, :], np.arange(HEIGHT)[:, None]
    assert np.array_equal(counts, (columns >= 10).astype(int) + (columns >= 4) + (rows >= 5))


def test_what_is_written_and_returned(tmp_path: Path) -> None:
    motion = np.zeros((HEIGHT, WIDTH), np.float32)
    motion[:4] = 1  # covered in both frames
    hole = WALL.copy()
    hole[10:12] = 0  # nothing was rendered there
    views = {index: coarse_view(camera(0.0), hole, motion) for index in (2, 7)}
    found = write_visibility(tmp_path / "seen", views, [7])
    assert [path.name for path in (tmp_path / "seen").iterdir()] == ["00007.png"]
    counts = cv2.imread(str(tmp_path / "seen" / "00007.png"), cv2.IMREAD_UNCHANGED)
    assert counts is not None and counts[:4].max() == counts[10:12].max() == 0 and (counts[4:10] == 2).all()
    assert found == {"sampled": 2, "never_share": pytest.approx(6 / 20), "never_behind_share": 1.0}
    assert write_visibility(tmp_path / "seen", {0: coarse_view(camera(0.0), WALL, None)}, [0])["never_share"] == 0


def test_views_become_small_with_their_cameras() -> None:
    large = Camera(640, 320, 320.0, 320.0, 320.0, 160.0, np.eye(4))
    z_depth = np.repeat(np.array([1.0, 2.0], np.float32), 320)[None, :].repeat(320, axis=0)
    view = coarse_view(large, z_depth, (z_depth > 1).astype(np.float32))
    assert view.z_depth.shape == (64, 128) and view.camera.fx == 64 and set(np.unique(view.z_depth)) == {1.0, 2.0}
    assert np.array_equal(view.moving, view.z_depth > 1)
