"""The parity command on the tiny network of the goldens."""

import numpy as np
import pytest

from dynamic_predictor.parity import run as parity
from dynamic_predictor.streamvggt import parity as cases
from dynamic_predictor.streamvggt.network import GeometryNetwork
from tests.dynamic_predictor.streamvggt.tiny_networks import TINY, at_golden_pixels, golden_images

_NAMES = ("pts3d_in_other_view", "conf", "depth", "depth_conf", "camera_pose")
_TRACKS = ("track", "vis", "track_conf")


@pytest.fixture
def tiny_case(monkeypatch):
    """The command with the tiny network in place of the published size."""
    monkeypatch.setattr(cases, "GeometryNetwork", _TinyNetwork)


class _TinyNetwork(GeometryNetwork):
    def __init__(self) -> None:
        super().__init__(TINY)


@pytest.mark.parametrize(("name", "golden_name"), [("streamvggt", "tiny"), ("vggt", "tiny_vggt_teacher")])
def test_outputs_are_the_official_ones(tiny_case, golden, tmp_path, name, golden_name):
    arrays = golden(golden_name)
    np.savez(tmp_path / "in.npz", images=golden_images(4).numpy(), query_points=arrays["query_points"])
    assert parity.main([name, "--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "out.npz")]) == 0
    prefixes = ("offline_", "stream_") if name == "streamvggt" else ("offline_",)
    with np.load(tmp_path / "out.npz") as outputs:
        assert set(outputs.files) == {prefix + key for prefix in prefixes for key in (*_NAMES, *_TRACKS)}
        for prefix in prefixes:
            for key in _NAMES:
                found = outputs[prefix + key]
                assert found.dtype == np.float32
                expected = arrays[prefix + key]
                np.testing.assert_allclose(at_golden_pixels(arrays, prefix + key, found), expected, rtol=0, atol=1e-4)
            # offline, rounding grows from one refinement to the next, see test_network
            tolerances = (3.0, 0.1, 0.1) if prefix == "offline_" else (1e-4, 1e-4, 1e-4)
            for key, tolerance in zip(_TRACKS, tolerances, strict=True):
                np.testing.assert_allclose(outputs[prefix + key], arrays[prefix + key], rtol=0, atol=tolerance)


def test_without_query_points_there_are_no_tracks(tiny_case, tmp_path):
    np.savez(tmp_path / "in.npz", images=golden_images(1).numpy(), names=np.array(["ignored"]))
    assert parity.main(["vggt", "--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "out.npz")]) == 0
    with np.load(tmp_path / "out.npz") as outputs:
        assert set(outputs.files) == {f"offline_{key}" for key in _NAMES}


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((1, 3)), r'"query_points" must have the shape (1, N, 2), not (1, 3)'),
        (np.zeros((1, 0, 2)), r"not (1, 0, 2)"),
        (np.full((1, 1, 2), np.nan), 'NaN or infinity in "query_points"'),
    ],
)
def test_query_points_that_do_not_fit(tiny_case, tmp_path, capsys, points, message):
    np.savez(tmp_path / "in.npz", images=golden_images(1).numpy(), query_points=points)
    assert parity.main(["vggt", "--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "out.npz")]) == 2
    assert message in capsys.readouterr().err


def test_sizes_that_are_no_multiples_are_refused(tiny_case, tmp_path, capsys):
    np.savez(tmp_path / "in.npz", images=np.zeros((1, 1, 3, 15, 28)))
    assert parity.main(["streamvggt", "--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "o.npz")]) == 2
    assert "multiples of 14" in capsys.readouterr().err
