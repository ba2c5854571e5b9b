"""Matching checkpoints with networks, aliases included."""

import pytest
import torch
from torch import nn

from dynamic_predictor.weights.keys import canonical_key, compare_shapes, inventory, load_into
from dynamic_predictor.weights.registry import all_weights
from scene.errors import InputError
from tests.dynamic_predictor.weights.official_layouts import flat_tensors


class Shortcut(nn.Module):
    """A residual block as in RAFT, which registers the norm of the shortcut twice."""

    def __init__(self) -> None:
        super().__init__()
        self.norm3 = nn.BatchNorm2d(2)
        self.downsample = nn.Sequential(nn.Conv2d(2, 2, 1), self.norm3)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer2 = nn.Sequential(Shortcut())


def test_inventories_have_their_published_sizes() -> None:
    """Parameter counts, without duplicate keys, are the published ones or those of the official classes."""

    def parameters(name: str) -> int:
        shapes = {canonical_key(key): shape for key, shape in inventory(name).items()}
        # running statistics are not parameters
        return sum(
            torch.Size(shape).numel()
            for key, shape in shapes.items()
            if not key.endswith(("running_mean", "running_var", "num_batches_tracked"))
        )

    assert parameters("das3r") == 611_868_426
    assert parameters("monst3r") == 571_171_208
    assert parameters("raft-sintel") == 5_257_536
    assert parameters("sea-raft-spring-m") == 19_663_876
    assert parameters("da3-small") == 34_299_463
    assert parameters("da3-giant") == 1_355_674_125
    assert parameters("da3nested-giant-large") == 1_689_845_519


def test_every_entry_with_an_inventory_has_one() -> None:
    for entry in all_weights().values():
        if entry.inventory is not None:
            assert inventory(entry.inventory)


def test_aliases_count_as_one() -> None:
    full = {key: tuple(tensor.shape) for key, tensor in flat_tensors("das3r").items()}
    for spelling in ("layer_rn.", "_rn.weight"):
        one_spelling = {key: shape for key, shape in full.items() if ".scratch.layer" not in key or spelling not in key}
        assert len(one_spelling) < len(full)
        assert compare_shapes(one_spelling, full).equal
        assert compare_shapes(full, one_spelling).equal


def test_differences_are_named() -> None:
    found = {"a.weight": (2, 3), "b.weight": (4,), "surplus": (1,)}
    expected = {"a.weight": (2, 3), "b.weight": (5,), "c.bias": ()}
    comparison = compare_shapes(found, expected)
    assert comparison.missing == ("c.bias",)
    assert comparison.unknown == ("surplus",)
    assert comparison.misshaped == (("b.weight", (4,), (5,)),)
    assert "c.bias" in comparison.describe() and "b.weight (4 instead of 5)" in comparison.describe()


@pytest.mark.parametrize("dropped", ["norm3", "downsample.1"])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_loading_under_either_alias(dropped: str, device: str) -> None:
    torch.manual_seed(0)
    source = Network()
    nn.init.normal_(source.layer2[0].norm3.weight)
    tensors = {key: value for key, value in source.state_dict().items() if f".{dropped}." not in key}
    with torch.device(device):
        network = Network()
    load_into(network, tensors, source="file.pth")
    for key, value in source.state_dict().items():
        torch.testing.assert_close(network.state_dict()[key], value, rtol=0, atol=0)
    assert network.layer2[0].downsample[1] is network.layer2[0].norm3


def test_loading_another_networks_file_changes_nothing() -> None:
    network = Network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    tensors = dict(before) | {"stranger": torch.ones(1)}
    del tensors["layer2.0.downsample.0.weight"]
    with pytest.raises(InputError, match=r"file\.pth.*Network.*layer2\.0\.downsample\.0\.weight.*stranger"):
        load_into(network, tensors, source="file.pth")
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
