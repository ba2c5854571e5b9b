"""What can be chosen about DAS3R and MonST3R."""

from dataclasses import dataclass
from pathlib import Path

import torch

from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings
from dynamic_predictor.driver.chunks import check_chunks
from scene.errors import InputError


@dataclass(frozen=True)
class TwoViewSettings(AlignmentSettings):
    """Settings of `das3r.predictor.TwoViewPredictor`, with those of its alignment. Raises `InputError` for values that
    make no sense."""

    #: checkpoint file or folder; None: looked for where weights are kept
    weights: str | Path | None = None
    #: "auto", "cpu" or "cuda"
    device: str = "auto"
    #: which pairs of frames are looked at, see `alignment.pair_graph`
    scene_graph: str = "swinstride-5-noncyclic"
    #: longer clips are aligned in windows of so many frames, of which neighbours share `window_overlap`: memory is that
    #: of one window
    window: int = 100
    window_overlap: int = 10
    #: pairs at once in the network; None: as many as the memory holds
    batch_size: int | None = None
    #: encoder and decoders in bfloat16 on GPUs; heads always run in float32
    half_precision: bool = True
    #: long side of the network's input in pixels
    image_size: int = 512
    #: cut frames to multiples of 16, as the networks were evaluated, or squeeze them
    crop: bool = True
    #: focal length in pixels of the frames, if it is known
    focal: float | None = None
    #: what the alignment's flow term uses: "auto", "sea-raft", "raft" or "dis"
    flow: str = "auto"

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise InputError(f'There is no device called "{self.device}"; use auto, cpu or cuda.')
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("There is no GPU that torch can use on this machine; choose the device cpu.")
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"At least one pair must be decoded at once, not {self.batch_size}.")
        if self.image_size < 32:
            raise InputError(f"The network needs images of at least 32 pixels, not {self.image_size}.")
        if self.focal is not None and not 0 < self.focal < 1e6:
            raise InputError(f"A focal length is a number of pixels above zero, not {self.focal}.")
        check_chunks(self.window, self.window_overlap)
        super().__post_init__()

    def torch_device(self) -> torch.device:
        """The device that "auto" means on this machine."""
        use_gpu = self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())
        return torch.device("cuda" if use_gpu else "cpu")
