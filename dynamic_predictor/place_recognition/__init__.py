"""Place recognition: image descriptors by which loop closure finds frames that show the same place."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dynamic_predictor.place_recognition.descriptors import ImageDescriptor


def create_descriptor(device: str = "cpu") -> "ImageDescriptor":
    """SALAD on `device` if its weights are on this machine, otherwise the gradient descriptor, which needs none."""
    from dynamic_predictor.place_recognition.descriptors import GradientDescriptor
    from dynamic_predictor.place_recognition.salad import SaladDescriptor
    from dynamic_predictor.place_recognition.weights import SALAD
    from dynamic_predictor.weights.finding import find_weights

    path = find_weights(SALAD)
    return GradientDescriptor() if path is None else SaladDescriptor(path, device=device)
