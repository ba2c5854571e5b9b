"""Settings of `stillsplat depth`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dynamic_predictor.driver.settings import StreamSettings
from scene.errors import InputError
from scene.option import option
from stillsplat.settings import SceneSettings

_NETWORK = "network (predictors that have these settings)"


@dataclass(frozen=True)
class DepthSettings(SceneSettings):
    """Settings of `estimate_depth_maps`."""

    metric: bool = option(False, "depth in meters (da3-nested; da3-metric with --fov)")
    each: bool = option(False, "every image by itself, even where the predictor could use them together")
    png16: bool = option(False, "16-bit PNG files too, in millimeters where the unit is the meter")
    chunk_size: int = option(60, "frames predicted together", metavar="N", group="chunks")
    overlap: int = option(30, "frames shared with the next chunk", metavar="N", group="chunks")
    #: fields of the predictor's settings; None: its default
    export_features: str | None = option(
        None, "blocks whose features feat_vis shows: 5,11", metavar="BLOCKS", group=_NETWORK
    )
    use_ray_pose: bool = option(False, "cameras from the rays, not from the camera decoder", group=_NETWORK)
    ref_view_strategy: str | None = option(
        None,
        "the reference view",
        choices=("first", "middle", "saddle_balanced", "saddle_sim_range"),
        group=_NETWORK,
    )
    resize_method: str | None = option(
        None,
        "how images are brought to --max-size",
        choices=("upper_bound_resize", "lower_bound_resize", "upper_bound_crop", "lower_bound_crop"),
        group=_NETWORK,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        StreamSettings(chunk_size=self.chunk_size, overlap=self.overlap)

    def feature_blocks(self) -> tuple[int, ...]:
        """Numbers of the blocks in `export_features`."""
        try:
            return tuple(int(part) for part in (self.export_features or "").split(",") if part.strip())
        except ValueError:
            raise InputError(
                f"--export-features are numbers of blocks with commas between them, such as 5,11, not "
                f'"{self.export_features}".'
            ) from None

    def network_settings(self, formats: Sequence[str]) -> dict[str, Any]:
        """The predictor's settings that these options and `formats` set; raises `InputError` for those it has not."""
        given: dict[str, tuple[str, Any]] = {
            "--export-features": ("export_feat_layers", self.feature_blocks()),
            "--use-ray-pose": ("use_ray_pose", self.use_ray_pose),
            "--ref-view-strategy": ("ref_view_strategy", self.ref_view_strategy),
            "--resize-method": ("process_res_method", self.resize_method),
        }
        # formats and predictors are imported here, so that --help stays fast
        from dynamic_predictor.specs import unknown_settings
        from scene.formats.registry import needs_of

        chosen: dict[str, Any] = {}
        for name, (item, value) in given.items():
            if not value:
                continue
            if unknown_settings(self.predictor, [item]):
                raise InputError(f"The predictor {self.predictor} has no such setting; leave out {name}.")
            chosen[item] = value
        if self.max_size is not None and not unknown_settings(self.predictor, ["process_res"]):
            chosen["process_res"] = self.max_size
        if self.spec.gaussians and {"gaussians", "pixel_gaussians"} & needs_of(formats):
            chosen["infer_gs"] = True
        return chosen
