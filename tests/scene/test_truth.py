"""Scenes with truth: the sample in the repository keeps what it promises, and defects are named."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from scene.errors import InputError
from scene.truth import TruthScene
from tests.paths import ROOT

SAMPLE = ROOT / "data" / "sample"


@pytest.fixture(scope="module")
def sample() -> TruthScene:
    return TruthScene(SAMPLE)


def test_what_the_sample_holds(sample: TruthScene) -> None:
    assert len(sample) == 20 and (sample.width, sample.height) == (480, 272)
    assert np.allclose(sample.times, np.arange(20) / 12)
    assert sample.frames.rgb8(3).shape == (272, 480, 3)
    assert sample.clean_indices == list(range(0, 20, 2)) and sample.clean(1) is None and sample.seen(1) is None
    assert sample.novel_count == 4
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*")) < 6_000_000
    for index in range(20):
        mask, shadow = sample.mask(index), sample.shadow(index)
        assert mask is not None and shadow is not None and mask.dtype == bool
        assert 0.05 < mask.mean() < 0.12 and not (mask & shadow).any()
    with pytest.raises(IndexError):
        sample.clean(20)


def test_the_clean_image_is_the_frame_where_nothing_moves(sample: TruthScene) -> None:
    for index in sample.clean_indices:
        clean, mask, shadow = sample.clean(index), sample.mask(index), sample.shadow(index)
        assert clean is not None and mask is not None and shadow is not None
        alpha = cv2.imread(str(SAMPLE / "alpha" / f"{index:05d}.png"), cv2.IMREAD_GRAYSCALE)
        assert alpha is not None
        # JPEG smears movers and colour edges over blocks of 16, so the comparison keeps away from them.
        still = cv2.dilate(((alpha > 0) | shadow).astype(np.uint8), np.ones((33, 33))) == 0
        difference = np.abs(clean.astype(float) - sample.frames.rgb8(index)).mean(axis=2)
        assert difference[still].mean() < 5 < 30 < difference[mask].mean()


def test_depth_and_cameras_explain_the_images(sample: TruthScene) -> None:
    """Warping one clean image into another by depth and cameras gives that image, to the sub-pixel."""
    source, target = 4, 8
    depth, source_depth, camera = sample.depth_clean(target), sample.depth_clean(source), sample.cameras[target]
    image, expected = sample.clean(source), sample.clean(target)
    assert depth is not None and source_depth is not None and image is not None and expected is not None
    pixels, z = sample.cameras[source].project(camera.unproject(depth).reshape(-1, 3))
    errors = {}
    for shift in (-0.5, 0.0, 0.5):
        maps = (pixels.reshape(272, 480, 2) - 0.5 + [shift, 0.0]).astype(np.float32)  # OpenCV counts from centres
        warped = cv2.remap(image, maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        surface = cv2.remap(source_depth, maps, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)  # type: ignore[call-overload]
        inside = np.abs(surface - z.reshape(272, 480)) < 0.01 * surface  # not hidden in the other image
        errors[shift] = np.mean(np.abs(warped.astype(float) - expected)[inside])
    assert errors[0.0] < 0.8 * min(errors[-0.5], errors[0.5])


def test_seen_counts_what_the_masks_and_cameras_say(sample: TruthScene) -> None:
    """Counted here once more, for single pixels, and compared with a view off the path as well."""
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
        for kind in ("mask", "shadow", "depth", "depth_clean"):
            assert np.array_equal(getattr(sample, kind)(index), getattr(full, kind)(2 * index))
        if index in sample.clean_indices:
            assert np.array_equal(sample.clean(index), full.clean(2 * index))
            ours, theirs = sample.seen(index), full.seen(2 * index)
            assert ours is not None and theirs is not None
            # Every second frame: about half as often seen, and what is often seen there is often seen here.
            agree.append(np.abs(ours - theirs / 2)[theirs >= 10].mean())
    assert np.mean(agree) < 1.0


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A small scene of the same format that tests may damage."""
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
    assert truth.clean(0) is truth.shadow(0) is truth.seen(0) is truth.depth_clean(0) is None
    assert truth.mask(0) is not None and truth.novel_count == 0 and truth.clean_indices == []


def test_defects(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scene with truth"):
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
    content["frames"][1]["world_from_camera"][0][0] = 5
    (copy / "cameras.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="00001.png is not a rigid motion"):
        TruthScene(copy)
    (copy / "cameras.json").write_text("{")
    with pytest.raises(InputError, match="broken JSON"):
        TruthScene(copy)
