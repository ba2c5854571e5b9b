import numpy as np

from dynamic_predictor.driver.live_cuts import LiveCuts
from dynamic_predictor.driver.workspace import StreamWorkspace
from tests.dynamic_predictor.footage.made_clips import pan


def followed(folder, images: np.ndarray) -> tuple[list[int], list[str]]:
    told: list[str] = []
    workspace = StreamWorkspace(folder, {}, resume=False)
    cuts = LiveCuts(workspace, "camera 0", told.append)
    for index, image in enumerate(images):
        workspace.append(index / 5, image)
        cuts.look()
    return cuts.cuts, told


def test_a_cut_of_a_live_source_is_said_once(tmp_path):
    cuts, told = followed(tmp_path / "clip", np.concatenate([pan(1, 12), pan(2, 8)]))
    assert cuts == [12] and len(told) == 1 and "camera 0 changes at frame 12 as at a cut" in told[0]


def test_flashes_black_images_and_motion_are_no_cuts(tmp_path):
    clip = pan(1, 24, step=6.0)
    clip[10] = 255
    clip[14] = 0
    clip[18] = pan(2, 1)[0]
    assert followed(tmp_path / "clip", clip) == ([], [])


def test_images_that_never_follow_each_other_say_nothing(tmp_path):
    assert followed(tmp_path / "clip", np.concatenate([pan(seed, 1) for seed in range(12)])) == ([], [])
