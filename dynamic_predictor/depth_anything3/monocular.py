"""Relative depth of single images by a two-line interface: load a model by its size, call it with images."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dynamic_predictor.depth_anything3.inputs import as_list
from dynamic_predictor.depth_anything3.memory import images_per_batch, memory_budget
from dynamic_predictor.depth_anything3.model import DepthAnything3
from dynamic_predictor.depth_anything3.network import ForwardOptions
from dynamic_predictor.depth_anything3.preprocessing import as_rgb8, fit, normalized
from dynamic_predictor.depth_anything3.running import kept_memory


class AutoModel:
    """Predicts relative depth maps of single images with any model of Depth Anything 3.

    ```python
    model = AutoModel.from_pretrained("depth-anything-v3/small")
    depth_maps = model(image)
    ```

    Every image is a scene of its own, so that its map does not depend on the other images of the call. The largest
    value of a map is nearest by default, as for Depth Anything 2.
    """

    def __init__(self, model: DepthAnything3, *, process_res: int = 504) -> None:
        self.model = model
        self.process_res = process_res

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, *, process_res: int = 504, **options: Any) -> "AutoModel":
        """Loads a model by its size ("depth-anything-v3/small", ".../base", ".../large", ...) or any name or path that
        `DepthAnything3.from_pretrained` accepts, which receives the `options`."""
        return cls(DepthAnything3.from_pretrained(name_or_folder, **options), process_res=process_res)

    @torch.inference_mode()
    def __call__(
        self, images: Any, *, input_color_format: Literal["rgb", "bgr"] = "rgb", near_is_large: bool = True
    ) -> list[Tensor]:
        """One float32 map (H, W) per image on the CPU, at the size of the image: min d + max d - d of its depth d with
        `near_is_large`, otherwise d. `images` is an image or a list of images, as for `DepthAnything3.inference`;
        arrays and tensors are in `input_color_format` (OpenCV reads "bgr")."""
        batches: dict[tuple[int, int], list[tuple[int, Tensor, tuple[int, int]]]] = {}
        results: dict[int, Tensor] = {}
        budget = memory_budget(self.model.device, self.model.memory_budget)
        for index, image in enumerate(as_list(images)):
            pixels = as_rgb8(image, index)
            if input_color_format == "bgr" and not isinstance(image, str | Path):
                pixels = pixels[..., ::-1]
            height, width = pixels.shape[:2]
            fitting = fit(width, height, self.process_res)
            size = (fitting.final[1], fitting.final[0])
            batch = batches.setdefault(size, [])
            batch.append((index, normalized(fitting.apply(pixels)[None])[0], (height, width)))
            if len(batch) == images_per_batch(self.model.network.settings, size, budget):
                results.update(self._run(batches.pop(size), near_is_large))
        for batch in batches.values():
            results.update(self._run(batch, near_is_large))
        return [results[index] for index in sorted(results)]

    def _run(self, batch: list[tuple[int, Tensor, tuple[int, int]]], near_is_large: bool) -> dict[int, Tensor]:
        images = torch.stack([image for _, image, _ in batch])[:, None].to(self.model.device)
        with kept_memory(self.model.device):
            depths = self.model.network(images, ForwardOptions()).depth.float().cpu()
        results = {}
        for (index, _, size), depth in zip(batch, depths, strict=True):
            full = interpolate(depth[None], size=size, mode="bilinear", align_corners=False)[0, 0]
            results[index] = full.amin() + full.amax() - full if near_is_large else full
        return results
