"""Settings of the training of networks over sequences of views."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dynamic_predictor.training.datasets.mixture import MixtureRecipe
from dynamic_predictor.training.datasets.training_set import Augmentation
from dynamic_predictor.training.settings import RunSettings
from scene.errors import InputError

#: what is not trained: "encoder": of CUT3R, that of images and ray maps, of VGGT, DINOv2 and the special tokens;
#: "all_but_points": of VGGT, also the heads but that of points; "none": everything is trained
FREEZES = ("none", "encoder", "all_but_points")


@dataclass(frozen=True)
class SequenceSettings(RunSettings):
    """What both networks have in common. Samples are sequences of views, of which an epoch has `samples` by the name of
    the training set. Raises `InputError` for values out of range."""

    samples: Mapping[str, int] = field(default_factory=dict)
    #: widths and heights, of which each step has one; those of the first half are drawn twice as often
    resolutions: tuple[tuple[int, int], ...] = ()
    #: numbers of views of a sequence, of which each step has one
    least_views: int = 4
    views: int = 4
    #: whether sequences may consist of few different frames, repeated
    allow_repeats: bool = False
    #: pixels by which images are larger before they are cropped, and changes of brightness, contrast and saturation
    crop_extra: int = 15
    color_jitter: float = 0.5
    test_set: str = "arkitscenes"
    test_samples: int = 1000
    test_views: int = 4
    test_resolution: tuple[int, int] = (224, 224)
    freeze: str = "none"
    #: whether gradients recompute what is in the network instead of keeping it
    gradient_checkpointing: bool = False
    #: weight of the logarithm of the confidence
    alpha: float = 0.2
    gradient_limit: float | None = 1.0

    #: sides of images are multiples of this
    patch_size = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.freeze not in FREEZES:
            raise InputError(f"--freeze must be one of {', '.join(FREEZES)}, not {self.freeze}.")
        if not 1 <= self.least_views <= self.views:
            raise InputError(f"--least_views must be from 1 to --views, {self.views}, not {self.least_views}.")
        if self.test_samples < 1 or self.test_views < 1:
            raise InputError("--test_samples and --test_views must be at least 1.")
        for name, count in self.samples.items():
            if count < 1:
                raise InputError(f"--samples {name} must be at least 1, not {count}.")
        for width, height in (*self.resolutions, self.test_resolution):
            if min(width, height) < self.patch_size or width % self.patch_size or height % self.patch_size:
                raise InputError(f"Resolutions must be multiples of {self.patch_size}, not {width}x{height}.")

    @property
    def mixture(self) -> MixtureRecipe:
        """The training sets and their sequences."""
        return MixtureRecipe(self.samples, self.resolutions, self.least_views, self.views, self.allow_repeats)

    @property
    def test_mixture(self) -> MixtureRecipe:
        """The same of the test sequences."""
        return MixtureRecipe(
            {self.test_set: self.test_samples}, (self.test_resolution,), self.test_views, self.test_views
        )

    @property
    def augmentation(self) -> Augmentation:
        """Random changes of training images."""
        return Augmentation(self.crop_extra, self.color_jitter)


@dataclass(frozen=True)
class Cut3rTrainingSettings(SequenceSettings):
    """The training of CUT3R."""

    #: whether the loss tells sequences of different kinds apart; see `point_regression.regression_terms`
    by_kind: bool = True
    #: views through which gradients flow, 0: all. With chunks, an optimizer step follows each of the last
    #: `gradient_chunks` ones, and those before them only change the state
    chunk_views: int = 0
    gradient_chunks: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.freeze == "all_but_points":
            raise InputError("--freeze all_but_points is for VGGT; choose none or encoder.")
        if self.chunk_views < 0 or self.gradient_chunks < 1:
            raise InputError("--chunk_views must be at least 0, and --gradient_chunks at least 1.")
        if self.chunk_views and self.freeze != "encoder":
            raise InputError("With --chunk_views the encoder gets no gradients; add --freeze encoder.")


@dataclass(frozen=True)
class VggtTrainingSettings(SequenceSettings):
    """The training of StreamVGGT, by distillation from VGGT, and of VGGT's points, by regression."""

    #: "distillation": a causal student learns from its teacher; "points": a bidirectional network learns from data
    task: str = "distillation"
    #: points of the first view that are tracked
    query_points: int = 64
    test_resolution: tuple[int, int] = (518, 392)
    #: the rounding errors that the official loss contains; see `distillation.distillation_terms`
    strict_official: bool = False

    patch_size = 14

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.query_points < 0:
            raise InputError(f"--query_points must be at least 0, not {self.query_points}.")
