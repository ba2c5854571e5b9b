"""The table of predictors: one row each, declared in the folder of its system.

A new predictor is one folder with a `spec.py` and one row here (docs/architecture.md has the recipe).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from dynamic_predictor.cut3r.spec import SPECS as CUT3R
from dynamic_predictor.das3r.spec import SPECS as DAS3R
from dynamic_predictor.depth_anything3.spec import SPECS as DEPTH_ANYTHING_3
from dynamic_predictor.geometric.spec import SPEC as GEOMETRIC
from dynamic_predictor.predictor_spec import PredictorSpec
from dynamic_predictor.streamvggt.spec import SPECS as STREAMVGGT
from scene.errors import InputError

if TYPE_CHECKING:
    from dynamic_predictor.contract import Predictor

_TABLE: dict[str, PredictorSpec] = {
    spec.name: spec for spec in (GEOMETRIC, *DAS3R, *DEPTH_ANYTHING_3, *CUT3R, *STREAMVGGT)
}


def specs() -> dict[str, PredictorSpec]:
    """All predictors by name, in the order of the documentation."""
    return dict(_TABLE)


def predictor_spec(name: str) -> PredictorSpec:
    """The row of the predictor called `name`; `InputError` lists the names otherwise."""
    if name not in _TABLE:
        raise InputError(f'There is no predictor called "{name}"; choose one of: {", ".join(sorted(_TABLE))}.')
    return _TABLE[name]


@contextmanager
def registered(spec: PredictorSpec) -> Iterator[None]:
    """Adds a row for as long as the block lasts: for predictors of other packages, and for tests."""
    if spec.name in _TABLE:
        raise ValueError(f"there is a predictor called {spec.name} already")
    _TABLE[spec.name] = spec
    try:
        yield
    finally:
        del _TABLE[spec.name]


def create_predictor(name: str, *, device: str = "auto", seed: int = 0, **settings: Any) -> "Predictor":
    """The predictor called `name` with `settings`, fields of its settings type.

    Raises `InputError` for an unknown name, for settings that it does not have, and for a device that is not there.
    """
    from dynamic_predictor.networks.devices import resolved_device

    spec = predictor_spec(name)
    unknown = unknown_settings(name, settings)
    if unknown:
        raise InputError(f"The predictor {name} has no setting called {', '.join(unknown)}; leave it out.")
    return spec.load(spec.settings_type()(**settings), resolved_device(device), seed)


def unknown_settings(name: str, settings: Iterable[str]) -> list[str]:
    """Those of `settings` that the predictor called `name` does not have; `InputError` for an unknown name."""
    known = {field.name for field in fields(predictor_spec(name).settings_type())}
    return sorted(set(settings) - known)
