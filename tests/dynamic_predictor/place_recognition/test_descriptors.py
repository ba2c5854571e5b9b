"""The gradient descriptor on synthetic places, and the choice of a descriptor."""

import cv2
import numpy as np

from dynamic_predictor import place_recognition
from dynamic_predictor.place_recognition.descriptors import GradientDescriptor


def test_the_gradient_descriptor_recognizes_places():
    rng = np.random.default_rng(2)
    places = [
        cv2.resize(rng.integers(0, 255, (9, 16, 3), np.uint8), (320, 180), interpolation=cv2.INTER_CUBIC)
        for _ in range(6)
    ]
    shift = np.float32([[1.03, 0, 4], [0, 1.03, -3]])
    again = [
        cv2.convertScaleAbs(cv2.warpAffine(p, shift, (320, 180), borderMode=cv2.BORDER_REFLECT), alpha=0.7, beta=20)
        for p in places
    ]
    descriptor = GradientDescriptor()
    first, second = descriptor.describe(places), descriptor.describe(again)
    assert first.shape == (6, descriptor.size)
    similar = first @ second.T
    others = similar[~np.eye(6, dtype=bool)]
    assert np.diag(similar).min() > descriptor.threshold > others.max()


def test_salad_is_chosen_where_its_weights_are(monkeypatch, tmp_path):
    monkeypatch.setattr("dynamic_predictor.weights.finding.find_weights", lambda entry: None)
    assert isinstance(place_recognition.create_descriptor(), GradientDescriptor)
    monkeypatch.setattr("dynamic_predictor.weights.finding.find_weights", lambda entry: tmp_path / entry.file)
    monkeypatch.setattr(
        "dynamic_predictor.place_recognition.salad.SaladDescriptor", lambda path, device: (path, device)
    )
    assert place_recognition.create_descriptor("cuda") == (tmp_path / "dino_salad.ckpt", "cuda")
