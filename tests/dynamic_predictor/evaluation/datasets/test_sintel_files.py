"""Reading .flo files, damaged ones included."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dynamic_predictor.evaluation.datasets.sintel_files import read_flo
from scene.errors import InputError

TAG = np.float32(202021.25).tobytes()


def test_flow_files(tmp_path: Path) -> None:
    flow = np.random.default_rng(0).normal(size=(5, 7, 2)).astype(np.float32)
    sizes = np.array([7, 5], np.int32).tobytes()
    (tmp_path / "a.flo").write_bytes(TAG + sizes + flow.tobytes())
    np.testing.assert_array_equal(read_flo(tmp_path / "a.flo"), flow)
    assert (cv2.readOpticalFlow(str(tmp_path / "a.flo")) == flow).all()
    huge = np.array([2**30, 2**30], np.int32).tobytes()
    for content in (b"", TAG, b"PIEH" + sizes, TAG + sizes + flow.tobytes()[:-4], TAG + huge):
        (tmp_path / "bad.flo").write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.flo"):
            read_flo(tmp_path / "bad.flo")
