"""Epochs over several training sets."""

from collections import Counter

import pytest
import torch
from torch.utils.data import DataLoader

from dynamic_predictor.training.datasets.mixture import Mixture, MixtureRecipe, PlannedSample
from dynamic_predictor.training.datasets.mixtures import MIXTURES
from dynamic_predictor.training.datasets.samples import stack_samples
from dynamic_predictor.training.datasets.table import TRAINING_SETS
from dynamic_predictor.training.datasets.training_set import open_training_set
from scene.errors import InputError
from tests.dynamic_predictor.training.datasets.processed_folders import WRITERS

RECIPE = MixtureRecipe({"spring": 20, "hypersim": 5}, ((48, 32), (32, 32), (32, 48)), 2, 4)


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    sets = {}
    for name in RECIPE.samples:
        folder = tmp_path_factory.mktemp(name)
        WRITERS[name](folder)
        sets[name] = open_training_set(name, folder, max_views=4)
    return Mixture(RECIPE, sets, seed=3)


def _flat(batches: list[list[PlannedSample]]) -> list[PlannedSample]:
    return [sample for batch in batches for sample in batch]


def test_counts_and_shapes(mixture: Mixture) -> None:
    batches = mixture.plan(0, 5)
    assert len(batches) == mixture.batches_per_epoch(5) == 5 and mixture.samples_per_epoch() == 25
    assert Counter(sample.set_number for sample in _flat(batches)) == {0: 20, 1: 5}
    # 9 samples of spring: each is used before any is used again
    uses = Counter(sample.index for sample in _flat(batches) if sample.set_number == 0)
    assert len(uses) == 9 and set(uses.values()) == {2, 3}
    for batch in batches:
        assert len({(sample.views, sample.resolution) for sample in batch}) == 1
    shapes = Counter((batch[0].resolution, batch[0].views) for epoch in range(300) for batch in mixture.plan(epoch, 25))
    by_size = Counter()
    for (resolution, views), count in shapes.items():
        assert 2 <= views <= 4
        by_size[resolution] += count
    assert by_size[(48, 32)] / 300 == pytest.approx(0.5, abs=0.09)  # the first half of the sizes, twice as often


def test_plan_does_not_depend_on_the_processes(mixture: Mixture) -> None:
    whole = mixture.plan(4, 4)
    parts = [mixture.plan(4, 2, rank=rank, world_size=2) for rank in range(2)]
    joined = [[*first, *second] for first, second in zip(*parts, strict=True)]
    assert joined == whole
    assert [batch[0].views for batch in parts[0]] == [batch[0].views for batch in parts[1]]
    assert mixture.plan(4, 4) == whole and mixture.plan(5, 4) != whole


def test_batches_are_read_in_any_order(mixture: Mixture) -> None:
    """By `DataLoader` as by hand, and after an interruption."""
    planned = mixture.plan(1, 2)
    loader = DataLoader(mixture, batch_sampler=planned, collate_fn=stack_samples)
    whole = list(loader)
    assert len(whole) == 12
    for at in (11, 3):
        again = stack_samples([mixture[sample] for sample in planned[at]])
        assert again.views == whole[at].views and torch.equal(again.images, whole[at].images)
    batch = whole[0]
    assert batch.images.shape[:2] == batch.z_depth.shape[:2] and batch.images.shape[0] == 2
    assert batch.is_metric.shape == (2,) and len(batch.dataset) == 2
    points = batch.world_points()
    assert points.shape == (*batch.z_depth.shape, 3)
    assert torch.equal(points[1], mixture[planned[0][1]].world_points())
    assert torch.equal(batch.to(torch.device("cpu")).z_depth, batch.z_depth)


def test_missing_sets(mixture: Mixture) -> None:
    with pytest.raises(InputError, match="The training set spring, hypersim is missing; give its folder"):
        Mixture(RECIPE, {}, seed=0)
    assert RECIPE.only(["hypersim"]).samples == {"hypersim": 5}


def test_published_mixtures() -> None:
    """Totals of the published configurations, summed from their files."""
    totals = {name: sum(recipe.samples.values()) for name, recipe in MIXTURES.items()}
    assert totals == {
        "cut3r-stage1": 806000,
        "cut3r-stage2": 801880,
        "cut3r-stage3": 729248,
        "cut3r-stage4": 398684,
        "cut3r-512-vary-4-64": 756248,
        "cut3r-224-fixed-16": 797368,
        "streamvggt": 39000,
    }
    for recipe in MIXTURES.values():
        assert set(recipe.samples) <= set(TRAINING_SETS)
    sizes = {name: len(recipe.samples) for name, recipe in MIXTURES.items()}
    assert sizes["cut3r-stage2"] == 32 and sizes["streamvggt"] == 15 and sizes["cut3r-stage1"] == 15
    assert set(MIXTURES["cut3r-stage2"].samples) | set(MIXTURES["cut3r-stage3"].samples) == set(TRAINING_SETS)
    assert MIXTURES["cut3r-stage4"].samples["point_odyssey"] == 14400
    assert MIXTURES["cut3r-stage3"].samples["hoi4d"] == 12000
    # patches of 16 and of 14 pixels
    for width, height in MIXTURES["cut3r-512-vary-4-64"].resolutions:
        assert width % 16 == height % 16 == 0
    for width, height in MIXTURES["streamvggt"].resolutions:
        assert width % 14 == height % 14 == 0
