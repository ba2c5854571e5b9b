"""Masks find their frames by name, by order or by number."""

import pytest

from scene.errors import InputError
from scene.given_masks.matching import bare_name, has_two_endings, match_masks


def test_names() -> None:
    assert {bare_name(name) for name in ("a7.png", "a7.jpg.png", "A7.png.png", "a7_mask.png", "mask_a7.webp")} == {"a7"}
    assert bare_name("mask.png") == "mask" and bare_name("v1.2.png") == "v1.2"
    assert has_two_endings("a.jpg.png") and not has_two_endings("a.png") and not has_two_endings("v1.2.png")


def test_the_whole_clip() -> None:
    names = [f"img{index}.jpg" for index in range(5)]
    assert match_masks(["0.png", "1.png", "2.png"], 3, title="M") == {0: 0, 1: 1, 2: 2}
    assert match_masks([f"img{index}.jpg.png" for index in range(5)], 5, names=names, title="M") == {
        index: index for index in range(5)
    }
    # another numbering: 1 to 5 for 0 to 4
    assert match_masks([f"img{index}.png" for index in range(1, 6)], 5, names=names, title="M") == {
        index: index for index in range(5)
    }


def test_a_part_of_the_clip() -> None:
    names = [f"img{index}.jpg" for index in range(10, 20)]
    masks = [f"img{index}.png" for index in range(10, 20)]
    assert match_masks(masks, 3, names=names, positions=[1, 4, 7], title="M") == {0: 1, 1: 4, 2: 7}
    assert match_masks([str(i) for i in range(10)], 3, positions=[1, 4, 7], title="M") == {0: 1, 1: 4, 2: 7}
    # masks of exactly the chosen frames
    assert match_masks(["a", "b", "c"], 3, positions=[1, 4, 7], title="M") == {0: 0, 1: 1, 2: 2}


def test_some_frames() -> None:
    names = [f"img{index}.jpg" for index in range(10, 20)]
    assert match_masks(["img12.png", "img19.png"], 10, names=names, title="M") == {2: 0, 9: 1}
    assert match_masks(["12.png", "19.png"], 10, names=names, title="M") == {2: 0, 9: 1}
    # numbers of a video's frames, of which every second one was taken
    assert match_masks(["m00004.png", "m00006.png"], 5, positions=[0, 2, 4, 6, 8], title="M") == {2: 0, 3: 1}


@pytest.mark.parametrize(
    "masks", [["a.png", "b.png"], ["1.png", "99.png"], ["x1.png", "y1.png"], [str(i) for i in range(12)]]
)
def test_what_fits_nothing(masks: list[str]) -> None:
    with pytest.raises(InputError, match=f"M holds {len(masks)} masks for 10 frames"):
        match_masks(masks, 10, title="M")
