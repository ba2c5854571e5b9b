"""What a row of the table of training sets says: where files lie, in which conventions, and how sequences are drawn.

Paths are templates below the folder of a scene. `{frame}` is the name of a frame, `{run}` the part of a name or path
that frames of one video have in common.
"""

from dataclasses import dataclass
from math import inf
from typing import Literal


@dataclass(frozen=True)
class DepthFiles:
    """How z depth is stored; stored values divided by `divisor` are in the unit of the poses."""

    #: .npy, .png (16 bit) or .exr
    path: str
    divisor: float = 1.0
    #: stored values are fractions of 65535 of this entry of the camera's file
    largest_entry: str = ""
    #: values that are larger, after division, are unknown
    largest: float = inf
    #: per image, values above this quantile are unknown
    quantile: float | None = None
    #: values from here on, after division, are sky
    sky_from: float = inf
    #: 8-bit masks: sky and unknown depth where they are >= 127
    sky_mask: str = ""
    outlier_mask: str = ""
    #: 8-bit mask of the object; for one sequence in ten, depth outside of it is unknown
    object_mask: str = ""


@dataclass(frozen=True)
class CameraFiles:
    """How cameras are stored: one .npz per frame (`path`), or as arrays of the scene's file of metadata (`path` empty).

    Stored principal points count pixel centers at integers, as the readers of CUT3R do; samples count them at +0.5.
    """

    path: str = "cam/{frame}.npz"
    intrinsics: str = "intrinsics"
    #: a matrix 4x4; or rotation and translation as two entries; empty without poses
    pose: str | tuple[str, str] = "pose"
    convention: Literal["world_from_camera", "camera_from_world"] = "world_from_camera"
    axes: Literal["opencv", "opengl"] = "opencv"
    #: x and y of the stored world are swapped, which mirrors it
    swapped_world: bool = False
    #: matrix: 3x3; colmap_radial: a 3x3 matrix whose entries (fx, fy, cx) hold f, cx, cy of COLMAP's SIMPLE_RADIAL;
    #: pinhole: width, height, fx, fy, cx, cy
    form: Literal["matrix", "colmap_radial", "pinhole"] = "matrix"
    #: JSON file of the set with a number per scene; depth and translation are divided by it and by 1000
    scales: str = ""


@dataclass(frozen=True)
class Scenes:
    """How scenes and their frames are found."""

    #: pattern of the folders of scenes below that of the set
    folders: str = "*"
    #: files: all images; selected: selected_seqs_train.json lists categories, scenes and frame numbers; metadata: the
    #: array `images` of the file `metadata` of the scene; sets: megadepth_sets_64.npz lists scenes, frames and sets
    listed_by: Literal["files", "selected", "metadata", "sets"] = "files"
    metadata: str = ""
    #: format of a frame's number, for `selected`
    number: str = ""
    #: only scenes that match one of these patterns, if any, and none of those in `excluded`
    included: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    excluded_runs: tuple[str, ...] = ()
    #: HDF5 file of the set, if it is there, with pairs run_frame of damaged frames per scene
    invalid: str = ""
    #: scenes that are also in the folder with this ending beside the set's own are left out
    not_in: str = ""
    #: frames whose names start with one of these form a run each
    run_prefixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SequenceRule:
    """How views follow each other along a run: see `sampling.run_positions`."""

    longest_interval: int = 25
    shortest_interval: int = 1
    #: probability of views in order of time, and then of equal intervals
    video: float = 0.5
    equal_intervals: float = 0.5
    #: views that are not in order are shuffled within blocks of this many; None: all together
    block: int | None = None
    #: for these runs, intervals are half as long
    slow_runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class OverlapRule:
    """How views are drawn by their overlap instead of along a run."""

    #: pairs: array `pairs` (first, second, overlap) of the scene's metadata; file: the same in a file `path` of the
    #: scene; matrix: sparse matrices of all scenes in the HDF5 file `path`; sets: frames that see the same thing;
    #: groups: the pickled file `path` of the scene lists, for a frame, those that overlap it
    source: Literal["pairs", "file", "matrix", "sets", "groups"]
    path: str = ""
    #: probability of drawing by overlap
    share: float = 1.0
    #: star: frames that overlap the first one; walk: every frame overlaps the one before
    form: Literal["star", "walk"] = "star"
    #: only overlaps above `lowest` and below `highest` count; a walk is weighted by what exceeds `lowest`
    lowest: float = 0.0
    highest: float = inf
    #: frames are drawn with probabilities proportional to the overlap, else uniformly
    weighted: bool = True
    #: the first view is the frame that the others overlap
    reference_first: bool = False


@dataclass(frozen=True)
class TrainingSetSpec:
    """One training set. `name` is its key; `folder` the usual name of its processed folder."""

    name: str
    title: str
    folder: str
    page: str
    license: str
    #: poses and depth are in meters
    metric: bool
    #: things move in it
    dynamic: bool
    image: str = "rgb/{frame}.png"
    #: None: only cameras are known
    depth: DepthFiles | None = DepthFiles("depth/{frame}.npy")
    cameras: CameraFiles = CameraFiles()
    scenes: Scenes = Scenes()
    sequence: SequenceRule = SequenceRule()
    overlap: OverlapRule | None = None
    #: views are unrelated images
    single_view: bool = False
    #: poses are unknown, the loss uses depth alone
    depth_only: bool = False
    #: probabilities that a view after the first is given as image, as rays, as both; used for metric sets
    input_kinds: tuple[float, float, float] = (0.8, 0.15, 0.05)
    #: share of pixels that the loss keeps, the ones with the smallest error
    loss_quantile: float = 1.0

    @property
    def camera_only(self) -> bool:
        return self.depth is None

    @property
    def kind(self) -> str:
        """For people: single view, camera only, video, or multi view."""
        if self.single_view:
            return "single view"
        if self.camera_only:
            return "camera only"
        return "video" if self.sequence.video == 1.0 and self.overlap is None else "multi view"
