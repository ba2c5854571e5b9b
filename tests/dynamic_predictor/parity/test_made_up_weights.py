"""The values of made-up weights against the rule with which the goldens were made."""

import importlib.util
import zlib

import numpy as np
import pytest

from dynamic_predictor.parity.made_up_weights import made_up_weight

SHAPES = {
    "block.attn.weight": (6, 4, 3),
    "norm.weight": (5,),
    "norm.bias": (5,),
    "scale": (),
    "layer.gamma": (7,),
    "bn.running_var": (9,),
    "bn.running_mean": (9,),
    "token": (1, 2, 3),
    "wide.weight": (2300, 2000),
}


def test_made_up_weights_follow_the_rule_of_the_goldens(shared):
    spec = importlib.util.spec_from_file_location("fill", shared / "parity" / "fill.py")
    assert spec and spec.loader
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    for key, shape in SHAPES.items():
        ours = made_up_weight(key, shape)
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, reference.fill(key, shape), err_msg=key)


def test_made_up_weights_start_from_the_checksum_of_the_key():
    word = int(np.random.PCG64(zlib.crc32(b"x.bias")).random_raw(1)[0])
    expected = ((word >> 40) / 2**24 * 2 - 1) * 3**0.5 * 0.1
    assert made_up_weight("x.bias", (1,))[0] == pytest.approx(expected, rel=1e-6)
