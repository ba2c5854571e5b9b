"""Settings that are refused, and what they cost to import."""

import subprocess
import sys

import pytest

from dynamic_predictor.cut3r.settings import Cut3rSettings
from scene.errors import InputError
from tests.paths import ROOT


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state_update": "best"}, "choose one of: auto, plain, damped, ttt3r, recal3r"),
        ({"precision": "float16"}, "bfloat16"),
        ({"reset_interval": 1}, "at least 2 frames"),
        ({"reset_interval": -5}, "at least 2 frames"),
        ({"revisits": -1}, "0 or more"),
        ({"revisits": 1, "global_alignment": True}, "revisits"),
        ({"image_size": 8}, "32 pixels"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(changes, message):
    with pytest.raises(InputError, match=message):
        Cut3rSettings(**changes)


def test_resets_are_part_of_ttt3r():
    assert Cut3rSettings().views_between_resets == 0
    assert Cut3rSettings(state_update="ttt3r").views_between_resets == 100
    assert Cut3rSettings(state_update="ttt3r", reset_interval=0).views_between_resets == 0
    assert Cut3rSettings(reset_interval=40).views_between_resets == 40


def test_settings_need_no_torch():
    code = "import sys, dynamic_predictor.cut3r.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
