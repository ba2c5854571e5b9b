"""The shared building blocks against torch's own layers and against their definitions."""

import pytest
import torch
from torch.nn.functional import interpolate

from dynamic_predictor.networks.attention import CrossAttention, SelfAttention
from dynamic_predictor.networks.dense_prediction import FeatureFusion
from dynamic_predictor.networks.fused_linear import linear
from dynamic_predictor.networks.patch_embedding import PatchEmbedding
from dynamic_predictor.networks.rotary import grid_positions, rotate, rotation_2d
from dynamic_predictor.networks.transformer import DecoderBlock, TransformerBlock


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def _rotated_by_complex_numbers(features, positions, base):
    """Multiplies each pair, as a complex number, by exp(i * angle), feature by feature."""
    half = features.shape[-1] // 2
    result = torch.empty_like(features)
    for axis in range(2):
        for k in range(half // 2):
            first, second = axis * half + k, axis * half + k + half // 2
            angle = positions[:, axis].double() / base ** (2 * k / half)
            pair = torch.complex(features[..., first].double(), features[..., second].double())
            turned = pair * torch.polar(torch.ones_like(angle), angle)
            result[..., first], result[..., second] = turned.real.float(), turned.imag.float()
    return result


def test_rotation_is_a_complex_multiplication_of_pairs():
    positions = grid_positions(3, 5) - torch.tensor([1, 2])  # negative positions count too
    features = torch.randn(2, 4, 15, 16)
    torch.testing.assert_close(
        rotate(features, rotation_2d(positions, 16)), _rotated_by_complex_numbers(features, positions, 100.0)
    )


def test_rotated_products_depend_on_relative_positions_only():
    query, key = torch.randn(2, 1, 1, 9, 32)
    positions = grid_positions(3, 3)
    products = [
        rotate(query, rotation_2d(positions + shift, 32)) @ rotate(key, rotation_2d(positions + shift, 32)).mT
        for shift in (0, 7)
    ]
    torch.testing.assert_close(products[0], products[1], rtol=1e-4, atol=1e-4)


def test_rotation_refuses_heads_that_do_not_divide():
    with pytest.raises(ValueError, match="multiple of 4"):
        rotation_2d(grid_positions(2, 2), 6)


def _torch_attention(width, heads, weight, bias, projection):
    reference = torch.nn.MultiheadAttention(width, heads, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(weight)
        reference.in_proj_bias.copy_(bias)
        reference.out_proj.weight.copy_(projection.weight)
        reference.out_proj.bias.copy_(projection.bias)
    return reference


@pytest.mark.parametrize("activation", ["none", "gelu"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_fused_linear_layer_equals_that_of_torch(activation, bias):
    """Without gradients one call of oneDNN computes the layer; with gradients torch does."""
    layer = torch.nn.Linear(24, 40, bias=bias)
    for shape in ((24,), (5, 24), (2, 3, 7, 24)):
        features = torch.randn(shape, requires_grad=True)
        expected = layer(features)
        expected = torch.nn.functional.gelu(expected) if activation == "gelu" else expected
        followed = linear(layer, features, activation)
        torch.testing.assert_close(
            torch.autograd.grad(followed.sum(), features), torch.autograd.grad(expected.sum(), features)
        )
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                torch.testing.assert_close(linear(layer, features.detach(), activation), expected.detach())


def test_autocast_and_hooks_disable_the_fused_linear_layer():
    layer, features = torch.nn.Linear(24, 40), torch.randn(5, 24)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(layer, features).dtype == torch.bfloat16
    layer.register_forward_hook(lambda module, inputs, output: 2 * output)
    with torch.no_grad():
        torch.testing.assert_close(linear(layer, features), layer(features))


def test_self_attention_equals_that_of_torch():
    ours = SelfAttention(24, 3)
    reference = _torch_attention(24, 3, ours.qkv.weight, ours.qkv.bias, ours.proj)
    tokens = torch.randn(2, 7, 24)
    torch.testing.assert_close(ours(tokens), reference(tokens, tokens, tokens)[0])


def test_cross_attention_equals_that_of_torch():
    ours = CrossAttention(24, 3)
    parts = (ours.projq, ours.projk, ours.projv)
    reference = _torch_attention(
        24, 3, torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts]), ours.proj
    )
    tokens, memory = torch.randn(2, 7, 24), torch.randn(2, 4, 24)
    torch.testing.assert_close(ours(tokens, memory), reference(tokens, memory, memory)[0])


def test_transformer_block_equals_that_of_torch():
    ours = TransformerBlock(24, 3, layer_scale=1.0)
    reference = torch.nn.TransformerEncoderLayer(
        24, 3, 96, dropout=0.0, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    ).eval()
    names = {
        "attn.qkv.weight": "self_attn.in_proj_weight",
        "attn.qkv.bias": "self_attn.in_proj_bias",
        "attn.proj.weight": "self_attn.out_proj.weight",
        "attn.proj.bias": "self_attn.out_proj.bias",
    }
    parts = {"mlp.fc1": "linear1", "mlp.fc2": "linear2", "norm1": "norm1", "norm2": "norm2"}
    names |= {f"{a}.{leaf}": f"{b}.{leaf}" for a, b in parts.items() for leaf in ("weight", "bias")}
    state = ours.state_dict()
    reference.load_state_dict({theirs: state[name] for name, theirs in names.items()})
    tokens = torch.randn(2, 7, 24)
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), reference(tokens))


def test_decoder_block_sees_the_other_view_and_keeps_types_under_autocast():
    block = DecoderBlock(16, 2)
    tokens, memory = torch.randn(1, 4, 16), torch.randn(1, 4, 16)
    rotation = rotation_2d(grid_positions(2, 2), 8)
    assert not torch.allclose(
        block(tokens, memory, rotation, rotation), block(tokens, memory + torch.randn(16), rotation, rotation)
    )
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = block(tokens, memory, rotation, rotation)
    torch.testing.assert_close(rough.float(), block(tokens, memory, rotation, rotation), rtol=0.05, atol=0.05)


def test_query_norm_works_under_autocast():
    attention = SelfAttention(16, 2, normalize_queries_and_keys=True)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(attention(torch.randn(1, 4, 16))).all()


def test_patches_are_linear_maps_of_pixel_blocks():
    embedding = PatchEmbedding(4, 10)
    image = torch.randn(1, 3, 8, 12)
    tokens, positions = embedding(image)
    row, column = 1, 2
    patch = image[0, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].flatten()
    expected = embedding.proj.weight.flatten(1) @ patch + embedding.proj.bias
    torch.testing.assert_close(tokens[0, row * 3 + column], expected)
    assert positions[0, row * 3 + column].tolist() == [row, column]


def test_mixed_batch_gives_each_image_its_own_reading_order():
    embedding = PatchEmbedding(4, 10)
    landscape, portrait = torch.randn(1, 3, 8, 12), torch.randn(1, 3, 12, 8)
    stored = torch.cat([landscape, portrait.transpose(-1, -2)])
    tokens, positions = embedding(stored, torch.tensor([False, True]))
    for index, image in enumerate((landscape, portrait)):
        expected_tokens, expected_positions = embedding(image)
        torch.testing.assert_close(tokens[index : index + 1], expected_tokens)
        assert torch.equal(positions[index : index + 1], expected_positions)


def test_patches_refuse_sizes_that_do_not_divide():
    with pytest.raises(ValueError, match="10x8"):
        PatchEmbedding(4, 10)(torch.randn(1, 3, 8, 10))


@pytest.mark.parametrize("size", [None, (7, 9)])
def test_fusion_mixes_before_enlarging_without_changing_the_result(size):
    fusion = FeatureFusion(6)
    coarse, lateral = torch.randn(2, 2, 6, 4, 5)
    features = coarse + fusion.resConfUnit1(lateral)
    refined = features + fusion.resConfUnit2.conv2(fusion.resConfUnit2.conv1(features.relu()).relu())
    enlarged = interpolate(refined, size=size or (8, 10), mode="bilinear", align_corners=True)
    torch.testing.assert_close(fusion(coarse, lateral, size), fusion.out_conv(enlarged), rtol=1e-5, atol=1e-5)
