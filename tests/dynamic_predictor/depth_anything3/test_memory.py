"""Memory estimates and the batch sizes that follow from a budget."""

import pytest

from dynamic_predictor.depth_anything3 import DepthAnything3, memory
from scene.errors import InputError
from tests.dynamic_predictor.depth_anything3.tiny_models import ANY_VIEW, noise_images


def test_error_for_one_large_image_suggests_a_smaller_size(model):
    with pytest.raises(InputError, match=r"^An image of 7680x4312 needs .* may be used; lower .*--max-size") as caught:
        memory.views_per_chunk(ANY_VIEW, 1, (4312, 7680), 1 << 20)
    assert "chunks" not in str(caught.value)


def test_memory_budget_determines_chunks_or_raises(model):
    size = (56, 70)
    needs = memory.footprint(ANY_VIEW, size)
    plenty = memory.views_per_chunk(ANY_VIEW, 20, size, 1 << 40)
    tight = memory.views_per_chunk(ANY_VIEW, 20, size, max(needs.backbone * 20, needs.kept * 20 + 2 * needs.head))
    assert plenty == 8 and 1 <= tight < 8
    small = DepthAnything3(model.network, device="cpu", memory_budget=1000)
    with pytest.raises(InputError, match="GiB"):
        small.inference(noise_images(2), process_res=56)
    with pytest.raises(InputError, match="above zero"):
        DepthAnything3(model.network, device="cpu", memory_budget=0).inference(noise_images(1), process_res=56)
