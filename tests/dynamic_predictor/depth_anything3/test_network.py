"""The networks against the official ones, both with made-up weights."""

import gzip
import json
from typing import get_args

import numpy as np
import pytest
import torch

from dynamic_predictor.depth_anything3.gaussians import Gaussians
from dynamic_predictor.depth_anything3.network import ForwardOptions, NetworkOutput, build_network
from dynamic_predictor.depth_anything3.official import OFFICIAL
from dynamic_predictor.depth_anything3.reference_view import ReferenceStrategy, reference_scores
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


def test_features_come_in_the_order_of_the_views(golden):
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
    backbone = goldens.network().backbone.pretrained
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


def test_gaussians_of_the_nested_model_are_in_metres_too(golden):
    goldens = golden("tiny_nested")
    output = goldens.network()(goldens.tensor("n2_gs/x"), ForwardOptions(gaussians=True))
    assert output.gaussians is not None and output.scale is not None
    factor = float(output.scale[0])
    assert_close(output.gaussians.means, goldens["n2_gs/out.gaussians.means"] * factor)
    assert_close(output.gaussians.scales, goldens["n2_gs/out.gaussians.scales"] * factor)


@pytest.mark.parametrize("views_per_chunk", [1, 3])
def test_chunks_of_views_do_not_change_anything(golden, views_per_chunk):
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
