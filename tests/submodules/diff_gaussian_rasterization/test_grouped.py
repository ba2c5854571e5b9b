import pytest
import torch
from diff_gaussian_rasterization.grouped import GroupedTensors


@pytest.mark.parametrize("shape", [(5,), (16, 4), (50, 16, 3), (33, 1, 3)])
def test_grouped_tensors_give_back_what_they_were_given(shape):
    values = torch.randn(shape)
    grouped = GroupedTensors({"first": torch.Size((shape[0], 2)), "values": values.shape})
    grouped.write("values", values)
    for layout in (torch.empty(shape), torch.empty(shape[::-1]).permute(*range(len(shape))[::-1])):
        grouped.read("values", layout)
        assert torch.equal(layout, values)
    other = torch.full((shape[0], 2), 3.0)
    grouped.read("first", other)
    assert (other == 0).all()


def test_grouped_tensors_refuse_what_the_kernels_cannot_copy():
    with pytest.raises(ValueError, match="51 numbers for each Gaussian"):
        GroupedTensors({"values": torch.Size((5, 17, 3))})
