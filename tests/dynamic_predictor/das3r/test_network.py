"""Outputs and intermediate values of our network against those of the official code, with the same made-up weights."""

import gzip
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.config import TwoViewConfig
from dynamic_predictor.das3r.network import TwoViewNetwork
from dynamic_predictor.das3r.official_layout import key_aliases
from tests.dynamic_predictor.das3r.small_networks import COPIES, TINY

CASES = ["landscape", "portrait", "land_vs_port", "batch2", "symmetrised", "manyar_mixed"]


def assert_close(ours: torch.Tensor, golden: np.ndarray, what: str) -> None:
    """Tolerances: 1e-4 relative, plus 2e-5 of the array's standard deviation for values near zero."""
    step = ours.shape[1] // golden.shape[1]  # a copy may hold every fourth pixel
    ours = ours[:, ::step, ::step] if step > 1 else ours
    np.testing.assert_allclose(ours.numpy(), golden, rtol=1e-4, atol=2e-5 * golden.std(), err_msg=what)


def _predict(network, arrays):
    transposed = [None, None]
    for number in (1, 2):
        if f"in_true_shape{number}" in arrays:
            shapes = arrays[f"in_true_shape{number}"]
            transposed[number - 1] = torch.from_numpy(shapes[:, 0] > shapes[:, 1])
    return network(torch.from_numpy(arrays["in_img1"]), torch.from_numpy(arrays["in_img2"]), *transposed)


@pytest.mark.parametrize("case", CASES)
def test_das3r_outputs(das3r_tiny, golden, case):
    arrays = golden(f"das3r_tiny_{case}.npz")
    for number, view in enumerate(_predict(das3r_tiny, arrays), start=1):
        assert_close(view.points, arrays[f"out_pts3d_{number}"], f"points {number}")
        assert_close(view.confidence, arrays[f"out_conf_{number}"], f"confidence {number}")
        assert_close(view.motion, arrays[f"out_mask_{number}"], f"motion {number}")


@pytest.mark.parametrize("case", ["landscape", "manyar_mixed"])
def test_monst3r_outputs(monst3r_tiny, golden, case):
    arrays = golden(f"monst3r_tiny_{case}.npz")
    for number, view in enumerate(_predict(monst3r_tiny, arrays), start=1):
        assert_close(view.points, arrays[f"out_pts3d_{number}"], f"points {number}")
        assert_close(view.confidence, arrays[f"out_conf_{number}"], f"confidence {number}")
        assert view.motion is None


@pytest.mark.parametrize("name", ["das3r", "monst3r"])
def test_intermediate_values(name, golden, request):
    arrays = golden(f"{name}_tiny_landscape.npz")
    network = request.getfixturevalue(f"{name}_tiny")
    calls: dict[str, list[torch.Tensor]] = {}
    taps = sorted({match[1] for key in arrays if (match := re.fullmatch(r"tap_(.+)#\d+", key))})
    hooks = []
    for module in taps:

        def keep(_module, _inputs, output, module=module):
            calls.setdefault(module, []).append(output[0] if isinstance(output, tuple) else output)

        hooks.append(network.get_submodule(module).register_forward_hook(keep))
    try:
        _predict(network, arrays)
    finally:
        for hook in hooks:
            hook.remove()
    compared = 0
    for key, expected in arrays.items():
        if match := re.fullmatch(r"tap_(.+)#(\d+)", key):
            ours = calls[match[1]][int(match[2])]
            assert ours.shape == expected.shape, key
            assert_close(ours, expected, key)
            compared += 1
    assert compared == (33 if name == "das3r" else 23)


def _inventory(request, name):
    path = COPIES / f"{name}.keys.json.gz"
    if not path.exists():
        path = request.getfixturevalue("shared") / "parity" / "das3r" / path.name
    with gzip.open(path) as file:
        return {key: tuple(shape) for key, shape in json.load(file).items()}


@pytest.mark.parametrize(
    ("name", "config", "count"),
    [
        ("das3r", TwoViewConfig(), 611_868_426),
        ("monst3r", replace(TwoViewConfig(), has_mask_heads=False), 571_171_208),
        ("das3r_tiny", TINY, None),
        ("monst3r_tiny", replace(TINY, has_mask_heads=False), None),
    ],
)
def test_every_key_and_shape_of_the_official_checkpoint(request, name, config, count):
    with torch.device("meta"):
        network = TwoViewNetwork(config)
    ours = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    ours |= {alias: ours[key] for alias, key in key_aliases(ours).items()}
    assert ours == _inventory(request, name)
    if count is not None:
        assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_mask_heads_are_what_official_training_trains():
    with torch.device("meta"):
        network = TwoViewNetwork()
    trained = sum(p.numel() for name, p in network.named_parameters() if "dynamic_mask" in name)
    assert trained == 40_697_218
