"""KITTI depth, validation part (Uhrig et al., 3DV 2017): driving, sparse depth from a laser scanner (256 = 1 m).

kitti/depth_selection/val_selection_cropped/image_gathered/<clip>/*.png and groundtruth_depth_gathered/<clip>/*.png, the
first 110 frames that have depth, as video depth papers gather them.
"""

from pathlib import Path

from dynamic_predictor.datasets.clip import Dataset, DatasetClip, beside_pictures, folders_in, pictures_in
from dynamic_predictor.datasets.depth_files import depth_maps, read_depth_picture


def open_clip(folder: Path, name: str) -> DatasetClip:
    """One gathered clip."""
    images = pictures_in(folder / "image_gathered" / name)
    depths = beside_pictures(images, folder / "groundtruth_depth_gathered" / name, ".png")
    return DatasetClip(
        name,
        images,
        z_depths=None if depths is None else depth_maps(depths, lambda path: read_depth_picture(path, 256)),
    )


KITTI = Dataset(
    name="kitti",
    title="KITTI depth",
    folder="kitti/depth_selection/val_selection_cropped",
    fetch="sign in at https://www.cvlibs.net/datasets/kitti (depth prediction), get data_depth_selection.zip, "
    "data_depth_annotated.zip and the raw drives of the validation part, and gather pictures and depth as "
    "docs/evaluation.md says",
    published_clips=None,
    published_frames=None,
    list_clips=lambda folder: folders_in(folder / "image_gathered"),
    open_clip=open_clip,
)
