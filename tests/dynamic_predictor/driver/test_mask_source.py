"""What --masks-from names."""

import numpy as np
import pytest

from dynamic_predictor.driver.checks import check_options
from dynamic_predictor.driver.mask_source import attention_masks, mask_source
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.specs import specs
from scene.errors import InputError
from scene.frames import MemoryFrames
from scene.progress import ignore_progress


def _settings(predictor: str, masks_from: str, **more) -> DriverSettings:
    return DriverSettings("clip", predictor=predictor, masks_from=masks_from, device="cpu", **more)


def test_masks_of_predictors_and_of_attention():
    for given, provenance, uses_flow in (
        ("geometric", "predicted (geometric)", True),
        ("das3r", "predicted (das3r)", True),
        ("attention", "attention of monst3r (Easi3R)", False),
        ("attention:das3r", "attention of das3r (Easi3R)", False),
    ):
        source = mask_source(_settings("monst3r", given))
        assert source.provenance == provenance and source.uses_flow == uses_flow
    assert specs()["geometric"].attention_motion is None


@pytest.mark.parametrize(
    ("predictor", "given", "reason"),
    [
        ("geometric", "attention", "attention of geometric; .* das3r, monst3r"),
        ("das3r", "attention:da3-small", "attention of da3-small; .* das3r, monst3r"),
        ("das3r", "attention:nobody", 'no predictor called "nobody"'),
        ("das3r", "attention:", 'no predictor called ""'),
        ("das3r", "monst3r", "finds no motion masks; .*das3r"),
    ],
)
def test_refusals_before_any_work(predictor, given, reason):
    with pytest.raises(InputError, match=reason):
        check_options(_settings(predictor, given))


def test_flow_has_no_effect_on_attention():
    with pytest.raises(InputError, match="leave out --flow"):
        check_options(_settings("da3-small", "attention:monst3r", flow="dis"))
    check_options(_settings("das3r", "attention", flow="dis"))  # the alignment of das3r uses it


def test_the_predictor_that_is_there_is_used_for_its_own_attention(monkeypatch):
    class Attentive:
        def attention_motion(self, views, *, progress):
            assert views.motion_masks is None
            return np.ones((len(views), 4, 6), np.float32)

    frames = MemoryFrames(np.zeros((2, 4, 6, 3), np.uint8))
    made = []
    monkeypatch.setattr(
        "dynamic_predictor.driver.mask_source.create_predictor",
        lambda name, **options: made.append((name, options["device"])) or Attentive(),
    )
    for predictor, given in (("das3r", "attention"), ("das3r", "attention:das3r"), ("das3r", "attention:monst3r")):
        settings = _settings(predictor, given)
        masks = attention_masks(mask_source(settings), frames, settings, Attentive(), ignore_progress)
        assert len(masks) == 2
    assert made == [("monst3r", "cpu")]
