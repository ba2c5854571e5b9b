"""SAM 2.1 (Ravi et al., 2024) as a `VideoSegmenter`, by the implementation in transformers.

Each object has a session of its own, so that objects with prompts in different frames can be followed together; the
features of a frame are computed once for all of them. A session remembers the prompted frames and those of the last
steps, which is what the network looks at; the rest is dropped.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dynamic_predictor.mask_refinement.contract import Prompt, tracking_order
from dynamic_predictor.mask_refinement.weights import SAM2
from dynamic_predictor.weights.entry import WeightsFile
from dynamic_predictor.weights.reading import read_checkpoint
from scene.errors import InputError
from scene.frames import Frames

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: labels of prompt points: on the object, and the two corners of a box
_ON_OBJECT, _BOX_START, _BOX_END = 1, 2, 3
#: of the one object in a session
_OBJECT, _INDEX = 1, 0
#: two names of one tensor; versions of transformers differ in which of them a file has
_SHARED = ("shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding")
#: the image encoders of the published models, where they differ from the smallest one
_ENCODERS: dict[str, dict[str, Any]] = {
    "tiny": {},
    "small": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    "base-plus": {
        "hidden_size": 112,
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 3, 16, 3],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
    "large": {
        "hidden_size": 144,
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 6, 36, 4],
        "global_attention_blocks": [23, 33, 43],
        "window_size_per_stage": [8, 4, 16, 8],
    },
}


def sam2_config(size: str) -> Any:
    """The `Sam2VideoConfig` of a published model ("tiny", "small", "base-plus" or "large")."""
    from transformers import Sam2VideoConfig  # pyright: ignore[reportMissingImports]
    from transformers.models.sam2.configuration_sam2 import (  # pyright: ignore[reportMissingImports]
        Sam2HieraDetConfig,
        Sam2VisionConfig,
    )

    encoder = Sam2HieraDetConfig(**_ENCODERS[size])
    channels = list(reversed(encoder.embed_dim_per_stage or []))
    return Sam2VideoConfig(vision_config=Sam2VisionConfig(backbone_config=encoder, backbone_channel_list=channels))


def load_sam2(config: Any, path: Path, description: str) -> Any:
    """A `Sam2VideoModel` with the weights of a file. Raises `InputError` for a file of another network."""
    from transformers import Sam2VideoModel  # pyright: ignore[reportMissingImports]
    from transformers.utils import logging  # pyright: ignore[reportMissingImports]

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tensors = dict(read_checkpoint(path).tensors)
    for one, other in (_SHARED, _SHARED[::-1]):
        if one in tensors:
            tensors.setdefault(other, tensors[one])
    try:
        model, found = Sam2VideoModel.from_pretrained(None, config=config, state_dict=tensors, output_loading_info=True)
    except RuntimeError as error:  # shapes of another model
        raise InputError(f"{path} is not a file of {description}: {str(error).splitlines()[0][:160]}") from error
    wrong = [*sorted(found["missing_keys"]), *sorted(str(item) for item in found["mismatched_keys"])]
    if wrong:
        raise InputError(
            f"{path} is not a file of {description}: {len(wrong)} tensors are missing, such as {wrong[0]}."
        )
    return model


class Sam2Segmenter:
    """A `VideoSegmenter`. `model` is a `Sam2VideoModel`, `device` "cpu" or "cuda"."""

    def __init__(self, model: Any, name: str, device: str = "cpu") -> None:
        self.name = name
        self._device = device
        self._model = model.to(device).eval().requires_grad_(False)
        self._side = int(model.config.image_size)
        #: frames that the network looks back at, at most
        self._memory = max(int(model.config.num_maskmem), int(model.config.max_object_pointers_in_encoder))

    @classmethod
    def from_file(cls, path: Path, entry: WeightsFile, device: str) -> "Sam2Segmenter":
        """Of the published weights `entry`. Raises `InputError` for a file of another network."""
        size = next(size for size, known in SAM2.items() if known is entry)
        return cls(load_sam2(sam2_config(size), path, entry.name), entry.name, device)

    @torch.inference_mode()
    def segmented(self, image: np.ndarray, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        shown = self._shown(image)
        masks = []
        for prompt in prompts:
            session = self._session()
            masks.append(self._prompted(session, 0, prompt, shown, image.shape[:2]))
        return masks

    @torch.inference_mode()
    def tracked(
        self, frames: Frames, objects: Sequence[Sequence[Prompt]]
    ) -> Iterator[tuple[int, list[np.ndarray | None]]]:
        size = frames.height, frames.width
        sessions = [self._session() for _ in objects]
        prompts = [{prompt.frame: prompt for prompt in given} for given in objects]
        backwards = False
        for step in tracking_order(len(frames), objects):
            if step.is_backwards and not backwards:
                backwards = True
                for session in sessions:
                    _outputs(session).clear()
            shown = self._shown(frames.rgb8(step.frame))
            masks: list[np.ndarray | None] = []
            for session, given, concerned in zip(sessions, prompts, step.concerned, strict=True):
                if not concerned:
                    masks.append(None)
                elif step.is_prompt:
                    masks.append(self._prompted(session, step.frame, given[step.frame], shown, size))
                else:
                    masks.append(self._step(session, step.frame, shown, size, step.is_backwards))
            yield step.frame, masks

    def _session(self) -> Any:
        from transformers.models.sam2_video.modeling_sam2_video import (  # pyright: ignore[reportMissingImports]
            Sam2VideoInferenceSession,
        )

        session = Sam2VideoInferenceSession(
            inference_device=self._device,
            inference_state_device=self._device,
            video_storage_device=self._device,
            dtype=torch.float32,
        )
        session.obj_id_to_idx(_OBJECT)
        return session

    def _shown(self, image: np.ndarray) -> tuple[Tensor, dict[str, Any]]:
        """A frame as the network takes it, (1, 3, side, side), and its features."""
        pixels = torch.from_numpy(np.array(image)).to(self._device).permute(2, 0, 1)[None].float() / 255.0
        pixels = interpolate(pixels, (self._side, self._side), mode="bilinear", antialias=True, align_corners=False)
        mean, deviation = (torch.tensor(values, device=self._device)[:, None, None] for values in (_MEAN, _DEVIATION))
        pixels = (pixels - mean) / deviation
        found = self._model.get_image_features(pixels, return_dict=True)
        return pixels, {"vision_feats": found.fpn_hidden_states, "vision_pos_embeds": found.fpn_position_encoding}

    def _prompted(
        self,
        session: Any,
        frame: int,
        prompt: Prompt,
        shown: tuple[Tensor, dict[str, Any]],
        size: tuple[int, int],
    ) -> np.ndarray:
        points, labels = prompt.points, [_ON_OBJECT] * len(prompt.points)
        if prompt.box is not None:
            points = np.concatenate([np.reshape(prompt.box, (2, 2)), points])
            labels = [_BOX_START, _BOX_END, *labels]
        # the network adds half a pixel of its own
        scaled = points * (self._side / size[1], self._side / size[0]) - 0.5
        inputs = {
            "point_coords": torch.tensor(scaled, dtype=torch.float32)[None, None],
            "point_labels": torch.tensor(labels, dtype=torch.int32)[None, None],
        }
        session.add_point_inputs(_INDEX, frame, inputs)
        session.obj_with_new_inputs = [_OBJECT]
        return self._step(session, frame, shown, size, reverse=False)

    def _step(
        self,
        session: Any,
        frame: int,
        shown: tuple[Tensor, dict[str, Any]],
        size: tuple[int, int],
        reverse: bool,
    ) -> np.ndarray:
        """The mask of the object of the session in a frame; what the network will not look at again is dropped."""
        pixels, features = shown
        session.cache.clear_all()
        session.cache.cache_vision_features(frame, features)
        answer = self._model(inference_session=session, frame=pixels, frame_idx=frame, reverse=reverse)
        session.cache.clear_all()
        session.processed_frames.clear()
        outputs = _outputs(session)
        for kept in (outputs, session.output_dict_per_obj[_INDEX]["cond_frame_outputs"]):
            for name in ("pred_masks", "high_res_masks"):
                kept.get(frame, {}).pop(name, None)
        for old in [other for other in outputs if abs(other - frame) > self._memory]:
            del outputs[old]
        logits = interpolate(answer.pred_masks.float(), size, mode="bilinear", align_corners=False)
        return (logits[0, 0] > 0).cpu().numpy()


def _outputs(session: Any) -> dict[int, dict[str, Any]]:
    """What the session remembers of frames without a prompt."""
    return session.output_dict_per_obj[_INDEX]["non_cond_frame_outputs"]
