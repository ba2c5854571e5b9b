"""Unpacks images and depth of NYU Depth V2's validation part from its HDF5 files, for the evaluation.

nyu-v2/val/official/<name>.h5 (rgb (3, H, W) uint8, depth (H, W) float32 in meters) is unpacked to
nyu-v2/val/nyu_images/<name>.png and nyu_depths/<name>.npy. Existing files are kept. Needs the package h5py.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))

from scene.errors import InputError  # noqa: E402
from scene.files.atomic import atomic_file  # noqa: E402
from scene.images import write_png  # noqa: E402
from scene.installing import pip_line  # noqa: E402


def unpack(folder: Path) -> int:
    """Unpacks `folder`/official and returns the number of images. Raises `InputError` when there is nothing to unpack,
    when a file is damaged, and when h5py is missing."""
    try:
        import h5py  # type: ignore[import-not-found]
    except ImportError:
        raise InputError(f"Reading NYU's files needs the package h5py: {pip_line('h5py>=3.8')}") from None
    files = sorted((folder / "official").glob("*.h5"))
    if not files:
        raise InputError(f"{folder / 'official'} holds no .h5 files; unpack val-000000.tar and val-000001.tar there.")
    for path in files:
        image, depth = folder / "nyu_images" / f"{path.stem}.png", folder / "nyu_depths" / f"{path.stem}.npy"
        if image.exists() and depth.exists():
            continue
        try:
            with h5py.File(path, "r") as file:
                rgb, meters = np.array(file["rgb"]), np.array(file["depth"], np.float32)
        except (OSError, KeyError):
            raise InputError(f"{path} is damaged or of another kind; download it again.") from None
        if rgb.ndim != 3 or rgb.shape[0] != 3 or rgb.shape[1:] != meters.shape:
            raise InputError(f"{path} has images of shape {rgb.shape} for depth of shape {meters.shape}.")
        with atomic_file(depth) as temporary, open(temporary, "wb") as target:
            np.save(target, meters)
        with atomic_file(image) as temporary:
            write_png(temporary, np.ascontiguousarray(rgb.transpose(1, 2, 0).astype(np.uint8)))
    return len(files)


def main() -> int:
    """Runs the command; returns its exit status: 0 done, 2 user error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=_ROOT / "data/nyu-v2/val", help="default: data/nyu-v2/val")
    try:
        count = unpack(parser.parse_args().folder)
    except InputError as error:
        print(f"unpack_nyu.py: {error}", file=sys.stderr)
        return 2
    print(f"{count} images with depth are unpacked.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
