"""Random weights, and weights of files that fit in part."""

import pytest
import torch

from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.streamvggt.network import GeometryNetwork
from dynamic_predictor.training.sequences.fresh_weights import draw_weights, start_from
from scene.errors import InputError
from tests.dynamic_predictor.cut3r.small_networks import MINIMAL as SMALL_CUT3R
from tests.dynamic_predictor.streamvggt.tiny_networks import MINIMAL as SMALL_VGGT


@pytest.mark.parametrize("make", [lambda: Cut3rNetwork(SMALL_CUT3R), lambda: GeometryNetwork(SMALL_VGGT)])
def test_all_weights_depend_on_the_seed_alone_and_learned_tokens_are_not_zero(make):
    one, again, other = make(), make(), make()
    before = torch.random.get_rng_state()
    for network, seed in ((one, 3), (again, 3), (other, 4)):
        draw_weights(network, seed)
    assert torch.equal(torch.random.get_rng_state(), before)
    for (name, value), same, different in zip(
        one.named_parameters(), again.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(value, same), name
        if "token" in name and not name.endswith(("mask_token", "empty_pose_tokens")) and "norm" not in name:
            assert value.any() and not torch.equal(value, different), name


def test_a_file_gives_what_fits_and_dust3rs_decoder_starts_both(tmp_path):
    source, network = Cut3rNetwork(SMALL_CUT3R), Cut3rNetwork(SMALL_CUT3R)
    draw_weights(source, 0)
    draw_weights(network, 1)
    tensors = {key: value for key, value in source.state_dict().items() if not key.startswith("dec_blocks_state.")}
    tensors["pose_token"] = torch.zeros(1, 1, 8)  # of another size
    tensors["old.name"] = tensors.pop("enc_norm.weight") + 1
    del tensors["masked_img_token"]
    torch.save({"model": tensors}, tmp_path / "part.pth")
    missing = start_from(network, tmp_path / "part.pth", {"old.name": "enc_norm.weight"})
    found, wanted = network.state_dict(), source.state_dict()
    # the decoder of the state has other attention heads, not other sizes
    assert set(missing) == {"pose_token", "masked_img_token"}
    assert torch.equal(found["enc_norm.weight"], wanted["enc_norm.weight"] + 1)
    assert torch.equal(found["dec_blocks_state.1.mlp.fc1.weight"], wanted["dec_blocks.1.mlp.fc1.weight"])
    torch.save({"model": {"a.weight": torch.zeros(2)}}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="another network"):
        start_from(network, tmp_path / "other.pth", {})
