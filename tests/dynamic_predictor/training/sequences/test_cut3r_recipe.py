"""Small runs of CUT3R's training: gradients through chunks of views, memory, resuming, accumulation."""

import argparse
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamic_predictor.cut3r.checkpoint import load_network
from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.cut3r.roll import RollView, has_ray_maps, roll
from dynamic_predictor.training.datasets.samples import stack_samples
from dynamic_predictor.training.processes import Process
from dynamic_predictor.training.sequences.cut3r_recipe import Cut3rRecipe, RolledViews, network_input
from dynamic_predictor.training.sequences.fresh_weights import draw_weights
from dynamic_predictor.training.sequences.point_regression import SequencePredictions, regression_terms
from dynamic_predictor.training.sequences.sequence_batches import truth_of
from dynamic_predictor.training.sequences.settings import Cut3rTrainingSettings
from dynamic_predictor.training.training_log import read_log
from dynamic_predictor.training.training_run import train
from dynamic_predictor.weights.reading import read_checkpoint
from scene.errors import InputError
from tests.dynamic_predictor.cut3r.small_networks import MINIMAL

ALONE = Process(0, 1, torch.device("cpu"))
KINDS = (0.4, 0.3, 0.3)
SETTINGS = Cut3rTrainingSettings(
    samples={"spring": 8},
    resolutions=((32, 32),),
    least_views=3,
    views=3,
    crop_extra=0,
    color_jitter=0.0,
    batch_size=2,
    epochs=2,
    warmup_epochs=0.5,
    test_every_epochs=10,
    learning_rate=2e-3,
    test_set="spring",
    test_samples=2,
    test_views=2,
    test_resolution=(32, 32),
)


def fresh() -> Cut3rNetwork:
    network = Cut3rNetwork(MINIMAL)
    draw_weights(network, 0)
    return network


def losses(folder) -> list[float]:
    return [line["loss"] for line in read_log(folder) if "loss" in line]


@pytest.fixture
def run(make_mixture):
    def train_it(folder, settings=SETTINGS, network=None, kinds=KINDS, **options):
        recipe = Cut3rRecipe(
            network or fresh(), make_mixture(settings.mixture, kinds), settings, make_mixture(settings.test_mixture)
        )
        return train(recipe, folder, process=ALONE, **options)

    return train_it


def batch(make_mixture, settings):
    mixture = make_mixture(settings.mixture, KINDS)
    return stack_samples([mixture[planned] for planned in mixture.plan(0, settings.batch_size)[0]])


def rolled_as_the_official_forward(network, part) -> SequencePredictions:
    """Plain twin: the views one after the other through `roll`, which equals the official code on goldens."""
    given = network_input(part, torch.device("cpu"), masked_tokens=False)
    views = [
        RollView(
            given.images[:, number],
            given.ray_maps[:, number],
            given.has_image[:, number],
            given.has_rays[:, number],
        )
        for number in range(part.images.shape[1])
    ]
    found = [one.prediction for one in roll(network, views, masked_tokens=has_ray_maps(views))]

    def stacked(name):
        return torch.stack([getattr(one, name) for one in found], dim=1)

    names = ("world_points", "world_confidence", "pose", "self_points", "self_confidence", "color")
    return SequencePredictions(*(stacked(name) for name in names))


def gradients(network) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_whole_sequences_have_the_loss_and_gradients_of_the_plain_roll(make_mixture, checkpointing):
    settings = replace(SETTINGS, gradient_checkpointing=checkpointing)
    part = batch(make_mixture, settings)
    assert part.rays_given.any() and not part.image_given.all()
    network, twin = fresh(), fresh()
    recipe = Cut3rRecipe(network, make_mixture(settings.mixture, KINDS), settings)
    model = recipe.prepare(ALONE)
    (update,) = recipe.updates(model, [part], ALONE)
    terms = regression_terms(rolled_as_the_official_forward(twin, part), truth_of(part))
    loss = torch.stack([term.mean.mean() for term in terms.values()]).sum()
    assert update.loss == pytest.approx(loss.item(), rel=1e-4)
    assert sum(update.terms.values()) == pytest.approx(update.loss)
    loss.backward()
    found, wanted = gradients(network), gradients(twin)
    assert set(found) == set(wanted)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_only_the_last_chunks_have_gradients_that_end_at_the_chunk(make_mixture):
    settings = replace(SETTINGS, views=5, least_views=5, freeze="encoder", chunk_views=2, gradient_chunks=2)
    part, truth = batch(make_mixture, settings), None
    network, twin = fresh(), fresh()
    recipe = Cut3rRecipe(network, make_mixture(settings.mixture, KINDS), settings)
    model = recipe.prepare(ALONE)
    truth = truth_of(part)
    given = network_input(part, torch.device("cpu"), masked_tokens=bool(part.rays_given.any()))
    # plain twin: whole views, state cut at the beginning of each chunk
    plain, state = RolledViews(twin, replace(settings, chunk_views=0, freeze="none")), None
    seen = []
    for number, update in enumerate(recipe.updates(model, [part], ALONE)):
        assert update.has_gradients == (number > 0)
        assert bool(gradients(network)) == update.has_gradients
        twin.zero_grad()
        begin, end = 2 * number, min(2 * number + 2, 5)
        predicted, state = plain(given.views(begin, end), state)
        terms = regression_terms(predicted, truth.views(begin, end), first_camera=truth.world_from_camera[:, 0])
        loss = torch.stack([term.mean.mean() for term in terms.values()]).sum()
        assert update.loss == pytest.approx(loss.item(), rel=1e-4)
        loss.backward()
        wanted = gradients(twin)
        for name, gradient in gradients(network).items():
            torch.testing.assert_close(gradient, wanted[name], rtol=1e-3, atol=1e-5, msg=name)
        seen.append(set(gradients(network)))
        network.zero_grad(set_to_none=True)
    assert len(seen) == 3
    frozen = ("patch_embed", "enc_", "masked_", "register_tokens", "decoder_embed_state", "pose_retriever.mem")
    assert not any(name.startswith(frozen) for name in seen[-1]) and any("dec_blocks" in name for name in seen[-1])


def test_a_step_follows_every_chunk_with_gradients(run, tmp_path):
    settings = replace(SETTINGS, views=4, least_views=4, freeze="encoder", chunk_views=1, gradient_chunks=3, epochs=1)
    network = fresh()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    run(tmp_path / "out", settings, network)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("dec_blocks_state") for name in changed)
    assert not any(name.startswith(("enc_", "patch_embed", "register_tokens")) for name in changed)
    steps = read_checkpoint_steps(tmp_path / "out")
    assert steps == 4 * 3  # four steps, each with three chunks


def read_checkpoint_steps(folder) -> int:
    with torch.serialization.safe_globals([argparse.Namespace]):  # of the official layout
        saved = torch.load(folder / "checkpoint-last.pth", weights_only=True)
    return int(max(float(state["step"]) for state in saved["optimizer"]["state"].values()))


def test_loss_falls_and_an_interrupted_run_is_resumed_with_the_same_results(run, tmp_path):
    settings = replace(SETTINGS, samples={"spring": 10})
    whole = fresh()
    validation = run(tmp_path / "whole", settings, whole)
    curve = losses(tmp_path / "whole")
    assert sum(curve[-3:]) < 0.85 * sum(curve[:3])
    assert validation is not None and validation.samples == 2 and set(validation.scores) >= {"world_points", "colors"}
    calls = 0

    def interrupt(stage, done, total):
        nonlocal calls
        calls += 1
        if calls == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parted", settings, progress=interrupt)
    again = fresh()
    run(tmp_path / "parted", settings, again, resume=True)
    assert losses(tmp_path / "parted") == curve
    for name, parameter in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], parameter, rtol=0, atol=0)
    # the layout of the official checkpoints
    saved = read_checkpoint(tmp_path / "whole" / "checkpoint-final.pth")
    assert saved.arguments is not None and saved.arguments.model.startswith("ARCroco3DStereo(ARCroco3DStereoConfig(")
    assert set(saved.tensors) == set(whole.state_dict())
    assert load_network(tmp_path / "whole" / "checkpoint-final.pth").config == MINIMAL


@pytest.mark.parametrize("checkpointing", [False, True])
def test_bfloat16_has_about_the_same_loss_and_gradients(make_mixture, checkpointing):
    found = []
    for precision in ("float32", "bfloat16"):
        settings = replace(SETTINGS, precision=precision, gradient_checkpointing=checkpointing)
        network = fresh()
        recipe = Cut3rRecipe(network, make_mixture(settings.mixture, KINDS), settings)
        (update,) = recipe.updates(recipe.prepare(ALONE), [batch(make_mixture, settings)], ALONE)
        given = [p.grad if p.grad is not None else torch.zeros_like(p) for p in network.parameters()]
        found.append((update.loss, torch.cat([gradient.flatten() for gradient in given])))
    assert found[0][0] != found[1][0] and found[1][0] == pytest.approx(found[0][0], rel=0.05)
    assert torch.cosine_similarity(found[0][1], found[1][1], dim=0) > 0.98


def test_accumulated_batches_equal_one_large_batch(run, tmp_path):
    settings = replace(SETTINGS, samples={"spring": 8}, epochs=1, batch_size=4)
    run(tmp_path / "large", settings)
    run(tmp_path / "parts", replace(settings, batch_size=2, accumulation=2))
    np.testing.assert_allclose(losses(tmp_path / "parts"), losses(tmp_path / "large"), rtol=1e-3)


def test_settings_that_do_not_fit_are_refused():
    for changes, sentence in (
        ({"chunk_views": 4}, "--freeze encoder"),
        ({"freeze": "all_but_points"}, "VGGT"),
        ({"least_views": 9}, "least_views"),
        ({"resolutions": ((30, 32),)}, "multiples of 16"),
        ({"samples": {"spring": 0}}, "samples"),
        ({"gradient_limit": 0.0}, "gradient_limit"),
    ):
        with pytest.raises(InputError, match=sentence):
            replace(SETTINGS, **changes)
