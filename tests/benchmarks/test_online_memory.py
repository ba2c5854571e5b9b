"""benchmarks/online_memory.py on next to nothing, and its copy of the official behavior."""

import numpy as np
import pytest
import torch

from benchmarks.online_memory import CUT3R_CASES, STREAMVGGT_CASES, OfficialStream, draw, measure, predictor_case
from dynamic_predictor.streamvggt.network import concatenated
from dynamic_predictor.streamvggt.parity import official_stream
from scene.errors import InputError
from tests.dynamic_predictor.streamvggt.tiny_networks import MINIMAL, filled_network, golden_images


def test_the_official_behavior_gives_the_official_results():
    network, images = filled_network(MINIMAL), golden_images(5, 28, 42)
    stream = OfficialStream(network)
    found = concatenated([stream.step(images[:, frame]) for frame in range(5)])
    expected = official_stream(network, images)
    for field in ("camera", "depth", "points"):
        torch.testing.assert_close(getattr(found, field), getattr(expected, field), rtol=0, atol=1e-5)
    assert stream.bytes == 4 * 2 * (4 * 5 * 11 * 32 + 5 * 4 * 64)


def test_what_is_measured(tmp_path):
    found = {name: measure(STREAMVGGT_CASES[name], 20) for name in ("official", "window")}
    for figures in found.values():
        assert figures["frame"] == [5, 10, 15, 20]
        assert all(len(values) == 4 and min(values) > 0 for values in figures.values())
    kept = np.array(found["official"]["kept_bytes"])
    np.testing.assert_allclose(kept, kept[0] * np.arange(1, 5), rtol=1e-6)
    assert found["window"]["kept_bytes"][-1] == pytest.approx(kept[-1] * 16 / 20, rel=0.05)
    draw({"title": "tiny", "cases": found}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000


def test_the_state_of_cut3r_does_not_grow_and_what_the_official_code_keeps_does():
    found = {name: measure(CUT3R_CASES[name], 10) for name in CUT3R_CASES}
    for name, figures in found.items():
        first, last = figures["kept_bytes"]
        assert last == pytest.approx(2 * first if name == "official" else first, rel=1e-6), name


def test_predictors_of_whole_clips_are_refused():
    with pytest.raises(InputError, match="takes whole clips"):
        predictor_case("geometric", {})
