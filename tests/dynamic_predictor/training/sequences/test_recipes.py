"""The named recipes against the numbers of the published configurations."""

import pytest
import torch

from dynamic_predictor.cut3r.config import Cut3rConfig
from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.streamvggt.architecture import PUBLISHED
from dynamic_predictor.training.processes import Process
from dynamic_predictor.training.sequences.cut3r_recipe import Cut3rRecipe
from dynamic_predictor.training.sequences.recipes import RECIPES
from dynamic_predictor.training.sequences.settings import Cut3rTrainingSettings, VggtTrainingSettings

#: head, views, epochs, warm-up, learning rate first and last, batch size, accumulated batches, frozen encoder, views of
#: a chunk, gradient checkpointing, loss by kind of sequence, number of training sets, repeated frames
CUT3R = {
    "cut3r-stage1": ("linear", (4, 4), 100, 10, 1e-4, 1e-6, 16, 1, False, 0, False, False, 15, False),
    "cut3r-stage2": ("linear", (4, 4), 35, 1, 5e-6, 1e-6, 16, 1, False, 0, False, True, 32, False),
    "cut3r-stage3": ("dpt", (4, 4), 40, 2, 1e-5, 1e-6, 16, 1, False, 0, True, True, 31, True),
    "cut3r-stage4": ("dpt", (32, 32), 10, 0.5, 1e-6, 1e-7, 16, 1, True, 4, True, False, 26, False),
    "cut3r-512-vary": ("dpt", (4, 64), 10, 0.5, 1e-6, 1e-7, 4, 4, True, 4, True, True, 26, True),
    "cut3r-224-fixed": ("linear", (16, 16), 10, 0.5, 1e-6, 1e-7, 6, 2, True, 0, False, True, 26, False),
}


@pytest.mark.parametrize("name", CUT3R)
def test_cut3r(name):
    row = RECIPES[name]
    settings, network = row.settings, row.network
    assert isinstance(settings, Cut3rTrainingSettings) and isinstance(network, Cut3rConfig)
    found = (
        network.head_type, (settings.least_views, settings.views), settings.epochs, settings.warmup_epochs,
        settings.learning_rate, settings.least_learning_rate, settings.batch_size, settings.accumulation,
        settings.freeze == "encoder", settings.chunk_views, settings.gradient_checkpointing, settings.by_kind,
        len(settings.samples), settings.allow_repeats,
    )  # fmt: skip
    assert found == CUT3R[name]
    assert settings.gradient_chunks == 4 and settings.alpha == 0.2 and settings.gradient_limit == 1.0
    assert settings.weight_decay == 0.05 and settings.betas == (0.9, 0.95) and settings.precision == "bfloat16"
    sizes = settings.resolutions
    assert sizes == ((224, 224),) if network.head_type == "linear" else len(sizes) == 10 and sizes[0] == (512, 384)


def test_streamvggt_and_the_points_of_vggt():
    for name, freeze, task in (("streamvggt", "encoder", "distillation"), ("vggt-points", "all_but_points", "points")):
        row = RECIPES[name]
        settings = row.settings
        assert isinstance(settings, VggtTrainingSettings) and row.network is PUBLISHED and row.start == "vggt"
        assert (settings.freeze, settings.task) == (freeze, task)
        assert (settings.views, settings.batch_size, settings.epochs, settings.warmup_epochs) == (10, 1, 10, 0.5)
        assert (settings.learning_rate, settings.least_learning_rate) == (1e-5, 1e-7)
        assert len(settings.samples) == 15 and sum(settings.samples.values()) == 39_000
        assert len(settings.resolutions) == 10 and settings.resolutions[0] == (518, 392)
        assert settings.query_points == 64 and not settings.gradient_checkpointing


def test_a_frozen_encoder_leaves_the_published_parameters():
    with torch.device("meta"):
        network = Cut3rNetwork(Cut3rConfig(head_type="linear"))
    row = RECIPES["cut3r-224-fixed"]
    assert isinstance(row.settings, Cut3rTrainingSettings)
    Cut3rRecipe(network, None, row.settings).prepare(Process(0, 1, torch.device("meta")))  # type: ignore[arg-type]
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    # 748.44 M parameters; the encoders: 302.3 M + 25.2 M of blocks, patches 0.79 M + 1.57 M, norms and tokens
    encoder = 302_309_376 + 25_192_448 + (3 * 256 + 1) * 1024 + (6 * 256 + 1) * 1024 + 2 * 2048 + 2 * 1024
    assert trained == 748_443_655 - encoder
