"""Images of the report: what is marked, and that marks are told apart without color."""

import numpy as np

from stillsplat import overlays


def brightness(image: np.ndarray) -> np.ndarray:
    return image.astype(float) @ [0.299, 0.587, 0.114]


def test_error_is_brighter_where_larger_and_striped_where_things_move() -> None:
    frame = np.full((40, 200, 3), 100, np.uint8)
    rendered = frame + np.linspace(0, 64, 200).astype(np.uint8)[None, :, None]
    image = overlays.error_image(rendered, frame)
    assert (image[:, 0] < 8).all() and (np.diff(brightness(image)[0]) > -1.5).all()
    motion = np.zeros((40, 200), np.float32)
    motion[:20] = 1
    marked = overlays.error_image(rendered, frame, motion)
    assert np.array_equal(marked[20:], image[20:])
    assert len(np.unique(brightness(marked[:20]).round())) == 2, "dark and bright stripes hide the difference"


def test_never_seen_is_solid_and_rarely_seen_is_striped() -> None:
    frame = np.full((40, 200, 3), 120, np.uint8)
    counts = np.repeat([0, 0, 2, 3], 5)[None, :].repeat(4, axis=0)
    bright = brightness(overlays.seen_image(frame, counts)) > 120
    shares = [bright[:, start : start + 50].mean() for start in range(0, 200, 50)]
    assert shares[0] == shares[1] == 1 and shares[3] == 0 and 0.4 < shares[2] < 0.6
