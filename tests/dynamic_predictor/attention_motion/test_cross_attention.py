"""Easi3R's aggregation against loops over logits, and what must not change it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dynamic_predictor.attention_motion.cross_attention import (
    AttentionMoments,
    cross_attention_motion,
    received_attention,
    role_statistics,
)

ROWS, COLUMNS, LAYERS, HEADS, WIDTH, FRAMES = 4, 5, 2, 3, 8, 4
TOKENS = ROWS * COLUMNS
EDGES = [(i, j) for i in range(FRAMES) for j in range(FRAMES) if i != j and abs(i - j) < 3]

#: pair -> queries and keys (layers, heads, tokens, width) of both decoders
Attention = dict[tuple[int, int], tuple[Tensor, Tensor, Tensor, Tensor]]


def _random_attention(seed: int = 0) -> Attention:
    rng = np.random.default_rng(seed)
    shape = (4, LAYERS, HEADS, TOKENS, WIDTH)
    return {edge: tuple(torch.from_numpy(rng.standard_normal(shape).astype(np.float32))) for edge in EDGES}


def _motion(attention: Attention) -> np.ndarray:
    source, reference = (AttentionMoments(FRAMES, LAYERS * HEADS, TOKENS) for _ in range(2))
    for (first, second), (query1, key2, query2, key1) in attention.items():
        source.add(second, received_attention(query1, key2).flatten(0, 1))
        reference.add(first, received_attention(query2, key1).flatten(0, 1))
    roles = [role_statistics(moments, ROWS, COLUMNS) for moments in (source, reference)]
    return cross_attention_motion(*roles).numpy()


def _plain_motion(attention: Attention) -> np.ndarray:
    """Easi3R's formula from whole logits, with channels scaled together before their mean, as in its code."""
    received: dict[tuple[str, int], list[np.ndarray]] = {}
    for (first, second), parts in attention.items():
        query1, key2, query2, key1 = (part.double().numpy() for part in parts)
        for role, frame, query, key in (("source", second, query1, key2), ("reference", first, query2, key1)):
            maps = np.zeros((LAYERS * HEADS, TOKENS))
            for layer in range(LAYERS):
                for head in range(HEADS):
                    logits = query[layer, head] @ key[layer, head].T / np.sqrt(WIDTH)
                    maps[layer * HEADS + head] = logits.mean(axis=0)
            received.setdefault((role, frame), []).append(maps)
    fused = {}
    for role in ("source", "reference"):
        for name, summary in (("mean", np.mean), ("deviation", lambda x, axis: np.std(x, axis=axis, ddof=1))):
            maps = np.stack([summary(np.stack(received[role, frame]), axis=0) for frame in range(FRAMES)])
            maps = maps.reshape(FRAMES, -1, ROWS, COLUMNS)
            maps[:, :, 0, 0] = (maps[:, :, 0, 1] + maps[:, :, 1, 0]) / 2
            maps = (maps - maps.min()) / (maps.max() - maps.min())
            maps = maps.mean(axis=1)
            fused[role, name] = (maps - maps.min()) / (maps.max() - maps.min())
    product = (
        (1 - fused["source", "mean"])
        * fused["source", "deviation"]
        * fused["reference", "mean"]
        * (1 - fused["reference", "deviation"])
    )
    least, most = product.min(axis=(1, 2), keepdims=True), product.max(axis=(1, 2), keepdims=True)
    return (product - least) / (most - least)


def test_the_formula_as_loops_over_logits():
    attention = _random_attention()
    found = _motion(attention)
    assert found.shape == (FRAMES, ROWS, COLUMNS) and found.min() == 0 and found.max() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(found, _plain_motion(attention), atol=2e-4)


def test_order_of_pairs_heads_and_layers_and_scale_of_logits_do_not_matter():
    attention = _random_attention(1)
    found = _motion(attention)
    backward = dict(reversed(attention.items()))
    heads, layers = torch.tensor([2, 0, 1]), torch.tensor([1, 0])
    permuted = {edge: tuple(part[layers][:, heads] for part in parts) for edge, parts in attention.items()}
    scaled = {edge: (q1 * 3, k2, q2, k1 * 3) for edge, (q1, k2, q2, k1) in attention.items()}
    for other in (backward, permuted, scaled):
        np.testing.assert_allclose(_motion(other), found, atol=1e-4)


def test_constant_attention_is_no_motion():
    same = torch.ones(LAYERS, HEADS, TOKENS, WIDTH)
    assert not _motion({edge: (same, same, same, same) for edge in EDGES}).any()
    # attention that differs between tokens but not between pairs has no deviation
    token = torch.linspace(0.1, 1.0, TOKENS)[:, None] * same
    assert not _motion({edge: (same, token, same, token) for edge in EDGES}).any()


def test_a_block_that_is_attended_unsteadily_as_source_is_found():
    """Static tokens: high and steady attention everywhere. The block: low and varying as source, as reference high."""
    rng = np.random.default_rng(3)
    query = torch.full((LAYERS, HEADS, TOKENS, WIDTH), 1.0)
    attention: Attention = {}
    for first, second in EDGES:
        maps = []
        for frame, moves_down in ((second, True), (first, False)):
            image = np.full((ROWS, COLUMNS), 1.0 if moves_down else 0.6) + 0.02 * rng.standard_normal((ROWS, COLUMNS))
            block = slice(frame, frame + 2)
            image[2:4, block] = 0.3 * rng.uniform(0.5, 1.5) if moves_down else 1.0
            maps.append(torch.from_numpy(image.ravel().astype(np.float32))[:, None].expand(TOKENS, WIDTH))
        key2, key1 = (values.expand(LAYERS, HEADS, TOKENS, WIDTH) for values in maps)
        attention[first, second] = (query, key2, query, key1)
    found = _motion(attention)
    for frame in range(FRAMES):
        truth = np.zeros((ROWS, COLUMNS), bool)
        truth[2:4, frame : frame + 2] = True
        np.testing.assert_array_equal(found[frame] > 0.5, truth)


def test_moments_are_those_of_all_values():
    values = torch.randn(7, 6, 10, generator=torch.Generator().manual_seed(0)) + 100
    moments = AttentionMoments(2, 6, 10)
    for value in values:
        moments.add(1, value)
    moments.add(0, values[0])
    torch.testing.assert_close(moments.mean()[1], values.mean(dim=(0, 1)))
    torch.testing.assert_close(moments.deviation()[1], values.std(dim=0).mean(dim=0), rtol=1e-4, atol=1e-5)
    assert not moments.deviation()[0].any()  # a single pair has none


def test_received_attention_is_the_mean_of_the_logits_over_queries():
    query, key = torch.randn(2, 3, 7, 8), torch.randn(2, 3, 5, 8)
    torch.testing.assert_close(received_attention(query, key), (query @ key.mT / 8**0.5).mean(dim=2))


def test_a_grid_of_one_row_keeps_its_first_token():
    moments = AttentionMoments(1, 1, 4)
    moments.add(0, torch.arange(4.0)[None])
    assert role_statistics(moments, 1, 4).mean.tolist() == [[[0.0, 1.0, 2.0, 3.0]]]
    assert role_statistics(moments, 2, 2).mean.tolist() == [[[1.5, 1.0], [2.0, 3.0]]]
