"""KITTI depth, validation part (Uhrig et al., 3DV 2017): driving, sparse depth from a laser scanner (256 = 1 m).

As published: kitti/val/<drive>/proj_depth/groundtruth/image_02/*.png, with the images of the raw data set in
kitti/<date>/<drive>/image_02/data/ or kitti/raw/<drive>/image_02/data/. As prepared for papers on video depth:
kitti/depth_selection/val_selection_cropped/{image_gathered,groundtruth_depth_gathered}/<drive>_02/*.png. A clip has the
first 110 frames with depth and is named <drive>_02.
"""

from pathlib import Path

from dynamic_predictor.evaluation.datasets.clip import Dataset, DatasetClip, beside_images, folders_in, images_in
from dynamic_predictor.evaluation.datasets.depth_files import depth_maps, read_depth_image
from scene.errors import InputError

_FRAMES = 110
_GATHERED = Path("depth_selection") / "val_selection_cropped"
_DEPTH_OF_DRIVE = Path("proj_depth") / "groundtruth" / "image_02"
#: drives of the validation part
_DRIVES = (
    "2011_09_26_drive_{0002,0005,0013,0020,0023,0036,0079,0095,0113} 2011_09_28_drive_0037 2011_09_29_drive_0026 "
    "2011_09_30_drive_0016 2011_10_03_drive_0047"
)


def list_clips(folder: Path) -> list[str]:
    """Names of the prepared clips or, without them, of one clip for each drive."""
    if (folder / _GATHERED / "image_gathered").is_dir():
        return folders_in(folder / _GATHERED / "image_gathered")
    return [f"{drive}_02" for drive in folders_in(folder / "val")]


def open_clip(folder: Path, name: str) -> DatasetClip:
    """Reads one clip, prepared or as published."""
    gathered = folder / _GATHERED
    if (gathered / "image_gathered" / name).is_dir():
        images = images_in(gathered / "image_gathered" / name)
        depths = beside_images(images, gathered / "groundtruth_depth_gathered" / name, ".png")
    else:
        drive = name.removesuffix("_02")
        depths = images_in(folder / "val" / drive / _DEPTH_OF_DRIVE)[:_FRAMES]
        places = [folder / "raw" / drive, folder / drive[:10] / drive]
        image_folder = next((place / "image_02" / "data" for place in places if place.is_dir()), None)
        if image_folder is None:
            raise InputError(f"The images of {drive} are missing; unpack {drive}.zip of KITTI's raw data in {folder}.")
        images = beside_images(depths, image_folder, ".png")
        if images is None:
            raise InputError(f"{image_folder} is missing; unpack {drive}.zip of KITTI's raw data again.")
    return DatasetClip(
        name,
        images,
        z_depths=None if depths is None else depth_maps(depths, lambda path: read_depth_image(path, 256)),
    )


KITTI = Dataset(
    name="kitti",
    title="KITTI depth",
    folder="kitti",
    fetch="mkdir -p {data}/kitti && cd {data}/kitti && a=https://s3.eu-central-1.amazonaws.com/avg-kitti && "
    f"for f in $a/data_depth_annotated $(for d in {_DRIVES}; do echo $a/raw_data/$d/${{d}}_sync; done); "
    "do curl -L -o part.zip $f.zip && unzip -q part.zip && rm part.zip; done",
    list_clips=list_clips,
    open_clip=open_clip,
)
