"""Training sequences made of a rendered scene have its cameras and depth."""

import numpy as np
import pytest

from data.make_training_clips import main, make_sequence
from dynamic_predictor.training.datasets.training_set import open_training_set
from scene.errors import InputError
from scene.truth import TruthScene
from tests.paths import ROOT

SAMPLE = ROOT / "data" / "sample"


def test_sequences_in_the_layout_of_spring_have_the_points_of_the_scene(tmp_path):
    scene = TruthScene(SAMPLE)
    make_sequence(scene, range(4, 8), tmp_path / "spring" / "sample", max_size=480)
    opened = open_training_set("spring", tmp_path / "spring", max_views=4)
    sample = opened.sample(0, 4, (480, 272), np.random.default_rng(0))
    for view, name in enumerate(sample.views):
        index = 4 + int(str(name).split("/")[-1])
        z_depth = scene.depth(index)
        assert z_depth is not None
        known = sample.valid[view].numpy()
        assert known.mean() > 0.9
        expected = scene.cameras[index].unproject(z_depth)
        # the set's files are cropped about the principal point, which is half a pixel from the image's center
        error = np.linalg.norm(sample.world_points()[view].numpy() - expected, axis=-1)
        assert np.median(error[known]) < 0.01 * np.median(z_depth)
        np.testing.assert_allclose(sample.world_from_camera[view], scene.cameras[index].world_from_camera, atol=1e-5)


def test_the_command_writes_both_parts_and_says_how_to_train(tmp_path, capsys):
    assert (
        main([str(SAMPLE), "-o", str(tmp_path), "--layout", "spring", "--max-size", "96", "--test-share", "0.2"]) == 0
    )
    assert "--recipe=cut3r-small --data=" in capsys.readouterr().out
    counts = [
        len(list((tmp_path / part / "processed_spring" / "sample" / "rgb").iterdir())) for part in ("train", "test")
    ]
    assert counts == [16, 4]
    with pytest.raises(InputError, match="already"):
        make_sequence(TruthScene(SAMPLE), range(2), tmp_path / "train" / "processed_spring" / "sample", 96)
