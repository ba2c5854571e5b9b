"""Settings of `stillsplat depth`."""

from dataclasses import dataclass

from dynamic_predictor.driver.settings import ChunkSettings
from scene.option import option
from stillsplat.settings import SceneSettings


@dataclass(frozen=True)
class DepthSettings(SceneSettings, ChunkSettings):
    """Settings of `estimate_depth_maps`."""

    metric: bool = option(False, "depth in meters (da3-nested; da3-metric with --fov)")
    each: bool = option(False, "every image by itself, even where the predictor could use them together")
    png16: bool = option(False, "16-bit PNG files too, in millimeters where the unit is the meter")

    def __post_init__(self) -> None:
        SceneSettings.__post_init__(self)
        ChunkSettings.__post_init__(self)
