"""Estimates of the memory that a forward pass takes, and batch sizes that fit into it."""

import os
from dataclasses import dataclass

import torch

from dynamic_predictor.depth_anything3.settings import NestedSettings, NetworkSettings
from scene.errors import InputError

#: fraction of the free memory that is the default budget
_SHARE = 0.6
#: largest number of views that the heads process at a time; more is not faster
_MOST_VIEWS = 8
_GIB = float(1 << 30)


@dataclass(frozen=True)
class Footprint:
    """Bytes that a forward pass takes in addition to the weights: `backbone` per view while the backbone runs, `head`
    per view of a chunk while the heads run, and `kept` per view for tokens and outputs."""

    backbone: int
    head: int
    kept: int


def footprint(
    settings: NetworkSettings | NestedSettings, size: tuple[int, int], *, gaussians: bool = False
) -> Footprint:
    """An upper estimate for images of `size` (H, W), in float32."""
    if isinstance(settings, NestedSettings):
        both = [footprint(part, size, gaussians=gaussians) for part in (settings.any_view, settings.metric)]
        return Footprint(*(max(getattr(part, name) for part in both) for name in ("backbone", "head", "kept")))
    height, width = size
    tokens, pixels = height * width // 196 + 1, height * width
    channels, features = settings.backbone.width, settings.head.features
    # residual and local tokens; queries, keys and values before and after rotation; the hidden layer's input and output
    running = (2 + 6 + 10) * channels * tokens
    kept = 4 * settings.backbone.token_width * tokens
    # three maps of half the features at full size, six of all features at 8 points per patch side
    head = 3 * (features // 2) * pixels + 6 * features * (pixels * 64 // 196) + 2 * sum(settings.head.channels) * tokens
    outputs = pixels * (4 + (60 if gaussians else 0))
    return Footprint(4 * (running + kept), 4 * head * (2 if gaussians else 1), 4 * (kept + outputs))


def free_memory(device: torch.device) -> int:
    """Free bytes on `device`; for a CPU those that are available without swapping."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (ValueError, OSError, AttributeError):
        return 4 << 30


def views_per_chunk(
    settings: NetworkSettings | NestedSettings,
    views: int,
    size: tuple[int, int],
    budget: int,
    *,
    gaussians: bool = False,
) -> int:
    """The number of views that the heads can process at a time so that `views` images of `size` (H, W), which attend to
    each other, need at most `budget` bytes. Raises `InputError` if even one is too many."""
    needs = footprint(settings, size, gaussians=gaussians)
    left = budget - needs.kept * views
    if needs.backbone * views > budget or left < needs.head:
        required = max(needs.backbone * views, needs.kept * views + needs.head)
        if views == 1:
            raise InputError(
                f"An image of {size[1]}x{size[0]} needs about {required / _GIB:.1f} GiB and {budget / _GIB:.1f} GiB "
                "may be used; lower the processing size (--max-size, or process_res in Python)."
            )
        raise InputError(
            f"{views} images of {size[1]}x{size[0]} need about {required / _GIB:.1f} GiB at once and "
            f"{budget / _GIB:.1f} GiB may be used; give fewer images, lower the processing size (--max-size, or "
            "process_res in Python), or process them in chunks (stillsplat poses)."
        )
    return min(views, _MOST_VIEWS, left // needs.head)


def images_per_batch(settings: NetworkSettings | NestedSettings, size: tuple[int, int], budget: int) -> int:
    """The number of unrelated images of `size` (H, W) that need at most `budget` bytes; at least one."""
    needs = footprint(settings, size)
    return int(max(1, min(_MOST_VIEWS, budget // (needs.backbone + needs.head))))


def memory_budget(device: torch.device, given: int | None = None) -> int:
    """`given` bytes, by default 60 % of the free memory on `device`. Raises `InputError` unless it is positive."""
    if given is not None:
        if given <= 0:
            raise InputError(f"A memory budget must be a number of bytes above zero, not {given}.")
        return given
    return int(_SHARE * free_memory(device))
