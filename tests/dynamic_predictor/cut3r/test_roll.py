"""Rolls over images, ray maps and both, against the official code with the same made-up weights."""

import numpy as np
import pytest
import torch

from dynamic_predictor.cut3r.cameras import ray_map
from dynamic_predictor.cut3r.heads import Outputs
from dynamic_predictor.cut3r.roll import RollView, has_ray_maps, roll
from tests.dynamic_predictor.cut3r.small_networks import MINIMAL, assert_outputs, filled_network, golden_images

KINDS = ["linear", "dpt"]
IMAGES = golden_images()


def _views(*indices: int) -> list[RollView]:
    return [RollView(IMAGES[index : index + 1]) for index in indices]


def _ray_map(arrays, index: int) -> torch.Tensor:
    first, pose = arrays["poses_c2w"][[0, index]]
    return torch.from_numpy(ray_map(arrays["intrinsics"], np.linalg.inv(first) @ pose, 64, 96))[None]


def _mixed(arrays) -> list[RollView]:
    rays = [_ray_map(arrays, index) for index in (2, 3)]
    not_updated = torch.tensor([False])
    return [*_views(0, 1), RollView(ray_maps=rays[0], update=not_updated), RollView(IMAGES[3:4], rays[1])]


@pytest.mark.parametrize("kind", KINDS)
def test_images_then_a_query(kind, golden, request):
    network, arrays = request.getfixturevalue(f"tiny_{kind}"), golden(f"tiny_{kind}.npz")
    rolled = list(roll(network, _views(0, 1, 2, 3)))
    assert_outputs("roll", rolled, arrays)
    if "roll_state_feat" in arrays:
        for index, view in enumerate(rolled):
            for ours, name in ((view.state.features, "state_feat"), (view.state.memory, "mem")):
                expected = arrays[f"roll_{name}"][index + 1]
                np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(network.initial_state().features.numpy(), arrays["roll_state_feat"][0], atol=1e-5)
    query = list(roll(network, [RollView(ray_maps=_ray_map(arrays, 2))], state=rolled[-1].state))
    assert_outputs("query", query, arrays)
    assert torch.equal(query[0].state.features, rolled[-1].state.features)
    assert torch.equal(query[0].state.memory, rolled[-1].state.memory)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["mixed", "mixedrecur"])
def test_images_and_ray_maps_in_both_official_ways(kind, case, golden, request):
    network, arrays = request.getfixturevalue(f"tiny_{kind}"), golden(f"tiny_{kind}.npz")
    views = _mixed(arrays)
    assert has_ray_maps(views) and not has_ray_maps(_views(0, 1))
    assert_outputs(case, list(roll(network, views, masked_tokens=case == "mixed")), arrays)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_rotation_of_the_image_encoder(kind, golden, request):
    network, arrays = request.getfixturevalue(f"tiny_{kind}"), golden(f"tiny_{kind}_rope16.npz")
    network.half_rotary = True
    try:
        rolled = list(roll(network, _views(0, 1, 2, 3)))
    finally:
        network.half_rotary = False
    # halves differ where a float32 rotation before rounding differs in its last bit
    assert_outputs("roll", rolled, arrays, atol=5e-4)
    exact = list(roll(network, _views(0)))[0].encoded.tokens
    assert 1e-5 < float((rolled[0].encoded.tokens - exact).abs().max()) < 1e-2


@pytest.mark.parametrize("kind", ["linear", pytest.param("dpt", marks=pytest.mark.slow)])
def test_flags_and_portrait_views(kind, shared, golden, request):
    network, arrays = request.getfixturevalue(f"tiny_{kind}"), golden(f"tiny_{kind}.npz")
    images, update, reset = (torch.from_numpy(arrays[f"flags_{n}"]) for n in ("images_normalised", "update", "reset"))
    views = [RollView(images[:, i], update=update[:, i], reset=reset[:, i]) for i in range(4)]
    rolled = list(roll(network, views))
    assert_outputs("flags", rolled, arrays)
    for index, view in enumerate(rolled):
        np.testing.assert_allclose(view.state.features.numpy(), arrays["flags_state_feat"][index + 1], atol=1e-4)
        np.testing.assert_allclose(view.state.memory.numpy(), arrays["flags_mem"][index + 1], rtol=1e-5, atol=1e-4)
    portrait = torch.from_numpy(arrays["portrait_images_normalised"])
    assert_outputs("portrait", list(roll(network, [RollView(image[None]) for image in portrait])), arrays)


def test_intermediate_values(shared, golden, tiny_linear, tiny_dpt):
    """The raw outputs of the heads, and the tokens between encoder, decoder and heads."""
    for network, name in ((tiny_linear, "tiny_linear"), (tiny_dpt, "tiny_dpt")):
        arrays = golden(f"{name}.npz")
        kept: dict[str, list[torch.Tensor]] = {}
        modules = {
            "pose": "pose_head",
            "final_transform0": "final_transform.0",
            "final_transform1": "final_transform.1",
        }
        heads = ("proj", "rgb_proj", "cross_proj") if name == "tiny_linear" else ("dpt_self", "dpt_cross", "dpt_rgb")
        hooks = []
        for key, module in (modules | {head: head for head in heads}).items():

            def keep(_module, _inputs, output, key=key, kept=kept):
                kept.setdefault(key, []).append(output)

            hooks.append(network.downstream_head.get_submodule(module).register_forward_hook(keep))
        try:
            rolled = list(roll(network, _views(0, 1, 2, 3)))
        finally:
            for hook in hooks:
                hook.remove()
        compared = 0
        for key, values in kept.items():
            expected = arrays[f"roll_raw_{key}"]
            np.testing.assert_allclose(torch.stack(values, 1).numpy(), expected, rtol=0, atol=1e-4, err_msg=key)
            compared += 1
        assert compared == 6
        encoded = torch.cat([view.encoded.tokens for view in rolled]).numpy()
        np.testing.assert_allclose(encoded, arrays["roll_encoder_tokens"], atol=1e-4)
        decoded = torch.stack([view.step.layers[-1] for view in rolled]).numpy()
        np.testing.assert_allclose(decoded, arrays["roll_decoder_tokens_last"], atol=1e-4)
        proposed = torch.stack([view.step.state.features for view in rolled]).numpy()
        np.testing.assert_allclose(proposed, arrays["roll_state_dec_last"], atol=1e-4)


def test_a_batch_is_the_clips_one_by_one():
    """Clips of a batch with flags of their own, also where only some have a ray map, do not influence each other."""
    network = filled_network(MINIMAL)
    generator = torch.Generator().manual_seed(3)
    images = torch.rand((3, 2, 3, 32, 48), generator=generator) * 2 - 1
    rays = torch.rand((3, 2, 32, 48, 6), generator=generator)
    rays[1, 0] = torch.nan  # what is not there is not read
    images[1, 1] = torch.nan
    has_image = torch.tensor([[True, True], [True, False], [True, True]])
    has_ray_map = torch.tensor([[True, False], [False, True], [False, True]])
    reset = torch.tensor([[False, True], [False, False], [False, False]])
    update = torch.tensor([[True, True], [True, True], [False, True]])

    def clip(chosen: slice) -> list[RollView]:
        flags = zip(images, rays, has_image, has_ray_map, update, reset, strict=True)
        return [RollView(*(part[chosen] for part in view)) for view in flags]

    for masked in (False, True):
        both = list(roll(network, clip(slice(0, 2)), masked_tokens=masked))
        for index in (0, 1):
            alone = list(roll(network, clip(slice(index, index + 1)), masked_tokens=masked))
            for one, two in zip(alone, both, strict=True):
                torch.testing.assert_close(one.prediction.pose[0], two.prediction.pose[index], rtol=1e-4, atol=1e-5)
                torch.testing.assert_close(one.state.features[0], two.state.features[index], rtol=1e-4, atol=1e-5)
                color, both_color = one.prediction.color, two.prediction.color
                assert color is not None and both_color is not None and bool(color.isfinite().all())
                torch.testing.assert_close(color[0], both_color[index], rtol=1e-4, atol=1e-5)


def test_flags_keep_and_reset_the_state():
    network = filled_network(MINIMAL)
    images = torch.rand((3, 1, 3, 32, 32)) * 2 - 1
    yes, no = torch.tensor([True]), torch.tensor([False])
    first, kept, reset = roll(
        network, [RollView(images[0]), RollView(images[1], update=no), RollView(images[2], reset=yes)]
    )
    initial = network.initial_state()
    assert torch.equal(kept.state.features, first.state.features)
    assert not torch.equal(kept.step.state.features, first.state.features)
    assert torch.equal(reset.state.features, initial.features) and torch.equal(reset.state.memory, initial.memory)


def test_outputs_are_chosen():
    network = filled_network(MINIMAL)
    view = [RollView(torch.rand((1, 3, 32, 32)))]
    chosen = next(roll(network, view, outputs=Outputs(world_points=False, color=False))).prediction
    whole = next(roll(network, view)).prediction
    assert chosen.world_points is None and chosen.world_confidence is None and chosen.color is None
    assert chosen.self_points is not None and whole.self_points is not None
    assert torch.equal(chosen.self_points, whole.self_points) and torch.equal(chosen.pose, whole.pose)


def test_a_view_without_image_and_ray_map_is_an_error():
    network = filled_network(MINIMAL)
    with pytest.raises(ValueError, match="ray map"):
        next(roll(network, [RollView()]))
    with pytest.raises(ValueError, match="ray map"):
        next(roll(network, [RollView(torch.rand((1, 3, 32, 32)), has_image=torch.tensor([False]))]))
