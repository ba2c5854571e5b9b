"""The settings that all commands share: which frames, which predictor, and what is known about the clip."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from dynamic_predictor.driver.shot_choice import parsed_shot
from dynamic_predictor.stitching.chunk_windows import ChunkAlignmentMethod, check_chunks
from scene.compute_settings import ComputeSettings
from scene.errors import InputError
from scene.given_masks.convention import MaskConvention
from scene.option import check_values, option

if TYPE_CHECKING:
    from dynamic_predictor.predictor_spec import PredictorSpec

#: which images of a live source are dropped, see `live_source`
LivePolicy = Literal["latest", "all"]
#: needs neither weights nor a GPU
DEFAULT_PREDICTOR = "geometric"
_INPUT, _PREDICTOR, _CHUNKS, _LIVE = "input", "predictor", "chunks", "live sources"


@dataclass(frozen=True, kw_only=True)
class PredictorChoice(ComputeSettings):
    """Which predictor runs, and how. Raises `InputError` for values out of range."""

    #: a name of `dynamic_predictor.specs`; None: `DEFAULT_PREDICTOR`
    predictor: str | None = option(
        None, "stillsplat predictors lists them (default: geometric)", metavar="NAME", group=_PREDICTOR
    )
    #: file or folder with weights for it instead of the official ones
    weights: str | None = option(
        None, "file or folder with weights other than the official ones", metavar="PATH", group=_PREDICTOR
    )
    #: optical flow, a name of `optical_flow.specs`; None: the predictor's own choice
    flow: str | None = option(
        None, "optical flow: auto, sea-raft, raft or dis (default: the predictor's)", metavar="NAME",
        group=_PREDICTOR,
    )  # fmt: skip
    #: frames are shrunk to at most this many pixels on their long side; None: what suits the predictor
    max_size: int | None = option(
        None, "long side at most (default: what suits the predictor, mostly 512)", metavar="PIXELS", group=_PREDICTOR
    )
    strict_official: bool = option(
        False, "what official code does where ours differs, mistakes included", group=_PREDICTOR
    )
    #: further fields of the predictor's settings type, by name; on the command line, options of their own
    #: (`dynamic_predictor.predictor_options`)
    predictor_options: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_size is not None and self.max_size < 16:
            raise InputError(f"--max-size must be at least 16 pixels, not {self.max_size}.")

    @property
    def spec(self) -> "PredictorSpec":
        """The row of the predictor; `InputError` for an unknown name."""
        from dynamic_predictor.specs import predictor_spec

        return predictor_spec(self.predictor or DEFAULT_PREDICTOR)

    @property
    def size_limit(self) -> int:
        """The long side at most, in pixels."""
        return self.max_size or self.spec.working_size

    def settings_of_predictor(self) -> dict[str, Any]:
        """The fields of the predictor's settings that follow from these."""
        known = {item.name for item in fields(self.spec.settings_type())}
        shared = {
            "weights": self.weights,
            "flow": self.flow,
            "strict_official": self.strict_official or None,
            self.spec.size_setting: self.max_size,
        }
        chosen = {name: value for name, value in shared.items() if value is not None and name in known}
        return {**chosen, **self.predictor_options}


@dataclass(frozen=True)
class DriverSettings(PredictorChoice):
    """Raises `InputError` for values out of range; `checks.check_options` refuses what the predictor cannot use."""

    #: video file, folder of images, glob pattern, number of a camera or address of a network stream
    input: str = option(
        help="video, folder of images, glob pattern, camera number or rtsp:// address", metavar="INPUT", positional=True
    )
    #: "START:STOP:STEP" over the frames of the input, counted from 0
    frames: str | None = option(None, "which frames of the input, counted from 0", metavar="A:B:STEP", group=_INPUT)
    #: frames per second that are taken; None: all of a file, 5 of a live source
    fps: float | None = option(
        None, "frames per second that are taken (default: all; 5 when live)", metavar="RATE", group=_INPUT
    )
    max_frames: int | None = option(None, "stop after N frames", metavar="N", group=_INPUT)
    #: which shot of a clip with cuts: its number, counted from 1, "longest", "all" (each by itself), or "whole": all
    #: frames as if they were one shot
    shot: str = option(
        "all", "shots of a clip with cuts: all (one by one), longest, a number from 1, or whole: ignore cuts",
        metavar="SHOT", group=_INPUT,
    )  # fmt: skip
    #: whether frames that show nothing, borders and logos are used like everything else
    keep_everything: bool = option(
        False, "use black and frozen frames, borders and logos like everything else", group=_INPUT
    )
    #: horizontal angle of view of the frames in degrees, where it is known
    fov: float | None = option(None, "horizontal angle of view, where it is known", metavar="DEGREES", group=_INPUT)
    #: "auto": a lens that distorts is found where the predictor can; "pinhole"; or the lens (`known_lens`), for which
    #: the frames are undistorted
    lens: str | None = option(
        None, "auto, pinhole, fisheye (with --fov), or COLMAP's MODEL:PARAMETERS (default: auto)", metavar="LENS",
        group=_INPUT,
    )  # fmt: skip
    #: the user's own motion masks (`scene.given_masks.opening`); they replace those of the predictor
    masks: str | None = option(
        None, "your own motion masks, of all frames or some: folder, .npy/.npz or video", metavar="PATH", group=_INPUT
    )
    #: which color of `masks` moves (`scene.given_masks.meaning`); None: auto
    masks_convention: MaskConvention | None = option(
        None,
        "motion: white moves; ignore: black is left out (COLMAP, nerfstudio); auto (default): found out and said",
        choices=("motion", "ignore", "auto"),
        group=_INPUT,
    )
    #: pixels of the frames by which motion masks, whatever their source, are made larger; below 0: smaller
    masks_grow: float | None = option(
        None, "make motion masks larger by so many pixels of the frames; negative: smaller", metavar="PIXELS",
        group=_INPUT,
    )  # fmt: skip
    #: a second predictor whose motion masks replace those of the first; "attention": those of the attention of the
    #: predictor itself, "attention:NAME": of another one
    masks_from: str | None = option(
        None, "motion masks of another predictor, or attention[:NAME]", metavar="NAME", group=_INPUT
    )
    #: a network that gives the motion masks, whatever their source, the shapes of objects (`mask_refinement.choice`)
    refine_masks: str | None = option(
        None, "give motion masks the shapes of objects: sam2[:SIZE], with weights", metavar="NAME", group=_INPUT
    )
    #: another predictor whose depth replaces that of the first, in each frame scaled to it
    depths_from: str | None = option(
        None, "depth of another predictor, scaled to the cameras of the first", metavar="NAME", group=_INPUT
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fps is not None and not self.fps > 0:
            raise InputError(f"--fps must be above 0, not {self.fps}.")
        if self.max_frames is not None and self.max_frames < 1:
            raise InputError(f"--max-frames must be at least 1, not {self.max_frames}.")
        if self.fov is not None and not 1 <= self.fov <= 170:
            raise InputError(f"--fov is an angle of view between 1 and 170 degrees, not {self.fov:g}.")
        if self.lens is not None:
            # imported here, because --help imports no NumPy
            from dynamic_predictor.driver.known_lens import known_lens

            known_lens(self.lens, self.fov, 16, 16)
        if self.masks is not None and self.masks_from is not None:
            raise InputError("--masks and --masks-from both give motion masks; use only one of them.")
        if self.masks is not None and self.refine_masks is not None:
            raise InputError("--masks are your own and stay as they are; leave out --refine-masks.")
        parsed_shot(self.shot)
        if self.masks_convention is not None and self.masks is None:
            raise InputError("--masks-convention says how --masks are read; give --masks, or leave it out.")
        if self.masks_grow is not None and not abs(self.masks_grow) <= 1000:
            raise InputError(f"--masks-grow is a number of pixels, not {self.masks_grow:g}.")

    @property
    def selects_frames(self) -> bool:
        """Whether the frames may be a part of the input."""
        return not self.frames == self.fps == self.max_frames is None or self.shot not in ("all", "whole")


@dataclass(frozen=True)
class ChunkSettings:
    """The chunks in which a clip is predicted. Raises `InputError` for chunks that make no sense."""

    chunk_size: int = option(60, "frames predicted together", metavar="N", group=_CHUNKS)
    overlap: int = option(30, "frames shared with the next chunk", metavar="N", group=_CHUNKS)

    def __post_init__(self) -> None:
        check_values(self)
        check_chunks(self.chunk_size, self.overlap)


@dataclass(frozen=True)
class StreamSettings(ChunkSettings):
    """How the chunks of a clip are stitched."""

    #: what may differ between the worlds of two chunks
    align: ChunkAlignmentMethod = option(
        "sim3", "how chunks are joined", choices=("sim3", "se3", "scale+se3"), group=_CHUNKS
    )
    #: whether loops are looked for, and how many frames on either side of one are predicted together
    loop: bool = option(True, "look for loops and close them", group=_CHUNKS)
    #: which images of a live source are dropped (`live_source`); None: "latest" for online predictors, else "all"
    live_policy: LivePolicy | None = option(
        None,
        "latest: whenever the predictor is free, it gets the newest image, and those between are dropped; all: every "
        "image at --fps is stored and predicted when its turn comes (default: latest for online predictors, else all)",
        choices=("latest", "all"),
        group=_LIVE,
    )
    loop_half: int = field(default=10, kw_only=True)
    #: joins chunks as Depth Anything 3's official streaming does, mistakes included; `PredictorChoice` declares the
    #: option
    strict_official: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.align not in ("sim3", "se3", "scale+se3"):
            raise InputError(f'--align is "{self.align}"; choose sim3, se3 or scale+se3.')
        if self.live_policy not in (None, "latest", "all"):
            raise InputError(f'--live-policy is "{self.live_policy}"; choose latest or all.')
        if self.loop_half < 2:
            raise InputError(f"A loop needs at least 2 frames on either side, not {self.loop_half}.")
