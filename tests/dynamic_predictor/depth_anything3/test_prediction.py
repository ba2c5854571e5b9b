"""Conversion of predictions to scenes."""

import numpy as np

from tests.dynamic_predictor.depth_anything3.tiny_models import (
    noise_images,
)


def test_prediction_becomes_a_scene(model):
    prediction = model.inference(noise_images(3), process_res=56)
    scene = prediction.scene()
    assert len(scene.frames) == 3 and scene.frames[0].shape == (prediction.depth.shape[1], 56, 3)
    assert scene.z_depths is not None and scene.confidences is not None
    np.testing.assert_array_equal(scene.z_depths[2], prediction.depth[2])
    assert 0.0 <= scene.confidences[0].min() <= scene.confidences[0].max() < 1.0
    for camera, extrinsics, intrinsics in zip(scene.cameras, prediction.extrinsics, prediction.intrinsics, strict=True):
        np.testing.assert_allclose(camera.camera_from_world[:3], extrinsics, atol=1e-5)
        np.testing.assert_allclose(camera.intrinsics, intrinsics, rtol=1e-6)
