"""What was never seen: a wall behind a box, seen by cameras whose view is known in closed form."""

import numpy as np

from scene.camera import Camera
from stillsplat.report.visibility import seen_counts

WIDTH, HEIGHT, FOCAL = 40, 20, 20.0


def camera(x: float) -> Camera:
    """A camera at (x, 0, 0) that looks along z; a wall at z = 10 is 20 units wide in it, half a unit per pixel."""
    pose = np.eye(4)
    pose[0, 3] = x
    return Camera(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, pose)


def test_points_outside_behind_and_covered_are_not_counted() -> None:
    wall = np.full((HEIGHT, WIDTH), 10.0, np.float32)
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    beside = (camera(5.0), wall, nothing)  # sees the wall from x = -5, column 10 of the first camera
    box = wall.copy()
    box[:, :4] = 5.0
    occluded = (camera(0.0), box, nothing)  # a box hides the first four columns
    moving = nothing.copy()
    moving[:5] = True
    covered = (camera(0.0), wall, moving)  # something moves over the first five rows
    away = (camera(0.0).moved(np.diag([-1.0, 1.0, -1.0, 1.0])), wall, nothing)  # looks the other way
    counts = seen_counts(camera(0.0), wall, [beside, occluded, covered, away])
    columns, rows = np.arange(WIDTH)[None, :], np.arange(HEIGHT)[:, None]
    expected = (columns >= 10).astype(int) + (columns >= 4) + (rows >= 5)
    assert np.array_equal(counts, expected)


def test_pixels_without_a_surface_are_marked() -> None:
    z_depth = np.full((HEIGHT, WIDTH), 10.0, np.float32)
    z_depth[3, 4] = 0
    counts = seen_counts(camera(0.0), z_depth, [(camera(0.0), z_depth, np.zeros((HEIGHT, WIDTH), bool))])
    assert counts[3, 4] == -1 and (np.delete(counts.ravel(), 3 * WIDTH + 4) == 1).all()
