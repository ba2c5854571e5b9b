"""The parity command on small networks, and input that it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r import parity as das3r_parity
from dynamic_predictor.das3r.config import TwoViewConfig
from dynamic_predictor.parity import run as parity
from scene.errors import InputError
from tests.dynamic_predictor.das3r.small_networks import TINY


@pytest.fixture
def tiny_case(monkeypatch):
    """The command with the small network in place of the published size."""
    monkeypatch.setattr(das3r_parity, "TwoViewConfig", lambda has_mask_heads: TINY if has_mask_heads else _MONST3R)


_MONST3R = replace(TINY, has_mask_heads=False)
_GAINS = {f"downstream_head{number}.dpt.head.4.weight": ["mul", 0.2] for number in (1, 2)}


@pytest.mark.parametrize("name", ["das3r", "monst3r"])
def test_outputs_are_the_official_ones(tiny_case, golden, tmp_path, name):
    arrays = golden(f"{name}_tiny_landscape.npz")
    np.savez(tmp_path / "in.npz", images=np.stack([arrays["in_img1"], arrays["in_img2"]], axis=1))
    (tmp_path / "overrides.json").write_text(json.dumps(_GAINS))
    arguments = [name, "--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "out.npz")]
    assert parity.main([*arguments, "--overrides", str(tmp_path / "overrides.json")]) == 0
    with np.load(tmp_path / "out.npz") as outputs:
        wanted = {key.removeprefix("out_") for key in arrays if key.startswith("out_")}
        assert set(outputs.files) == wanted
        for output in wanted:
            expected = arrays[f"out_{output}"]
            assert outputs[output].dtype == np.float32 and outputs[output].shape == expected.shape
            np.testing.assert_allclose(outputs[output], expected, rtol=1e-4, atol=2e-5 * expected.std())


def test_overrides_multiply_and_add_under_either_name_of_a_key(tiny_case):
    images = torch.rand(1, 2, 3, 32, 48)
    plain = parity.run_parity("monst3r", images, _GAINS)
    key = "downstream_head1.dpt.scratch.layer_rn.0.weight"
    changed = parity.run_parity("monst3r", images, {**_GAINS, key: ["mul", 0.0]})
    own = parity.run_parity("monst3r", images, {**_GAINS, key.replace("layer_rn.0", "layer1_rn"): ["mul", 0.0]})
    np.testing.assert_array_equal(changed["conf_1"], own["conf_1"])
    assert not np.allclose(plain["conf_1"], own["conf_1"])
    np.testing.assert_array_equal(plain["conf_2"], own["conf_2"])
    bias = "downstream_head2.dpt.head.4.bias"
    added = parity.run_parity("monst3r", images, {**_GAINS, bias: ["add", 1.0]})
    np.testing.assert_allclose(added["conf_2"] - 1, (plain["conf_2"] - 1) * np.e, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"no.such.key": ["mul", 2]}, "no.such.key"),
        ({"enc_norm.bias": ["divide", 2]}, "enc_norm.bias"),
        ({"enc_norm.bias": ["mul", float("nan")]}, "enc_norm.bias"),
        ({"enc_norm.bias": 3}, "enc_norm.bias"),
    ],
)
def test_bad_overrides_are_named(tiny_case, change, message):
    with pytest.raises(InputError, match=message):
        parity.run_parity("das3r", torch.zeros(1, 2, 3, 32, 32), change)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((2, 3, 32, 32), "shape"), ((1, 3, 3, 32, 32), "takes 2 images"), ((1, 2, 3, 32, 40), "multiples of 16")],
)
def test_bad_images_are_refused(tiny_case, shape, message):
    with pytest.raises(InputError, match=message):
        parity.run_parity("das3r", torch.zeros(shape))


def test_invalid_input_ends_with_one_sentence(tmp_path, capsys):
    output = tmp_path / "out.npz"
    (tmp_path / "text.npz").write_text("not numbers")
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    np.savez(tmp_path / "nan.npz", images=np.full((1, 2, 3, 16, 16), np.nan, np.float32))
    for name, input_name in (
        ("das4r", "nan.npz"),
        ("das3r", "missing.npz"),
        ("das3r", "text.npz"),
        ("das3r", "other.npz"),
        ("das3r", "nan.npz"),
    ):
        assert parity.main([name, "--input", str(tmp_path / input_name), "--output", str(output)]) == 2
        message = capsys.readouterr().err
        assert message.startswith("parity: ") and message.count("\n") == 1
    assert 'nan.npz holds NaN or infinity in "images"' in message
    assert not output.exists()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), 2),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), 2),
        (RuntimeError("could not create a primitive"), 2),
        (RuntimeError("a bug"), None),
    ],
)
def test_too_little_memory_is_one_sentence(tmp_path, capsys, monkeypatch, error, status):
    def fails(*args):
        raise error

    monkeypatch.setattr(parity, "run_parity", fails)
    np.savez(tmp_path / "in.npz", images=np.zeros((1, 2, 3, 32, 32), np.float32))
    words = ["das3r", "--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "out.npz")]
    if status is None:
        with pytest.raises(RuntimeError, match="a bug"):
            parity.main(words)
    else:
        assert parity.main(words) == status
        assert "memory is not enough" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.npz"]


def test_an_output_that_cannot_be_written_is_refused_before_the_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(parity, "run_parity", lambda *args: pytest.fail("it ran"))
    np.savez(tmp_path / "in.npz", images=np.zeros((1, 2, 3, 32, 32), np.float32))
    output = tmp_path / "in.npz" / "out.npz"
    assert parity.main(["das3r", "--input", str(tmp_path / "in.npz"), "--output", str(output)]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.slow
def test_published_size_runs_and_is_finite():
    overrides = {**_GAINS, **{f"downstream_head_dynamic_mask{n}.dpt.head.4.weight": ["mul", 0.25] for n in (1, 2)}}
    outputs = parity.run_parity("das3r", torch.rand(1, 2, 3, 96, 128) * 2 - 1, overrides)
    assert TwoViewConfig().encoder_width == 1024
    assert set(outputs) == {f"{kind}_{number}" for kind in ("pts3d", "conf", "mask") for number in (1, 2)}
    assert all(np.isfinite(values).all() for values in outputs.values())
