"""Small runs of StreamVGGT's distillation and of VGGT's training on points."""

import os
import signal
from dataclasses import replace

import pytest
import torch

from dynamic_predictor.streamvggt.architecture import PUBLISHED
from dynamic_predictor.streamvggt.network import GeometryNetwork
from dynamic_predictor.training.datasets.samples import stack_samples
from dynamic_predictor.training.processes import Process
from dynamic_predictor.training.sequences.distillation import WEIGHTS, GeometryPredictions, distillation_terms
from dynamic_predictor.training.sequences.fresh_weights import draw_weights
from dynamic_predictor.training.sequences.settings import VggtTrainingSettings
from dynamic_predictor.training.sequences.streamvggt_recipe import (
    DistillationRecipe,
    PointRecipe,
    check_tracking,
    query_points,
)
from dynamic_predictor.training.training_log import read_log
from dynamic_predictor.training.training_run import train
from dynamic_predictor.weights.reading import read_checkpoint
from scene.errors import InputError
from tests.dynamic_predictor.streamvggt.tiny_networks import MINIMAL

ALONE = Process(0, 1, torch.device("cpu"))
SETTINGS = VggtTrainingSettings(
    samples={"spring": 8},
    resolutions=((42, 42),),
    least_views=2,
    views=2,
    crop_extra=0,
    color_jitter=0.0,
    batch_size=2,
    epochs=2,
    warmup_epochs=0.5,
    test_every_epochs=10,
    learning_rate=2e-3,
    query_points=4,
    test_set="spring",
    test_samples=2,
    test_views=2,
    test_resolution=(42, 42),
)


def drawn(seed: int) -> GeometryNetwork:
    network = GeometryNetwork(MINIMAL)
    draw_weights(network, seed)
    return network


def losses(folder) -> list[float]:
    return [line["loss"] for line in read_log(folder) if "loss" in line]


@pytest.fixture
def distill(make_mixture):
    def run(folder, settings=SETTINGS, student=None, teacher=None, **options):
        recipe = DistillationRecipe(
            student or drawn(0),
            teacher or drawn(1),
            make_mixture(settings.mixture),
            settings,
            make_mixture(settings.test_mixture),
        )
        return train(recipe, folder, process=ALONE, **options)

    return run


def batch(make_mixture, settings=SETTINGS):
    mixture = make_mixture(settings.mixture)
    return stack_samples([mixture[planned] for planned in mixture.plan(0, settings.batch_size)[0]])


def changed(network, before) -> set[str]:
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


def test_the_loss_is_that_of_the_causal_student_and_the_bidirectional_teacher(make_mixture):
    part = batch(make_mixture)
    student, teacher = drawn(0), drawn(1)
    recipe = DistillationRecipe(student, teacher, make_mixture(SETTINGS.mixture), SETTINGS)
    (update,) = recipe.updates(recipe.prepare(ALONE), [part], ALONE)
    points = query_points(part, SETTINGS.query_points)

    def outputs(network, causal):
        with torch.no_grad():
            found = network(part.images, causal=causal, query_points=points)
        tracks = found.tracks
        return GeometryPredictions(
            found.points, found.points_confidence, found.depth, found.depth_confidence, found.camera,
            tracks.points, tracks.visibility, tracks.confidence,
        )  # fmt: skip

    terms = distillation_terms(outputs(student, True), outputs(teacher, False), part.valid)
    assert update.loss == pytest.approx(
        sum(WEIGHTS[name] * term.mean().item() for name, term in terms.items()), rel=1e-4
    )
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())


def test_loss_falls_and_an_interrupted_run_is_resumed_with_the_same_results(distill, tmp_path):
    settings = replace(SETTINGS, samples={"spring": 6})
    whole, teacher = drawn(0), drawn(1)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    validation = distill(tmp_path / "whole", settings, whole, teacher)
    curve = losses(tmp_path / "whole")
    assert curve[-1] < 0.8 * curve[0]
    assert validation is not None and validation.samples == 2
    assert not changed(teacher, before)
    calls = 0

    def interrupt(stage, done, total):
        nonlocal calls
        calls += 1
        if calls == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        distill(tmp_path / "parted", settings, progress=interrupt)
    again = drawn(0)
    distill(tmp_path / "parted", settings, again, resume=True)
    assert losses(tmp_path / "parted") == curve
    for name, parameter in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], parameter, rtol=0, atol=0)
    assert set(read_checkpoint(tmp_path / "whole" / "checkpoint-final.pth").tensors) == set(whole.state_dict())


def test_frozen_parts_do_not_change(distill, make_mixture, tmp_path):
    student = drawn(0)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    distill(tmp_path / "out", replace(SETTINGS, freeze="encoder", epochs=1), student)
    names = changed(student, before)
    assert not any(
        name.startswith(("aggregator.patch_embed", "aggregator.camera_token", "aggregator.register_token"))
        for name in names
    )
    for part in ("aggregator.global_blocks", "camera_head", "depth_head", "point_head", "track_head"):
        assert any(name.startswith(part) for name in names), part
    settings = replace(SETTINGS, task="points", freeze="all_but_points", epochs=1)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    train(PointRecipe(student, make_mixture(settings.mixture), settings, None), tmp_path / "points", process=ALONE)
    names = changed(student, before)
    assert any(name.startswith("point_head") for name in names)
    assert not any(name.startswith(("camera_head", "depth_head", "track_head")) for name in names)


def test_the_published_freeze_leaves_as_many_parameters_as_the_official_one():
    with torch.device("meta"):
        network = GeometryNetwork(PUBLISHED)
    recipe = PointRecipe(network, None, replace(SETTINGS, freeze="encoder"), None)  # type: ignore[arg-type]
    recipe.prepare(Process(0, 1, torch.device("meta")))
    frozen = ("aggregator.patch_embed.", "aggregator.camera_token", "aggregator.register_token")
    count = sum(p.numel() for name, p in network.named_parameters() if not name.startswith(frozen))
    # 1,256.54 M parameters, of which 304.37 M are DINOv2 and 10,240 special tokens
    assert round(count / 1e6) == 952
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    heads = sum(p.numel() for head in (network.depth_head, network.track_head) for p in head.parameters())
    # no gradients pass through the first refinement of cameras, which begins with these nine numbers
    assert trained == count - heads - network.camera_head.empty_pose_tokens.numel()


@pytest.mark.parametrize("changes", [{}, {"query_points": 0}, {"freeze": "encoder"}, {"task": "points"}])
def test_every_trained_parameter_has_a_gradient(make_mixture, changes):
    """Otherwise several processes would wait for each other."""
    settings = replace(SETTINGS, **changes)
    student, mixture = drawn(0), make_mixture(settings.mixture)
    if settings.task == "points":
        recipe = PointRecipe(student, mixture, settings, None)
    else:
        recipe = DistillationRecipe(student, drawn(1), mixture, settings)
    list(recipe.updates(recipe.prepare(ALONE), [batch(make_mixture, settings)], ALONE))
    for name, parameter in student.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_gradient_checkpointing_changes_nothing(make_mixture):
    part, found = batch(make_mixture), []
    for checkpointing in (False, True):
        settings = replace(SETTINGS, gradient_checkpointing=checkpointing)
        student = drawn(0)
        recipe = DistillationRecipe(student, drawn(1), make_mixture(settings.mixture), settings)
        (update,) = recipe.updates(recipe.prepare(ALONE), [part], ALONE)
        gradient = student.aggregator.global_blocks[0].attn.qkv.weight.grad
        found.append((update.loss, gradient))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-3, atol=1e-5)


def test_bfloat16_has_about_the_same_loss(make_mixture):
    part, found = batch(make_mixture), []
    for precision in ("float32", "bfloat16"):
        settings = replace(SETTINGS, precision=precision)
        recipe = DistillationRecipe(drawn(0), drawn(1), make_mixture(settings.mixture), settings)
        (update,) = recipe.updates(recipe.prepare(ALONE), [part], ALONE)
        found.append(update.loss)
    assert found[0] != found[1] and found[1] == pytest.approx(found[0], rel=0.1)


def test_query_points_lie_where_depth_is_known_and_depend_on_the_views_alone(make_mixture):
    part = batch(make_mixture)
    valid = torch.zeros_like(part.valid)
    valid[:, :, 10:14, 20:30] = True
    part = replace(part, valid=valid)
    points = query_points(part, 50)
    assert points.shape == (2, 50, 2)
    assert (points[..., 0] >= 20).all() and (points[..., 0] < 30).all()
    assert (points[..., 1] >= 10).all() and (points[..., 1] < 14).all()
    assert torch.equal(query_points(part, 50), points)
    anywhere = query_points(replace(part, valid=torch.zeros_like(valid)), 50)
    assert (anywhere[..., 0] > 30).any()


def test_images_that_are_too_small_to_track_in_are_refused():
    with torch.device("meta"):
        network = GeometryNetwork(PUBLISHED)
    small = replace(SETTINGS, resolutions=((56, 56),))
    with pytest.raises(InputError, match="--query_points 0"):
        check_tracking(network, small)
    check_tracking(network, replace(small, query_points=0))
    check_tracking(network, replace(small, task="points"))
