"""Generated scenes and training sets made of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from dynamic_predictor.training.datasets.mixture import Mixture, MixtureRecipe
from dynamic_predictor.training.datasets.table import training_set_spec
from dynamic_predictor.training.datasets.training_set import TrainingSet
from tests.dynamic_predictor.training.sequences.generated_scenes import FOLDER, SET, write_scenes


@pytest.fixture(scope="session")
def generated_root(tmp_path_factory) -> Path:
    """A folder with two scenes of six frames, 64x48."""
    return write_scenes(tmp_path_factory.mktemp("generated"))


@pytest.fixture(scope="session")
def make_mixture(generated_root):
    """`make_mixture(recipe, kinds)`: the scenes, whose views are given as images, rays and both with the probabilities
    `kinds`."""

    def make(recipe: MixtureRecipe, kinds: tuple[float, float, float] = (1.0, 0.0, 0.0)) -> Mixture:
        spec = replace(training_set_spec(SET), input_kinds=kinds)
        views = recipe.max_views
        return Mixture(
            recipe, {SET: TrainingSet(spec, generated_root / FOLDER, max_views=views, allow_repeats=False)}, seed=0
        )

    return make
