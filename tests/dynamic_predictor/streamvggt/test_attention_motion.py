"""Motion masks from the global attention of small networks with made-up weights: shapes and invariances."""

import cv2
import numpy as np
import pytest
import torch

from dynamic_predictor.attention_motion.gram import gram_statistics
from dynamic_predictor.contract import Views
from dynamic_predictor.driver.scene_driver import SceneDriver
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.streamvggt import attention_motion
from dynamic_predictor.streamvggt.attention_motion import clip_attention_masks
from dynamic_predictor.streamvggt.predictor import StreamVGGTPredictor, VGGTPredictor
from dynamic_predictor.streamvggt.settings import StreamVGGTSettings, VGGTSettings
from scene.errors import InputError
from scene.images import write_png
from tests.dynamic_predictor.streamvggt.tiny_networks import golden_images

ROWS, COLUMNS, PATCH = 3, 4, 14


def _images(count: int) -> np.ndarray:
    """Golden images with a block that moves."""
    images = golden_images(1, PATCH * ROWS, PATCH * COLUMNS)[0].numpy().repeat(count, axis=0)
    for frame in range(count):
        images[frame, :, 10:24, 2 * frame : 2 * frame + 14] = 0.9
    return images


def _masks(network, images: np.ndarray, **options) -> np.ndarray:
    found = clip_attention_masks(
        network, lambda index: images[index], len(images), lambda values: values, **{"causal": False, **options}
    )
    return np.stack([found[index] for index in range(len(found))])


def _scaled(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min())


@pytest.mark.parametrize("causal", [False, True])
def test_maps_are_the_statistics_of_the_patches_of_each_frame(minimal, causal, monkeypatch):
    """The tokens of cameras and registers are left out, and frames are told apart."""
    frames, special, depth = 5, minimal.architecture.special_tokens, minimal.architecture.depth
    images = torch.from_numpy(_images(frames))[None]
    recorded: dict[int, list[np.ndarray]] = {}

    def record(block, queries, keys):
        recorded[block] = [part[0].double().numpy() for part in (queries, keys)]

    minimal.aggregator(images, causal=causal, recorder=record)
    expected = []
    for frame in range(frames):
        neighbors = [frame + offset for offset in (-4, -2, 2, 4) if 0 <= frame + offset < frames]
        product = np.ones(ROWS * COLUMNS)
        for statistic in gram_statistics(depth):
            gram = []
            for layer in range(*statistic.layers):
                left, right = (
                    recorded[layer]["query key".split().index(kind)].reshape(2, frames, special + ROWS * COLUMNS, -1)
                    for kind in (statistic.of_frame, statistic.of_neighbor)
                )
                for head in range(2):
                    gram.append([left[head, frame, special:] @ right[head, j, special:].T for j in neighbors])
            mean = np.mean(np.array(gram), axis=(0, 1))
            value = _scaled(mean.std(axis=1, ddof=1) if statistic.is_deviation else mean.mean(axis=1))
            product *= 1 - value if statistic.is_inverted else value
        expected.append(_scaled(product))
    found = []
    monkeypatch.setattr(attention_motion, "refined_by_clusters", lambda maps, features: found.append(maps) or maps)
    attention_motion._window(minimal, images, causal)
    np.testing.assert_allclose(found[0].flatten(1), np.array(expected), atol=2e-3)


def test_recording_and_known_patches_change_nothing(minimal):
    images = torch.from_numpy(_images(3))[None]
    plain = minimal(images, causal=True)
    other = minimal(
        images, causal=True, recorder=lambda block, queries, keys: None, patches=minimal.patch_features(images)
    )
    for name in ("camera", "depth", "points"):
        torch.testing.assert_close(getattr(other, name), getattr(plain, name), rtol=0, atol=0)


@pytest.mark.parametrize("causal", [False, True])
def test_masks_have_two_values_and_are_the_same_every_time(minimal, causal):
    masks = _masks(minimal, _images(6), causal=causal)
    assert masks.shape == (6, PATCH * ROWS, PATCH * COLUMNS) and set(np.unique(masks)) <= {0.0, 1.0}
    np.testing.assert_array_equal(masks, _masks(minimal, _images(6), causal=causal))


def test_long_clips_are_seen_in_windows(minimal, monkeypatch):
    """With the network's depth and cameras replaced by those of a still scene, all windows agree with each other."""
    seen = []
    whole = attention_motion._window

    def counted(network, images, causal):
        seen.append(images.shape[1])
        return whole(network, images, causal)

    monkeypatch.setattr(attention_motion, "_window", counted)
    images = _images(9)
    stages = []
    masks = _masks(
        minimal, images, window=6, overlap=4, progress=lambda stage, done, total: stages.append((done, total))
    )
    assert len(masks) == 9 and seen == [6, 6, 5] and stages == [(4, 9), (6, 9), (9, 9)]
    assert _masks(minimal, images[:1]).shape == (1, PATCH * ROWS, PATCH * COLUMNS)


def test_attention_that_is_not_finite_is_refused(minimal):
    images = _images(3)
    images[1, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="damaged"):
        _masks(minimal, images)


@pytest.mark.parametrize("name", ["vggt", "streamvggt"])
def test_a_scene_gets_the_masks_of_attention(minimal, tmp_path, name):
    """From files to the masks of a scene, with frames whose shape is not that of the network's images."""
    clip = tmp_path / "clip"
    clip.mkdir()
    for index, image in enumerate(_images(8)):
        enlarged = cv2.resize(np.rint(255 * image.transpose(1, 2, 0)).astype(np.uint8), (100, 60))
        write_png(clip / f"{index:05d}.png", enlarged)
    settings = {"image_size": 56, "fit": "crop"}
    predictor = {
        "vggt": lambda: VGGTPredictor(VGGTSettings(**settings), network=minimal),
        "streamvggt": lambda: StreamVGGTPredictor(StreamVGGTSettings(**settings), network=minimal),
    }[name]()
    chosen = DriverSettings(str(clip), predictor=name, masks_from="attention", device="cpu")
    driver = SceneDriver(chosen, predictor=predictor)
    scene = driver.scene(StreamWorkspace(tmp_path / "work", {}, resume=False)).scene
    assert scene.provenance["masks"] == f"attention of {name} (VGGT4D)"
    assert scene.motion_masks is not None and len(scene.motion_masks) == 8
    expected = predictor.attention_motion(Views(scene.frames))
    for index in range(8):
        mask = scene.motion_masks[index]
        assert mask.shape == (60, 100) and set(np.unique(mask)) <= {0.0, 1.0}
        np.testing.assert_array_equal(mask, expected[index])
