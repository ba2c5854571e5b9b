"""Data sets of Depth Anything 3's benchmark (2025): images with true cameras and, for most, a true surface.

eth3d/<scene>/{images, dslr_calibration_jpg/{cameras,images}.txt, combined_mesh.ply}, and for each image
    masks_for_images/dslr_images/*.png, ground_truth_depth/dslr_images/*
7scenes/7Scenes/<scene>/seq-01 (stairs: seq-02)/frame-*.{color.png,depth.png,pose.txt}, 7Scenes/meshes/<scene>.ply
scannetpp/<scene>/{merge_dslr_iphone/{colmap/sparse_render_rgb,images,render_depth}, scans/mesh_aligned_0.05.ply}
hiroom/{data/<a>/<b>/<c>/{image,depth,pose,aliasing_mask,cam_K.npy}, fused_pcd/<a>-<b>-<c>.ply}
dtu64/{<scene>/image/*.png, Cameras/*_cam.txt}
dtu/{Rectified/<scene>/rect_*_*.png, Cameras/*_cam.txt, depth_raw/Depths/<scene>/depth_visual_*.png,
    Points/stl/stl*_total.ply, SampleSet/mvs_data/ObsMask/{ObsMask*_10,Plane*}.mat}
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from dynamic_predictor.evaluation.datasets.clip import folders_in
from scene.errors import InputError
from scene.files.arrays import read_array
from scene.files.text import read_rows, read_text
from scene.frames import list_images
from scene.images import read_image
from scene.media.image_header import stored_gray, stored_values
from scene.rotations import rotation_from_quaternion


@dataclass(frozen=True)
class ReconstructionView:
    """One image with its true camera."""

    name: str
    #: reads the undistorted image, uint8 RGB (H, W, 3)
    read: Callable[[], np.ndarray]
    #: (4, 4)
    camera_from_world: np.ndarray
    #: (3, 3) in pixels of the undistorted image
    intrinsics: np.ndarray
    #: reads the mask, bool (H, W), of the pixels that are scored; None: all
    read_valid: Callable[[], np.ndarray | None] = lambda: None


@dataclass(frozen=True)
class ReconstructionScene:
    """The views of one scene. `surface`: PLY file of the true surface, a mesh or points; None: unknown."""

    name: str
    views: list[ReconstructionView]
    surface: Path | None

    @property
    def camera_from_world(self) -> np.ndarray:
        """The true poses (N, 4, 4) of the views."""
        return np.stack([view.camera_from_world for view in self.views])


@dataclass(frozen=True)
class ReconstructionDataset:
    """A data set: its location, its reader and the parameters of its protocol, with lengths in meters."""

    name: str
    title: str
    folder: str
    #: the scenes for which figures are published; None: all
    scenes: tuple[str, ...] | None
    list_scenes: Callable[[Path], list[str]]
    open_scene: Callable[[Path, str], ReconstructionScene]
    #: of the fused surface; 0: surfaces are not fused
    voxel_size: float = 0.0
    #: of the signed distances that are fused
    truncation: float = 0.0
    #: distance up to which points match in precision and recall
    threshold: float = 0.0
    #: larger predicted depths are ignored
    max_depth: float = np.inf
    #: predicted points farther outside the bounding box of the truth are ignored; None: no limit
    box_margin: float | None = None
    #: surfaces are scored by `scores.dtu`, with lengths in millimeters
    scored_as_dtu: bool = False

    def scene(self, folder: Path, name: str) -> ReconstructionScene:
        """Reads one scene. `InputError` when it is incomplete, or missing; the latter names existing scenes."""
        try:
            return self.open_scene(folder, name)
        except InputError as error:
            known = self.list_scenes(folder)
            if known and name not in known:
                some = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
                raise InputError(f"{self.name} has no scene {name} in {folder}; there are: {some}.") from None
            raise error

    @property
    def has_surfaces(self) -> bool:
        """Whether the data set has true surfaces."""
        return self.scored_as_dtu or self.voxel_size > 0


_ETH3D_SCENES = (
    "courtyard", "electro", "kicker", "pipes", "relief", "delivery_area", "facade", "office", "playground", "relief_2",
    "terrains",
)  # fmt: skip
#: images that the benchmark excludes, by the number in their name
_ETH3D_EXCLUDED = {
    "delivery_area": {*range(711, 715)},
    "electro": {*range(9289, 9294), 9298},
    "playground": {*range(587, 593)},
    "relief": {*range(427, 439)},
    "relief_2": {*range(458, 469)},
}
_SEVEN_SCENES = ("chess", "fire", "heads", "office", "pumpkin", "redkitchen", "stairs")
_SEVEN_SCENES_INTRINSICS = np.array([[585.0, 0, 320.0], [0, 585.0, 240.0], [0, 0, 1]])
_SCANNETPP_SCENES = (
    "09c1414f1b", "1ada7a0617", "40aec5fffa", "3e8bba0176", "acd95847c5", "578511c8a9", "5f99900f09", "c4c04e6d6c",
    "f3d64c30f8", "7bc286c1b6", "c5439f4607", "286b55a2bf", "fb5a96b1a2", "7831862f02", "38d58a7a31", "bde1e479ad",
    "9071e139d9", "21d970d8de", "bcd2436daf", "cc5237fd77",
)  # fmt: skip
_SCANNETPP_SIZE = (1024, 768)
_DTU64_SCENES = tuple(f"scan{number}" for number in (105, 114, 118, 122, 24, 37, 40, 55, 63, 65, 69, 83, 97))
_DTU_SCENES = tuple(
    f"scan{number}"
    for number in (
        1, 4, 9, 10, 11, 12, 13, 15, 23, 24, 29, 32, 33, 34, 48, 49, 62, 75, 77, 110, 114, 118,
    )
)  # fmt: skip
#: index of the image that the benchmark moves to the front
_DTU_REFERENCE = 33


def open_eth3d(folder: Path, name: str) -> ReconstructionScene:
    """Reads a scene: the images in the order of images.txt, without those that the benchmark excludes."""
    scene = folder / name
    cameras = {}
    for words in _table(scene / "dslr_calibration_jpg" / "cameras.txt", 8):
        fx, fy, cx, cy = (float(word) for word in words[4:8])
        cameras[words[0]] = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    views = []
    # every second line is a list of points
    for words in _table(scene / "dslr_calibration_jpg" / "images.txt", 10)[::2]:
        path = scene / "images" / words[9]
        number = int("".join(filter(str.isdigit, path.stem)) or 0)
        if not path.is_file() or number in _ETH3D_EXCLUDED.get(name, ()):
            continue
        pose = np.eye(4)
        pose[:3, :3] = rotation_from_quaternion(np.array([float(word) for word in words[1:5]]))
        pose[:3, 3] = [float(word) for word in words[5:8]]
        if words[8] not in cameras:
            raise InputError(f"{scene}: the camera {words[8]} of {path.name} is missing; download the scene again.")
        views.append(
            ReconstructionView(path.name, partial(read_image, path), pose, cameras[words[8]], _eth3d_valid(scene, path))
        )
    return ReconstructionScene(name, _check_count(views, scene), scene / "combined_mesh.ply")


def _eth3d_valid(scene: Path, image: Path) -> Callable[[], np.ndarray | None]:
    depth = scene / "ground_truth_depth" / "dslr_images" / image.name
    mask = scene / "masks_for_images" / "dslr_images" / f"{image.stem}.png"

    def read() -> np.ndarray | None:
        if not depth.is_file() and not mask.is_file():
            return None
        height, width = read_image(image).shape[:2]
        valid = np.ones((height, width), bool)
        if depth.is_file():
            values = np.fromfile(depth, np.float32)
            if values.size != height * width:
                raise InputError(f"{depth} does not have the size of {image.name}; download the scene again.")
            valid &= np.isfinite(values).reshape(height, width) & (values > 0).reshape(height, width)
        if mask.is_file():
            valid &= stored_gray(mask) != 1
        return valid

    return read


def open_seven_scenes(folder: Path, name: str) -> ReconstructionScene:
    """Reads a scene: the frames with a pose of the sequence that the benchmark uses."""
    frames = folder / "7Scenes" / name / ("seq-02" if name == "stairs" else "seq-01")
    views = []
    for path in sorted(frames.glob("frame-*.color.png")):
        pose = path.with_name(path.name.replace("color.png", "pose.txt"))
        if pose.is_file():
            world_from_camera = read_rows(pose, columns=4)
            depth = path.with_name(path.name.replace("color", "depth"))
            views.append(
                ReconstructionView(
                    path.name, partial(read_image, path), np.linalg.inv(world_from_camera), _SEVEN_SCENES_INTRINSICS,
                    _depth_valid(depth, unknown=65535),
                )
            )  # fmt: skip
    return ReconstructionScene(name, _check_count(views, frames), folder / "7Scenes" / "meshes" / f"{name}.ply")


def open_scannetpp(folder: Path, name: str) -> ReconstructionScene:
    """Reads a scene: the images of the phone, undistorted, cropped and resized to 1024x768."""
    import pycolmap

    base = folder / name / "merge_dslr_iphone"
    model_folder = base / "colmap" / "sparse_render_rgb"
    try:
        model = pycolmap.Reconstruction(str(model_folder))
    except (ValueError, RuntimeError, OSError) as error:
        raise InputError(f"{model_folder} holds no readable COLMAP model; download the scene again.") from error
    views = []
    for image in sorted(model.images.values(), key=lambda image: image.name):
        path = base / "images" / image.name
        if "iphone" not in image.name or not path.is_file():
            continue
        camera = model.cameras[image.camera_id]
        if camera.model.name not in ("OPENCV", "PINHOLE"):
            raise InputError(f"{model_folder} has a camera of the model {camera.model.name}; OPENCV is expected.")
        fx, fy, cx, cy = camera.params[:4]
        # OpenCV has pixel centers at integers
        raw = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1.0]])
        distortion = np.zeros(5)
        distortion[:4] = camera.params[4:8] if camera.model.name == "OPENCV" else 0.0
        size = (camera.width, camera.height)
        straight, region = cv2.getOptimalNewCameraMatrix(raw, distortion, size, 1, size)
        x, y, width, height = region if all(region[2:]) else (0, 0, *size)
        scale = np.diag([_SCANNETPP_SIZE[0] / width, _SCANNETPP_SIZE[1] / height, 1.0])
        cropped = np.array(straight)
        cropped[:2, 2] += 0.5 - np.array([x, y])
        pose = np.eye(4)
        pose[:3] = image.cam_from_world().matrix()
        views.append(
            ReconstructionView(
                image.name,
                _undistorted(path, raw, distortion, np.array(straight), (x, y, width, height)),
                pose,
                scale @ cropped,
                _depth_valid(base / "render_depth" / f"{path.stem}.png", size=_SCANNETPP_SIZE),
            )
        )
    surface = folder / name / "scans" / "mesh_aligned_0.05.ply"
    return ReconstructionScene(name, _check_count(views, base), surface)


def _undistorted(
    path: Path, raw: np.ndarray, distortion: np.ndarray, straight: np.ndarray, region: tuple[int, int, int, int]
) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        image = cv2.undistort(read_image(path), raw, distortion, newCameraMatrix=straight)
        x, y, width, height = region
        return cv2.resize(image[y : y + height, x : x + width], _SCANNETPP_SIZE, interpolation=cv2.INTER_AREA)

    return read


def open_hiroom(folder: Path, name: str) -> ReconstructionScene:
    """Reads a scene, named by its path in data/ (a/b/c)."""
    scene = folder / "data" / name
    intrinsics = read_array(scene / "cam_K.npy").astype(np.float64)
    views = []
    for path in list_images(scene / "image") if (scene / "image").is_dir() else []:
        pose = scene / "pose" / f"{path.stem}.npy"
        if pose.is_file():
            valid = _depth_valid(
                scene / "depth" / f"{path.stem}.png", excluded=scene / "aliasing_mask" / f"{path.stem}.png"
            )
            camera_from_world = read_array(pose).astype(np.float64)
            views.append(ReconstructionView(path.name, partial(read_image, path), camera_from_world, intrinsics, valid))
    surface = folder / "fused_pcd" / f"{'-'.join(Path(name).parts[-3:])}.ply"
    return ReconstructionScene(name, _check_count(views, scene), surface)


def open_dtu64(folder: Path, name: str) -> ReconstructionScene:
    """Reads a scene: 64 images with true cameras, the reference view first."""
    views = []
    for path in _dtu_images(folder / name / "image"):
        file = folder / "Cameras" / f"{int(path.stem):08d}_cam.txt"
        if file.is_file():
            views.append(ReconstructionView(path.name, partial(read_image, path), *_dtu_camera(file)))
    return ReconstructionScene(name, _check_count(views, folder / name), None)


def open_dtu(folder: Path, name: str) -> ReconstructionScene:
    """Reads a scene: 49 rectified images with cameras and masks of scanned pixels, the reference view first."""
    views = []
    for path in _dtu_images(folder / "Rectified" / name):
        words = path.stem.split("_")
        if len(words) < 2 or not words[1].isdigit():
            raise InputError(f"{path} is not named like an image of DTU (rect_001_...); download DTU again.")
        number = int(words[1]) - 1
        mask = folder / "depth_raw" / "Depths" / name / f"depth_visual_{number:04d}.png"
        camera = _dtu_camera(folder / "Cameras" / f"{number:08d}_cam.txt")
        views.append(ReconstructionView(path.name, partial(read_image, path), *camera, _depth_valid(mask, above=10)))
    digits = name.removeprefix("scan")
    surface = folder / "Points" / "stl" / f"stl{int(digits) if digits.isdigit() else 0:03d}_total.ply"
    return ReconstructionScene(name, _check_count(views, folder / "Rectified" / name), surface)


def _dtu_images(folder: Path) -> list[Path]:
    images = [path for path in list_images(folder) if path.suffix == ".png"] if folder.is_dir() else []
    if len(images) > _DTU_REFERENCE:
        images = [images[_DTU_REFERENCE], *images[:_DTU_REFERENCE], *images[_DTU_REFERENCE + 1 :]]
    return images


def _dtu_camera(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads camera_from_world (4, 4) and intrinsics (3, 3)."""
    rows = [line.split() for line in read_text(file).splitlines()]
    try:
        pose, intrinsics = np.array(rows[1:5], np.float64), np.array(rows[7:10], np.float64)
    except ValueError:
        pose = intrinsics = np.zeros(0)
    if pose.shape != (4, 4) or intrinsics.shape != (3, 3):
        raise InputError(f"{file} is not a camera file of DTU, which has a 4x4 and a 3x3 matrix; download DTU again.")
    return pose, intrinsics


def _depth_valid(
    path: Path,
    *,
    above: int = 0,
    unknown: int | None = None,
    excluded: Path | None = None,
    size: tuple[int, int] | None = None,
) -> Callable[[], np.ndarray | None]:
    """A reader of the mask of valid pixels: those whose value in the depth image `path` exceeds `above` and is not
    `unknown`, and whose value in the image `excluded` is 0. `size` (W, H) is the size of the mask."""

    def read() -> np.ndarray | None:
        depth = stored_values(path) if path.is_file() else None
        if depth is None:
            return None
        if size is not None:
            depth = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
        valid = depth > above
        if unknown is not None:
            valid &= depth != unknown
        mask = stored_gray(excluded) if excluded is not None and excluded.is_file() else None
        return valid if mask is None else valid & (mask == 0)

    return read


def _table(path: Path, columns: int) -> list[list[str]]:
    """The lines of a COLMAP text file, split into words, without comments. Of a file with eight columns (cameras),
    empty lines are dropped; of others (images), they are kept, because they can be empty lists of points."""
    lines = [line.split() for line in read_text(path).splitlines() if not line.startswith("#")]
    while lines and not lines[0]:
        lines = lines[1:]
    if not lines or len(lines[0]) < columns:
        raise InputError(f"{path} is not a COLMAP text file: its first line must have {columns} entries.")
    return [line for line in lines if line] if columns == 8 else lines


def _check_count(views: list[ReconstructionView], place: Path) -> list[ReconstructionView]:
    if len(views) < 2:
        raise InputError(f"{place} has {len(views)} images with a camera; at least two are needed, download it again.")
    return views


def _folders(folder: Path, *, but: str = "") -> list[str]:
    """Sorted names of the subfolders except `but`; none where there is no such folder."""
    return [name for name in folders_in(folder) if name != but] if folder.is_dir() else []


def _hiroom_scenes(folder: Path) -> list[str]:
    chosen = folder / "selected_scene_list_val.txt"
    if chosen.is_file():
        return [line.strip() for line in read_text(chosen).splitlines() if line.strip()]
    return sorted(str(path.parent.relative_to(folder / "data")) for path in (folder / "data").rglob("cam_K.npy"))


RECONSTRUCTION_DATASETS = {
    entry.name: entry
    for entry in (
        ReconstructionDataset(
            "eth3d", "ETH3D", "eth3d", _ETH3D_SCENES, _folders, open_eth3d,
            voxel_size=5 * 4.0 / 512.0, truncation=0.2, threshold=0.25,
        ),
        ReconstructionDataset(
            "7scenes", "7Scenes", "7scenes", _SEVEN_SCENES, lambda folder: _folders(folder / "7Scenes", but="meshes"),
            open_seven_scenes, voxel_size=4.0 / 512.0, truncation=0.04, threshold=0.05,
        ),
        ReconstructionDataset(
            "scannetpp", "ScanNet++", "scannetpp", _SCANNETPP_SCENES, _folders, open_scannetpp,
            voxel_size=0.02, truncation=0.15, threshold=0.05, max_depth=5.0, box_margin=0.1,
        ),
        ReconstructionDataset(
            "hiroom", "HiRoom", "hiroom", None, _hiroom_scenes, open_hiroom,
            voxel_size=4.0 / 512.0, truncation=0.04, threshold=0.05,
        ),
        ReconstructionDataset(
            "dtu", "DTU, 49 views", "dtu", _DTU_SCENES, lambda folder: _folders(folder / "Rectified"), open_dtu,
            scored_as_dtu=True,
        ),
        ReconstructionDataset(
            "dtu64", "DTU, 64 views", "dtu64", _DTU64_SCENES, lambda folder: _folders(folder, but="Cameras"),
            open_dtu64,
        ),
    )
}  # fmt: skip
