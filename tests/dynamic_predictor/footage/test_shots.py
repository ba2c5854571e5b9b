import numpy as np
import pytest

from dynamic_predictor.footage.shots import FoundShots, find_shots, one_shot
from scene.frames import MemoryFrames
from tests.dynamic_predictor.footage.made_clips import HEIGHT, WIDTH, pan


def shots(images: np.ndarray) -> FoundShots:
    return find_shots(MemoryFrames(images))


def spans(found: FoundShots) -> list[tuple[int, int]]:
    return [(shot.start, shot.stop) for shot in found.shots]


def test_hard_cuts_divide_a_clip_at_the_right_frames():
    found = shots(np.concatenate([pan(1, 9), pan(2, 7), pan(3, 8)]))
    assert spans(found) == [(0, 9), (9, 16), (16, 24)]
    assert not any(shot.left_out or shot.faded for shot in found.shots)


@pytest.mark.parametrize("step", [0.0, 1.0, 12.0, 40.0], ids=lambda step: f"{step} pixels a frame")
def test_motion_is_no_cut(step):
    found = shots(pan(1, 10, step=step))
    assert spans(found) == [(0, 10)] and not found.shots[0].left_out


@pytest.mark.xfail(reason="a turn of a hundred pixels a frame, smeared over three frames, is still taken for a cut")
def test_a_fast_blurred_turn_is_no_cut():
    clip = pan(1, 22, step=2)
    fast = [pan(1, 100, step=1.0, start=44 + 100 * k).mean(axis=0) for k in range(3)]
    clip[8:11] = np.stack(fast)
    clip[11:] = pan(1, 11, step=2, start=360)
    assert spans(shots(clip)) == [(0, 22)]


def test_a_dissolve_is_no_cut_but_it_is_noted():
    one, two = pan(1, 20).astype(float), pan(2, 20).astype(float)
    share = np.clip((np.arange(20) - 5) / 9, 0, 1)[:, None, None, None]
    found = shots(((1 - share) * one + share * two).astype(np.uint8))
    assert spans(found) == [(0, 20)]
    assert found.dissolves and 0 < found.dissolves[0][0] < 10 < found.dissolves[0][1] < 20
    assert not shots(pan(1, 20, step=12.0)).dissolves


def test_a_mixed_frame_at_a_cut_belongs_to_no_shot():
    one, two = pan(1, 10), pan(2, 10)
    mixed = (one[9] / 2.0 + two[0] / 2.0).astype(np.uint8)[None]
    assert spans(shots(np.concatenate([one[:9], mixed, two[1:]]))) == [(0, 9), (10, 19)]


@pytest.mark.parametrize(
    ("what", "reason"), [("black", "black"), ("noise", "black"), ("white", "white"), ("other", "interruption")]
)
def test_frames_that_show_something_else_are_left_out_and_linked_across(what, reason):
    clip, random = pan(1, 20), np.random.default_rng(0)
    clip[8:11] = {
        "black": np.zeros(1),
        "noise": random.normal(5, 2, (3, HEIGHT, WIDTH, 3)).clip(0, 255),
        "white": np.full(1, 255),
        "other": pan(2, 3),
    }[what].astype(np.uint8)
    found = shots(clip)
    assert spans(found) == [(0, 20)]
    assert found.shots[0].left_out == {8: reason, 9: reason, 10: reason}


def test_black_frames_at_the_ends_stay_in_a_clip_and_out_of_shots():
    clip = pan(1, 16)
    clip[:3] = clip[-2:] = 0
    assert shots(clip).shots[0].left_out == dict.fromkeys([0, 1, 2, 14, 15], "black")
    two = np.concatenate([clip, pan(2, 8)])
    assert spans(shots(two)) == [(3, 14), (16, 24)]


def test_a_flash_is_left_out():
    clip = pan(1, 16)
    clip[7] = np.clip(clip[7].astype(int) + 90, 0, 255)
    assert shots(clip).shots[0].left_out == {7: "flash"}


def test_a_covered_lens_is_no_cut():
    clip = pan(1, 40)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    hand = 70 + 12 * np.sin(columns / 30) + 10 * np.cos(rows / 25)
    clip[10:26] = np.stack([hand + 3 * np.sin(index) for index in range(16)])[..., None]
    found = shots(clip)
    # the camera goes on: what comes after still overlaps what was before
    assert spans(found) == [(0, 40)] and set(found.shots[0].left_out) == set(range(10, 26))


def test_fades_lose_their_colors_and_at_last_their_cameras():
    clip = pan(1, 20)
    gains = np.concatenate([np.ones(12), np.linspace(1, 0, 9)[1:]])
    shot = shots((clip * gains[:, None, None, None]).astype(np.uint8)).shots[0]
    assert list(shot.left_out) == [19, 18, 17] and shot.left_out[19] == "black"
    assert set(shot.faded) == {12, 13, 14, 15, 16} - {frame for frame in range(12, 17) if gains[frame] > 0.85}
    brighter = 255 - (255 - clip) * gains[:, None, None, None]
    assert set(shots(brighter.astype(np.uint8)).shots[0].left_out) == {17, 18, 19}


def test_a_frozen_image_is_a_repetition_only_where_the_camera_moves():
    clip = pan(1, 20)
    clip[9:13] = clip[8]
    assert shots(clip).shots[0].left_out == dict.fromkeys([9, 10, 11, 12], "repetition")
    still = np.repeat(pan(1, 1), 12, axis=0)
    assert not shots(still).shots[0].left_out
    still[:, 40:60, 20:40] = (np.arange(12) * 20)[:, None, None, None]
    still[6:9] = still[5]
    assert not shots(still).shots[0].left_out


def test_a_dark_clip_is_not_black():
    dark = (pan(1, 16) * 0.06).astype(np.uint8)
    dark[7] = 0
    assert shots(dark).shots[0].left_out == {7: "black"}


def test_pictures_without_an_order_are_no_clip_with_cuts():
    pictures = np.concatenate([pan(seed, 1) for seed in range(8)])
    found = shots(pictures)
    assert found.is_collection and spans(found) == [(0, 8)] and not found.shots[0].left_out
    assert spans(shots(pictures[:2])) == [(0, 2)]
    assert shots(pictures[:3]).shots[0].predicted == [0, 1, 2]


def test_a_clip_as_one_shot_keeps_its_black_frames_out():
    clip = np.concatenate([pan(1, 10), pan(2, 10)])
    clip[4] = 0
    found = one_shot(shots(clip))
    assert spans(found) == [(0, 20)] and found.shots[0].left_out == {4: "black"}
