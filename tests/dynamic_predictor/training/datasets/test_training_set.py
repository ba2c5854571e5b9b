"""Every training set, read from a miniature folder of the exact scene: geometry, conventions, sampling, failures."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dynamic_predictor.training.datasets.spec import CameraFiles
from dynamic_predictor.training.datasets.table import TRAINING_SETS
from dynamic_predictor.training.datasets.training_set import Augmentation, TrainingSet, open_training_set
from scene.errors import InputError
from tests.dynamic_predictor.training.datasets.exact_scene import EXACT, colors, distance_to_surface, intrinsics, view
from tests.dynamic_predictor.training.datasets.processed_folders import KNOW_SKY, NEEDS, WRITERS


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders that are written when they are asked for, once."""
    base = tmp_path_factory.mktemp("processed")

    class Folders(dict):
        def __missing__(self, name: str) -> Path:
            for package in NEEDS.get(name, ()):
                pytest.importorskip(package, reason=f"NOT CHECKED: {name} needs {package}, which is not installed")
            folder = base / name / "processed"
            folder.mkdir(parents=True)
            WRITERS[name](folder)
            self[name] = folder
            return self[name]

    return Folders()


def test_every_row_has_a_folder_here() -> None:
    assert set(WRITERS) == set(TRAINING_SETS) and len(TRAINING_SETS) == 33


@pytest.mark.parametrize("name", sorted(TRAINING_SETS))
def test_geometry(name: str, folders: dict[str, Path]) -> None:
    """World points of all views lie on the surfaces of the exact scene, and have its colors."""
    spec = TRAINING_SETS[name]
    training_set = open_training_set(name, folders[name], max_views=4)
    assert len(training_set) > 0
    for number in range(3):
        sample = training_set.sample(number % len(training_set), 4, EXACT, np.random.default_rng(number))
        assert sample.images.shape == (4, 3, EXACT[1], EXACT[0]) and len(sample.views) == 4
        assert bool(sample.is_metric) == spec.metric and bool(sample.is_camera_only) == (spec.depth is None)
        assert bool(sample.is_single_view) == spec.single_view and sample.dataset == name
        expected = np.stack([_stored_view(name, text).world_from_camera for text in sample.views])
        if spec.single_view:
            assert torch.equal(sample.world_from_camera, torch.eye(4).expand(4, 4, 4))
        else:
            assert np.abs(sample.world_from_camera.numpy() - expected).max() < 1e-5
        known = intrinsics()
        if name == "mvimgnet":
            known[1, 1] = known[0, 0]
        assert np.abs(sample.intrinsics.numpy() - known).max() < 1e-4  # the crop begins at the first pixel
        if spec.depth is None:
            assert not sample.valid.any()
            continue
        points = torch.einsum("vij,vhwj->vhwi", torch.from_numpy(expected[:, :3, :3]).float(), sample.camera_points())
        points = (points + torch.from_numpy(expected[:, :3, 3]).float()[:, None, None]).numpy()
        valid = sample.valid.numpy()
        true_sky = np.stack([_stored_view(name, text).sky[: EXACT[1], : EXACT[0]] for text in sample.views])
        assert 0.5 < valid.mean() < 1 and not valid[true_sky].any()
        assert np.array_equal(sample.sky.numpy(), true_sky if name in KNOW_SKY else np.zeros_like(valid))
        assert distance_to_surface(points[valid]).max() < 0.01
        shown = sample.images.permute(0, 2, 3, 1).numpy()[valid]
        assert np.abs(shown * 255 - colors(points[valid])).mean() < 4  # JPEG
        if not spec.single_view:
            assert torch.allclose(sample.world_points()[sample.valid], torch.from_numpy(points[valid]), atol=1e-4)


def _stored_view(name: str, text: str):
    """The view of the exact scene that a sample names."""
    frame = text.split("/")[-1]
    if name == "realestate10k":
        return view((int(frame) - 10009) // 33)
    if name == "dynamic_replica":
        return view(round(float(frame) * 30))
    if name.startswith("arkitscenes"):
        return view(round((float(frame.split("_")[1]) - 6791) * 10))
    number = int(re.findall(r"\d+", frame)[0])
    if name == "scannetpp":
        return view(number, 0) if frame.startswith("DSC") else view(number // 10, 1)
    return view(number - 1 if name == "co3d" else number)


@pytest.mark.parametrize("convention", ["world_from_camera", "camera_from_world"])
@pytest.mark.parametrize("axes", ["opencv", "opengl"])
def test_a_new_row_with_other_conventions(convention, axes, tmp_path: Path) -> None:
    """A set is added by a row alone, with poses in either direction and axes."""
    cameras = CameraFiles(convention=convention, axes=axes)
    spec = replace(TRAINING_SETS["spring"], name="mine", title="Mine", cameras=cameras)
    WRITERS["spring"](tmp_path)
    for number in range(12):
        pose = view(number).world_from_camera @ (np.eye(4) if axes == "opencv" else np.diag([1.0, -1, -1, 1]))
        stored = pose if convention == "world_from_camera" else np.linalg.inv(pose)
        np.savez(tmp_path / "0001" / "cam" / f"{number:04d}.npz", pose=stored, intrinsics=intrinsics(0))
    training_set = TrainingSet(spec, tmp_path, max_views=4, allow_repeats=False)
    sample = training_set.sample(0, 4, EXACT, np.random.default_rng(0))
    assert distance_to_surface(sample.world_points().numpy()[sample.valid.numpy()]).max() < 0.001


@pytest.mark.parametrize("name", ["spring", "hypersim", "dl3dv"])
def test_geometry_of_scaled_views(name: str, folders: dict[str, Path]) -> None:
    augmentation = Augmentation(extra_pixels=15, color_jitter=0.5)
    training_set = open_training_set(name, folders[name], max_views=4, augmentation=augmentation)
    for width, height in ((40, 32), (30, 40), (112, 84)):
        sample = training_set.sample(0, 4, (width, height), np.random.default_rng(1))
        focal = sample.intrinsics[:, 0, 0]
        assert torch.allclose(sample.intrinsics[:, :2, 2], torch.tensor([width / 2, height / 2]), atol=1e-3)
        assert torch.allclose(sample.intrinsics[:, 1, 1] / focal, torch.tensor(61 / 58), atol=1e-4)
        assert len(focal.unique()) > 1  # every view has its own margin
        distance = distance_to_surface(sample.world_points().numpy()[sample.valid.numpy()])
        # depth comes from the nearest pixel, at most half of one away; without a bias to any side
        assert distance.max() < 0.12 and distance.mean() < 0.03


def test_samples_depend_on_their_arguments_alone(folders: dict[str, Path]) -> None:
    augmentation = Augmentation(extra_pixels=15, color_jitter=0.5)

    def draw(training_set: TrainingSet, seed: int):
        return training_set.sample(1, 3, (48, 32), np.random.default_rng(seed))

    first = open_training_set("arkitscenes", folders["arkitscenes"], max_views=4, augmentation=augmentation)
    again = open_training_set("arkitscenes", folders["arkitscenes"], max_views=4, augmentation=augmentation)
    draw(again, 9)
    one, other = draw(first, 5), draw(again, 5)
    assert one.views == other.views and torch.equal(one.images, other.images)
    assert torch.equal(one.z_depth, other.z_depth) and torch.equal(one.rays_given, other.rays_given)
    assert not torch.equal(one.images, draw(first, 6).images)


def test_colors_of_a_sample_change_together(folders: dict[str, Path]) -> None:
    plain = open_training_set("scannet", folders["scannet"], max_views=2)
    jittered = open_training_set(
        "scannet", folders["scannet"], max_views=2, augmentation=Augmentation(color_jitter=0.5)
    )
    before = plain.sample(0, 2, EXACT, np.random.default_rng(3))
    after = jittered.sample(0, 2, EXACT, np.random.default_rng(3))
    assert before.views == after.views
    change = (after.images - before.images).mean(dim=(2, 3))
    assert change.abs().max() > 0.02 and torch.allclose(change[0], change[1], atol=0.02)


def test_unknown_depth(folders: dict[str, Path], tmp_path: Path) -> None:
    """Outliers, the object's mask, and depth beyond the quantile are unknown."""
    sample = open_training_set("dl3dv", folders["dl3dv"]).sample(0, 2, EXACT, np.random.default_rng(0))
    assert not sample.valid[:, 40:, :8].any() and sample.valid[:, 40:, 8:].any()
    farthest = np.stack([view(int(text.split("/")[-1])).known().max() for text in sample.views])
    assert (sample.z_depth.amax(dim=(1, 2)).numpy() < farthest).all()

    WRITERS["co3d"](tmp_path)
    import cv2

    for path in tmp_path.glob("*/*/masks/*.png"):
        mask = np.zeros((48, 64), np.uint8)
        mask[:, :20] = 255
        cv2.imwrite(str(path), mask)
    training_set = open_training_set("co3d", tmp_path)
    masked = 0
    for seed in range(60):
        valid = training_set.sample(0, 2, EXACT, np.random.default_rng(seed)).valid
        masked += not valid[:, :, 20:].any()
    assert 1 <= masked <= 16  # one in ten


def test_cameras_as_input_for_metric_sets_only(folders: dict[str, Path]) -> None:
    for name, expected in (("scannet", 0.25), ("mvs_synth", 0.0), ("hoi4d", 0.0)):
        training_set = open_training_set(name, folders[name], max_views=8)
        given = [training_set.sample(0, 8, (16, 16), np.random.default_rng(seed)) for seed in range(30)]
        rays = torch.stack([sample.rays_given for sample in given]).float()
        images = torch.stack([sample.image_given for sample in given])
        assert images[:, 0].all() and not rays[:, 0].any()
        assert rays[:, 1:].mean().item() == pytest.approx(expected, abs=0.1)
        assert (images | rays.bool()).all()


def test_runs_of_waymo_and_scannetpp(folders: dict[str, Path]) -> None:
    training_set = open_training_set("scannetpp", folders["scannetpp"], max_views=4)
    kinds = set()
    for seed in range(40):
        sample = training_set.sample(0, 4, (16, 16), np.random.default_rng(seed))
        devices = {text.split("/")[1] for text in sample.views}
        kinds.add((len(devices), bool(sample.is_video)))
    assert {(1, True), (2, False)} <= kinds  # a video of one device; overlapping views of both

    training_set = open_training_set("waymo", folders["waymo"], max_views=4)
    # cameras 1 and 4, the first frame of camera 1 is listed as damaged
    assert len(training_set) == (12 - 1 - 3) + (12 - 3)
    for seed in range(20):
        sample = training_set.sample(seed % len(training_set), 4, (16, 16), np.random.default_rng(seed))
        assert {text.split("/")[1] for text in sample.views} in ({"1"}, {"4"})
        assert not any(text.endswith("1/00000") for text in sample.views)


def test_scenes_of_other_sets_are_left_out(folders: dict[str, Path], tmp_path: Path) -> None:
    WRITERS["arkitscenes"](tmp_path / "arkit")
    (tmp_path / "arkit_highres" / "Training" / "40753679").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no scenes of ARKitScenes"):
        open_training_set("arkitscenes", tmp_path / "arkit")
    WRITERS["spring"](tmp_path / "spring")
    (tmp_path / "spring" / ".0002").mkdir()
    assert len(open_training_set("spring", tmp_path / "spring", max_views=12)) == 1
    (tmp_path / "spring" / "excluded_scenes.txt").write_text("0000\n0001\n")
    with pytest.raises(InputError, match="holds no scenes of Spring"):
        open_training_set("spring", tmp_path / "spring")


def _replaced_camera(**changed):
    entries = {"pose": np.eye(4), "intrinsics": intrinsics(), **changed}

    def write(scene: Path) -> None:
        np.savez(scene / "cam" / "0003.npz", **{name: value for name, value in entries.items() if value is not None})

    return write


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "depth" / "0003.npy").unlink(), "0003.npy is missing"),
        (lambda root: (root / "cam" / "0003.npz").write_bytes(b"PK"), "0003.npz is damaged"),
        (lambda root: (root / "rgb" / "0003.png").write_bytes(b"\x89PNG"), "0003.png is"),
        (lambda root: np.save(root / "depth" / "0003.npy", np.ones((4, 4), np.float32)), "differ in size"),
        (_replaced_camera(pose=np.diag([1.0, -1, 1, 1])), "pose that is not a rotation"),
        (_replaced_camera(pose=None), "has no pose"),
        (_replaced_camera(intrinsics=np.array([None])), "Python objects"),
        (_replaced_camera(intrinsics=np.full((3, 3), np.nan)), "intrinsics"),
        (_replaced_camera(intrinsics=np.diag([0.0, 1, 1])), "focal length"),
        (_replaced_camera(intrinsics=np.array([[50.0, 0, 70], [0, 50, 20], [0, 0, 1]])), "principal point"),
    ],
)
def test_damage_is_one_sentence(damage, message: str, tmp_path: Path) -> None:
    WRITERS["spring"](tmp_path)
    damage(tmp_path / "0001")
    training_set = open_training_set("spring", tmp_path, max_views=12)
    with pytest.raises(InputError, match=message) as caught:
        training_set.sample(0, 12, EXACT, np.random.default_rng(0))
    assert "\n" not in str(caught.value)


def test_what_cannot_be_opened(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match='no training set "sintel"; choose one of arkitscenes'):
        open_training_set("sintel", tmp_path)
    with pytest.raises(InputError, match="does not exist; prepare Spring there first"):
        open_training_set("spring", tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no scenes of Spring"):
        open_training_set("spring", tmp_path)
    with pytest.raises(InputError, match="has no scene of Spring with 13 frames"):
        open_training_set("spring", folders["spring"], max_views=13)
    assert len(open_training_set("spring", folders["spring"], max_views=13, allow_repeats=True)) == 9
    with pytest.raises(InputError, match="opened for 1 to 2 views, not 3"):
        open_training_set("spring", folders["spring"]).sample(0, 3, EXACT, np.random.default_rng(0))
