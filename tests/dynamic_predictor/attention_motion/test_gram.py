"""VGGT4D's statistics against loops over Gram matrices, and what must not change them."""

import numpy as np
import pytest
import torch

from dynamic_predictor.attention_motion.gram import (
    GramStatistic,
    GramWindows,
    gram_statistics,
    stacked_maps,
    window_offsets,
)

DEPTH, HEADS, WIDTH, ROWS, COLUMNS = 24, 2, 4, 3, 4
PATCHES = ROWS * COLUMNS


def _tokens(frames: int, seed: int = 0, depth: int = DEPTH) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys (layers, frames, heads, patches, width)."""
    rng = np.random.default_rng(seed)
    shape = (2, depth, frames, HEADS, PATCHES, WIDTH)
    query, key = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    return query, key


def _maps(query: torch.Tensor, key: torch.Tensor, *, layer_first: bool = True) -> np.ndarray:
    depth, frames = query.shape[:2]
    windows = GramWindows(depth)
    order = [(layer, frame) for layer in range(depth) for frame in range(frames)]
    for layer, frame in order if layer_first else sorted(order, key=lambda pair: pair[::-1]):
        windows.add(layer, frame, query[layer, frame], key[layer, frame])
    return stacked_maps(windows, ROWS, COLUMNS).numpy()


def _scaled(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min())


def _plain_maps(query: torch.Tensor, key: torch.Tensor) -> np.ndarray:
    """VGGT4D's formula for VGGT's 24 layers from whole Gram matrices."""
    q, k = query.double().numpy(), key.double().numpy()
    frames = q.shape[1]
    maps = []
    for frame in range(frames):
        sources = [frame + offset for offset in (-6, -4, -2, 2, 4, 6) if 0 <= frame + offset < frames]

        def gram(left: np.ndarray, right: np.ndarray, layers: range, frame=frame, sources=sources) -> np.ndarray:
            """(patches of the frame, layers * heads, sources, patches of the source)."""
            products = np.zeros((PATCHES, len(layers) * HEADS, len(sources), PATCHES))
            for a, layer in enumerate(layers):
                for head in range(HEADS):
                    for b, source in enumerate(sources):
                        products[:, a * HEADS + head, b] = left[layer, frame, head] @ right[layer, source, head].T
            return products

        shallow = _scaled(gram(q, q, range(3, 8)).mean(axis=(1, 2, 3)))
        steady = _scaled(gram(q, q, range(18, 20)).mean(axis=(1, 2)).std(axis=1, ddof=1))
        deep = _scaled(gram(q, q, range(17, 22)).mean(axis=(1, 2, 3)))
        keys = _scaled(gram(k, k, range(0, 1)).mean(axis=(1, 2, 3)))
        first = _scaled(gram(q, k, range(0, 1)).mean(axis=(1, 2)).std(axis=1, ddof=1))
        maps.append(_scaled((1 - shallow) * (1 - steady) * deep * (1 - keys) * first).reshape(ROWS, COLUMNS))
    return np.stack(maps)


@pytest.mark.parametrize("frames", [4, 9, 16])
def test_the_formula_as_loops_over_gram_matrices(frames):
    query, key = _tokens(frames)
    found = _maps(query, key)
    assert found.shape == (frames, ROWS, COLUMNS) and found.min() == 0 and found.max() <= 1
    np.testing.assert_allclose(found, _plain_maps(query, key), atol=2e-4)


def test_order_of_layers_and_frames_permuted_heads_and_scale_do_not_matter():
    query, key = _tokens(15, 1)
    found = _maps(query, key)
    np.testing.assert_allclose(_maps(query, key, layer_first=False), found, atol=1e-5)
    np.testing.assert_allclose(_maps(query.flip(2), key.flip(2)), found, atol=1e-4)
    np.testing.assert_allclose(_maps(3 * query, 3 * key), found, atol=1e-4)
    # time reversed: the window is symmetric
    np.testing.assert_allclose(_maps(query.flip(1), key.flip(1))[::-1], found, atol=1e-4)


def test_constant_tokens_and_frames_without_neighbors_do_not_move():
    ones = torch.ones(DEPTH, 5, HEADS, PATCHES, WIDTH)
    assert not _maps(ones, ones).any()
    assert not _maps(*_tokens(1)).any() and not _maps(*_tokens(2)).any()
    assert window_offsets(2) == window_offsets(3) == (-1, 1) and window_offsets(4) == (-6, -4, -2, 2, 4, 6)


def test_a_moving_block_is_found():
    """Its queries fit its neighbors in deep layers, evenly, and not in shallow ones, its first keys do not fit,
    and its first queries tell the neighbors' patches apart."""
    frames, shape = 9, (ROWS, COLUMNS)
    rng = np.random.default_rng(0)
    query = torch.from_numpy(1 + 0.02 * rng.standard_normal((DEPTH, frames, HEADS, PATCHES, WIDTH))).float()
    key = query.clone()
    truth = np.zeros((frames, *shape), bool)
    for frame in range(frames):
        truth[frame, 1:3, frame % 3 : frame % 3 + 2] = True
        block = torch.from_numpy(truth[frame].ravel())
        query[3:8, frame, :, block] *= 0.5
        query[18:20, frame, :, block] *= 0.5
        query[17:18, frame, :, block] *= 2.0
        query[20:22, frame, :, block] *= 2.0
        key[0, frame, :, block] *= 0.5
        query[0, frame, :, block] *= 2.0
    np.testing.assert_array_equal(_maps(query, key) > 0.5, truth)


def test_layers_of_smaller_networks_are_at_the_same_share_of_the_depth():
    assert [statistic.layers for statistic in gram_statistics(24)] == [(3, 8), (18, 20), (17, 22), (0, 1), (0, 1)]
    for depth in (1, 2, 4, 12):
        for statistic in gram_statistics(depth):
            assert 0 <= statistic.layers[0] < statistic.layers[1] <= depth
        assert np.isfinite(_maps(*_tokens(4, depth=depth))).all()


@pytest.mark.parametrize("layer_first", [True, False])
def test_what_is_held_does_not_grow_with_the_clip(layer_first):
    """Frame by frame, 7 frames and 13 as neighbors; layer by layer, all frames only in the layers of a deviation."""
    held = []
    for frames in (30, 60):
        windows, own, neighbors = GramWindows(DEPTH), 0, 0
        order = [(layer, frame) for layer in range(DEPTH) for frame in range(frames)]
        query, key = _tokens(1)
        for layer, frame in order if layer_first else sorted(order, key=lambda pair: pair[::-1]):
            windows.add(layer, frame, query[layer, 0], key[layer, 0])
            for part in (part for parts in windows._windows for part in parts):
                if part.layers != (18, 19) or not layer_first:
                    own = max(own, len(part.own))
                    neighbors = max(neighbors, len(part.as_neighbors))
                    if not part.statistic.is_deviation:
                        assert all(t.shape[1] == 1 for kept in part.as_neighbors.values() for t in kept.values())
        held.append((own, neighbors))
    assert held == [held[0]] * 2 and held[0][0] <= 7 and held[0][1] <= 13


def test_a_statistic_says_what_it_compares():
    statistic = GramStatistic((0, 1), "query", "key", is_deviation=True, is_inverted=False)
    assert statistic in gram_statistics(24)
