"""Converts rendered scenes with complete truth to training clips in PointOdyssey's layout.

    python data/make_training_clips.py SCENE... -o data/moving_objects --max-size 240 --test-share 0.25

The first frames of each scene become a clip of the part train, the last ones a clip of the part test. Tracks are
computed from depth and masks: static points keep their position; points of a moving object follow its center.

With --layout spring, the clips have images, depth and cameras in the processed layout of Spring instead, for recipes of
CUT3R and StreamVGGT: --data DIR/train --test_data DIR/test.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scene.errors import InputError  # noqa: E402
from scene.files.atomic import atomic_folder  # noqa: E402
from scene.images import fitted_size, read_image, resize_image, write_png  # noqa: E402
from scene.truth import TruthScene  # noqa: E402
from terminal.progress_bars import ProgressBars  # noqa: E402

_UNITS_PER_METER = 65.535
_TRACK_SPACING = {"static": 16, "moving": 4}
#: a point of a moving object is tracked for so many frames, because the motion of its center is only an approximation
_REACH = 5


def make_clip(scene: TruthScene, frames: range, folder: Path, max_size: int, *, overwrite: bool = False) -> None:
    """Writes `frames` of `scene` as a clip of long side <= `max_size`. Raises `InputError` without depth or mask."""
    width, height = fitted_size(scene.width, scene.height, max_size)
    views = []
    for index in frames:
        z_depth, objects = scene.depth(index), _objects(scene, index)
        if z_depth is None:
            raise InputError(f"{scene.folder} has no depth of frame {index}, which training needs.")
        views.append((index, z_depth, objects))
    tracks = _tracks(scene, views)
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        for name in ("rgbs", "depths", "trajs_3d", "intrinsics", "extrinsics"):
            (temporary / name).mkdir()
        for number, (index, z_depth, _) in enumerate(views):
            camera = scene.cameras[index].resized(width, height)
            image = resize_image(scene.frames.rgb8(index), width, height)
            write_png(temporary / "rgbs" / f"rgb_{number:05d}.png", image)
            depth = cv2.resize(z_depth, (width, height), interpolation=cv2.INTER_NEAREST)
            stored = np.clip(np.rint(depth * _UNITS_PER_METER), 0, 65535).astype(np.uint16)
            cv2.imwrite(str(temporary / "depths" / f"depth_{number:05d}.png"), stored)
            np.save(temporary / "trajs_3d" / f"traj_3d_{number:05d}.npy", tracks[number])
            np.save(temporary / "intrinsics" / f"intrinsic_{number:05d}.npy", camera.intrinsics)
            np.save(temporary / "extrinsics" / f"extrinsic_{number:05d}.npy", camera.camera_from_world)


def make_sequence(scene: TruthScene, frames: range, folder: Path, max_size: int, *, overwrite: bool = False) -> None:
    """Writes `frames` of `scene`, of long side <= `max_size`, in the processed layout of Spring. Raises `InputError`
    without depth."""
    width, height = fitted_size(scene.width, scene.height, max_size)
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        for name in ("rgb", "depth", "cam"):
            (temporary / name).mkdir()
        for number, index in enumerate(frames):
            z_depth = scene.depth(index)
            if z_depth is None:
                raise InputError(f"{scene.folder} has no depth of frame {index}, which training needs.")
            camera = scene.cameras[index].resized(width, height)
            intrinsics = np.array(camera.intrinsics, float)
            intrinsics[:2, 2] -= 0.5  # the layout counts pixel centers at integers
            name = f"{number:05d}"
            write_png(temporary / "rgb" / f"{name}.png", resize_image(scene.frames.rgb8(index), width, height))
            depth = cv2.resize(z_depth, (width, height), interpolation=cv2.INTER_NEAREST)
            np.save(temporary / "depth" / f"{name}.npy", depth.astype(np.float32))
            np.savez(temporary / "cam" / f"{name}.npz", intrinsics=intrinsics, pose=camera.world_from_camera)


def _objects(scene: TruthScene, index: int) -> np.ndarray:
    """Int (H, W): the number of the moving object at each pixel, 0 = static."""
    path = scene.folder / "ids" / f"{Path(scene.names[index]).stem}.png"
    mask = scene.mask(index)
    if mask is None:
        raise InputError(f"{scene.folder} has no mask of frame {index}, which training needs.")
    ids = read_image(path)[..., 0].astype(int) if path.is_file() else np.ones(mask.shape, int)
    return np.where(mask > 0.5, np.maximum(ids, 1), 0)


def _tracks(scene: TruthScene, views: list[tuple[int, np.ndarray, np.ndarray]]) -> np.ndarray:
    """World points of the tracks, float32 (frames, tracks, 3); NaN where a track is unknown."""
    points = [scene.cameras[index].unproject(z_depth) for index, z_depth, _ in views]
    names = sorted({int(name) for _, _, objects in views for name in np.unique(objects)} - {0})
    centers = np.full((len(views), max(names, default=0) + 1, 3), np.nan)
    for number, (_, z_depth, objects) in enumerate(views):
        for name in names:
            chosen = (objects == name) & (z_depth > 0)
            if chosen.sum() >= 20:
                centers[number, name] = np.median(points[number][chosen], axis=0)
    tracks = []
    for number, (_, z_depth, objects) in enumerate(views):
        for kind, spacing in _TRACK_SPACING.items():
            grid = np.zeros(z_depth.shape, bool)
            grid[spacing // 2 :: spacing, spacing // 2 :: spacing] = True
            chosen = grid & (z_depth > 0) & ((objects > 0) == (kind == "moving"))
            path = np.repeat(points[number][chosen][None], len(views), axis=0)
            if kind == "moving":
                name = objects[chosen]
                path = path + centers[:, name] - centers[number, name]
                path[np.abs(np.arange(len(views)) - number) > _REACH] = np.nan
            tracks.append(path)
    return np.concatenate(tracks, axis=1).astype(np.float32)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="+", metavar="SCENE", help="folder of a scene with truth (docs/scores.md)")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for train/ and test/")
    parser.add_argument("--max-size", type=int, default=240, metavar="PIXELS", help="largest long side")
    parser.add_argument("--layout", choices=("point_odyssey", "spring"), default="point_odyssey", help="of the clips")
    parser.add_argument("--test-share", type=float, default=0.25, help="share of the frames for testing")
    parser.add_argument("--overwrite", action="store_true", help="replace existing clips")
    options = parser.parse_args(arguments)
    try:
        with ProgressBars() as bars:
            for done, path in enumerate(options.scenes, start=1):
                scene = TruthScene(path)
                split = round(len(scene) * (1 - options.test_share))
                for part, frames in (("train", range(split)), ("test", range(split, len(scene)))):
                    if len(frames) >= 2:
                        folder, make = Path(options.output) / part, make_clip
                        if options.layout == "spring":
                            folder, make = folder / "processed_spring", make_sequence
                        name = Path(path).resolve().name
                        make(scene, frames, folder / name, options.max_size, overwrite=options.overwrite)
                bars("training clips", done, len(options.scenes))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    recipe = "small" if options.layout == "point_odyssey" else f"cut3r-small --data={options.output}/train"
    print(f"The clips are in {options.output}; train with: launch.py --mode=train --recipe={recipe}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
