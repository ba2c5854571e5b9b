"""What lies between input and output of the networks, against the official ones: tokens, blocks, maps, logits."""

from collections.abc import Callable
from contextlib import contextmanager
from itertools import product

import numpy as np
import pytest
import torch

from dynamic_predictor.depth_anything3.cameras import encode_cameras
from dynamic_predictor.depth_anything3.network import ForwardOptions
from dynamic_predictor.depth_anything3.official import OFFICIAL
from dynamic_predictor.depth_anything3.reference_view import (
    SMALLEST_CHOICE,
    choose_reference_view,
    reference_first,
    take_views,
)
from tests.dynamic_predictor.depth_anything3.da3_goldens import Golden, assert_close

_NETWORKS = ["tiny_anyview", "tiny_anyview_posecond", "tiny_giant_gs", "tiny_mono_metric"]


@contextmanager
def _recorded(
    module: torch.nn.Module, into: dict[str, torch.Tensor], name: str, pick: Callable = lambda output: output
):
    """Keeps what `module` gives, part by part where it is called for chunks of views."""

    def keep(_, __, output) -> None:
        value = pick(output).detach().clone()
        into[name] = torch.cat([into[name], value]) if name in into else value

    handle = module.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()


def _run(golden: Golden, case: str) -> dict[str, torch.Tensor]:
    """The intermediate values of our network under the names of the goldens."""
    network, values = golden.network(overrides={} if case.startswith("pure") else None), {}
    backbone, head = network.backbone.pretrained, network.head
    modules = {
        "patch_embed": (backbone.patch_embed, lambda output: output[0]),
        "head.refinenet4": (head.scratch.refinenet4, None),
        "head.refinenet1": (head.scratch.refinenet1, None),
        "head.logits": (head.scratch.output_conv2, None),
    }
    for index, block in enumerate(backbone.blocks):
        modules[f"block{index}_out"] = (block, None)
    if golden.description["config"]["alt"] >= 0:
        modules["head.refinenet1_aux"] = (head.scratch.refinenet1_aux, None)
        modules["head.aux_logits"] = (head.scratch.output_conv2_aux[3], lambda output: output.permute(0, 3, 1, 2))
        modules["cam_dec.pose_enc"] = (network.cam_dec, None)
        modules["cam_enc.tokens"] = (network.cam_enc, None)
    else:
        modules["head.sky_logits"] = (head.scratch.sky_output_conv2, None)
    known = {}
    if f"{case}/in.extrinsics" in golden:
        known = {
            "camera_from_world": golden.tensor(f"{case}/in.extrinsics"),
            "intrinsics": golden.tensor(f"{case}/in.intrinsics"),
        }
    found: list = []
    handle = backbone.register_forward_hook(lambda _, __, output: found.append(output))
    recorders = [
        _recorded(module, values, name, pick or (lambda output: output)) for name, (module, pick) in modules.items()
    ]
    for recorder in recorders:
        recorder.__enter__()
    network(golden.tensor(f"{case}/x"), ForwardOptions(rays=True, conventions=OFFICIAL), **known)
    for recorder in recorders:
        recorder.__exit__(None, None, None)
    handle.remove()
    if known:
        size = golden[f"{case}/x"].shape[-2:]
        values["cam_enc.pose_branch_in"] = encode_cameras(known["camera_from_world"], known["intrinsics"], size)
    values["block0_in"] = backbone.embed(golden.tensor(f"{case}/x").flatten(0, 1))
    for level in range(4):
        values[f"backbone.patch{level}"] = torch.cat([part.patches[level] for part in found])
    first_tokens = _first_tokens(golden, values, views=golden[f"{case}/x"].shape[1], known=bool(known))
    values |= {f"backbone.cam{level}": tokens for level, tokens in enumerate(first_tokens[:-1])}
    values["backbone.cam3"] = torch.cat([part.camera_token for part in found])
    return values


def _first_tokens(golden: Golden, values: dict[str, torch.Tensor], views: int, known: bool) -> list[torch.Tensor]:
    """The first token of every view at the out layers, from what our blocks gave: the network itself hands on that of
    the last one only, the one that anything is made of."""
    config = golden.description["config"]
    start = config["alt"] if config["alt"] >= 0 else None
    original = torch.arange(views)[None]
    local, tokens = torch.empty(0), []
    for index in range(config["depth"]):
        block = values[f"block{index}_out"]
        current = block.reshape(views, -1, block.shape[-1])[None, :, 0]
        if start is None or index < start or index % 2 == 0:
            local = current
        if start is not None and index == start - 2 and views >= SMALLEST_CHOICE and not known:
            order = reference_first(choose_reference_view(current), views)
            original = order.argsort(dim=1)
        if index in config["out_layers"]:
            both = current if start is None else torch.cat([local, current], dim=-1)
            tokens.append(take_views(both, original))
    return tokens


@pytest.mark.parametrize(("name", "case"), [*product(_NETWORKS, ("n1", "n2", "n4")), ("tiny_anyview", "pure_n2")])
def test_every_stage_equals_the_official_one(golden, name, case):
    goldens = golden(name)
    values = _run(goldens, case)
    prefix = f"{case}/mid."
    compared = set()
    for key in goldens.arrays.files:
        stage = key.removeprefix(prefix)
        if not key.startswith(prefix) or stage.startswith("gs_head"):
            continue
        expected = goldens[key]
        assert_close(np.asarray(values[stage]).reshape(expected.shape), expected)
        compared.add(stage)
    assert {"patch_embed", "block0_in", "block0_out", "backbone.patch3", "head.refinenet1", "head.logits"} <= compared
    assert {f"backbone.cam{level}" for level in range(4)} <= compared


@pytest.mark.parametrize("name", [*_NETWORKS, "tiny_anyview_raypose", "tiny_nested"])
def test_images_are_normalized_as_officially(golden, name):
    goldens = golden(name)
    cases = [case for case in goldens.cases() if f"{case}/img" in goldens]
    assert cases
    for case in cases:
        pixels = (goldens[f"{case}/img"] * 255.0).astype(np.uint8).transpose(0, 2, 3, 1)
        back = OFFICIAL.returned_images(pixels, goldens.tensor(f"{case}/x").flatten(0, 1))
        assert np.abs(back.astype(int) - pixels).max() <= 1  # cut off, not rounded: a last bit moves one step


@pytest.mark.parametrize("case", ["n1", "n2", "n4"])
def test_depth_before_the_sky_is_filled(golden, case):
    goldens = golden("tiny_mono_metric")
    network, parts = goldens.network(), []
    network.head.register_forward_hook(lambda _, __, output: parts.append(output))
    network(goldens.tensor(f"{case}/x"))
    for name, field in (("head.depth", "depth"), ("head.sky", "sky")):
        found = torch.cat([getattr(part, field) for part in parts])
        assert_close(np.asarray(found)[None], goldens[f"{case}/{name}"])


@pytest.mark.parametrize("case", ["n1", "n2", "n4"])
def test_raw_gaussians(golden, case):
    goldens = golden("tiny_giant_gs")
    network, parts = goldens.network(), []
    network.gs_head.register_forward_hook(lambda _, __, output: parts.append(output))
    network(goldens.tensor(f"{case}/x"), ForwardOptions(gaussians=True, conventions=OFFICIAL))
    compared = 0
    for index, name in enumerate(("raw_gs", "raw_gs_conf")):
        if f"{case}/mid.gs_head.{name}" in goldens:
            found = torch.cat([part[index] for part in parts])
            assert_close(np.asarray(found)[None], goldens[f"{case}/mid.gs_head.{name}"])
            compared += 1
    assert compared == (0 if case == "n4" else 2)  # the golden of four views has the finished ones only


@pytest.mark.parametrize("case", ["n1", "n2", "n4", "n4_cond", "n2_gs", "n2_raypose"])
def test_both_halves_of_the_nested_model(golden, case):
    goldens = golden("tiny_nested")
    network, images = goldens.network(), goldens.tensor(f"{case}/x")
    known = {}
    if f"{case}/in.extrinsics" in goldens:
        known = {
            "camera_from_world": goldens.tensor(f"{case}/in.extrinsics"),
            "intrinsics": goldens.tensor(f"{case}/in.intrinsics"),
        }
    options = ForwardOptions(cameras_from_rays=case.endswith("raypose"), conventions=OFFICIAL)
    any_view, metric = network.da3(images, options, **known), network.da3_metric(images)
    halves = {
        "da3.depth": any_view.depth,
        "da3.depth_conf": any_view.confidence,
        "da3.extrinsics": any_view.camera_from_world,
        "da3.intrinsics": any_view.intrinsics,
        "metric.depth": metric.depth,
        "metric.sky": metric.sky,
    }
    for name, found in halves.items():
        rough = case.endswith("raypose") and name == "da3.intrinsics"
        assert_close(np.asarray(found), goldens[f"{case}/{name}"], 1e-3 if rough else 1e-4)
    assert int(goldens[f"{case}/out.is_metric"]) == 1
