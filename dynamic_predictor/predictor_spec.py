"""The description of a predictor: one row of the table in `dynamic_predictor.specs`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynamic_predictor.weights.entry import WeightsFile

if TYPE_CHECKING:
    from dynamic_predictor.contract import Predictor
    from dynamic_predictor.parity.case import ParityCase


@dataclass(frozen=True)
class PredictorSpec:
    """One predictor: what it is, what it needs and what it can do. Weights registry, parity command, documentation,
    `stillsplat predictors`, benchmarks and the options of all commands follow from it.

    Nothing heavy is imported before `settings_type`, `load` or `parity_case` is called.
    """

    name: str
    description: str
    #: memory for a typical clip, as text
    memory: str
    #: page that describes it
    documentation: str
    #: the dataclass of everything that can be chosen about it
    settings_type: Callable[[], type]
    #: (settings, device "cpu" or "cuda", seed) -> the predictor. Weights are read at the first prediction, and missing
    #: ones raise `InputError` in `require` first
    load: "Callable[[Any, str, int], Predictor]"
    #: files of weights, the first one it is loaded from; empty: it needs none
    weights: tuple[WeightsFile, ...] = ()
    #: the network of the published size for `dynamic_predictor.parity`
    parity_case: "Callable[[], ParityCase] | None" = None
    #: its name there, where that is not the row's
    parity_name: str | None = None
    #: poses and intrinsics of the views; False: depth only
    cameras: bool = True
    #: depth and poses in meters
    metric: bool = False
    #: in meters only where the focal length is known
    metric_needs_focal: bool = False
    #: motion masks of its own; otherwise the geometric motion stage finds them from cameras and depth
    motion: bool = False
    #: motion masks from its attention (`contract.AttentionPredictor`), by the published method of this name
    attention_motion: str | None = None
    #: its confidence is that of the depth alone, as the motion stage needs it; False: it is also low at moving objects
    confidence_of_depth: bool = True
    #: predicts from one image alone
    single_view: bool = False
    #: a known focal length (--fov) is used
    known_focal: bool = False
    #: finds a lens that distorts (`Views.find_lens`)
    finds_lens: bool = False
    #: all chunks of a clip are given the focal length that the first one found
    shares_focal: bool = False
    #: known motion masks change its cameras or depth
    known_masks: bool = False
    #: known poses and intrinsics are used
    known_poses: bool = False
    #: images of different sizes together (`contract.CollectionPredictor`)
    mixed_sizes: bool = False
    #: one Gaussian per pixel
    gaussians: bool = False
    #: features of its blocks
    features: bool = False
    #: estimates optical flow for its own purposes (--flow)
    flow: bool = False
    #: one view after the other with a state of constant size (`contract.OnlinePredictor`)
    online: bool = False
    #: longer clips are predicted in overlapping chunks that are stitched; None: it takes clips of any length itself
    largest_views: int | None = None
    #: long side in pixels of the frames that it works on by default
    working_size: int = 512
    #: the field of its settings that is the long side of the images that its network sees, where --max-size sets it
    size_setting: str | None = None

    @property
    def license(self) -> str | None:
        """The license of its weights; None where it needs none."""
        return self.weights[0].license if self.weights else None
