"""Settings of the training of DAS3R's network, and its recipes by name."""

from dataclasses import dataclass

from dynamic_predictor.das3r.config import TwoViewConfig
from dynamic_predictor.training.settings import RunSettings
from scene.errors import InputError


@dataclass(frozen=True)
class TrainingSettings(RunSettings):
    """Settings of a training run. Raises `InputError` for values out of range.

    Samples are pairs, of which an epoch has `pairs_per_epoch`.
    """

    #: "encoder_and_3d_predictor": only the mask heads are trained; "encoder": decoders and heads; "none": everything
    freeze: str = "encoder_and_3d_predictor"
    pairs_per_epoch: int = 10_000
    test_pairs: int = 1_000
    #: regularization weight of the logarithm of the confidence
    alpha: float = 0.2
    #: whether the loss includes points and confidence (without effect on a frozen 3D predictor)
    learn_points: bool = True
    mask_dropout: float = 0.1
    #: widths and heights, multiples of 16, of which each step has one
    resolutions: tuple[tuple[int, int], ...] = ((512, 288), (512, 384), (512, 336))
    test_resolution: tuple[int, int] = (512, 288)
    #: distances in frames between the images of a pair; the largest is twice as likely as the smallest
    strides: tuple[int, ...] = tuple(range(1, 10))
    crop_extra: int = 16
    crop_zoom: float = 0.9
    color_jitter: float = 0.5
    #: whether every pair is also used with its images swapped
    symmetrize: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.freeze not in FREEZES:
            raise InputError(f"--freeze must be one of {', '.join(FREEZES)}, not {self.freeze}.")
        if self.pairs_per_epoch < 1:
            raise InputError(f"--pairs_per_epoch must be at least 1, not {self.pairs_per_epoch}.")
        for width, height in (*self.resolutions, self.test_resolution):
            if width < 16 or height < 16 or width % 16 or height % 16:
                raise InputError(f"Resolutions must be multiples of 16, not {width}x{height}.")
        if not self.strides or min(self.strides) < 1:
            raise InputError("The strides between the images of a pair must be 1 or more.")


FREEZES = ("encoder_and_3d_predictor", "encoder", "none")

#: the recipe of the published checkpoint (four GPUs; only the mask heads are trained)
PUBLISHED = TrainingSettings()

#: a small network trained from scratch within minutes on two CPU cores, to check that training works
SMALL = TrainingSettings(
    freeze="none",
    pairs_per_epoch=150,
    test_pairs=24,
    epochs=8,
    warmup_epochs=0.5,
    batch_size=3,
    learning_rate=1e-3,
    least_learning_rate=1e-5,
    learn_points=False,
    mask_dropout=0.0,
    resolutions=((160, 96),),
    test_resolution=(160, 96),
    strides=(1, 2, 3, 4),
    crop_extra=4,
    color_jitter=0.2,
    keep_every_epochs=100,
)
SMALL_NETWORK = TwoViewConfig(
    encoder_width=96,
    encoder_depth=3,
    encoder_heads=4,
    decoder_width=96,
    decoder_depth=4,
    decoder_heads=4,
    head_stage_widths=(24, 48, 64, 96),
    head_width=48,
)

RECIPES: dict[str, tuple[TrainingSettings, TwoViewConfig]] = {
    "das3r": (PUBLISHED, TwoViewConfig()),
    "small": (SMALL, SMALL_NETWORK),
}
