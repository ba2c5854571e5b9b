"""The device that computation runs on."""

from scene.compute_settings import DEVICES
from scene.errors import InputError


def resolved_device(device: str) -> str:
    """The device, "cpu" or "cuda", for one of `DEVICES`; "auto" is "cuda" if torch can use a GPU. Raises `InputError`
    for another name, and for "cuda" without a GPU."""
    if device not in DEVICES:
        raise InputError(f'There is no device called "{device}"; use auto, cpu or cuda.')
    if device == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise InputError("There is no GPU that torch can use on this machine; choose the device cpu.")
    return "cpu"
