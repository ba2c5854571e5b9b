"""Options of the formats: checked in Python, and read from the command line."""

import argparse
from typing import Any

import pytest

from scene.errors import InputError
from scene.formats.options import ExportOptions
from terminal.options import add_options, settings_from


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence_percentile": 101}, "confidence percentile must be from 0 to 100"),
        ({"ceiling_percentile": -1}, "ceiling percentile"),
        ({"max_points": 0}, "At least one point"),
        ({"view_step": 0}, "N-th view"),
        ({"feature_rate": 0}, "per second"),
        ({"camera_size": 0}, "size of the cameras"),
        ({"trajectory": "loop"}, 'camera path "loop"; choose from: original'),
        ({"quality": "best"}, 'quality "best"'),
        ({"depth_place": "above"}, 'place "above"'),
        ({"video_name": "../walk"}, "plain name"),
    ],
)
def test_values_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ExportOptions(**options)


def test_the_command_line() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, ExportOptions)
    assert settings_from(parser.parse_args([]), ExportOptions) == ExportOptions()
    words = (
        "--conf-percentile 20 --max-points 9 --no-show-cameras --feature-fps 3 --trajectory smooth --video-quality low"
    )
    assert settings_from(parser.parse_args(words.split()), ExportOptions, seed=4) == ExportOptions(
        confidence_percentile=20.0,
        max_points=9,
        show_cameras=False,
        feature_rate=3.0,
        trajectory="smooth",
        quality="low",
        seed=4,
    )
