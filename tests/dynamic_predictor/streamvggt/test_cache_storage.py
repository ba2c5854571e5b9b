"""Buffers of keys and values: what is read is what was written, up to the precision that was asked for."""

import numpy as np
import pytest
import torch

from dynamic_predictor.streamvggt.cache_storage import KeyValueBuffer, Scratch, quantized


def _tokens(count, seed=0, batch=2, heads=3, width=8):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, heads, count, width, generator=generator), torch.randn(
        batch, heads, count, width, generator=generator
    )


@pytest.mark.parametrize("capacity", [0, 20])
@pytest.mark.parametrize(("bits", "tolerance"), [(0, 0.0), (32, 0.0), (16, 2e-3), (8, 0.02)])
def test_what_is_read_is_what_was_written(bits, tolerance, capacity):
    buffer = KeyValueBuffer(bits, Scratch(), capacity)
    written = []
    for part in range(4):
        written.append(_tokens(5, part))
        buffer.append(*written[-1])
        found = buffer.read(torch.float32)
        for numbers, expected in zip(found, zip(*written, strict=True), strict=True):
            torch.testing.assert_close(numbers, torch.cat(expected, dim=2), rtol=0, atol=tolerance * 4)


def test_eight_bits_err_by_at_most_half_a_step_of_the_largest_magnitude():
    numbers, _ = _tokens(200)
    numbers[0, 0, 0] = 0.0
    integers, scales = quantized(numbers)
    assert integers.dtype == torch.int8
    error = (integers * scales - numbers).abs()
    bound = numbers.abs().amax(dim=-1, keepdim=True) / 254
    assert (error <= bound * (1 + 1e-5)).all()
    assert (integers[0, 0, 0] == 0).all()


@pytest.mark.parametrize(("bits", "per_number"), [(32, 4.0), (16, 2.0), (8, 1 + 4 / 64)])
def test_memory_is_that_of_the_bits(bits, per_number):
    buffer = KeyValueBuffer(bits, Scratch(), 100)
    buffer.append(*_tokens(10, width=64))
    assert buffer.bytes == 2 * (2 * 3 * 100 * 64) * per_number
    for _ in range(9):
        buffer.append(*_tokens(10, width=64))
    assert buffer.bytes == 2 * (2 * 3 * 100 * 64) * per_number  # nothing is allocated until it is full


@pytest.mark.parametrize("bits", [0, 8])
def test_moving_keeping_and_replacing(bits):
    buffer = KeyValueBuffer(bits, Scratch())
    keys, values = _tokens(12)
    buffer.append(keys, values)
    buffer.move(1, 8, 2, 4)
    keys[1, :, 2:6], values[1, :, 2:6] = keys[1, :, 8:].clone(), values[1, :, 8:].clone()
    kept = torch.tensor([[0, 3, 11], [2, 5, 6]])
    buffer.keep(kept)
    for numbers, expected in zip(buffer.read(torch.float32), (keys, values), strict=True):
        wanted = torch.stack([expected[clip][:, kept[clip]] for clip in range(2)])
        torch.testing.assert_close(numbers, wanted, rtol=0, atol=0.1 if bits else 0)
    new_keys, new_values = _tokens(2, 7)
    buffer.replace(0, torch.tensor([2, 0]), new_keys[0], new_values[0])
    found = buffer.read(torch.float32)[0][0, :, [2, 0]]
    torch.testing.assert_close(found, new_keys[0], rtol=0, atol=0.1 if bits else 0)
    buffer.truncate(1)
    buffer.shrink(2)
    assert buffer.read(torch.float32)[0].shape[2] == 1 and buffer.capacity == 2


@pytest.mark.parametrize("bits", [0, 16, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_state_and_restore(tmp_path, bits, dtype):
    buffer = KeyValueBuffer(bits, Scratch(), 9)
    buffer.append(*(numbers.to(dtype) for numbers in _tokens(5)))
    np.savez(tmp_path / "state.npz", **buffer.state())
    other = KeyValueBuffer(bits, Scratch(), 9)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as arrays:
        other.restore(dict(arrays), torch.device("cpu"))
    for numbers, expected in zip(other.read(dtype), (part.clone() for part in buffer.read(dtype)), strict=True):
        assert numbers.dtype == dtype and torch.equal(numbers, expected)
    assert other.length == 5
    empty = KeyValueBuffer(bits, Scratch())
    empty.restore({}, torch.device("cpu"))
    assert empty.length == 0
