"""The reader of CO3Dv2 on a small folder, and its cameras against the official conversion."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.evaluation.datasets.co3d import CATEGORIES, draw_sequences, opencv_camera, read_jgz
from scene.errors import InputError
from tests.dynamic_predictor.evaluation.datasets.room_files import OBJECT_WALK, make_co3d, write_jgz
from tests.paths import DATA, ROOT


def test_cameras_equal_the_official_conversion() -> None:
    golden = np.load(DATA / "co3d_poses.npz")
    found = opencv_camera(golden["pt3d_R"], golden["pt3d_T"])
    np.testing.assert_allclose(found[:3], golden["pt3d_to_opencv"], atol=1e-7)
    assert len(CATEGORIES) == 41 == len(set(CATEGORIES))


def test_draws_follow_one_generator_in_alphabetical_order(tmp_path: Path) -> None:
    make_co3d(tmp_path)
    sequences, left_out = draw_sequences(tmp_path)
    assert [sequence.name for sequence in sequences] == ["apple/1_2_3", "bench/7_8_9"]
    assert left_out == {"apple/4_5_6": "20 images, fewer than 50", "bench/far": "a camera is too far away"}
    np.random.seed(0)
    for sequence, count in zip(sequences, (60, 50), strict=True):
        drawn = np.random.choice(count, 10, replace=False)
        assert [image.name for image in sequence.images] == [f"frame{index + 1:06d}.png" for index in drawn]
        expected = [np.linalg.inv(OBJECT_WALK.world_from_camera(index)) for index in drawn]
        np.testing.assert_allclose(sequence.camera_from_world, expected, atol=1e-12)
    assert sequences[1].category == "bench" and all(image.is_file() for image in sequences[1].images)
    other, _ = draw_sequences(tmp_path, seed=1)
    assert other[0].images != sequences[0].images
    assert len(draw_sequences(tmp_path, count=4)[0][0].images) == 4


def test_preparation_from_the_files_of_the_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_co3d(tmp_path / "made")
    make_co3d(tmp_path / "raw", raw=True)
    with pytest.raises(InputError, match="holds no annotations of test sequences; make them: python data/prepare_co3d"):
        draw_sequences(tmp_path / "raw")
    script = ROOT / "data" / "prepare_co3d.py"
    monkeypatch.setattr("sys.argv", [str(script), "--folder", str(tmp_path / "raw")])
    for _ in range(2):
        with pytest.raises(SystemExit, match="0"):
            runpy.run_path(str(script), run_name="__main__")
    assert "2 categories are prepared." in capsys.readouterr().out
    for category in ("apple", "bench"):
        ours, theirs = (
            read_jgz(tmp_path / name / f"co3d_v2_annotations/{category}_test.jgz") for name in ("raw", "made")
        )
        assert ours == theirs
    monkeypatch.setattr("sys.argv", [str(script), "--folder", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(script), run_name="__main__")
    assert "holds no category with frame_annotations.jgz" in capsys.readouterr().err


def test_bad_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="CO3Dv2 is not in"):
        draw_sequences(tmp_path)
    make_co3d(tmp_path)
    path = tmp_path / "co3d_v2_annotations" / "apple_test.jgz"
    for content, sentence in (
        ({"a": [{"filepath": "x", "R": [[1]], "T": [1, 2, 3]}]}, "a camera without filepath, R"),
        ({"a": [{"filepath": "../x", "R": np.eye(3).tolist(), "T": [1, 2, 3]}]}, "a path outside the data set"),
    ):
        write_jgz(path, content)
        with pytest.raises(InputError, match=sentence):
            draw_sequences(tmp_path)
    path.write_bytes(b"no gzip")
    with pytest.raises(InputError, match="is damaged or no compressed JSON"):
        draw_sequences(tmp_path)
