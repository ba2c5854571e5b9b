"""The device that computation runs on."""

import sys
from pathlib import Path

from scene.compute_settings import DEVICES
from scene.errors import InputError

#: device files of Linux without which torch has no GPU: of NVIDIA's driver, Tegra, Windows' own Linux, and AMD's driver
_DEVICE_FILES = ("/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")


def resolved_device(device: str) -> str:
    """The device, "cpu" or "cuda", for one of `DEVICES`; "auto" is "cuda" if torch can use a GPU. Raises `InputError`
    for another name, and for "cuda" without a GPU."""
    if device not in DEVICES:
        raise InputError(f'There is no device called "{device}"; use auto, cpu or cuda.')
    if device == "cpu":
        return "cpu"
    if device == "auto" and "torch" not in sys.modules and not _may_have_gpu():
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise InputError("There is no GPU that torch can use on this machine; choose the device cpu.")
    return "cpu"


def _may_have_gpu() -> bool:
    """Whether torch, whose import takes seconds, has to be asked for a GPU."""
    return not sys.platform.startswith("linux") or any(Path(name).exists() for name in _DEVICE_FILES)
