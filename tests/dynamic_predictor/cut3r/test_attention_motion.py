"""Motion maps from the self-attention of small networks of CUT3R with made-up weights: shapes and invariances."""

import numpy as np
import pytest
import torch

from dynamic_predictor.attention_motion.gram import GramWindows
from dynamic_predictor.contract import Views
from dynamic_predictor.cut3r import attention_motion
from dynamic_predictor.cut3r.attention_motion import clip_attention_motion
from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.cut3r.predictor import Cut3rPredictor
from dynamic_predictor.cut3r.settings import Cut3rSettings
from dynamic_predictor.cut3r.state_update import decode_and_update
from dynamic_predictor.cut3r.weights import CUT3R_224
from dynamic_predictor.driver.scene_driver import SceneDriver
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.errors import InputError
from scene.images import write_png
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


@pytest.mark.parametrize("rule", ["plain", "damped", "ttt3r", "recal3r"])
def test_every_rule_of_the_state_is_followed(network, rule):
    """Frame 2 sees what the rule made of the state after frame 1, so maps differ from those of the plain rule."""
    images = _images(6)
    maps = clip_attention_motion(network, lambda index: images[index], 6, state_update=rule)
    assert maps.shape == (6, ROWS, COLUMNS) and np.isfinite(maps).all()
    raw, plain = [], []
    for chosen, found in ((rule, raw), ("plain", plain)):
        state, pressure = network.initial_state(), torch.zeros(1, MINIMAL.state_size)
        for frame in range(3):
            encoded = network.encode_images(torch.from_numpy(images[frame : frame + 1]))
            _, state, pressure = decode_and_update(
                network,
                encoded,
                state,
                pressure,
                chosen,
                is_first=frame == 0,
                recorder=lambda layer, query, key, found=found: found.append(query),
            )
    assert len(raw) == 3 * MINIMAL.decoder_depth
    assert torch.equal(raw[-1], plain[-1]) == (rule == "plain")


def test_a_scene_gets_the_masks_of_attention(network, tmp_path):
    """From files to the masks of a scene; the stream is not disturbed."""
    clip = tmp_path / "clip"
    clip.mkdir()
    texture = np.random.default_rng(0).integers(0, 255, (60, 100, 3), np.uint8)
    for index in range(5):
        image = texture.copy()
        image[20:40, 10 * index : 10 * index + 30] = (250, 20, 20)
        write_png(clip / f"{index:05d}.png", image)
    predictor = Cut3rPredictor(CUT3R_224, "linear", Cut3rSettings(image_size=64), network=network)
    chosen = DriverSettings(str(clip), predictor="cut3r-224", masks_from="attention", device="cpu")
    scene = SceneDriver(chosen, predictor=predictor).scene(StreamWorkspace(tmp_path / "work", {}, resume=False)).scene
    assert scene.provenance["masks"] == "attention of cut3r-224 (VGGT4D)"
    assert scene.motion_masks is not None and len(scene.motion_masks) == 5
    before = predictor.state()
    expected = predictor.attention_motion(Views(scene.frames))
    for name, value in predictor.state().items():
        np.testing.assert_array_equal(value, before[name])
    for index in range(5):
        mask = scene.motion_masks[index]
        assert mask.shape == (60, 100) and set(np.unique(mask)) <= {0.0, 1.0}
        np.testing.assert_array_equal(mask, expected[index])
