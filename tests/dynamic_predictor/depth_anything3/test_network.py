"""The networks against the official ones, both with made-up weights."""

import gzip
import json
from collections.abc import Callable
from contextlib import contextmanager
from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch

from dynamic_predictor.depth_anything3.cameras import encode_cameras
from dynamic_predictor.depth_anything3.gaussians import Gaussians
from dynamic_predictor.depth_anything3.network import ForwardOptions, NetworkOutput, build_network
from dynamic_predictor.depth_anything3.official import OFFICIAL
from dynamic_predictor.depth_anything3.reference_view import (
    SMALLEST_CHOICE,
    ReferenceStrategy,
    choose_reference_view,
    reference_first,
    reference_scores,
    take_views,
)
from dynamic_predictor.depth_anything3.settings import PUBLISHED_MODELS
from tests.dynamic_predictor.depth_anything3.da3_goldens import GOLDENS, Golden, assert_close, golden_images

_OUTPUTS = {
    "out.depth": "depth",
    "out.depth_conf": "confidence",
    "out.sky": "sky",
    "out.extrinsics": "camera_from_world",
    "out.intrinsics": "intrinsics",
    "head.ray": "ray",
    "head.ray_conf": "ray_confidence",
}


#: field of `Gaussians` -> its name in the goldens
_GAUSSIANS = {
    "means": "means",
    "scales": "scales",
    "rotations": "rotations",
    "sh_coefficients": "harmonics",
    "opacities": "opacities",
}


def _compare(output: NetworkOutput, golden: Golden, case: str, tolerances: dict[str, float] | None = None) -> None:
    compared = 0
    for name, field in _OUTPUTS.items():
        if f"{case}/{name}" in golden and getattr(output, field) is not None:
            assert_close(getattr(output, field), golden[f"{case}/{name}"], (tolerances or {}).get(name, 1e-4))
            compared += 1
    if f"{case}/head.ray" in golden:  # the any-view head's maps are the result as they are
        assert_close(output.depth, golden[f"{case}/head.depth"])
        assert_close(output.confidence, golden[f"{case}/head.depth_conf"])
    for block, features in output.features.items():
        assert_close(features, golden[f"{case}/out.aux.feat_layer_{block}"])
    for field, name in _GAUSSIANS.items() if isinstance(output.gaussians, Gaussians) else ():
        assert_close(getattr(output.gaussians, field), golden[f"{case}/out.gaussians.{name}"])
    assert compared >= 2


def _known_cameras(golden: Golden, case: str) -> dict[str, torch.Tensor]:
    return {
        "camera_from_world": golden.tensor(f"{case}/in.extrinsics"),
        "intrinsics": golden.tensor(f"{case}/in.intrinsics"),
    }


def test_copied_golden_of_two_scenes_of_three_views():
    golden = Golden(GOLDENS, "tiny_anyview")
    _compare(golden.network()(golden.tensor("b2n3_28x42/x")), golden, "b2n3_28x42")


@pytest.mark.parametrize("case", ["n1", "n2", "n4", "n1_84x56", "pure_n2", "n9_28x42", "b2n3_28x42"])
def test_any_view(golden, case):
    goldens = golden("tiny_anyview")
    network = goldens.network(overrides={} if case.startswith("pure") else None)
    features = (0, 4, 9) if case in ("n1", "n2", "n4") else ()
    options = ForwardOptions(rays=True, feature_layers=features, conventions=OFFICIAL)
    _compare(network(goldens.tensor(f"{case}/x"), options), goldens, case)


def test_features_have_the_order_of_the_views(golden):
    goldens = golden("tiny_anyview")
    network, images = goldens.network(), goldens.tensor("n4/x")
    right = network(images, ForwardOptions(feature_layers=(0, 4)))
    official = network(images, ForwardOptions(feature_layers=(0, 4), conventions=OFFICIAL))
    reference = int(goldens["refview/n4_saddle_balanced"][0])
    order = [reference, *(view for view in range(4) if view != reference)]
    assert order != [0, 1, 2, 3]
    torch.testing.assert_close(official.features[4], right.features[4][:, order])
    torch.testing.assert_close(official.features[0], right.features[0])


@pytest.fixture
def official_reference(monkeypatch):
    """`official_reference(view)` makes the network use the official reference view. Our scores must rank it first;
    of views whose scores differ by rounding only, which one is first depends on the processor's matrix product."""
    required, chosen = [], []

    def require(view: int) -> None:
        required.append(view)

        def choose(tokens: torch.Tensor, strategy: ReferenceStrategy) -> torch.Tensor:
            scores = reference_scores(tokens, strategy)[0]
            assert float(scores.max() - scores[view]) <= 1e-5 * float(scores.abs().max())
            chosen.append(view)
            return torch.tensor([view])

        monkeypatch.setattr("dynamic_predictor.depth_anything3.backbone.choose_reference_view", choose)

    yield require
    assert chosen == required


@pytest.mark.parametrize("strategy", ["first", "middle", "saddle_sim_range"])
def test_reference_strategies_change_the_result_as_officially(golden, official_reference, strategy):
    goldens = golden("tiny_anyview")
    if f"n4_{strategy}/out.depth" not in goldens:
        pytest.fail(f"the golden has no case n4_{strategy}")
    official_reference(int(goldens[f"refview/n4_{strategy}"][0]))
    images = goldens.tensor("n4/x" if f"n4_{strategy}/x" not in goldens else f"n4_{strategy}/x")
    options = ForwardOptions(reference_strategy=strategy)
    _compare(goldens.network()(images, options), goldens, f"n4_{strategy}")


@pytest.mark.parametrize("count", [4, 9])
def test_the_official_reference_view_is_ours(golden, official_reference, count):
    """`refview/n9_*` belong to nine images of 56x70, which the file contains at 28x42 only; there other views win."""
    goldens = golden("tiny_anyview")
    for case, size in (("n4", (4, 56, 70)), ("n9_28x42", (9, 28, 42))):
        torch.testing.assert_close(golden_images(*size), goldens.tensor(f"{case}/x"), rtol=0, atol=2e-6)
    network, images = goldens.network(), golden_images(count, 56, 70)
    for strategy in get_args(ReferenceStrategy):
        official_reference(int(goldens[f"refview/n{count}_{strategy}"][0]))
        network(images, ForwardOptions(reference_strategy=strategy))


def test_position_embedding_is_resized_as_officially(golden):
    goldens = golden("tiny_anyview")
    backbone = goldens.network().backbone["pretrained"]
    sizes = [key.split("/")[1] for key in goldens.arrays.files if key.startswith("pos_embed/")]
    assert len(sizes) >= 4
    for size in sizes:
        height, width = (int(side) for side in size.split("x"))
        embedding = backbone.position_embedding(height // 14, width // 14)
        assert_close(embedding[..., :8], goldens[f"pos_embed/{size}"], 1e-6)


@pytest.mark.parametrize("case", ["n1", "n2", "n4"])
def test_known_cameras_condition_the_network(golden, case):
    goldens = golden("tiny_anyview_posecond")
    output = goldens.network()(goldens.tensor(f"{case}/x"), ForwardOptions(rays=True), **_known_cameras(goldens, case))
    _compare(output, goldens, case)


@pytest.mark.parametrize("case", ["n1", "n2", "n4"])
def test_cameras_from_rays(golden, case):
    goldens = golden("tiny_anyview_raypose")
    options = ForwardOptions(cameras_from_rays=True, conventions=OFFICIAL)
    _compare(goldens.network()(goldens.tensor(f"{case}/x"), options), goldens, case, {"out.intrinsics": 1e-3})


@pytest.mark.parametrize("case", ["n1", "n2", "n4", "n4_cond"])
def test_gaussians(golden, case):
    goldens = golden("tiny_giant_gs")
    cameras = _known_cameras(goldens, case) if case.endswith("cond") else {}
    options = ForwardOptions(gaussians=True, rays=True, conventions=OFFICIAL)
    _compare(goldens.network()(goldens.tensor(f"{case}/x"), options, **cameras), goldens, case)


@pytest.mark.parametrize("case", ["n1", "n2", "n4", "n9_28x42", "n1_nosky", "n1_allsky"])
def test_monocular(golden, case):
    goldens = golden("tiny_mono_metric")
    overrides = {}
    if "sky" in case:
        overrides["head.scratch.sky_output_conv2.2.bias"] = ("add", -50.0 if "nosky" in case else 50.0)
    _compare(goldens.network(overrides)(goldens.tensor(f"{case}/x")), goldens, case)


@pytest.mark.parametrize("case", ["n1", "n2", "n4", "n4_cond", "n2_gs", "n2_raypose"])
def test_nested(golden, case):
    goldens = golden("tiny_nested")
    cameras = _known_cameras(goldens, case) if case.endswith("cond") else {}
    options = ForwardOptions(
        gaussians=case.endswith("gs"), cameras_from_rays=case.endswith("raypose"), conventions=OFFICIAL
    )
    output = goldens.network()(goldens.tensor(f"{case}/x"), options, **cameras)
    # the metric scale is proportional to the focal length, which the random samples of ray poses fix to 1e-3 only
    rough = dict.fromkeys(_OUTPUTS, 1e-3) if case.endswith("raypose") else {}
    _compare(output, goldens, case, rough)
    np.testing.assert_allclose(output.scale, goldens[f"{case}/out.scale_factor"], rtol=rough.get("out.depth", 1e-4))


def test_gaussians_of_the_nested_model_are_in_meters(golden):
    goldens = golden("tiny_nested")
    output = goldens.network()(goldens.tensor("n2_gs/x"), ForwardOptions(gaussians=True))
    assert output.gaussians is not None and output.scale is not None
    factor = float(output.scale[0])
    assert_close(output.gaussians.means, goldens["n2_gs/out.gaussians.means"] * factor)
    assert_close(output.gaussians.scales, goldens["n2_gs/out.gaussians.scales"] * factor)


@pytest.mark.parametrize("views_per_chunk", [1, 3])
def test_chunks_of_views_do_not_change_the_result(golden, views_per_chunk):
    goldens = golden("tiny_giant_gs")
    network, images = goldens.network(), goldens.tensor("n4/x")
    whole = network(images, ForwardOptions(gaussians=True, rays=True))
    parts = network(images, ForwardOptions(gaussians=True, rays=True, views_per_chunk=views_per_chunk))
    for name in ("depth", "confidence", "ray", "ray_confidence"):
        assert_close(getattr(parts, name), np.asarray(getattr(whole, name)), 1e-5)
    for name in _GAUSSIANS:
        assert_close(getattr(parts.gaussians, name), np.asarray(getattr(whole.gaussians, name)), 1e-4)


_INVENTORIES = {
    "da3-small": "DA3-SMALL",
    "da3-base": "DA3-BASE",
    "da3-large": "DA3-LARGE",
    "da3-giant": "DA3-GIANT",
    "da3-nested": "DA3NESTED-GIANT-LARGE",
    "da3-metric": "DA3METRIC-LARGE",
    "da3-mono": "DA3MONO-LARGE",
}


@pytest.mark.parametrize("name", _INVENTORIES)
def test_published_keys_and_shapes(shared, name):
    path = shared / "parity" / "da3" / f"{_INVENTORIES[name]}.keys.json.gz"
    published = json.loads(gzip.decompress(path.read_bytes()))["keys"]
    with torch.device("meta"):
        network = build_network(PUBLISHED_MODELS[name].settings)
    ours = {f"model.{key}": list(value.shape) for key, value in network.state_dict().items()}
    assert ours == published


_NETWORKS = ["tiny_anyview", "tiny_anyview_posecond", "tiny_giant_gs", "tiny_mono_metric"]


@contextmanager
def _recorded(
    module: torch.nn.Module, into: dict[str, torch.Tensor], name: str, pick: Callable = lambda output: output
):
    """Stores the output of `module` in `into[name]`, concatenated if it is called for chunks of views."""

    def keep(_, __, output) -> None:
        value = pick(output).detach().clone()
        into[name] = torch.cat([into[name], value]) if name in into else value

    handle = module.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()


def _run(golden: Golden, case: str) -> dict[str, torch.Tensor]:
    """The intermediate values of our network by their names in the goldens."""
    network, values = golden.network(overrides={} if case.startswith("pure") else None), {}
    backbone, head = network.backbone["pretrained"], network.head
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
    """The first token of every view at the out layers, from the outputs of our blocks; the network itself returns that
    of the last layer only."""
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
