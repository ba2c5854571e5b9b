"""Writes miniature folders of every training set in CUT3R's processed layout, out of the exact scene.

The layouts are written down here path by path, not taken from the table that is tested. `sky` says what the files hold
where there is no surface.
"""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from tests.dynamic_predictor.training.datasets.exact_scene import FRAMES, View, intrinsics, view, views

K = intrinsics(centers=0)


def _save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values.astype(np.float32))
    elif path.suffix == ".exr":
        _openexr().File({"compression": _openexr().ZIP_COMPRESSION}, {"Y": values.astype(np.float32)}).write(str(path))
    elif values.ndim == 3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, 98] if path.suffix == ".jpg" else []
        cv2.imwrite(str(path), values[..., ::-1], quality)
    else:
        cv2.imwrite(str(path), values)


def _openexr():
    import OpenEXR

    return OpenEXR


def _camera(path: Path, **entries: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: np.asarray(value, np.float32) for name, value in entries.items()})


def _millimeters(shown: View) -> np.ndarray:
    return np.rint(shown.known() * 1000).astype(np.uint16)


def _folders(
    folder: Path, scene: int = 0, image: str = ".png", depth: str = ".npy", sky: float = 0.0, pose: bool = True,
    names: Callable[[int], str] = "{:04d}".format, factor: float = 1.0, intrinsics_name: str = "intrinsics",
    masks: bool = False,
) -> None:  # fmt: skip
    """rgb/, depth/ and cam/ with one file per frame."""
    for number, shown in enumerate(views(scene)):
        name = names(number)
        _save(folder / "rgb" / f"{name}{image}", shown.rgb)
        if depth:
            _save(folder / "depth" / f"{name}{depth}", shown.known(sky) * np.float32(factor))
        poses = {"pose": shown.world_from_camera} if pose else {}
        _camera(folder / "cam" / f"{name}.npz", **{intrinsics_name: K}, **poses)
        if masks:
            _save(folder / "sky_mask" / f"{name}{image}", np.uint8(255) * shown.sky.astype(np.uint8))


def _flat(
    folder: Path, scene: int, depth: str, camera: str, intrinsics_name: str, pose_name: str, sky: float = 0.0,
    image: str = "_rgb.png", change: np.ndarray | None = None, factor: float = 1.0, digits: int = 6,
) -> None:  # fmt: skip
    """All files of a scene in one folder, told apart by their endings."""
    for number, shown in enumerate(views(scene)):
        stem = folder / f"{number:0{digits}d}"
        _save(Path(f"{stem}{image}"), shown.rgb)
        values = shown.known(sky) * np.float32(factor)
        _save(Path(f"{stem}{depth}"), np.rint(values).astype(np.uint16) if depth.endswith(".png") else values)
        pose = shown.world_from_camera if change is None else change @ shown.world_from_camera
        _camera(Path(f"{stem}{camera}"), **{intrinsics_name: K, pose_name: pose})


def _co3d(root: Path) -> None:
    for number, shown in enumerate(views()):
        base = root / "apple" / "110_13051_23361"
        image = base / "images" / f"frame{number + 1:06d}.jpg"
        _save(image, shown.rgb)
        largest = float(shown.known().max())
        stored = np.rint(shown.known() / largest * 65535).astype(np.uint16)
        _save(base / "depths" / f"frame{number + 1:06d}.jpg.geometric.png", stored)
        _save(base / "masks" / f"frame{number + 1:06d}.png", np.full(stored.shape, 255, np.uint8))
        _camera(
            image.with_suffix(".npz"), camera_intrinsics=K, camera_pose=shown.world_from_camera, maximum_depth=largest
        )
    listed = {"apple": {"110_13051_23361": list(range(1, FRAMES + 1))}, "ball": {}}
    (root / "selected_seqs_train.json").write_text(json.dumps(listed))


def _wildrgbd(root: Path) -> None:
    for number, shown in enumerate(views()):
        base = root / "apple" / "scenes" / "scene_000"
        _save(base / "rgb" / f"{number:05d}.jpg", shown.rgb)
        _save(base / "depth" / f"{number:05d}.png", _millimeters(shown))
        _save(base / "masks" / f"{number:05d}.png", np.full(shown.sky.shape, 255, np.uint8))
        _camera(base / "metadata" / f"{number:05d}.npz", camera_intrinsics=K, camera_pose=shown.world_from_camera)
    listed = {"apple": {"scenes/scene_000": list(range(FRAMES))}}
    (root / "selected_seqs_train.json").write_text(json.dumps(listed))


def _cop3d(root: Path) -> None:
    for number, shown in enumerate(views()):
        image = root / "cat" / "1_2_3" / "images" / f"frame{number:06d}.jpg"
        _save(image, shown.rgb)
        _camera(image.with_suffix(".npz"), camera_intrinsics=K, camera_pose=shown.world_from_camera)
    (root / "selected_seqs_train.json").write_text(json.dumps({"cat": {"1_2_3": list(range(FRAMES))}}))


def _all_pairs(count: int = FRAMES) -> np.ndarray:
    return np.array([(i, j, 0.3 + 0.04 * abs(i - j)) for i in range(count) for j in range(count) if i != j])


def _arkitscenes(depth_folder: str, metadata: str, with_pairs: bool) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        base = root / "Training" / "40753679"
        names = [f"40753679_{6791.0 + 0.1 * number:.3f}.png" for number in range(FRAMES)]
        for name, shown in zip(names, views(), strict=True):
            _save(base / "vga_wide" / name.replace(".png", ".jpg"), shown.rgb)
            _save(base / depth_folder / name, _millimeters(shown))
        # images are listed in another order than that of time
        order = np.random.default_rng(0).permutation(FRAMES)
        stored = [[64, 48, K[0, 0], K[1, 1], K[0, 2], K[1, 2]]] * FRAMES
        pairs = {"pairs": _all_pairs()} if with_pairs else {}
        np.savez(
            base / metadata,
            images=np.array(names)[order],
            intrinsics=np.array(stored),
            trajectories=np.stack([view(number).world_from_camera for number in order]),
            **pairs,
        )

    return write


def _scannetpp(root: Path) -> None:
    base = root / "0a5c013435"
    names = [f"DSC{number:05d}" for number in range(FRAMES)] + [f"frame_{10 * number:06d}" for number in range(FRAMES)]
    both = [*views(0), *views(1)]
    for name, shown in zip(names, both, strict=True):
        _save(base / "images" / f"{name}.jpg", shown.rgb)
        _save(base / "depth" / f"{name}.png", _millimeters(shown))
    np.savez(
        base / "new_scene_metadata.npz",
        images=np.array([*names, "frame_999999"]),  # the last one has no files
        intrinsics=np.stack([K] * (2 * FRAMES + 1)),
        trajectories=np.stack([*(shown.world_from_camera for shown in both), np.eye(4)]),
        pairs=_all_pairs(2 * FRAMES),
    )


def _scannet(root: Path) -> None:
    base = root / "scans_train" / "scene0000_00"
    for number, shown in enumerate(views()):
        _save(base / "color" / f"{number:05d}.jpg", shown.rgb)
        _save(base / "depth" / f"{number:05d}.png", _millimeters(shown))
        _camera(base / "cam" / f"{number:05d}.npz", intrinsics=K, pose=shown.world_from_camera)
    np.savez(base / "new_scene_metadata.npz", images=np.array([f"{number:05d}" for number in range(FRAMES)]))


def _blendedmvs(root: Path) -> None:
    import h5py

    name = "5a3ca9cb270f0e3f14d0eddb"
    for number, shown in enumerate(views()):
        stem = root / name / f"{number:08d}"
        _save(stem.with_suffix(".jpg"), shown.rgb)
        _save(stem.with_suffix(".exr"), shown.known())
        pose = shown.world_from_camera
        _camera(stem.with_suffix(".npz"), intrinsics=K, R_cam2world=pose[:3, :3], t_cam2world=pose[:3, 3])
    pairs = _all_pairs()
    with h5py.File(root / "new_overlap.h5", "w") as file:
        group = file.create_group(name)
        group["basenames"] = np.array([f"{number:08d}" for number in range(FRAMES)], dtype="S8")
        group["indices"], group["values"] = pairs[:, :2].T.astype(int), pairs[:, 2].astype(np.float32)
        group.attrs["shape"] = (FRAMES, FRAMES)


def _megadepth(root: Path) -> None:
    names = [f"{number}_o.jpg" for number in range(FRAMES)]
    for name, shown in zip(names, views(), strict=True):
        stem = root / "0001" / "0" / name
        _save(Path(f"{stem}.jpg"), shown.rgb)
        _save(Path(f"{stem}.exr"), shown.known())
        _camera(Path(f"{stem}.npz"), intrinsics=K, cam2world=shown.world_from_camera)
    generator = np.random.default_rng(0)
    rows = [[1, *(generator.integers(1, FRAMES + 1, 64))] for _ in range(3)]
    images = np.array(["other.jpg", *names], dtype=object)  # as in the published file
    np.savez(root / "megadepth_sets_64.npz", scenes=np.array(["0015 0", "0001 0"]), images=images, sets=np.array(rows))


def _mapfree(root: Path) -> None:
    for number, shown in enumerate(views()):
        for run in ("dense0", "dense1"):
            base, name = root / "s00000" / run, f"frame_{number:05d}"
            _save(base / "rgb" / f"{name}.jpg", shown.rgb)
            _save(base / "depth" / f"{name}.npy", shown.known())
            _camera(base / "cam" / f"{name}.npz", intrinsic=K, pose=shown.world_from_camera)
            _save(base / "sky_mask" / f"{name}.jpg", np.uint8(255) * shown.sky.astype(np.uint8))
    groups = {
        (0, first): [((run, second), np.float64(0.5)) for run in (0, 1) for second in range(FRAMES) if second != first]
        for first in range(FRAMES)
    }
    (root / "s00000" / "metadata.pkl").write_bytes(pickle.dumps(groups))


def _dl3dv(root: Path) -> None:
    base = root / "1K" / "0a1b" / "dense"
    _folders(base, intrinsics_name="intrinsic", masks=True)
    for number in range(FRAMES):
        outliers = np.zeros((48, 64), np.uint8)
        outliers[40:, :8] = 255
        _save(base / "outlier_mask" / f"{number:04d}.png", outliers)


def _mvimgnet(root: Path) -> None:
    focal, (x, y) = K[0, 0], K[:2, 2]
    stored = np.array([[focal, 0, y], [0, x, 0.01], [0, 0, 1]])
    for number, shown in enumerate(views()):
        _save(root / "1_2d00" / "rgb" / f"{number:03d}.jpg", shown.rgb)
        _camera(root / "1_2d00" / "cam" / f"{number:03d}.npz", intrinsics=stored, pose=shown.world_from_camera)


def _omniobject3d(root: Path) -> None:
    scale = 0.002
    for number, shown in enumerate(views()):
        pose = shown.world_from_camera.copy()
        pose[:3, 3] *= scale * 1000
        _save(root / "anise_001" / "rgb" / f"r_{number}.png", shown.rgb)
        _save(root / "anise_001" / "depth" / f"r_{number}.npy", shown.known() * np.float32(scale * 1000))
        _camera(root / "anise_001" / "cam" / f"r_{number}.npz", intrinsics=K, pose=pose)
    (root / "scale.json").write_text(json.dumps({"anise_001": scale}))


def _mp3d(root: Path) -> None:
    _folders(root / "17DRP5sb8fy")
    np.save(root / "17DRP5sb8fy" / "overlap.npy", _all_pairs())


def _waymo(root: Path) -> None:
    import h5py

    name = "segment-1_with_camera_labels.tfrecord"
    for camera in (1, 4, 5):
        for number, shown in enumerate(views()):
            stem = root / name / f"{number:05d}_{camera}"
            _save(stem.with_suffix(".jpg"), shown.rgb)
            _save(stem.with_suffix(".exr"), shown.known())
            _camera(stem.with_suffix(".npz"), intrinsics=K, cam2world=shown.world_from_camera, distortion=np.zeros(5))
    with h5py.File(root / "invalid_files.h5", "w") as file:
        file.create_group(name)["invalid_pairs"] = np.array(["1_00000"], dtype="S8")


_SWAPPED = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])

WRITERS: dict[str, Callable[[Path], None]] = {
    "co3d": _co3d,
    "wildrgbd": _wildrgbd,
    "arkitscenes": _arkitscenes("lowres_depth", "new_scene_metadata.npz", True),
    "arkitscenes_highres": _arkitscenes("highres_depth", "scene_metadata.npz", False),
    "scannetpp": _scannetpp,
    "scannet": _scannet,
    "hypersim": lambda root: _flat(root / "ai_001_001" / "cam_00", 0, "_depth.npy", "_cam.npz", "intrinsics", "pose"),
    "blendedmvs": _blendedmvs,
    "megadepth": _megadepth,
    "mapfree": _mapfree,
    "waymo": _waymo,
    "vkitti2": lambda root: _flat(
        root / "Scene01" / "clone" / "Camera_0", 0, "_depth.png", "_cam.npz", "camera_intrinsics", "camera_pose",
        sky=655.35, image="_rgb.jpg", factor=100, digits=5,
    ),
    "unreal4k": lambda root: _flat(
        root / "00000" / "1", 0, "_depth.npy", ".npz", "intrinsics", "cam2world", sky=np.inf, change=_SWAPPED, digits=5
    ),
    "tartanair": lambda root: _flat(
        root / "abandonedfactory" / "Hard" / "P000", 0, "_depth.npy", "_cam.npz", "camera_intrinsics", "camera_pose",
        sky=10000,
    ),
    "dl3dv": _dl3dv,
    "cop3d": _cop3d,
    "mvimgnet": _mvimgnet,
    "realestate10k": lambda root: _folders(root / "000c3ab189999a83", depth="", names=lambda n: str(10009 + 33 * n)),
    "omniobject3d": _omniobject3d,
    "ken_burns_3d": lambda root: _folders(root / "asdf-flying", depth=".exr", pose=False, sky=50, factor=1000),
    "irs": lambda root: _folders(root / "Home", sky=300, pose=False),
    "synscapes": lambda root: _folders(root, sky=np.inf, pose=False, masks=True, names=str),
    "urbansyn": lambda root: _folders(root, sky=1e5, pose=False, masks=True),
    "eden": lambda root: _folders(root / "0001_clear", sky=np.nan, pose=False),
    "smartportraits": lambda root: _folders(root / "00000", pose=False),
    "dynamic_replica": lambda root: _folders(root / "train" / "1a2b3c-3_obj" / "left", names=lambda n: f"{n / 30:.5f}"),
    "spring": lambda root: _folders(root / "0001"),
    "bedlam": lambda root: _folders(root / "20221013_3_250_batch01hand_orbit_bigOffice_seq_000001", sky=1e4),
    "mvs_synth": lambda root: _folders(root / "0000", image=".jpg", sky=1e6),
    "point_odyssey": lambda root: _folders(root / "train" / "kg", image=".jpg", names="{:05d}".format),
    "uasol": lambda root: _folders(root / "park", sky=20.5, names=lambda n: f"frame{n}"),
    "mp3d": _mp3d,
    "hoi4d": lambda root: _folders(root / "ZY1_H1_C1_N1", pose=False),
}  # fmt: skip

#: optional packages that a layout needs
NEEDS = {"blendedmvs": ("OpenEXR", "h5py"), "megadepth": ("OpenEXR",), "waymo": ("OpenEXR", "h5py"),
         "ken_burns_3d": ("OpenEXR",)}  # fmt: skip
#: sets whose files tell sky from unknown depth
KNOW_SKY = {"mapfree", "vkitti2", "unreal4k", "tartanair", "dl3dv", "synscapes", "urbansyn"}
