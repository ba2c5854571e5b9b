"""DAVIS (Perazzi et al., CVPR 2016; Pont-Tuset et al., 2017): clips with annotated objects, no cameras.

davis/DAVIS/JPEGImages/480p/<clip>/00000.jpg and Annotations/480p/<clip>/00000.png, in which objects are not black.
"""

from pathlib import Path

import numpy as np

from dynamic_predictor.evaluation.datasets.clip import Dataset, DatasetClip, folders_in, images_in
from scene.images import read_image
from scene.maps import LoadedMaps

#: the eight clips of the DAS3R paper
PUBLISHED_CLIPS = (
    "blackswan", "camel", "car-shadow", "dog", "horsejump-high", "motocross-jump", "parkour", "soapbox"
)  # fmt: skip


def open_clip(folder: Path, name: str) -> DatasetClip:
    """Reads one clip with its annotations; in clips of the challenges, only the first frame is annotated."""
    images = images_in(folder / "JPEGImages" / "480p" / name)
    files = [folder / "Annotations" / "480p" / name / f"{image.stem}.png" for image in images]
    masks = LoadedMaps(len(files), lambda index: (read_image(files[index]).max(axis=2) > 0).astype(np.float32))
    annotated = frozenset(index for index, file in enumerate(files) if file.is_file())
    return DatasetClip(name, images, motion_masks=masks if annotated else None, annotated=annotated)


DAVIS = Dataset(
    name="davis",
    title="DAVIS",
    folder="davis/DAVIS",
    fetch="python data/download_davis.py --to {data}/davis",
    published_clips=PUBLISHED_CLIPS,
    published_frames=50,
    list_clips=lambda folder: folders_in(folder / "JPEGImages" / "480p"),
    open_clip=open_clip,
)
