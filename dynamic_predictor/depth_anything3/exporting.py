"""Exports on the way out of `DepthAnything3.inference`.

Formats need what lies above this package, such as the renderer of Gaussians, so nothing of them is imported here. This
module says what is wanted and by whom it is done; the front door is looked up by name when somebody wants an export,
as predictors are in their registry.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from dynamic_predictor.depth_anything3.prediction import DepthAnything3Prediction

#: takes an `ExportRequest`, refuses with `InputError` what cannot be done, and returns what writes a prediction
_EXPORTER = "stillsplat.official_exports:prepare_exports"

WritePrediction = Callable[[DepthAnything3Prediction], None]


@dataclass(frozen=True)
class ExportRequest:
    """What `inference` was told about exports; names of the official arguments where they differ are in brackets.

    `formats`: joined by "-" [export_format]. `render_*`: the cameras of gs_video, camera from world (M, 4, 4),
    intrinsics (M, 3, 3) in pixels of `render_size` (H, W) [render_exts, render_ixts, render_hw]. `options`: format ->
    its own options [export_kwargs]. `has_*`: what the prediction will have.
    """

    folder: Path
    formats: str
    confidence_percentile: float = 40.0
    max_points: int = 1_000_000
    show_cameras: bool = True
    feature_rate: float = 15.0
    render_extrinsics: Any = None
    render_intrinsics: Any = None
    render_size: tuple[int, int] | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    has_cameras: bool = True
    has_gaussians: bool = False
    has_features: bool = False
    strict_official: bool = False


def prepare_exports(request: ExportRequest) -> WritePrediction:
    """What writes a prediction as `request` says. Raises `InputError` for what cannot be written, so that nobody waits
    for a network in vain."""
    module, function = _EXPORTER.split(":")
    return getattr(import_module(module), function)(request)
