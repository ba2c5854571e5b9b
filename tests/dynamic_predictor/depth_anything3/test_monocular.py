"""The two-line interface for single images."""

import torch

from dynamic_predictor.depth_anything3 import AutoModel
from tests.dynamic_predictor.depth_anything3.tiny_models import noise_images


def test_maps_have_the_size_of_the_images_and_do_not_depend_on_each_other(model):
    auto = AutoModel(model, process_res=56)
    images = [*noise_images(2), noise_images(1, 61, 33)[0]]
    maps = auto(images)
    assert [tuple(depth.shape) for depth in maps] == [(40, 60), (40, 60), (61, 33)]
    for image, depth in zip(images, maps, strict=True):
        (alone,) = auto(image)
        torch.testing.assert_close(alone, depth, rtol=1e-4, atol=1e-5)
        (plain,) = auto(image, near_is_large=False)
        torch.testing.assert_close(depth, plain.min() + plain.max() - plain)
    swapped = auto([image[..., ::-1] for image in images], input_color_format="bgr")
    torch.testing.assert_close(swapped[0], maps[0])
