"""The registry of dynamic predictors by name."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from dynamic_predictor.contract import Predictor
from scene.errors import InputError


@dataclass(frozen=True)
class PredictorEntry:
    """A predictor as it stands in the registry. `create(seed)` builds it and is where heavy imports happen."""

    name: str
    description: str
    weights_license: str | None
    memory: str
    create: Callable[[int], Predictor]
    #: the dataclass of what can be chosen about it, which its attribute `settings` is one of; None: nothing can
    settings_type: Callable[[], type] | None = None
    #: whether it says something about one image, given as a clip of two equal frames
    single_images: bool = False


def _create_geometric(seed: int) -> Predictor:
    from dynamic_predictor.geometric.predictor import GeometricPredictor

    return GeometricPredictor(seed=seed)


def _geometric_settings() -> type:
    from dynamic_predictor.geometric.predictor import GeometricSettings

    return GeometricSettings


def _create_das3r(seed: int) -> Predictor:
    from dynamic_predictor.das3r.predictor import TwoViewPredictor

    return TwoViewPredictor("das3r")  # nothing in it is random


def _create_monst3r(seed: int) -> Predictor:
    from dynamic_predictor.das3r.predictor import TwoViewPredictor

    return TwoViewPredictor("monst3r")


def _two_view_settings() -> type:
    from dynamic_predictor.das3r.settings import TwoViewSettings

    return TwoViewSettings


def _depth_anything3(size: str, *, license: str, memory: str, metric: bool = False) -> PredictorEntry:
    name = f"da3-{size}"

    def create(seed: int) -> Predictor:
        from dynamic_predictor.depth_anything3.predictor import DepthAnything3Predictor

        return DepthAnything3Predictor(name, seed=seed)

    return PredictorEntry(
        name=name,
        description=f"Depth Anything 3, {size}: cameras and depth{' in metres' if metric else ''}, geometric motion",
        weights_license=license,
        memory=memory,
        create=create,
        settings_type=_depth_anything3_settings,
        single_images=True,
    )


def _depth_anything3_settings() -> type:
    from dynamic_predictor.depth_anything3.predictor import DepthAnything3Settings

    return DepthAnything3Settings


_DA3_LICENSE = "CC BY-NC 4.0 (no commercial use)"

_REGISTRY = {
    entry.name: entry
    for entry in [
        PredictorEntry(
            name="geometric",
            description="weight-free: optical flow, bundle adjustment, epipolar motion",
            weights_license=None,
            memory="under 3 GiB of RAM at 512 pixels, no GPU",
            create=_create_geometric,
            settings_type=_geometric_settings,
        ),
        PredictorEntry(
            name="das3r",
            description="DAS3R: points and motion of pairs of frames by a network, then global alignment",
            weights_license="CC BY-NC-SA 4.0 (no commercial use), as DUSt3R",
            memory="about 7 GiB of RAM for 50 frames at 512 pixels; a GPU turns an hour into a minute",
            create=_create_das3r,
            settings_type=_two_view_settings,
            single_images=True,
        ),
        PredictorEntry(
            name="monst3r",
            description="MonST3R: the same without motion masks of its own; the geometric motion stage finds them",
            weights_license="CC BY-NC-SA 4.0 (no commercial use), as DUSt3R",
            memory="about 7 GiB of RAM for 50 frames at 512 pixels; a GPU turns an hour into a minute",
            create=_create_monst3r,
            settings_type=_two_view_settings,
            single_images=True,
        ),
        _depth_anything3("small", license="Apache-2.0", memory="about 2 GiB of RAM for 50 frames, estimated"),
        _depth_anything3("base", license="Apache-2.0", memory="about 3 GiB of RAM for 50 frames, estimated"),
        _depth_anything3("large", license=_DA3_LICENSE, memory="about 5 GiB of RAM for 50 frames, estimated"),
        _depth_anything3("giant", license=_DA3_LICENSE, memory="about 10 GiB of RAM for 50 frames, estimated"),
        _depth_anything3(
            "nested", license=_DA3_LICENSE, memory="about 12 GiB of RAM for 50 frames, estimated", metric=True
        ),
    ]
}


def available_predictors() -> dict[str, PredictorEntry]:
    """All predictors by name."""
    return dict(_REGISTRY)


def create_predictor(name: str, *, seed: int = 0, **settings: Any) -> Predictor:
    """The predictor called `name`, with fields of its settings replaced by `settings`.

    Raises `InputError` that lists the known names for another name, and one that names settings it does not have.
    """
    unknown = unknown_settings(name, settings)
    if unknown:
        raise InputError(f"The predictor {name} has no setting called {', '.join(unknown)}; leave it out.")
    predictor: Any = _REGISTRY[name].create(seed)
    if settings:
        predictor.settings = replace(predictor.settings, **settings)
    return predictor


def unknown_settings(name: str, settings: Iterable[str]) -> list[str]:
    """Which of `settings` the predictor called `name` does not have; `InputError` for an unknown name."""
    if name not in _REGISTRY:
        raise InputError(f'There is no predictor called "{name}"; choose one of: {", ".join(sorted(_REGISTRY))}.')
    settings_type = _REGISTRY[name].settings_type
    known = set() if settings_type is None else {field.name for field in fields(settings_type())}
    return sorted(set(settings) - known)
