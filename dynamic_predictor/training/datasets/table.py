"""The table of training sets: the 32 of CUT3R (Wang et al., CVPR 2025), with ARKitScenes in two resolutions, of which
StreamVGGT (Zhuo et al., 2025) uses 14. A set is added by one row."""

from dynamic_predictor.training.datasets.dynamic_sets import DYNAMIC_SETS
from dynamic_predictor.training.datasets.single_view_sets import SINGLE_VIEW_SETS
from dynamic_predictor.training.datasets.spec import TrainingSetSpec
from dynamic_predictor.training.datasets.static_sets import STATIC_SETS
from scene.errors import InputError

TRAINING_SETS: dict[str, TrainingSetSpec] = {
    spec.name: spec for spec in (*STATIC_SETS, *DYNAMIC_SETS, *SINGLE_VIEW_SETS)
}


def training_set_spec(name: str) -> TrainingSetSpec:
    """The row `name`. Raises `InputError` for a name that is not in the table."""
    if name not in TRAINING_SETS:
        raise InputError(f'There is no training set "{name}"; choose one of {", ".join(sorted(TRAINING_SETS))}.')
    return TRAINING_SETS[name]
