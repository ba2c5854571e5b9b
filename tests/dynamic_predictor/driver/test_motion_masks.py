"""Motion masks of any source, refined."""

import numpy as np
import pytest

from dynamic_predictor.contract import Prediction, Views
from dynamic_predictor.driver import motion_masks
from dynamic_predictor.driver.folder_scenes import scene_of_folder
from dynamic_predictor.driver.scene_driver import SceneDriver
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.folder import save_scene
from scene.images import write_png
from scene.progress import ignore_progress
from tests.dynamic_predictor.mask_refinement.color_segmenter import GREEN, RED, ColorSegmenter, clip_of, with_halo
from tests.dynamic_predictor.toy_predictor import ToyPredictor, ToySettings

COUNT = 10
THINGS = [
    (RED, [(10 + 6 * frame, 20, 24, 30) for frame in range(COUNT)]),
    (GREEN, [(120 - 4 * frame, 75, 30, 26) for frame in range(COUNT)]),
]


class _Masked(ToyPredictor):
    """Finds motion masks with halos, and has nothing to say."""

    def __init__(self, masks: np.ndarray) -> None:
        super().__init__(ToySettings())
        self._masks = masks

    def predict(self, views: Views, *, progress=ignore_progress) -> Prediction:
        found = super().predict(views, progress=progress)
        found.motion, found.warnings = self._masks, []
        return found


@pytest.fixture
def segmenter(monkeypatch):
    made = ColorSegmenter()
    for module in ("motion_masks.create_segmenter", "scene_driver.required_weights", "folder_scenes.required_weights"):
        monkeypatch.setattr(f"dynamic_predictor.driver.{module}", lambda *_: made)
    return made


@pytest.fixture
def clip(tmp_path):
    frames, shown = clip_of(THINGS)
    (tmp_path / "clip").mkdir()
    for index in range(COUNT):
        write_png(tmp_path / "clip" / f"{index:05d}.png", frames.rgb8(index))
    return tmp_path / "clip", shown.any(axis=0)


def _driven(clip, tmp_path, masks, said, **more):
    settings = DriverSettings(
        str(clip), predictor="geometric", device="cpu", shot="whole", keep_everything=True, **more
    )
    driver = SceneDriver(settings, predictor=_Masked(masks), warn=said.append)
    return driver.scene(StreamWorkspace(tmp_path / "work", {}, resume=False), motion_stage=False).scene


def test_masks_of_a_predictor_are_refined_and_then_grown(clip, tmp_path, segmenter):
    folder, truth = clip
    said: list[str] = []
    scene = _driven(folder, tmp_path, with_halo(truth), said, refine_masks="sam2")
    assert scene.motion_masks is not None and not said
    np.testing.assert_array_equal(np.stack([scene.motion_masks[i] > 0.5 for i in range(COUNT)]), truth)
    assert scene.provenance["masks"] == "predicted (geometric), refined by colors (2 of 2 objects)"
    grown = _driven(folder, tmp_path / "again", with_halo(truth), said, refine_masks="sam2", masks_grow=2.0)
    assert grown.provenance["masks"].endswith("(2 of 2 objects), grown by 2 pixels")
    assert grown.motion_masks is not None and grown.motion_masks[3].sum() > truth[3].sum()


def test_a_warning_where_nothing_agrees(clip, tmp_path, segmenter):
    folder, truth = clip
    segmenter.floods = {RED, GREEN}
    said: list[str] = []
    scene = _driven(folder, tmp_path, with_halo(truth), said, refine_masks="sam2")
    assert said == ["What colors finds agrees with none of the 2 things that move; the motion masks stay as they were."]
    assert said[0] in scene.provenance["warnings"]
    assert scene.provenance["masks"].endswith("refined by colors (0 of 2 objects)")


def test_masks_of_a_scene_are_refined(clip, tmp_path, segmenter):
    folder, truth = clip
    given = with_halo(truth)
    made = tmp_path / "scene"
    save_scene(_driven(folder, tmp_path, given, []), made)
    for refine, expected, by in (
        (None, given > 0.5, "predicted (geometric)"),
        ("sam2", truth, "predicted (geometric), refined by colors (2 of 2 objects)"),
    ):
        settings = DriverSettings(str(made), device="cpu", refine_masks=refine)
        scene = scene_of_folder(settings, tmp_path / "working")
        assert scene.motion_masks is not None and scene.provenance["masks"] == by
        np.testing.assert_array_equal(np.stack([scene.motion_masks[i] > 0.5 for i in range(COUNT)]), expected)


def test_what_was_not_observed_is_no_evidence(segmenter):
    frames, shown = clip_of(THINGS)
    observed = np.ones(shown[0].shape, np.float32)
    observed[:, :60] = 0
    settings = DriverSettings("clip", device="cpu", refine_masks="sam2")
    masks, by = motion_masks.refined(
        frames, with_halo(shown.any(axis=0)), "somebody", settings, ignore_progress, print, observed=observed
    )
    assert by == "somebody, refined by colors (1 of 1 objects)" and not masks[2][:60].any()
