"""Motion maps from the self-attention of small networks of CUT3R with made-up weights: shapes and invariances."""

import numpy as np
import pytest
import torch

from dynamic_predictor.attention_motion.gram import GramWindows
from dynamic_predictor.cut3r import attention_motion
from dynamic_predictor.cut3r.attention_motion import clip_attention_motion
from dynamic_predictor.cut3r.network import Cut3rNetwork
from scene.errors import InputError
from tests.dynamic_predictor.cut3r.small_networks import MINIMAL, filled_network

ROWS, COLUMNS = 2, 3


@pytest.fixture(scope="module")
def network() -> Cut3rNetwork:
    return filled_network(MINIMAL)


def _images(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, 3, 16 * ROWS, 16 * COLUMNS)).astype(np.float32)


def _maps(network: Cut3rNetwork, images: np.ndarray) -> np.ndarray:
    return clip_attention_motion(network, lambda index: images[index], len(images))


def test_maps_are_in_the_unit_range_and_the_same_every_time(network):
    maps = _maps(network, _images(8))
    assert maps.shape == (8, ROWS, COLUMNS) and maps.dtype == np.float32
    assert maps.min() == 0 and 0.9 < maps.max() <= 1
    np.testing.assert_array_equal(maps, _maps(network, _images(8)))
    assert not _maps(network, _images(1)).any()


def test_frames_are_clustered_in_groups(network, monkeypatch):
    clustered = []
    whole = attention_motion.feature_clusters
    monkeypatch.setattr(
        attention_motion, "feature_clusters", lambda features: clustered.append(len(features)) or whole(features)
    )
    monkeypatch.setattr(attention_motion, "_CLUSTERED_FRAMES", 5)
    assert _maps(network, _images(12)).shape == (12, ROWS, COLUMNS)
    assert clustered == [5 * ROWS * COLUMNS, 5 * ROWS * COLUMNS, 2 * ROWS * COLUMNS]


def test_what_is_recorded_explains_the_self_attention_and_changes_nothing(network):
    """Queries and keys are those of the view's tokens, the pose token first."""
    encoded = network.encode_images(torch.from_numpy(_images(1)))
    recorded, outputs = {}, {}
    state = network.initial_state()
    blocks = list(network.dec_blocks)
    handles = [
        block.attn.register_forward_hook(
            lambda module, inputs, output, layer=layer: outputs.__setitem__(layer, (inputs[0], output))
        )
        for layer, block in enumerate(blocks)
    ]
    step = network.step(
        encoded, state, is_first=True, recorder=lambda layer, query, key: recorded.__setitem__(layer, (query, key))
    )
    for handle in handles:
        handle.remove()
    plain = network.step(encoded, state, is_first=True)
    torch.testing.assert_close(step.state.features, plain.state.features, rtol=0, atol=0)
    assert sorted(recorded) == list(range(MINIMAL.decoder_depth))
    for layer, block in enumerate(blocks):
        query, key = recorded[layer]
        assert query.shape == key.shape == (1, MINIMAL.decoder_heads, 1 + ROWS * COLUMNS, 16)
        tokens, output = outputs[layer]
        value = block.attn.qkv(tokens).view(1, -1, 3, MINIMAL.decoder_heads, 16)[:, :, 2].transpose(1, 2)
        weights = (query @ key.mT / 16**0.5).softmax(dim=-1)
        expected = block.attn.proj((weights @ value).transpose(1, 2).flatten(2))
        torch.testing.assert_close(output, expected)


def test_the_pose_token_is_left_out_and_frames_are_in_order(network, monkeypatch):
    added = []

    class Counted(GramWindows):
        def add(self, layer, frame, query, key):
            added.append((frame, layer, query.shape))
            super().add(layer, frame, query, key)

    monkeypatch.setattr(attention_motion, "GramWindows", Counted)
    _maps(network, _images(3))
    expected = (MINIMAL.decoder_heads, ROWS * COLUMNS, 16)
    assert added == [(frame, layer, expected) for frame in range(3) for layer in range(MINIMAL.decoder_depth)]


def test_attention_that_is_not_finite_is_refused(network):
    images = _images(4)
    images[1, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="damaged"):
        _maps(network, images)
