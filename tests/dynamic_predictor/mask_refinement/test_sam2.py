"""The adapter of SAM 2, with a tiny model of random weights."""

import numpy as np
import pytest
import torch

from dynamic_predictor.mask_refinement.contract import Prompt, tracking_order
from dynamic_predictor.mask_refinement.weights import SAM2
from scene.errors import InputError
from scene.frames import MemoryFrames
from tests.conftest import textured

pytest.importorskip(
    "transformers", reason="NOT CHECKED: the adapter of SAM 2, because transformers (extra sam2) is not installed"
)

from safetensors.torch import save_file  # noqa: E402
from transformers import Sam2VideoConfig, Sam2VideoModel  # noqa: E402
from transformers.models.sam2.configuration_sam2 import (  # noqa: E402
    Sam2HieraDetConfig,
    Sam2VisionConfig,
)
from transformers.models.sam2_video.configuration_sam2_video import (  # noqa: E402
    Sam2VideoMaskDecoderConfig,
    Sam2VideoPromptEncoderConfig,
)
from transformers.models.sam2_video.modeling_sam2_video import (  # noqa: E402
    Sam2VideoInferenceSession,
)

from dynamic_predictor.mask_refinement.sam2 import Sam2Segmenter, load_sam2, sam2_config  # noqa: E402

SIDE, COUNT = 128, 6
BOX = (20.0, 12.0, 60.0, 50.0)
POINTS = np.array([[40.5, 30.5], [30.5, 20.5]], np.float32)


def tiny_config(width: int = 8) -> Sam2VideoConfig:
    widths = [width, 2 * width, 4 * width, 8 * width]
    encoder = Sam2HieraDetConfig(
        hidden_size=width,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[8, 4, 4, 4],
        global_attention_blocks=[3],
    )
    vision = Sam2VisionConfig(
        backbone_config=encoder,
        backbone_channel_list=widths[::-1],
        backbone_feature_sizes=[[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2],
        fpn_hidden_size=128,
    )
    return Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config=Sam2VideoPromptEncoderConfig(hidden_size=128, image_size=SIDE, mask_input_channels=4),
        mask_decoder_config=Sam2VideoMaskDecoderConfig(hidden_size=128, mlp_dim=16, iou_head_hidden_dim=16),
        image_size=SIDE,
        num_maskmem=3,
        max_object_pointers_in_encoder=4,
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=16,
        memory_attention_rope_feat_sizes=[SIDE // 16] * 2,
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=16,
        memory_fuser_num_layers=1,
    )


@pytest.fixture(scope="module")
def model() -> Sam2VideoModel:
    torch.manual_seed(3)
    made = Sam2VideoModel(tiny_config())
    with torch.no_grad():
        for parameter in made.parameters():  # so that tokens that start at zero matter, too
            parameter.add_(0.05 * torch.randn_like(parameter))
    # a random network says of most objects that they are not there
    made.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(10.0)
    return made


@pytest.fixture(scope="module")
def frames() -> MemoryFrames:
    base = textured(80 + 4 * COUNT, 60)
    return MemoryFrames(np.stack([base[:, 4 * frame : 4 * frame + 80] for frame in range(COUNT)]))


def _masks(segmenter: Sam2Segmenter, frames: MemoryFrames, objects: list[list[Prompt]]) -> np.ndarray:
    """(objects, N, H, W); each is given once."""
    found = np.zeros((len(objects), len(frames), frames.height, frames.width), bool)
    given = np.zeros(found.shape[:2], int)
    order = tracking_order(len(frames), objects)
    for step, (frame, masks) in zip(order, segmenter.tracked(frames, objects), strict=True):
        assert frame == step.frame and [mask is not None for mask in masks] == list(step.concerned)
        for index, mask in enumerate(masks):
            if mask is not None:
                assert mask.dtype == bool and mask.shape == (frames.height, frames.width)
                found[index, frame] = mask
                given[index, frame] += 1
    assert (given == 1).all()
    return found


def test_one_frame(model, frames):
    segmenter = Sam2Segmenter(model, "tiny")
    prompts = [Prompt(4, POINTS, BOX), Prompt(4, POINTS), Prompt(4, POINTS[:1])]
    found = segmenter.segmented(frames.rgb8(4), prompts)
    assert [mask.shape for mask in found] == [(60, 80)] * 3 and all(mask.dtype == bool for mask in found)
    assert any(0 < mask.sum() < mask.size for mask in found)
    np.testing.assert_array_equal(found[1], segmenter.segmented(frames.rgb8(4), prompts[1:2])[0])


def test_objects_are_followed_both_ways_each_by_itself(model, frames):
    segmenter = Sam2Segmenter(model, "tiny")
    objects = [[Prompt(3, POINTS, BOX), Prompt(5, POINTS)], [Prompt(1, POINTS + 8)]]
    together = _masks(segmenter, frames, objects)
    for index, prompts in enumerate(objects):
        np.testing.assert_array_equal(_masks(segmenter, frames, [prompts])[0], together[index])
    assert (together[0] != together[1]).any()
    # the frame with the prompt is what it is by itself
    np.testing.assert_array_equal(together[1, 1], segmenter.segmented(frames.rgb8(1), objects[1])[0])


def test_as_the_library_follows_a_whole_clip(model, frames):
    """The same from one session that holds all frames, as transformers propagates by itself."""
    segmenter = Sam2Segmenter(model, "tiny")
    start = 2
    ours = _masks(segmenter, frames, [[Prompt(start, POINTS, BOX)]])[0]
    with torch.inference_mode():
        video = torch.cat([segmenter._shown(frames.rgb8(index))[0] for index in range(COUNT)])
        for reverse, expected in ((False, range(start, COUNT)), (True, range(start, -1, -1))):
            session = Sam2VideoInferenceSession(video, video_height=60, video_width=80, dtype=torch.float32)
            index = session.obj_id_to_idx(7)
            corners = np.concatenate([np.reshape(BOX, (2, 2)), POINTS]) * (SIDE / 80, SIDE / 60) - 0.5
            session.add_point_inputs(
                index,
                start,
                {
                    "point_coords": torch.tensor(corners, dtype=torch.float32)[None, None],
                    "point_labels": torch.tensor([[[2, 3, 1, 1]]], dtype=torch.int32),
                },
            )
            session.obj_with_new_inputs = [7]
            model(inference_session=session, frame_idx=start)
            visited = []
            for answer in model.propagate_in_video_iterator(session, start_frame_idx=start, reverse=reverse):
                logits = torch.nn.functional.interpolate(answer.pred_masks, (60, 80), mode="bilinear")
                np.testing.assert_array_equal((logits[0, 0] > 0).numpy(), ours[answer.frame_idx])
                visited.append(answer.frame_idx)
            assert visited == list(expected)


def test_memory_does_not_grow_with_the_clip(model, monkeypatch):
    segmenter = Sam2Segmenter(model, "tiny")
    sessions = []
    make = segmenter._session
    monkeypatch.setattr(segmenter, "_session", lambda: sessions.append(make()) or sessions[-1])
    frames = MemoryFrames(np.zeros((14, 16, 20, 3), np.uint8))
    for _ in segmenter.tracked(frames, [[Prompt(6, POINTS[:1] / 4)]]):
        (session,) = sessions
        outputs = session.output_dict_per_obj[0]
        assert len(outputs["non_cond_frame_outputs"]) <= 5 and len(outputs["cond_frame_outputs"]) <= 1
        kept = [*outputs["non_cond_frame_outputs"].values(), *outputs["cond_frame_outputs"].values()]
        assert all("high_res_masks" not in item and "pred_masks" not in item for item in kept)
        assert not session.processed_frames and not session.cache._vision_features


def test_files(model, tmp_path):
    tensors = {key: value.clone() for key, value in model.state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors")
    loaded = load_sam2(tiny_config(), tmp_path / "model.safetensors", "tiny").state_dict()
    assert loaded.keys() == tensors.keys() and all(torch.equal(loaded[key], tensors[key]) for key in tensors)
    one, other = "shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding"
    save_file({key: value for key, value in tensors.items() if key != other}, tmp_path / "shared.safetensors")
    shared = load_sam2(tiny_config(), tmp_path / "shared.safetensors", "tiny").state_dict()
    assert torch.equal(shared[other], tensors[one])
    with pytest.raises(InputError, match="model.safetensors is not a file of small"):
        load_sam2(tiny_config(16), tmp_path / "model.safetensors", "small")
    tensors.pop("no_memory_embedding")
    save_file(tensors, tmp_path / "less.safetensors")
    with pytest.raises(InputError, match="1 tensors are missing, such as no_memory_embedding"):
        load_sam2(tiny_config(), tmp_path / "less.safetensors", "tiny")


@pytest.mark.parametrize(("size", "millions"), [("tiny", 38.9), ("small", 46.0), ("base-plus", 80.8), ("large", 224.4)])
def test_published_models_have_the_published_numbers_of_parameters(size, millions):
    with torch.device("meta"):
        network = Sam2VideoModel(sam2_config(size))
    found = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert size in SAM2 and found == pytest.approx(millions, abs=0.3)
