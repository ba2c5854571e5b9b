"""Settings of CUT3R as a predictor. Nothing heavy is imported here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from scene.errors import InputError
from scene.option import option

StateUpdate = Literal["auto", "plain", "damped", "ttt3r", "recal3r"]
Precision = Literal["float32", "bfloat16"]

#: views between two resets under `ttt3r`, as its authors use it for long clips
_TTT3R_RESET = 100


@dataclass(frozen=True)
class Cut3rSettings:
    """Settings of `Cut3rPredictor`. Raises `InputError` for values out of range."""

    #: checkpoint file or folder; None: looked for where weights are kept
    weights: str | Path | None = None
    #: `auto`: plain for the first 50 views, ReCal3R from then on (see `state_update`)
    state_update: StateUpdate = option("auto", "how far the state moves with each frame", choices=get_args(StateUpdate))
    #: None: 100 under `ttt3r`, never under other rules
    reset_interval: int | None = option(
        None, "forget everything every N frames, and align what follows; 0: never", metavar="N"
    )
    #: further passes over the whole clip: in the last one the state is frozen, and it gives the result
    revisits: int = option(0, "passes over the whole clip after the first one", metavar="N")
    global_alignment: bool = option(False, "start from many frames in turn and align the results (short clips; slow)")
    solve_pose: bool = option(False, "find poses from the predicted points instead of the pose head")
    #: of encoder and decoders on GPUs; heads and the state between views are float32
    precision: Precision = option("float32", "what the backbone computes in")
    #: follow the official demo in every detail: see docs/cut3r.md
    strict_official: bool = False
    #: long side of the network's input in pixels (for 224: the short side); None: what the model was trained for
    image_size: int | None = None
    #: cut frames to multiples of 16, as the network was evaluated, or squeeze them
    crop: bool = True

    def __post_init__(self) -> None:
        for name, kind in (("state_update", StateUpdate), ("precision", Precision)):
            if getattr(self, name) not in get_args(kind):
                raise InputError(
                    f'There is no {name.replace("_", " ")} called "{getattr(self, name)}"; choose one of: '
                    f"{', '.join(get_args(kind))}."
                )
        if self.reset_interval is not None and (self.reset_interval < 0 or self.reset_interval == 1):
            raise InputError(f"The state is reset after at least 2 frames, or 0 for never, not {self.reset_interval}.")
        if self.revisits < 0:
            raise InputError(f"The number of further passes must be 0 or more, not {self.revisits}.")
        if self.revisits and self.global_alignment:
            raise InputError("Global alignment makes passes of its own; leave out the revisits.")
        if self.image_size is not None and self.image_size < 32:
            raise InputError(f"The network needs images of at least 32 pixels, not {self.image_size}.")

    @property
    def views_between_resets(self) -> int:
        """0: never."""
        if self.reset_interval is not None:
            return self.reset_interval
        return _TTT3R_RESET if self.state_update == "ttt3r" else 0

    @property
    def needs_whole_clip(self) -> str | None:
        """What cannot be done one view after the other; None: nothing."""
        return "revisits" if self.revisits else "global alignment" if self.global_alignment else None
