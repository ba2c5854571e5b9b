"""The SALAD network against the official head and the published file."""

import numpy as np
import pytest
import torch

from dynamic_predictor.place_recognition.salad import (
    SaladDescriptor,
    SaladNetwork,
    TransportAggregator,
    transport_shares,
)
from scene.errors import InputError
from tests.paths import DATA


def test_the_salad_head_is_the_official_one():
    """The golden has made-up weights: normal numbers times 0.2, drawn key by key in the order of names."""
    golden = np.load(DATA / "da3" / "salad_head.npz")
    head = TransportAggregator(16, clusters=6, cluster_width=5, token_width=4)
    generator = torch.Generator().manual_seed(int(golden["seed"]))
    shapes = {key: value.shape for key, value in head.state_dict().items()}
    head.load_state_dict({key: torch.randn(shapes[key], generator=generator) * 0.2 for key in sorted(shapes)})
    with torch.no_grad():
        found = head(torch.from_numpy(golden["patches"]), torch.from_numpy(golden["token"]))
    np.testing.assert_allclose(found.numpy(), golden["descriptor"], atol=1e-6)


def test_transport_gives_every_cluster_one_patch_worth():
    scores = torch.randn(2, 6, 40, generator=torch.Generator().manual_seed(0))
    shares = transport_shares(scores, torch.tensor(1.0))
    assert shares.shape == (2, 6, 40) and (shares > 0).all()
    np.testing.assert_allclose(shares.sum(dim=2).numpy(), 1.0, atol=0.05)
    assert (shares.sum(dim=1) <= 1.0 + 1e-4).all()


def test_the_salad_network_has_the_keys_of_the_published_file_and_describes_images(tmp_path):
    from safetensors.torch import save_file

    with torch.device("meta"):
        keys = {key: value.shape for key, value in SaladNetwork().state_dict().items()}
    # the published file has 352,040,378 bytes: these parameters, a mask token of 768 numbers, and the file format
    assert 0 < 352_040_378 - 4 * (sum(shape.numel() for shape in keys.values()) + 768) < 100_000
    assert {
        "backbone.model.blocks.11.mlp.fc2.bias",
        "aggregator.cluster_features.3.weight",
        "aggregator.dust_bin",
    } <= set(keys)
    torch.manual_seed(0)
    tensors = {key: torch.empty(shape, dtype=torch.float16).uniform_(-0.03, 0.03) for key, shape in keys.items()}
    tensors["backbone.model.mask_token"] = torch.zeros(1, 768)
    save_file(tensors, tmp_path / "salad.safetensors")
    descriptor = SaladDescriptor(tmp_path / "salad.safetensors")
    found = descriptor.describe([np.full((48, 64, 3), 90, np.uint8)])
    assert found.shape == (1, descriptor.size) == (1, 8448)
    assert np.linalg.norm(found) == pytest.approx(1.0, abs=1e-5)
    save_file({"aggregator.dust_bin": torch.tensor(1.0)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="not a checkpoint of SaladNetwork"):
        SaladDescriptor(tmp_path / "other.safetensors")
