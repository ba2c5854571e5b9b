"""Settings that all training runs have."""

from dataclasses import dataclass

from scene.errors import InputError

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class RunSettings:
    """Settings of the optimization. Raises `InputError` for values out of range.

    Durations are in epochs. `batch_size` is the number of samples per process and forward pass; an optimizer step
    accumulates `accumulation` forward passes on every process.
    """

    epochs: int = 50
    warmup_epochs: float = 3
    batch_size: int = 8
    accumulation: int = 1
    learning_rate: float = 5e-5
    least_learning_rate: float = 1e-6
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    #: largest norm of the gradient of a step; None: no limit
    gradient_limit: float | None = None
    test_every_epochs: int = 1
    keep_every_epochs: int = 5
    #: times in an epoch that the last checkpoint is written
    saves_per_epoch: int = 1
    seed: int = 0
    #: type that blocks of transformers compute in, "float32" or "bfloat16"; heads and losses use float32
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(f"The precision must be float32 or bfloat16, not {self.precision}.")
        counts = ("epochs", "batch_size", "accumulation", "test_every_epochs", "keep_every_epochs", "saves_per_epoch")
        for name in counts:
            if getattr(self, name) < 1:
                raise InputError(f"--{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("learning_rate", "least_learning_rate", "weight_decay", "warmup_epochs"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"--{name} must be 0 or more, not {getattr(self, name)}.")
        if self.gradient_limit is not None and not self.gradient_limit > 0:
            raise InputError(f"--gradient_limit must be above 0, not {self.gradient_limit}.")

    def samples_per_step(self, processes: int) -> int:
        """Samples of an optimizer step on all processes."""
        return self.batch_size * self.accumulation * processes
