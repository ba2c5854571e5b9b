"""Settings of a training run, and the recipes by name."""

from dataclasses import dataclass

from dynamic_predictor.das3r.config import TwoViewConfig
from scene.errors import InputError


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training run. Raises `InputError` for values out of range.

    Durations are in epochs of `pairs_per_epoch` pairs. `batch_size` is the number of pairs per process and forward
    pass; an optimizer step accumulates `accumulation` forward passes on every process.
    """

    #: "encoder_and_3d_predictor": only the mask heads are trained; "encoder": decoders and heads; "none": everything
    freeze: str = "encoder_and_3d_predictor"
    pairs_per_epoch: int = 10_000
    test_pairs: int = 1_000
    epochs: int = 50
    warmup_epochs: float = 3
    batch_size: int = 8
    accumulation: int = 1
    learning_rate: float = 5e-5
    least_learning_rate: float = 1e-6
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
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
    test_every_epochs: int = 1
    keep_every_epochs: int = 5
    seed: int = 0
    #: type that encoder and decoders compute in, "float32" or "bfloat16"; heads and losses use float32
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.freeze not in FREEZES:
            raise InputError(f"--freeze must be one of {', '.join(FREEZES)}, not {self.freeze}.")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"The precision must be float32 or bfloat16, not {self.precision}.")
        for name in ("pairs_per_epoch", "epochs", "batch_size", "accumulation"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("learning_rate", "least_learning_rate", "weight_decay", "warmup_epochs"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"--{name} must be 0 or more, not {getattr(self, name)}.")
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
