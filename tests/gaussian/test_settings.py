"""Settings of the optimization: checks, held-out frames, and files of earlier versions."""

from pathlib import Path

import numpy as np
import pytest

from gaussian.settings import TrainSettings
from scene.errors import InputError


def test_settings_of_earlier_versions_are_read() -> None:
    settings = TrainSettings(opacity_regularization=0.02, scale_regularization=0.03, seed=4)
    former = settings.to_dict()
    former["opacity_pull"] = former.pop("opacity_regularization")
    former["scale_pull"] = former.pop("scale_regularization")
    assert TrainSettings.from_dict(former) == TrainSettings.from_dict(settings.to_dict()) == settings
    with pytest.raises(InputError, match="Unknown optimization settings: sharpness"):
        TrainSettings.from_dict({"sharpness": 1})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"iterations": -1}, "--iterations must be 0 or more, not -1"),
        ({"sh_degree": 4}, "--sh-degree must be 0 to 3, not 4"),
        ({"ssim_weight": 1.5}, "--ssim-weight must be 0 to 1, not 1.5"),
        ({"depth_weight": float("nan")}, "--depth-weight must be a finite number, not nan"),
        ({"max_gaussians": 0}, "--max-gaussians must be 1 or more"),
        ({"test_every": 1}, "--test-every must be 0"),
        ({"test_every": 5, "protocol": "das3r"}, "give only one of them"),
        ({"device": "tpu"}, 'no device called "tpu"; use auto, cpu or cuda'),
        ({"protocol": "other"}, 'no protocol called "other"'),
        ({"densification": "magic"}, 'no densification called "magic"'),
    ],
)
def test_values_that_are_not_allowed(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainSettings(**values)


def test_held_out_frames() -> None:
    assert TrainSettings().test_frames(20) == []
    assert TrainSettings(protocol="das3r").test_frames(20) == [5, 15]
    assert TrainSettings(test_every=4).test_frames(10) == [2, 6]


def test_das3r_holds_out_the_same_frames(shared: Path) -> None:
    names = np.load(shared / "parity" / "das3r" / "gs_init.npz")["eval_test_names"].tolist()
    assert [f"frame_{i:04d}" for i in TrainSettings(protocol="das3r").test_frames(6)] == names
