"""Keys and shapes of the network, its positions, and one differentiable step."""

import numpy as np
import pytest
import torch

from dynamic_predictor.cut3r.config import Cut3rConfig
from dynamic_predictor.cut3r.network import Cut3rNetwork, SceneState, state_grid
from dynamic_predictor.cut3r.roll import RollView, decode_view
from dynamic_predictor.das3r.official_layout import key_aliases
from dynamic_predictor.networks.rotary import rotate, rotation_2d
from dynamic_predictor.weights.keys import inventory
from tests.dynamic_predictor.cut3r.small_networks import MINIMAL, filled_network


@pytest.mark.parametrize(("head", "name", "count"), [("linear", "224", 748_443_655), ("dpt", "512", 793_307_858)])
def test_every_key_and_shape_of_the_official_checkpoint(head, name, count):
    with torch.device("meta"):
        network = Cut3rNetwork(Cut3rConfig(head_type=head))
    ours = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    ours |= {alias: ours[key] for alias, key in key_aliases(ours).items()}
    assert ours == inventory(f"cut3r-{name}")
    assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.mark.parametrize("size", [768, 324, 30, 16, 9])
def test_grid_of_the_state(size, golden):
    np.testing.assert_array_equal(state_grid(size)[0].numpy(), golden("maths.npz")[f"state_pos_2d_{size}"])


def test_rotation_at_negative_positions(golden):
    """Against the official kernel, with the pose token at (-1, -1)."""
    maths = golden("maths.npz")
    tokens, positions = (torch.from_numpy(maths[f"rope_{name}"]) for name in ("tokens", "pos_yx"))
    assert int(positions.min()) == -1
    rotation = rotation_2d(positions, tokens.shape[-1], 100.0)
    np.testing.assert_allclose(rotate(tokens, rotation).numpy(), maths["rope_out_freq100"], atol=1e-6)
    half = rotate(tokens, rotation._replace(through_half=True)).numpy()
    # one unit in the last place of a half, where the float32 values lie at the middle between two halves
    np.testing.assert_allclose(half, maths["rope_out_freq100_half"], rtol=1e-3, atol=1e-4)
    assert np.array_equal(half, half.astype(np.float16).astype(np.float32))


def _two_steps(network: Cut3rNetwork, images: torch.Tensor, state: SceneState) -> torch.Tensor:
    """A loss after two steps as in truncated back-propagation through time."""
    total = torch.zeros((), dtype=images.dtype)
    for index, image in enumerate(images):
        view, initial = RollView(image), network.initial_state()
        rolled = decode_view(network, network.encode_images(image), view, state, initial, is_first=index == 0)
        prediction, state = rolled.prediction, rolled.state
        for part in (prediction.pose, prediction.color, prediction.self_confidence, prediction.world_confidence):
            assert part is not None
            total = total + part.log1p().mean() if part is prediction.world_confidence else total + part.square().mean()
    return total


def test_gradients_of_steps_are_those_of_finite_differences():
    """Gradients reach views, state and parameters through two steps, and nothing is changed in place."""
    network = filled_network(MINIMAL).double()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((2, 1, 3, 32, 32), generator=generator, dtype=torch.float64) * 2 - 1
    initial = network.initial_state()
    state = SceneState(initial.features.clone(), initial.memory.clone())
    before = state.features.clone(), state.memory.clone()
    inputs = [images, state.features, state.memory, network.get_parameter("dec_blocks.0.attn.qkv.weight")]
    with torch.enable_grad():
        for tensor in inputs:
            tensor.requires_grad_(True)
        gradients = torch.autograd.grad(_two_steps(network, images, state), inputs)
        for tensor in inputs:
            tensor.requires_grad_(False)
    assert torch.equal(before[0], state.features) and torch.equal(before[1], state.memory)
    for tensor, gradient in zip(inputs, gradients, strict=True):
        direction = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        direction *= 1e-5 / direction.norm()
        values = []
        for sign in (1, -1):
            tensor += sign * direction
            values.append(float(_two_steps(network, images, state)))
            tensor -= sign * direction
        difference, expected = (values[0] - values[1]) / 2, float((gradient * direction).sum())
        np.testing.assert_allclose(difference, expected, rtol=1e-4, atol=1e-12)
