"""The second pass on a scene whose moving pixels are known."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from gaussian.settings import TrainSettings
from scene.maps import LoadedMaps
from scene.scene import Scene
from stillsplat.second_pass.refinement import refine_masks
from tests.gaussian.wall_scene import COUNT, HEIGHT, WIDTH, MemoryFrames, make_scene

#: a draft of a few hundred iterations
SETTINGS = TrainSettings(iterations=1500, max_gaussians=2500, device="cpu")


def _maps(values: np.ndarray) -> LoadedMaps:
    return LoadedMaps(len(values), lambda index: values[index].astype(np.float32))


def _truth(scene: Scene) -> np.ndarray:
    assert scene.motion_masks is not None
    return np.stack([scene.motion_masks[index] > 0.5 for index in range(COUNT)])


def _refined(scene: Scene, settings: TrainSettings = SETTINGS) -> np.ndarray:
    refined = refine_masks(scene, settings)
    assert refined is not None
    return np.stack([refined.masks[index] > 0.5 for index in range(COUNT)])


def _iou(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found & truth).sum() / (found | truth).sum())


def test_halos_and_false_regions_are_given_back_and_misses_are_found():
    scene = make_scene()
    truth = _truth(scene)
    given = np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) for mask in truth])
    given[5:8] = 0  # the mover is missed
    given[2:6, 4:14, 60:70] = 1  # nothing moves here
    found = _refined(replace(scene, motion_masks=_maps(given)))
    assert _iou(given > 0, truth) < 0.45
    assert _iou(found, truth) > 0.75
    assert (found & ~truth)[2:6, 4:14, 60:70].mean() < 0.1
    assert (found & truth)[5:8].sum() > 0.8 * truth[5:8].sum()


@pytest.mark.parametrize("seed", [0, 3])
def test_what_rests_and_leaves_is_masked_while_it_rests(seed: int):
    scene = make_scene()
    images = np.stack([scene.frames.rgb8(index) for index in range(COUNT)])
    assert scene.z_depths is not None
    depths = np.stack([scene.z_depths[index] for index in range(COUNT)])
    there = np.zeros((COUNT, HEIGHT, WIDTH), bool)
    # a card at z = 2, which stands in the world until frame 6; the mover of the scene does not cross it
    for index in range(7):
        camera = scene.cameras[index]
        (left, top), (right, bottom) = camera.project(np.array([[-0.95, 0.3, 2.0], [-0.5, 0.7, 2.0]]))[0].round()
        there[index, int(top) : int(bottom), max(0, int(left)) : int(right)] = True
        images[index][there[index]] = (30, 200, 60)
        depths[index][there[index]] = 2.0
    mover = _truth(scene)
    rested = replace(scene, frames=MemoryFrames(images), z_depths=_maps(depths))
    # an object as small as this one has to be learned well
    found = _refined(rested, replace(SETTINGS, iterations=4000, resolution_schedule=False, seed=seed))
    card = there & ~mover
    assert card[:7].sum() > 300
    assert (found & card)[:7].sum() > 0.8 * card[:7].sum()
    later = np.zeros_like(there)
    later[7:] = there[6]
    assert (found & later & ~mover).sum() < 0.25 * (later & ~mover).sum()


def test_held_out_frames_keep_their_masks_and_are_not_learned_from():
    scene = make_scene()
    settings = replace(SETTINGS, test_every=4)
    held_out = settings.test_frames(COUNT)
    refined = refine_masks(scene, settings)
    assert refined is not None and scene.motion_masks is not None
    assert refined.frames == [index for index in range(COUNT) if index not in held_out]
    for index in held_out:
        np.testing.assert_array_equal(refined.masks[index], scene.motion_masks[index])
    images = np.stack([scene.frames.rgb8(index) for index in range(COUNT)])
    images[held_out] = 255 - images[held_out]
    other = refine_masks(replace(scene, frames=MemoryFrames(images)), settings)
    assert other is not None
    for index in refined.frames:
        np.testing.assert_array_equal(other.masks[index], refined.masks[index])


@pytest.mark.parametrize("why", ["nothing moves", "no masks", "too short", "wrong cameras"])
def test_nothing_to_refine(why: str):
    scene, settings = make_scene(), SETTINGS
    if why == "nothing moves":
        scene = replace(scene, motion_masks=_maps(np.zeros((COUNT, HEIGHT, WIDTH))))
    elif why == "no masks":
        scene = replace(scene, motion_masks=None)
    elif why == "too short":
        settings = replace(settings, iterations=300)
    else:  # every frame shows something else
        noise = np.random.default_rng(0).integers(0, 255, (COUNT, HEIGHT // 8, WIDTH // 8, 3), np.uint8)
        images = np.stack([cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST) for image in noise])
        scene = replace(scene, frames=MemoryFrames(images))
    assert refine_masks(scene, settings) is None
