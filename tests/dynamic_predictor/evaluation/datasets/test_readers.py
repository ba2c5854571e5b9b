"""Readers on small folders that are laid out as the data sets are, with numbers that were put in."""

import re
import runpy
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dynamic_predictor.evaluation.datasets.poses import associate
from dynamic_predictor.evaluation.datasets.registry import DATASETS, open_dataset
from scene.errors import InputError
from scene.formats.tum import write_tum
from scene.images import write_png
from tests.paths import ROOT

HEIGHT, WIDTH = 18, 32


def picture(path: Path, value: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = np.full((HEIGHT, WIDTH, 3), value, np.uint8)
    if path.suffix == ".png":
        write_png(path, content)
    else:
        cv2.imwrite(str(path), content)
    return path


def depth_image(path: Path, meters: float, units: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full((HEIGHT, WIDTH), round(meters * units), np.uint16)
    values[0] = 0
    cv2.imwrite(str(path), values)


def mask_image(path: Path, value: int = 255) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, :8] = value
    write_png(path, mask)


def poses(count: int) -> np.ndarray:
    matrices = np.tile(np.eye(4), (count, 1, 1))
    matrices[:, :3, :3] = Rotation.random(count, random_state=1).as_matrix()
    matrices[:, :3, 3] = np.random.default_rng(0).normal(size=(count, 3))
    return matrices


def check_depth(clip, meters: float, tolerance: float = 1e-3) -> None:
    depth = clip.z_depths[len(clip.images) - 1]
    assert depth.shape == (HEIGHT, WIDTH) and depth.dtype == np.float32
    assert (depth[0] == 0).all() and np.allclose(depth[1:], meters, atol=tolerance)


@pytest.fixture
def sintel(tmp_path: Path) -> Path:
    root = tmp_path / "sintel" / "training"
    for index, pose in enumerate(poses(4), start=1):
        stem = f"frame_{index:04d}"
        picture(root / "final" / "alley_2" / f"{stem}.png")
        folder = root / "camdata_left" / "alley_2"
        folder.mkdir(parents=True, exist_ok=True)
        matrix = np.array([[50.0, 0, 15.5], [0, 50, 8.5], [0, 0, 1]])
        content = struct.pack("<f", 202021.25) + matrix.tobytes() + np.linalg.inv(pose)[:3].tobytes()
        (folder / f"{stem}.cam").write_bytes(content)
        folder = root / "depth" / "alley_2"
        folder.mkdir(parents=True, exist_ok=True)
        depth = np.full((HEIGHT, WIDTH), 3.25, "<f4")
        depth[0] = 0
        (folder / f"{stem}.dpt").write_bytes(struct.pack("<fii", 202021.25, WIDTH, HEIGHT) + depth.tobytes())
        if index < 4:
            mask_image(root / "dynamic_label_perfect" / "alley_2" / f"{stem}.png")
    return tmp_path


def test_sintel(sintel: Path) -> None:
    dataset = open_dataset("sintel", sintel)
    assert len(dataset.clip_names()) == 14 and dataset.clip_names(all_clips=True) == ["alley_2"]
    clip = dataset.clip("alley_2")
    assert clip.world_from_cameras is not None and np.allclose(clip.world_from_cameras, poses(4))
    # the middle of 32x18 pixels, with centres at +0.5
    assert clip.intrinsics is not None and np.allclose(clip.intrinsics[0], [[50, 0, 16], [0, 50, 9], [0, 0, 1]])
    check_depth(clip, 3.25)
    assert clip.annotated_frames() == [0, 1, 2]
    assert clip.motion_masks and clip.motion_masks[2][:, :8].min() == 1 and clip.motion_masks[2][:, 8:].max() == 0
    part = clip.select([2, 3])
    assert part.annotated_frames() == [0] and part.motion_masks and part.motion_masks[0].mean() == 0.25
    assert np.allclose(part.world_from_cameras, poses(4)[2:]) and part.images == clip.images[2:]  # type: ignore[arg-type]
    assert part.timestamps == pytest.approx([2 / 24, 3 / 24])


def test_sintel_without_truth(sintel: Path) -> None:
    picture(sintel / "sintel/training/final/cave_9/frame_0001.png")
    clip = open_dataset("sintel", sintel).clip("cave_9")
    assert clip.world_from_cameras is clip.z_depths is clip.motion_masks is None and clip.annotated_frames() == []


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("camdata_left/alley_2/frame_0002.cam", b"1234", "not a camera file of Sintel"),
        ("camdata_left/alley_2/frame_0002.cam", struct.pack("<f21d", 202021.25, *[np.nan] * 21), "not finite"),
        ("depth/alley_2/frame_0004.dpt", struct.pack("<fii", 202021.25, 1 << 30, 1 << 30), "damaged"),
        ("depth/alley_2/frame_0004.dpt", b"", "not a depth file of Sintel"),
    ],
)
def test_damaged_files_of_sintel(sintel: Path, file: str, content: bytes, sentence: str) -> None:
    (sintel / "sintel" / "training" / file).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        clip = open_dataset("sintel", sintel).clip("alley_2")
        assert clip.z_depths is not None
        clip.z_depths[3]


def test_a_missing_camera_is_named(sintel: Path) -> None:
    (sintel / "sintel/training/camdata_left/alley_2/frame_0002.cam").unlink()
    with pytest.raises(InputError, match="frame_0002.cam is missing"):
        open_dataset("sintel", sintel).clip("alley_2")


def test_davis(tmp_path: Path) -> None:
    root = tmp_path / "davis" / "DAVIS"
    for index in range(3):
        picture(root / "JPEGImages/480p/dog" / f"{index:05d}.jpg")
        mask_image(root / "Annotations/480p/dog" / f"{index:05d}.png", value=38)
        picture(root / "JPEGImages/480p/challenge" / f"{index:05d}.jpg")
    mask_image(root / "Annotations/480p/challenge/00000.png")
    dataset = open_dataset("davis", tmp_path)
    assert dataset.clip_names(all_clips=True) == ["challenge", "dog"] and "parkour" in dataset.clip_names()
    clip = dataset.clip("dog")
    assert clip.annotated_frames() == [0, 1, 2] and clip.motion_masks and clip.motion_masks[1].mean() == 0.25
    assert clip.world_from_cameras is None
    assert dataset.clip("challenge").annotated_frames() == [0]
    with pytest.raises(InputError, match="davis has no clip cat in .*; there are: challenge, dog"):
        dataset.clip("cat")


def test_tum_as_it_comes(tmp_path: Path) -> None:
    """Images at 30, poses at 100 and depth at 30 per second, all at their own times."""
    clip_folder = tmp_path / "tum" / "walking"
    times = 10 + np.arange(20) / 30
    for time in times:
        picture(clip_folder / "rgb" / f"{time:.6f}.png")
        depth_image(clip_folder / "depth" / f"{time + 0.004:.6f}.png", 1.5, 5000)
    (clip_folder / "rgb.txt").write_text(
        "# color images\n" + "".join(f"{time:.6f} rgb/{time:.6f}.png\n" for time in times)
    )
    pose_times = 10 + np.arange(100) / 100
    every = poses(100)
    write_tum(clip_folder / "groundtruth.txt", pose_times.tolist(), every)
    clip = open_dataset("tum", tmp_path).clip("walking")
    assert len(clip.images) == 7 and clip.timestamps == pytest.approx(times[::3], abs=1e-6)
    nearest = [int(np.abs(pose_times - time).argmin()) for time in times[::3]]
    assert np.allclose(clip.world_from_cameras, every[nearest])  # type: ignore[arg-type]
    check_depth(clip, 1.5)


def test_tum_as_prepared(tmp_path: Path) -> None:
    clip_folder = tmp_path / "tum" / "walking"
    for index in range(3):
        picture(clip_folder / "rgb_90" / f"{100 + index / 10:.6f}.png")
    write_tum(clip_folder / "groundtruth_90.txt", [100.0, 100.1, 100.2], poses(3))
    clip = open_dataset("tum", tmp_path).clip("walking")
    assert np.allclose(clip.world_from_cameras, poses(3)) and clip.z_depths is None  # type: ignore[arg-type]
    write_tum(clip_folder / "groundtruth_90.txt", [100.0, 100.1], poses(2))
    with pytest.raises(InputError, match="2 poses for 3 images"):
        open_dataset("tum", tmp_path).clip("walking")


@pytest.mark.parametrize("prepared", [True, False])
def test_bonn(tmp_path: Path, prepared: bool) -> None:
    clip_folder = tmp_path / "bonn" / "rgbd_bonn_dataset" / "rgbd_bonn_balloon2"
    first, rgb, depth, truth = (
        (0, "rgb_110", "depth_110", "groundtruth_110.txt") if prepared else (30, "rgb", "depth", "groundtruth.txt")
    )
    times = 50 + np.arange(first + 4) / 30
    for time in times:
        picture(clip_folder / rgb / f"{time:.5f}.png")
        depth_image(clip_folder / depth / f"{time + 0.01:.5f}.png", 2.5, 5000)
    write_tum(clip_folder / truth, times.tolist(), poses(first + 4))
    dataset = open_dataset("bonn", tmp_path)
    assert dataset.clip_names(all_clips=True) == ["balloon2"]
    clip = dataset.clip("balloon2")
    assert len(clip.images) == 4 and np.allclose(clip.world_from_cameras, poses(first + 4)[first:])  # type: ignore[arg-type]
    check_depth(clip, 2.5)


def test_kitti(tmp_path: Path) -> None:
    root = tmp_path / "kitti/depth_selection/val_selection_cropped"
    for index in range(2):
        picture(root / "image_gathered/drive_02" / f"{index:010d}.png")
        depth_image(root / "groundtruth_depth_gathered/drive_02" / f"{index:010d}.png", 12.5, 256)
    clip = open_dataset("kitti", tmp_path).clip("drive_02")
    check_depth(clip, 12.5)
    cv2.imwrite(str(root / "groundtruth_depth_gathered/drive_02/0000000001.png"), np.zeros((4, 5), np.uint8))
    with pytest.raises(InputError, match="not a 16-bit image of depth"):
        clip.z_depths[1]  # type: ignore[index]


@pytest.mark.parametrize("place", ["raw", "2011_09_26"])
def test_kitti_as_it_comes(tmp_path: Path, place: str) -> None:
    """Depth begins at the fifth image."""
    drive = "2011_09_26_drive_0002_sync"
    for index in range(8):
        picture(tmp_path / "kitti" / place / drive / "image_02/data" / f"{index:010d}.png", value=index)
        if index >= 5:
            truth = tmp_path / "kitti/val" / drive / "proj_depth/groundtruth/image_02"
            depth_image(truth / f"{index:010d}.png", 12.5, 256)
    dataset = open_dataset("kitti", tmp_path)
    assert dataset.clip_names() == [f"{drive}_02"]
    clip = dataset.clip(f"{drive}_02")
    assert [image.stem for image in clip.images] == [f"{index:010d}" for index in (5, 6, 7)]
    check_depth(clip, 12.5)
    clip.images[1].unlink()
    with pytest.raises(InputError, match="0000000006.png is missing"):
        dataset.clip(f"{drive}_02")


def test_nyu(tmp_path: Path) -> None:
    root = tmp_path / "nyu-v2" / "val"
    for index in range(2):
        picture(root / "nyu_images" / f"{index}.png")
        (root / "nyu_depths").mkdir(exist_ok=True)
        depth = np.full((HEIGHT, WIDTH), 1.75, np.float32)
        depth[0] = np.nan
        np.save(root / "nyu_depths" / f"{index}.npy", depth)
    dataset = open_dataset("nyu", tmp_path)
    assert dataset.clip_names() == ["val"]
    clip = dataset.clip("val")
    assert clip.single_images
    check_depth(clip, 1.75)


@pytest.mark.parametrize("prepared", [True, False])
def test_scannet(tmp_path: Path, prepared: bool) -> None:
    clip_folder = tmp_path / "scannetv2" / "scene0707_00"
    every = poses(7)
    for index in range(7):
        if prepared:
            picture(clip_folder / "color_90" / f"frame_{index:04d}.jpg")
            depth_image(clip_folder / "depth_90" / f"frame_{index:04d}.png", 0.5, 1000)
        else:
            picture(clip_folder / "color" / f"{index}.jpg")
            depth_image(clip_folder / "depth" / f"{index}.png", 0.5, 1000)
            (clip_folder / "pose").mkdir(exist_ok=True)
            np.savetxt(clip_folder / "pose" / f"{index}.txt", every[index])
    if prepared:
        np.savetxt(clip_folder / "pose_90.txt", every.reshape(7, 16))
    clip = open_dataset("scannet", tmp_path).clip("scene0707_00")
    assert np.allclose(clip.world_from_cameras, every if prepared else every[::3])  # type: ignore[arg-type]
    check_depth(clip, 0.5)
    if not prepared:
        (clip_folder / "pose" / "3.txt").write_text("-inf -inf -inf -inf\n" * 4)
        assert open_dataset("scannet", tmp_path).clip("scene0707_00").world_from_cameras is None


@pytest.mark.parametrize("rearranged", [True, False])
def test_point_odyssey(tmp_path: Path, rearranged: bool) -> None:
    clip_folder = tmp_path / "point_odyssey" / "test" / "cab"
    intrinsics = np.array([[40.0, 0, 16], [0, 40, 9], [0, 0, 1]], np.float32)
    extrinsics = np.linalg.inv(poses(3)).astype(np.float32)
    for index in range(3):
        picture(clip_folder / "rgbs" / f"rgb_{index:05d}.jpg")
        depth_image(clip_folder / "depths" / f"depth_{index:05d}.png", 20.0, 65.535)
        for kind, values in (("intrinsic", intrinsics), ("extrinsic", extrinsics[index])):
            if rearranged:
                (clip_folder / f"{kind}s").mkdir(exist_ok=True)
                np.save(clip_folder / f"{kind}s" / f"{kind}_{index:05d}.npy", values)
    if not rearranged:
        np.savez(clip_folder / "anno.npz", intrinsics=np.tile(intrinsics, (3, 1, 1)), extrinsics=extrinsics)
    dataset = open_dataset("point_odyssey", tmp_path)
    assert dataset.clip_names() == ["test/cab"]
    clip = dataset.clip("test/cab")
    assert np.allclose(clip.world_from_cameras, poses(3), atol=1e-5)  # type: ignore[arg-type]
    assert np.allclose(clip.intrinsics[2], intrinsics)  # type: ignore[index]
    check_depth(clip, 20.0, tolerance=0.02)


def test_what_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    """Into the folder that is in use, whose name may need quotes."""
    for data_folder, spelled in ((tmp_path / "big disk", f"'{tmp_path}/big disk'"), (Path("data2"), "data2")):
        for name, dataset in DATASETS.items():
            with pytest.raises(InputError, match="is not in .*; get it: ") as error:
                open_dataset(name, data_folder)
            command = str(error.value).split("get it: ", 1)[1]
            assert f"{spelled}/{dataset.folder.split('/')[0]}" in command and "{data}" not in command
            # but for scripts of ours, nothing lies in data/
            assert not re.findall(r"(?<!python )\bdata/", command.replace("resolve/main/data/", ""))
    with pytest.raises(InputError, match='no data set called "kity"; choose one of: sintel, davis'):
        open_dataset("kity", tmp_path)
    (tmp_path / "tum").mkdir()
    with pytest.raises(InputError, match="holds no clips; get the data set: mkdir"):
        open_dataset("tum", tmp_path).clip_names(all_clips=True)


def test_times_are_matched_one_to_one() -> None:
    """Against the plain way: all pairs, closest first."""
    generator = np.random.default_rng(0)
    first, second = np.sort(generator.uniform(0, 2, 60)), generator.uniform(0, 2, 150)
    expected, left, right = [], set(range(60)), set(range(150))
    for _, i, j in sorted((abs(a - b), i, j) for i, a in enumerate(first) for j, b in enumerate(second)):
        if abs(first[i] - second[j]) < 0.02 and i in left and j in right:
            left.remove(i)
            right.remove(j)
            expected.append((i, j))
    assert associate(first, second, 0.02) == sorted(expected)


def test_nyu_out_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    h5py = pytest.importorskip("h5py", reason="NOT CHECKED: data/unpack_nyu.py needs h5py, which is not installed")
    folder = tmp_path / "nyu-v2" / "val"
    (folder / "official").mkdir(parents=True)
    with h5py.File(folder / "official" / "a.h5", "w") as file:
        file["rgb"], file["depth"] = (
            np.full((3, HEIGHT, WIDTH), 7, np.uint8),
            np.full((HEIGHT, WIDTH), 1.75, np.float32),
        )
    script = ROOT / "data" / "unpack_nyu.py"
    monkeypatch.setattr("sys.argv", [str(script), "--folder", str(folder)])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(script), run_name="__main__")
    clip = open_dataset("nyu", tmp_path).clip("val")
    assert clip.z_depths is not None and clip.z_depths[0].mean() == 1.75
    (folder / "official" / "b.h5").write_bytes(b"no HDF5")
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(script), run_name="__main__")
    assert "b.h5 is damaged or of another kind" in capsys.readouterr().err
