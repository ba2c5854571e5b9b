"""Features of a network in color."""

import numpy as np

from scene.formats.exportable import Exportable
from scene.formats.feat_vis import feature_colors
from scene.formats.registry import export
from scene.frames import MemoryFrames
from scene.media.decoding import VideoClip
from tests.scene.formats.da3_export_goldens import load_goldens


def test_images_and_a_video(tmp_path):
    golden = load_goldens()
    features = np.random.default_rng(0).normal(size=(3, 5, 7, 12))
    source = Exportable(MemoryFrames(golden["glb/images"]), [], features={"feat_layer_3": features})
    export(source, tmp_path, "feat_vis")
    frames = list(VideoClip(tmp_path / "feat_vis" / "feat_layer_3.mp4").images(lambda i: True))
    assert len(frames) == 3 and frames[0].pixels.shape == (20, 56, 3)


def test_feature_colors_are_the_principal_components():
    rng = np.random.default_rng(1)
    strong = rng.normal(size=(2, 6, 6, 3)) * [9.0, 5.0, 3.0]
    basis = np.linalg.qr(rng.normal(size=(16, 3)))[0]
    colors = feature_colors(strong @ basis.T + rng.normal(0, 1e-3, (2, 6, 6, 16)))
    for channel in range(3):
        correlation = np.corrcoef(colors[..., channel].ravel(), strong[..., channel].ravel())[0, 1]
        assert abs(correlation) > 0.8
