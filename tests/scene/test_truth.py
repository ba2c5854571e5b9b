"""Scenes with truth: consistency of the sample in the repository, and messages about defects."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from scene.errors import InputError
from scene.images import read_image
from scene.truth import TruthScene
from tests.paths import ROOT

SAMPLE = ROOT / "data" / "sample"


@pytest.fixture(scope="module")
def sample() -> TruthScene:
    return TruthScene(SAMPLE)


def shadow(truth: TruthScene, index: int) -> np.ndarray:
    return read_image(truth.folder / "shadow" / f"{index:05d}.png")[..., 0] > 127


def clean_indices(truth: TruthScene) -> list[int]:
    return [index for index in range(len(truth)) if truth.clean(index) is not None]


def test_content_of_the_sample(sample: TruthScene) -> None:
    assert len(sample) == 20 and (sample.width, sample.height) == (480, 272)
    assert np.allclose(sample.times, np.arange(20) / 12)
    assert sample.frames.rgb8(3).shape == (272, 480, 3)
    assert clean_indices(sample) == list(range(0, 20, 2)) and sample.clean(1) is None and sample.seen(1) is None
    assert sample.novel_count == 4
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*")) < 6_000_000
    for index in range(20):
        mask = sample.mask(index)
        assert mask is not None and mask.dtype == bool
        assert 0.05 < mask.mean() < 0.12 and not (mask & shadow(sample, index)).any()
    with pytest.raises(IndexError):
        sample.clean(20)


def test_the_clean_image_is_the_frame_where_nothing_moves(sample: TruthScene) -> None:
    for index in clean_indices(sample):
        clean, mask = sample.clean(index), sample.mask(index)
        assert clean is not None and mask is not None
        alpha = cv2.imread(str(SAMPLE / "alpha" / f"{index:05d}.png"), cv2.IMREAD_GRAYSCALE)
        assert alpha is not None
        # JPEG blurs edges over blocks of 16 pixels, so the comparison excludes the surroundings of moving objects
        still = cv2.dilate(((alpha > 0) | shadow(sample, index)).astype(np.uint8), np.ones((33, 33))) == 0
        difference = np.abs(clean.astype(float) - sample.frames.rgb8(index)).mean(axis=2)
        assert difference[still].mean() < 5 < 30 < difference[mask].mean()


def test_depth_and_cameras_explain_the_images(sample: TruthScene) -> None:
    """Warping a clean image into another view by depth and cameras reproduces that view, to less than a pixel."""
    source, target = 4, 8
    depth, source_depth, camera = sample.depth_clean(target), sample.depth_clean(source), sample.cameras[target]
    image, expected = sample.clean(source), sample.clean(target)
    assert depth is not None and source_depth is not None and image is not None and expected is not None
    pixels, z = sample.cameras[source].project(camera.unproject(depth).reshape(-1, 3))
    errors = {}
    for shift in (-0.5, 0.0, 0.5):
        maps = (pixels.reshape(272, 480, 2) - 0.5 + [shift, 0.0]).astype(
            np.float32
        )  # OpenCV has pixel centers at integers
        warped = cv2.remap(image, maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        surface = cv2.remap(source_depth, maps, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)  # type: ignore[call-overload]
        inside = np.abs(surface - z.reshape(272, 480)) < 0.01 * surface  # not hidden in the other image
        errors[shift] = np.mean(np.abs(warped.astype(float) - expected)[inside])
    assert errors[0.0] < 0.8 * min(errors[-0.5], errors[0.5])


def test_seen_agrees_with_masks_and_cameras(sample: TruthScene) -> None:
    """Counts visible points again for single pixels, of frames and of a view off the camera path."""
    generator = np.random.default_rng(0)
    alphas = [cv2.imread(str(SAMPLE / "alpha" / f"{i:05d}.png"), cv2.IMREAD_GRAYSCALE) for i in range(20)]
    depths = [sample.depth_clean(index) for index in range(20)]
    novel = sample.novel(1)
    clean_depth, clean_seen = sample.depth_clean(6), sample.seen(6)
    for camera, depth, seen in (
        (sample.cameras[6], clean_depth, clean_seen),
        (novel.camera, novel.z_depth, novel.seen),
    ):
        assert depth is not None and seen is not None
        points = camera.unproject(depth)
        for _ in range(300):
            row, column = generator.integers(0, 272), generator.integers(0, 480)
            count = 0
            for other, other_depth, alpha in zip(sample.cameras, depths, alphas, strict=True):
                assert other_depth is not None and alpha is not None
                (pixel,), (z,) = other.project(points[row, column][None])
                if z > 0 and 0 <= pixel[0] < 480 and 0 <= pixel[1] < 272:
                    u, v = int(pixel[0]), int(pixel[1])
                    count += z <= other_depth[v, u] * 1.02 and alpha[v, u] == 0
            assert count == seen[row, column]


def test_the_sample_is_a_cut_of_the_full_scene(sample: TruthScene, shared: Path) -> None:
    full = TruthScene(shared / "bench" / "room_ball")
    assert len(full) == 40 and full.novel_count == 6
    agree = []
    for index in range(20):
        assert np.array_equal(sample.cameras[index].world_from_camera, full.cameras[2 * index].world_from_camera)
        assert np.array_equal(shadow(sample, index), shadow(full, 2 * index))
        for kind in ("mask", "depth", "depth_clean"):
            assert np.array_equal(getattr(sample, kind)(index), getattr(full, kind)(2 * index))
        if index in clean_indices(sample):
            assert np.array_equal(sample.clean(index), full.clean(2 * index))
            ours, theirs = sample.seen(index), full.seen(2 * index)
            assert ours is not None and theirs is not None
            # the sample has every second frame, so a point is visible in about half as many frames
            agree.append(np.abs(ours - theirs / 2)[theirs >= 10].mean())
    assert np.mean(agree) < 1.0


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A small scene that a test may damage."""
    target = tmp_path / "truth"
    for kind in ("rgb", "mask", "depth"):
        (target / kind).mkdir(parents=True)
        for index in range(2):
            for path in (SAMPLE / kind).glob(f"{index:05d}.*"):
                shutil.copy(path, target / kind)
    cameras = json.loads((SAMPLE / "cameras.json").read_text())
    cameras["frames"] = cameras["frames"][:2]
    (target / "cameras.json").write_text(json.dumps(cameras))
    return target


def test_parts_may_be_missing(copy: Path) -> None:
    truth = TruthScene(copy)
    assert truth.clean(0) is truth.seen(0) is truth.depth_clean(0) is None
    assert truth.mask(0) is not None and truth.novel_count == 0 and clean_indices(truth) == []


def test_defects(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a scene with truth"):
        TruthScene(tmp_path)
    truth = TruthScene(copy)
    (copy / "depth" / "00001.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="00001.npz is damaged"):
        truth.depth(1)
    cv2.imwrite(str(copy / "mask" / "00001.png"), np.zeros((5, 6), np.uint8))
    with pytest.raises(InputError, match="00001.png is 6x5"):
        truth.mask(1)
    (copy / "rgb" / "00001.jpg").unlink()
    with pytest.raises(InputError, match="no image 00001.png"):
        _ = truth.frames
    content = json.loads((copy / "cameras.json").read_text())
    (copy / "cameras.json").write_text(json.dumps({**content, "fx": 0}))
    with pytest.raises(InputError, match="focal length"):
        TruthScene(copy)
    content["frames"][1]["world_from_camera"][0][0] = 5
    (copy / "cameras.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="00001.png .*not a rigid motion"):
        TruthScene(copy)
    (copy / "cameras.json").write_text("{")
    with pytest.raises(InputError, match="broken JSON"):
        TruthScene(copy)
