"""Scene folders: a saved scene is loaded unchanged, and every defect gives one sentence that names the file."""

import errno
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scene.camera import Camera
from scene.errors import InputError
from scene.files.json_files import read_json
from scene.folder import load_scene, predicted_masks, replace_cameras, replace_masks, save_scene
from scene.formats.colmap_reader import read_colmap
from scene.formats.tum import read_tum
from scene.frames import ImageFolderFrames
from scene.images import write_png
from scene.scene import Scene


def test_round_trip(tmp_path: Path, small_scene: Scene) -> None:
    save_scene(small_scene, tmp_path / "scene")
    loaded = load_scene(tmp_path / "scene")
    assert loaded.predictor == "truth"
    assert loaded.provenance == {"focal": 37.5, "rounds": 3, "notes": ["exact"], "median": None}
    assert np.allclose(loaded.frames.timestamps, small_scene.frames.timestamps, atol=0)
    for maps in (loaded.motion_masks, loaded.z_depths, loaded.confidences):
        assert maps is not None and len(maps) == 5
    assert loaded.motion_masks and loaded.z_depths and loaded.confidences
    assert small_scene.motion_masks and small_scene.z_depths and small_scene.confidences
    for index in range(5):
        assert np.array_equal(loaded.frames.rgb8(index), small_scene.frames.rgb8(index))
        assert np.abs(loaded.motion_masks[index] - small_scene.motion_masks[index]).max() <= 0.5 / 255 + 1e-6
        assert np.array_equal(loaded.z_depths[index], small_scene.z_depths[index])
        assert np.array_equal(loaded.confidences[index], small_scene.confidences[index])
        assert loaded.z_depths[index].dtype == np.float32
        ours, theirs = loaded.cameras[index], small_scene.cameras[index]
        assert np.array_equal(ours.world_from_camera, theirs.world_from_camera)
        assert np.array_equal(ours.intrinsics, theirs.intrinsics)
        assert (ours.width, ours.height) == (41, 30)
    assert loaded.points is not None and small_scene.points is not None
    assert np.array_equal(loaded.points.positions, small_scene.points.positions)
    assert np.array_equal(loaded.points.colors, small_scene.points.colors)


def test_layout(tmp_path: Path, small_scene: Scene) -> None:
    """The files and their meaning, read without our own loader."""
    folder = tmp_path / "scene"
    save_scene(small_scene, folder)
    assert sorted(os.listdir(folder)) == [
        "cameras.json",
        "depth",
        "images",
        "motion_masks",
        "scene.json",
        "sparse",
        "trajectory.txt",
    ]
    assert sorted(os.listdir(folder / "sparse" / "0")) == [
        f"{stem}.{suffix}" for stem in ("cameras", "images", "points3D") for suffix in ("bin", "txt")
    ]
    description = json.loads((folder / "scene.json").read_text())
    assert description["schema_version"] == 1 and len(description["frames"]) == 5
    cameras = json.loads((folder / "cameras.json").read_text())["frames"]
    assert cameras[2]["file"] == "00002.png"
    assert np.allclose(cameras[2]["world_from_camera"], small_scene.cameras[2].world_from_camera)
    assert small_scene.motion_masks and small_scene.z_depths
    mask = cv2.imread(str(folder / "motion_masks" / "00001.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(mask, np.round(255 * small_scene.motion_masks[1]).astype(np.uint8))
    with np.load(folder / "depth" / "00004.npz") as archive:
        assert sorted(archive.files) == ["confidence", "z_depth"] and archive["z_depth"].dtype == np.float32
        assert np.array_equal(archive["z_depth"], small_scene.z_depths[4])
    rows = np.loadtxt(folder / "trajectory.txt")
    assert np.allclose(rows[:, 0], small_scene.frames.timestamps)
    assert np.allclose(rows[:, 1:4], [camera.center for camera in small_scene.cameras])
    rotations = Rotation.from_quat(rows[:, 4:]).as_matrix()  # SciPy takes xyzw
    assert np.allclose(rotations, [camera.world_from_camera[:3, :3] for camera in small_scene.cameras])


def test_a_scene_with_nothing_but_cameras(tmp_path: Path, small_scene: Scene) -> None:
    save_scene(Scene(small_scene.frames, small_scene.cameras), tmp_path / "scene")
    loaded = load_scene(tmp_path / "scene")
    assert loaded.motion_masks is loaded.z_depths is loaded.confidences is loaded.points is None
    assert all(len(pixels) for pixels, _ in read_colmap(tmp_path / "scene" / "sparse" / "0").observations)


def test_unknown_depth_is_zero(tmp_path: Path, small_scene: Scene) -> None:
    assert small_scene.z_depths
    depth = small_scene.z_depths[1]
    depth[0, :4] = [np.nan, np.inf, -1.0, 2.5]
    small_scene.z_depths[1] = depth  # type: ignore[index]
    save_scene(small_scene, tmp_path / "scene")
    loaded = load_scene(tmp_path / "scene").z_depths
    assert loaded and loaded[1][0, :4].tolist() == [0.0, 0.0, 0.0, 2.5]


def test_points_come_from_static_depth_when_there_are_none(tmp_path: Path, small_scene: Scene) -> None:
    """They are in the COLMAP model only, lie on surfaces of the depth maps, and none is where something moves."""
    assert small_scene.motion_masks
    for index in range(5):
        mask = np.zeros((30, 41))
        mask[:, :20] = 1
        small_scene.motion_masks[index] = mask  # type: ignore[index]
    small_scene.points = None
    save_scene(small_scene, tmp_path / "scene")
    points = read_colmap(tmp_path / "scene" / "sparse" / "0").points.positions
    assert len(points) > 100
    best = np.full(len(points), np.inf)
    for index, camera in enumerate(small_scene.cameras):
        pixels, z = camera.project(points)
        columns, rows = np.floor(pixels).astype(int).T
        inside = (columns >= 20) & (columns < 41) & (rows >= 0) & (rows < 30) & (z > 0)
        assert small_scene.z_depths
        depth = small_scene.z_depths[index][np.clip(rows, 0, 29), np.clip(columns, 0, 40)]
        best = np.where(inside, np.minimum(best, np.abs(depth - z)), best)
    assert (best < 1e-4).all()
    assert load_scene(tmp_path / "scene").points is None


def test_an_existing_folder(tmp_path: Path, small_scene: Scene) -> None:
    save_scene(small_scene, tmp_path / "scene")
    with pytest.raises(InputError, match="exists already"):
        save_scene(small_scene, tmp_path / "scene")
    small_scene.predictor = "second"
    save_scene(small_scene, tmp_path / "scene", overwrite=True)
    assert load_scene(tmp_path / "scene").predictor == "second"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds other things"):
        save_scene(small_scene, tmp_path / "other", overwrite=True)
    assert (tmp_path / "other" / "thesis.txt").exists()


def test_a_loaded_scene_can_be_saved_over_itself(tmp_path: Path, small_scene: Scene) -> None:
    save_scene(small_scene, tmp_path / "scene")
    loaded = load_scene(tmp_path / "scene")
    loaded.predictor = "again"
    save_scene(loaded, tmp_path / "scene", overwrite=True)
    again = load_scene(tmp_path / "scene")
    assert again.predictor == "again" and again.z_depths and small_scene.z_depths
    assert np.array_equal(again.z_depths[3], small_scene.z_depths[3])


def test_full_disk_leaves_nothing(tmp_path: Path, small_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "00003.png":
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    before = sorted(os.listdir(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="/scene cannot be written: the disk is full"):
        save_scene(small_scene, tmp_path / "scene")
    assert sorted(os.listdir(tmp_path)) == before


def test_a_scene_that_contradicts_itself_is_our_bug(tmp_path: Path, small_scene: Scene) -> None:
    cameras = small_scene.cameras
    small_scene.cameras = cameras[:-1]
    with pytest.raises(ValueError, match="4 cameras for 5 frames"):
        save_scene(small_scene, tmp_path / "scene")
    small_scene.cameras = [camera.resized(82, 60) for camera in cameras]
    with pytest.raises(ValueError, match="82x60"):
        save_scene(small_scene, tmp_path / "scene")
    pose = np.eye(4)
    pose[0, 0] = np.nan
    small_scene.cameras = [*cameras[:-1], cameras[-1].moved(pose)]
    with pytest.raises(ValueError, match="camera 4"):
        save_scene(small_scene, tmp_path / "scene")
    assert not (tmp_path / "scene").exists()


def edit_json(name: str, change: Callable[[dict], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return apply


def replace_npz(folder: Path, **arrays: np.ndarray) -> None:
    np.savez(folder / "depth" / "00002.npz", **arrays)


def make_bomb(folder: Path) -> None:
    """A small depth file that unpacks to 80 GB of zeros."""
    with zipfile.ZipFile(folder / "depth" / "00002.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for key in ("z_depth", "confidence"):
            with archive.open(f"{key}.npy", "w") as file:
                np.lib.format.write_array_header_1_0(
                    file, {"descr": "<f4", "fortran_order": False, "shape": (100_000, 200_000)}
                )
                file.write(bytes(1 << 20))


DEFECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no scene.json": (lambda f: (f / "scene.json").unlink(), "not a scene folder"),
    "broken scene.json": (lambda f: (f / "scene.json").write_text('{"schema_version": 1,'), "scene.json is broken"),
    "a list as scene.json": (lambda f: (f / "scene.json").write_text("[1]"), "scene.json holds a JSON list"),
    "binary scene.json": (lambda f: (f / "scene.json").write_bytes(b"\xff\xfe\x00"), "scene.json is not text"),
    "deep scene.json": (lambda f: (f / "scene.json").write_text("[" * 100_000), "scene.json"),
    "newer version": (edit_json("scene.json", lambda c: c.update(schema_version=2)), "schema version 2"),
    "no version": (edit_json("scene.json", lambda c: c.pop("schema_version")), "schema version None"),
    "no frames": (edit_json("scene.json", lambda c: c.update(frames=[])), "scene.json"),
    "no size": (edit_json("scene.json", lambda c: c.pop("width")), "scene.json: width"),
    "huge size": (edit_json("scene.json", lambda c: c.update(height=10**9)), "scene.json: height"),
    "no files": (edit_json("scene.json", lambda c: c.pop("files")), "scene.json"),
    "a name that leads out": (
        edit_json("scene.json", lambda c: c["frames"][1].update(file="../../secret.png")),
        "scene.json: frame 1",
    ),
    "time is a text": (edit_json("scene.json", lambda c: c["frames"][1].update(timestamp="now")), "no timestamp"),
    "no cameras.json": (lambda f: (f / "cameras.json").unlink(), "cameras.json is missing"),
    "broken cameras.json": (lambda f: (f / "cameras.json").write_text("{"), "cameras.json is broken"),
    "NaN in cameras.json": (
        edit_json("cameras.json", lambda c: c["frames"][0].update(fx=float("nan"))),
        "cameras.json is broken JSON: NaN",
    ),
    "one camera too few": (edit_json("cameras.json", lambda c: c["frames"].pop()), "4 cameras for 5 frames"),
    "cameras in another order": (edit_json("cameras.json", lambda c: c["frames"].reverse()), "cameras.json: camera 0"),
    "camera of another size": (edit_json("cameras.json", lambda c: c["frames"][3].update(width=40)), "cameras.json"),
    "no focal length": (edit_json("cameras.json", lambda c: c["frames"][3].pop("fx")), "cameras.json: the intrinsics"),
    "negative focal length": (edit_json("cameras.json", lambda c: c["frames"][3].update(fy=-1)), "focal length"),
    "scaled pose": (
        edit_json("cameras.json", lambda c: c["frames"][2]["world_from_camera"][0].__setitem__(0, 3.0)),
        "00002.png is not a rigid",
    ),
    "pose of text": (
        edit_json("cameras.json", lambda c: c["frames"][2].update(world_from_camera="identity")),
        "world_from_camera of 00002.png",
    ),
    "ragged pose": (
        edit_json("cameras.json", lambda c: c["frames"][2]["world_from_camera"].pop()),
        "world_from_camera of 00002.png",
    ),
    "missing image": (lambda f: (f / "images" / "00001.png").unlink(), "images/00001.png is missing"),
    "image of another size": (
        lambda f: write_png(f / "images" / "00001.png", np.zeros((30, 40, 3), np.uint8)),
        "images/00001.png is 40x30",
    ),
    "image is text": (lambda f: (f / "images" / "00001.png").write_text("x"), "images/00001.png is not an image"),
    "missing mask": (lambda f: (f / "motion_masks" / "00001.png").unlink(), "motion_masks/00001.png is missing"),
    "mask of another size": (
        lambda f: write_png(f / "motion_masks" / "00004.png", np.zeros((3, 4), np.uint8)),
        "motion_masks/00004.png is 4x3",
    ),
    "missing depth": (lambda f: (f / "depth" / "00002.npz").unlink(), "depth/00002.npz is missing"),
    "damaged depth": (lambda f: (f / "depth" / "00002.npz").write_bytes(b"PK\x03\x04nonsense"), "00002.npz is damaged"),
    "depth without confidence": (lambda f: replace_npz(f, z_depth=np.ones((30, 41), "f4")), "00002.npz has no confid"),
    "depth of another size": (
        lambda f: replace_npz(f, z_depth=np.ones((30, 40), "f4"), confidence=np.ones((30, 41), "f4")),
        "00002.npz: z_depth has shape",
    ),
    "depth of objects": (
        lambda f: replace_npz(f, z_depth=np.empty((30, 41), object), confidence=np.ones((30, 41), "f4")),
        "00002.npz: z_depth is of type object",
    ),
    "depth that unpacks to 80 GB": (make_bomb, "00002.npz: z_depth has shape"),
    "missing points": (lambda f: shutil.rmtree(f / "sparse"), "holds no COLMAP model"),
    "points cut off": (
        lambda f: (f / "sparse" / "0" / "points3D.bin").write_bytes(
            (f / "sparse" / "0" / "points3D.bin").read_bytes()[:100]
        ),
        "points3D.bin",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_one_sentence_that_names_the_file(tmp_path: Path, small_scene: Scene, defect: str) -> None:
    folder = tmp_path / "scene"
    save_scene(small_scene, folder)
    damage, expected = DEFECTS[defect]
    damage(folder)
    with pytest.raises(InputError) as caught:
        load_scene(folder)
    message = str(caught.value)
    assert expected in message
    assert "\n" not in message and message.endswith(".") and str(folder) in message


def test_missing_and_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_scene(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="not a folder"):
        load_scene(tmp_path / "file")


def test_a_file_that_vanishes_after_loading(tmp_path: Path, small_scene: Scene) -> None:
    save_scene(small_scene, tmp_path / "scene")
    loaded = load_scene(tmp_path / "scene")
    shutil.rmtree(tmp_path / "scene" / "depth")
    (tmp_path / "scene" / "motion_masks" / "00003.png").write_text("x")
    assert loaded.z_depths and loaded.motion_masks
    with pytest.raises(InputError, match="00001.npz is missing"):
        loaded.z_depths[1]
    with pytest.raises(InputError, match="00003.png is not an image"):
        loaded.motion_masks[3]


def moved(cameras: list[Camera], by: float) -> list[Camera]:
    result = []
    for camera in cameras:
        pose = camera.world_from_camera.copy()
        pose[0, 3] += by
        result.append(camera.moved(pose))
    return result


def test_replace_cameras(tmp_path: Path, small_scene: Scene) -> None:
    folder = tmp_path / "scene"
    save_scene(small_scene, folder)
    lazily = load_scene(folder)
    replace_cameras(folder, moved(small_scene.cameras, 0.01), "Refined once.")
    replace_cameras(folder, moved(small_scene.cameras, 0.02), "Refined twice.")
    loaded = load_scene(folder)
    for before, after in zip(small_scene.cameras, loaded.cameras, strict=True):
        assert np.allclose(after.center - before.center, [0.02, 0, 0])
    predicted = json.loads((folder / "cameras_predicted.json").read_text())["frames"]
    assert np.allclose(predicted[1]["world_from_camera"], small_scene.cameras[1].world_from_camera)
    assert json.loads((folder / "scene.json").read_text())["camera_notes"] == ["Refined once.", "Refined twice."]
    assert np.allclose(read_tum(folder / "trajectory.txt")[1], [c.world_from_camera for c in loaded.cameras])
    model = read_colmap(folder / "sparse" / "0")
    for ours, theirs in zip(loaded.cameras, model.cameras, strict=True):
        assert np.allclose(ours.world_from_camera, theirs.world_from_camera)
    assert loaded.z_depths and lazily.z_depths and lazily.frames.rgb8(4).shape == (30, 41, 3)
    assert np.array_equal(loaded.z_depths[2], lazily.z_depths[2])  # a scene opened before goes on working
    assert sorted(os.listdir(tmp_path)) == ["scene", "source of small_scene"]


def test_replace_cameras_is_all_or_nothing(tmp_path: Path, small_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "scene"
    save_scene(small_scene, folder)

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scene.camera_files.write_tum", fail)
    with pytest.raises(KeyboardInterrupt):
        replace_cameras(folder, moved(small_scene.cameras, 1.0), "Refined.")
    assert np.allclose(load_scene(folder).cameras[0].center, small_scene.cameras[0].center)
    assert not (folder / "cameras_predicted.json").exists()
    assert sorted(os.listdir(tmp_path)) == ["scene", "source of small_scene"]


def test_replace_masks(tmp_path: Path, small_scene: Scene) -> None:
    save_scene(small_scene, tmp_path / "scene")
    before = [np.array(load_scene(tmp_path / "scene").motion_masks[index]) for index in range(len(small_scene.frames))]
    mended = 1.0 - before[1]
    replace_masks(tmp_path / "scene", {1: mended}, "frame 1 was painted by hand")
    after = load_scene(tmp_path / "scene")
    np.testing.assert_allclose(after.motion_masks[1], mended, atol=0.002)
    np.testing.assert_array_equal(after.motion_masks[0], before[0])
    description = json.loads((tmp_path / "scene" / "scene.json").read_text())
    assert description["mask_notes"] == ["frame 1 was painted by hand"]
    assert not [path for path in (tmp_path / "scene").iterdir() if path.name.startswith(".")]


def test_replaced_masks_keep_those_of_the_predictor_once(tmp_path: Path, small_scene: Scene) -> None:
    save_scene(small_scene, tmp_path / "scene")
    before = load_scene(tmp_path / "scene")
    assert before.motion_masks is not None
    first = before.motion_masks[0].copy()
    for value in (0.0, 1.0):  # the second time, as after a kill, those of the predictor are still the first ones
        masks = {0: np.full(first.shape, value, np.float32)}
        replace_masks(tmp_path / "scene", masks, "refined", keep_predicted=True)
    scene = load_scene(tmp_path / "scene")
    kept = predicted_masks(tmp_path / "scene", scene)
    assert kept is not None and scene.motion_masks is not None
    np.testing.assert_array_equal(kept[0], first)
    assert scene.motion_masks[0].min() == 1.0
    assert read_json(tmp_path / "scene" / "scene.json")["mask_notes"] == ["refined"]


def test_replace_masks_of_a_scene_without_any(tmp_path: Path, small_scene: Scene) -> None:
    save_scene(replace(small_scene, motion_masks=None), tmp_path / "scene")
    mask = np.zeros((small_scene.frames.height, small_scene.frames.width), np.float32)
    mask[:5] = 1
    replace_masks(tmp_path / "scene", {0: mask}, "painted by hand")
    masks = load_scene(tmp_path / "scene").motion_masks
    np.testing.assert_array_equal(masks[0], mask)
    assert masks[1].max() == 0
    with pytest.raises(InputError, match="no scene.json"):
        replace_masks(tmp_path, {0: mask}, "painted by hand")


def test_replace_masks_is_all_or_nothing(tmp_path: Path, small_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    save_scene(small_scene, tmp_path / "scene")
    mask = np.ones((small_scene.frames.height, small_scene.frames.width), np.float32)

    def full(path: Path, pixels: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("scene.folder.write_png", full)
    with pytest.raises(InputError, match="disk is full"):
        replace_masks(tmp_path / "scene", {1: mask}, "painted by hand")
    masks = load_scene(tmp_path / "scene").motion_masks
    np.testing.assert_allclose(masks[1], small_scene.motion_masks[1], atol=0.002)
    assert sorted(os.listdir(tmp_path)) == ["scene", "source of small_scene"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    count=st.integers(1, 4),
    seed=st.integers(0, 2**31),
    focal=st.floats(1e-3, 1e6),
)
def test_any_cameras_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, count: int, seed: int, focal: float
) -> None:
    folder = tmp_path_factory.mktemp("any")
    generator = np.random.default_rng(seed)
    paths, cameras = [], []
    for index in range(count):
        paths.append(folder / f"{index}.png")
        write_png(paths[-1], generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        pose = np.eye(4)
        pose[:3, :3] = Rotation.random(random_state=seed + index).as_matrix()
        pose[:3, 3] = generator.normal(size=3) * 10.0 ** generator.integers(-6, 7)
        cameras.append(Camera(width, height, focal, focal * 1.1, generator.normal(), generator.normal(), pose))
    save_scene(Scene(ImageFolderFrames(paths), cameras), folder / "scene")
    for before, after in zip(cameras, load_scene(folder / "scene").cameras, strict=True):
        assert np.array_equal(before.world_from_camera, after.world_from_camera)
        assert np.array_equal(before.intrinsics, after.intrinsics)


def test_what_was_observed_comes_back(tmp_path: Path, small_scene: Scene) -> None:
    shape = small_scene.frames.height, small_scene.frames.width
    observed = [np.ones(shape, np.float32) for _ in range(len(small_scene.frames))]
    observed[1][: shape[0] // 2] = 0
    observed[2][:] = 128 / 255
    save_scene(replace(small_scene, observed=observed), tmp_path / "scene")
    found = load_scene(tmp_path / "scene").observed
    assert found is not None and all(np.allclose(found[index], observed[index]) for index in range(len(observed)))
    save_scene(small_scene, tmp_path / "whole")
    assert load_scene(tmp_path / "whole").observed is None and not (tmp_path / "whole" / "observed").exists()
    (tmp_path / "scene" / "observed" / "00001.png").unlink()
    with pytest.raises(InputError, match="observed/00001.png"):
        load_scene(tmp_path / "scene")
