"""Streams: equal to the offline network, to the official one, and to themselves after being stored; bounded memory."""

import time

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from dynamic_predictor.networks.rotary import rotate
from dynamic_predictor.streamvggt.cache import SHORT_CLIP, CacheRules
from dynamic_predictor.streamvggt.network import Wanted, concatenated
from dynamic_predictor.streamvggt.streaming import Stream
from scene.errors import InputError
from tests.dynamic_predictor.streamvggt.slow_policies import slow_farthest
from tests.dynamic_predictor.streamvggt.tiny_networks import at_golden_pixels, golden_images

_FIELDS = ("camera", "depth", "depth_confidence", "points", "points_confidence")
_POLICIES = ("all", "window", "frames", "tokens", "auto")


def _run(stream, images, **options):
    return concatenated([stream.step(images[:, frame], **options) for frame in range(images.shape[1])])


def _close(found, expected, tolerance=1e-5):
    for field in _FIELDS:
        torch.testing.assert_close(getattr(found, field), getattr(expected, field), rtol=0, atol=tolerance)


@pytest.mark.parametrize("policy", _POLICIES)
def test_a_stream_that_keeps_all_frames_gives_what_the_causal_network_gives(tiny, policy):
    images = golden_images(4)
    _close(_run(Stream(tiny, CacheRules(policy, frames=4, tokens=100)), images), tiny(images, causal=True))


def test_the_shared_camera_cache_gives_the_official_poses(tiny, golden):
    arrays = golden("tiny")
    found = _run(Stream(tiny, CacheRules("all", shares_camera_cache=True)), golden_images(4))
    np.testing.assert_allclose(found.camera.numpy(), arrays["stream_camera_pose"], rtol=0, atol=1e-4)
    for field, key in (("depth_confidence", "depth_conf"), ("points", "pts3d_in_other_view")):
        values = at_golden_pixels(arrays, f"stream_{key}", getattr(found, field).numpy())
        np.testing.assert_allclose(values, arrays[f"stream_{key}"], rtol=0, atol=1e-4)
    assert np.abs(arrays["stream_camera_pose"] - arrays["offline_camera_pose"]).max() > 0.5


def test_kept_keys_are_the_official_ones_normalized_and_rotated(tiny, golden):
    """The official cache holds raw keys, and normalizes and rotates all of them for every frame."""
    arrays = golden("tiny")
    if "stream_kv_layer0_k" not in arrays:
        pytest.skip("NOT CHECKED: the copy of this golden has no keys; ../shared has them")
    images = golden_images(4)
    seen = []
    stream = Stream(tiny, CacheRules("all"))
    for frame in range(4):
        stream.step(images[:, frame], recorder=lambda block, q, k: seen.append(k.clone()) if block == 0 else None)
    raw = torch.from_numpy(arrays["stream_kv_layer0_k"]).flatten(2, 3)  # (1, heads, frames * P, d)
    rotation = tiny.aggregator._rotation(images[:, 0])
    expected = tiny.aggregator.global_blocks[0].attn.k_norm(raw).unflatten(2, (4, -1))
    expected = torch.stack([rotate(expected[:, :, frame], rotation) for frame in range(4)], dim=2).flatten(2, 3)
    torch.testing.assert_close(seen[-1], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("policy", "shared"), [*((policy, False) for policy in _POLICIES), ("frames", True)])
def test_two_streams_at_once_are_two_streams(minimal, policy, shared):
    clips = torch.cat([golden_images(8, 28, 28), golden_images(8, 28, 28, "other")])
    rules = CacheRules(policy, frames=4, tokens=40, shares_camera_cache=shared)
    both = _run(Stream(minimal, rules), clips, wanted=Wanted(points=False))
    for clip in range(2):
        one = _run(Stream(minimal, rules), clips[clip : clip + 1], wanted=Wanted(points=False))
        for field in _FIELDS[:3]:
            torch.testing.assert_close(getattr(both, field)[clip : clip + 1], getattr(one, field), rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("policy", "bits"), [*((policy, 0) for policy in _POLICIES), ("frames", 8), ("tokens", 8), ("all", 16)]
)
def test_a_stream_that_is_stored_and_loaded_goes_on_as_before(minimal, tmp_path, policy, bits):
    images = golden_images(11, 28, 28)
    rules = CacheRules(policy, frames=4, tokens=40, bits=bits)
    stream = Stream(minimal, rules)
    _run(stream, images[:, :8])
    np.savez(tmp_path / "state.npz", **stream.state())
    expected = _run(stream, images[:, 8:])
    other = Stream(minimal, rules)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as arrays:
        other.restore(dict(arrays))
    _close(_run(other, images[:, 8:]), expected, 0.0)
    assert other.cache.anchor_frames == stream.cache.anchor_frames


def test_a_new_stream_can_be_stored_too(minimal):
    stream = Stream(minimal, CacheRules("frames"))
    other = Stream(minimal, CacheRules("frames"))
    other.restore(stream.state())
    assert other.cache.is_empty


def _window_twin(network, images, budget):
    """The offline network with a mask by which a frame sees itself, the first frame, and the latest of the others."""
    frames = images.shape[1]
    sees = np.zeros((frames, frames), bool)
    for frame in range(frames):
        earlier = [0, *range(max(1, frame - budget + 1), frame)] if frame else []
        sees[frame, [*earlier, frame]] = True

    def attend(query, key, value):
        size = query.shape[2] // frames
        mask = torch.from_numpy(np.kron(sees, np.ones((size, size), bool)))
        return scaled_dot_product_attention(query, key, value, attn_mask=mask)

    aggregator = network.aggregator
    tokens = aggregator._tokens(images, first=True)
    rotation = aggregator._rotation(images)
    across = type(rotation)(*(part.repeat(1, 1, frames, 1) for part in rotation[:2]))
    for local_block, global_block in zip(aggregator.frame_blocks, aggregator.global_blocks, strict=True):
        local = local_block(tokens.flatten(0, 1), rotation)
        tokens = global_block(local.view(1, -1, local.shape[-1]), across, attend).unflatten(1, (frames, -1))
    last = torch.cat([local.view_as(tokens), tokens], dim=-1)
    return network.camera_head(last[:, :, 0], lambda iteration, block: attend)[-1]


@pytest.mark.parametrize("budget", [2, 3, 5])
def test_a_window_gives_what_the_network_gives_with_a_mask(minimal, budget):
    images = golden_images(8, 28, 28)
    found = _run(Stream(minimal, CacheRules("window", frames=budget)), images).camera
    expected = _window_twin(minimal, images, budget)
    torch.testing.assert_close(found[..., :7], expected[..., :7], rtol=0, atol=2e-5)


@pytest.mark.parametrize("policy", ["frames", "tokens"])
def test_what_is_always_kept(minimal, policy):
    images = golden_images(8, 28, 28)
    size = 5 + 4
    stream = Stream(minimal, CacheRules(policy, frames=5, tokens=5 * size))
    first_keys = None
    for frame in range(40):
        stream.step(images[:, frame * 7 % 8], wanted=Wanted(depth=False, points=False))
        kept, anchors = stream.cache.kept_frames[:, 0], stream.cache.anchor_frames[0]
        assert kept.shape[1] <= 5 * (size if policy == "tokens" else 1)
        always = {0, *anchors} if policy == "tokens" else {0, frame, *anchors}
        for block in kept:
            assert always <= set(block.tolist())
            if policy == "frames":
                assert len(set(block.tolist())) == len(block)
            else:
                assert (block == 0).sum() == size and all((block == anchor).sum() == size for anchor in anchors)
        buffer = stream.cache._across._buffers[0]
        keys = buffer.read(torch.float32)[0][:, :, :size]
        first_keys = keys.clone() if first_keys is None else first_keys
        assert torch.equal(keys, first_keys)  # the first frame stays as it was
    assert stream.cache.anchor_frames[0]
    if policy == "tokens":
        weights = stream.cache._across._weights
        assert weights.max() > 1 and weights[:, :, :size].max() == 1  # anchors absorb tokens, the first frame does not


def test_blocks_choose_their_frames_as_a_slow_twin_does(minimal):
    """The kept frames of each block follow from the mean keys that the block was given."""
    images, budget = golden_images(9, 28, 28), 4
    means = {}

    def record(block, queries, keys):
        newest = keys[0, :, -queries.shape[2] :].mean(dim=1).flatten().numpy().astype(np.float64)
        means.setdefault(block, []).append(newest / np.linalg.norm(newest))

    stream = Stream(minimal, CacheRules("frames", frames=budget))
    kept = {block: [] for block in range(4)}
    for frame in range(9):
        stream.step(images[:, frame], recorder=record)
        for block in kept:
            held = [*kept[block], frame]
            if len(held) > budget:
                prototypes = np.stack([means[block][number] for number in held])
                anchors = stream.cache.anchor_frames[0]
                protected = np.array([number in (0, frame, *anchors) for number in held])
                held = [held[place] for place in slow_farthest(prototypes, protected, budget)]
            kept[block] = held
            assert sorted(stream.cache.kept_frames[block, 0].tolist()) == held


def test_auto_keeps_short_input_whole_and_then_chooses_frames(minimal):
    images = golden_images(3, 14, 14)
    stream = Stream(minimal, CacheRules("auto", frames=6))
    for frame in range(SHORT_CLIP):
        stream.step(images[:, frame % 3], wanted=Wanted(depth=False, points=False))
    assert stream.cache.kept_frames.shape[2] == SHORT_CLIP
    peak = stream.cache.bytes
    for frame in range(3):
        stream.step(images[:, frame], wanted=Wanted(depth=False, points=False))
        assert stream.cache.kept_frames.shape[2] == 6
    assert stream.cache.bytes < peak / 3


@pytest.mark.parametrize(("policy", "bits"), [("window", 0), ("frames", 0), ("tokens", 8)])
def test_memory_and_time_are_flat(minimal, policy, bits):
    _check_flat(minimal, policy, bits, 100)


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "bits"), [("window", 0), ("frames", 0), ("tokens", 0), ("auto", 8), ("tokens", 8)])
def test_memory_and_time_are_flat_over_hundreds_of_frames(minimal, policy, bits):
    _check_flat(minimal, policy, bits, 600)


def _check_flat(network, policy, bits, frames):
    images = golden_images(5, 14, 28)
    # the camera head alone is enough: the dense heads keep nothing
    stream = Stream(network, CacheRules(policy, frames=6, tokens=42, bits=bits))
    seconds, sizes, stored = [], [], []
    for frame in range(frames):
        began = time.process_time()
        stream.step(images[:, frame % 5], wanted=Wanted(depth=False, points=False))
        seconds.append(time.process_time() - began)
        sizes.append(stream.cache.bytes)
        if frame in (40, frames - 1):
            stored.append(sum(array.nbytes for array in stream.state().values()))
    assert len(set(sizes[SHORT_CLIP + 1 :])) == 1
    assert stored[0] == pytest.approx(stored[1], rel=0.05)
    assert np.median(seconds[-30:]) < 2 * np.median(seconds[30:60])


@pytest.mark.parametrize(("bits", "tolerance"), [(16, 0.01), (8, 0.2)])
def test_fewer_bits_change_little(minimal, bits, tolerance):
    images = golden_images(6, 28, 28)
    exact = _run(Stream(minimal, CacheRules("all")), images)
    rough = _run(Stream(minimal, CacheRules("all", bits=bits)), images)
    for field in _FIELDS:
        change = (getattr(rough, field) - getattr(exact, field)).abs().max() / getattr(exact, field).abs().max()
        assert 0 < change < tolerance


@pytest.mark.parametrize("policy", _POLICIES)
def test_a_frame_that_is_stopped_in_the_middle_leaves_nothing(minimal, policy):
    images, rules = golden_images(3, 28, 28), CacheRules(policy, frames=4, tokens=40)

    def stop(block, queries, keys):
        if block == 2:
            raise KeyboardInterrupt

    stopped, undisturbed = Stream(minimal, rules), Stream(minimal, rules)
    for frame in range(3):
        with pytest.raises(KeyboardInterrupt):
            stopped.step(torch.rand(1, 3, 28, 28), recorder=stop)
        _close(stopped.step(images[:, frame]), undisturbed.step(images[:, frame]), 0.0)


def test_what_a_stream_refuses(minimal):
    stream = Stream(minimal, CacheRules("window"))
    stream.step(torch.rand(1, 3, 28, 28))
    with pytest.raises(InputError, match="began with images of 28x28 and goes on with 42x28"):
        stream.step(torch.rand(1, 3, 28, 42))
    with pytest.raises(InputError, match="9 tokens, and a cache of 17 must hold two frames; give at least 18"):
        Stream(minimal, CacheRules("tokens", tokens=17)).step(torch.rand(1, 3, 28, 28))
    with pytest.raises(InputError, match="made with another cache"):
        Stream(minimal, CacheRules("tokens")).restore(stream.state())


def test_a_recorder_is_given_what_a_frame_attends_with(minimal):
    stream = Stream(minimal, CacheRules("all"))
    seen = []
    for _ in range(2):
        stream.step(torch.rand(1, 3, 28, 28), recorder=lambda block, q, k: seen.append((block, q.shape[2], k.shape[2])))
    assert seen == [(block, 9, 9) for block in range(4)] + [(block, 9, 18) for block in range(4)]
