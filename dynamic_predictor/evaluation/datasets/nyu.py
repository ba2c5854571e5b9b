"""NYU Depth V2, validation part (Silberman et al., ECCV 2012): single images of rooms with depth in meters.

nyu-v2/val/nyu_images/<name>.png and nyu_depths/<name>.npy, as written by data/unpack_nyu.py.
"""

from pathlib import Path

from dynamic_predictor.evaluation.datasets.clip import Dataset, DatasetClip, beside_images, images_in
from dynamic_predictor.evaluation.datasets.depth_files import depth_maps, read_depth_array


def open_clip(folder: Path, name: str) -> DatasetClip:
    """Reads all images as one clip of single images."""
    images = images_in(folder / "nyu_images")
    depths = beside_images(images, folder / "nyu_depths", ".npy")
    return DatasetClip(
        name, images, z_depths=None if depths is None else depth_maps(depths, read_depth_array), single_images=True
    )


NYU = Dataset(
    name="nyu",
    title="NYU Depth V2",
    folder="nyu-v2/val",
    fetch="mkdir -p {data}/nyu-v2 && for n in 0 1; do curl -L "
    "https://huggingface.co/datasets/sayakpaul/nyu_depth_v2/resolve/main/data/val-00000$n.tar | "
    "tar x -C {data}/nyu-v2; done && python data/unpack_nyu.py --folder {data}/nyu-v2/val",
    list_clips=lambda folder: ["val"],
    open_clip=open_clip,
)
