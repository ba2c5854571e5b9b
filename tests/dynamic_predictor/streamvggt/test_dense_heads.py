"""Activations and embeddings of the dense heads, and the embeddings of the aggregator, against the official ones."""

import numpy as np
import torch

from dynamic_predictor.networks.dense_head import add_plane_embedding
from dynamic_predictor.networks.dinov2 import VisionTransformer
from dynamic_predictor.networks.rotary import rotate, rotation_2d
from dynamic_predictor.parity.made_up_weights import made_up_weight
from dynamic_predictor.streamvggt.dense_heads import depth_and_confidence, points_and_confidence


def _close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-5, atol=tolerance)


def test_activations(golden):
    arrays = golden("maths")
    points, confidence = points_and_confidence(torch.from_numpy(arrays["act_in4"]).permute(0, 2, 3, 1))
    _close(points, arrays["act_point"])
    _close(confidence, arrays["act_point_conf"])
    depth, confidence = depth_and_confidence(torch.from_numpy(arrays["act_in2"]).permute(0, 2, 3, 1))
    _close(depth[..., None], arrays["act_depth"])
    _close(confidence, arrays["act_depth_conf"])


def test_plane_embedding(golden):
    """The official embedding is multiplied by 0.1 where it is added."""
    found = add_plane_embedding(torch.zeros(1, 32, 4, 5), 1.25)[0].permute(1, 2, 0)
    _close(found, 0.1 * golden("maths")["uv_embed_c32"])


def test_rotary_embedding(golden):
    arrays = golden("maths")
    rotation = rotation_2d(torch.from_numpy(arrays["rope_pos_yx"]), 16)
    _close(rotate(torch.from_numpy(arrays["rope_tokens"]), rotation), arrays["rope_out"])


def test_position_embedding_of_patches(golden):
    arrays = golden("maths")
    network = VisionTransformer(8, 0, 1, position_grid=5, registers=4, antialiased_positions=True)
    network.pos_embed.copy_(torch.from_numpy(arrays["dino_pos_embed_5x5"]))
    for height, width in ((56, 70), (70, 56), (28, 98), (70, 70), (140, 98)):
        found = network.position_embedding(height // 14, width // 14)
        _close(found, arrays[f"dino_pos_embed_h{height}_w{width}"])


def test_registers_have_no_position():
    network = VisionTransformer(8, 0, 1, position_grid=5, registers=2, antialiased_positions=True)
    for name, parameter in network.named_parameters():
        parameter.copy_(torch.from_numpy(made_up_weight(name, tuple(parameter.shape))))
    tokens = network.embed(torch.rand(2, 3, 28, 42))
    torch.testing.assert_close(tokens[:, 1:3], network.register_tokens.expand(2, -1, -1))
    torch.testing.assert_close(tokens[0, 0], network.cls_token[0, 0] + network.pos_embed[0, 0])
