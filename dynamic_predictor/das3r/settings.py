"""Settings of DAS3R and MonST3R."""

from dataclasses import dataclass
from pathlib import Path

from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings
from dynamic_predictor.stitching.chunk_windows import check_chunks
from scene.errors import InputError
from scene.option import option


@dataclass(frozen=True)
class TwoViewSettings(AlignmentSettings):
    """Settings of `TwoViewPredictor` and its alignment. Raises `InputError` for values out of range."""

    #: checkpoint file or folder; None: looked for where weights are kept
    weights: str | Path | None = None
    #: see `global_alignment.pair_graph`
    scene_graph: str = option("swinstride-5-noncyclic", "which pairs of frames are looked at", metavar="GRAPH")
    #: longer clips are aligned in windows of so many frames, of which neighbors share `window_overlap`: memory is that
    #: of one window
    window: int = option(100, "longer clips are aligned in windows of so many frames", metavar="N")
    window_overlap: int = option(10, "frames that neighboring windows share", metavar="N")
    #: None: as many as the memory holds
    batch_size: int | None = option(None, "pairs at once in the network (default: by memory)", metavar="N")
    half_precision: bool = option(True, "encoder and decoders in bfloat16 on GPUs; heads stay in float32")
    image_size: int = option(512, "long side of the network's input in pixels", metavar="PIXELS")
    #: as the networks were evaluated
    crop: bool = option(True, "cut frames to multiples of 16, or squeeze them")
    #: what the alignment's flow term uses: "auto", "sea-raft", "raft" or "dis"
    flow: str = "auto"

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"At least one pair must be decoded at once, not {self.batch_size}.")
        if self.image_size < 32:
            raise InputError(f"The network needs images of at least 32 pixels, not {self.image_size}.")
        check_chunks(self.window, self.window_overlap)
        super().__post_init__()
