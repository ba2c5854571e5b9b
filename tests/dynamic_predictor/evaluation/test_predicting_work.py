"""Work with a predictor that is made once, also after it was sent to another process."""

import copy
from pathlib import Path

from dynamic_predictor.driver.settings import PredictorChoice
from dynamic_predictor.evaluation.predicting_work import PredictingWork
from dynamic_predictor.specs import registered
from scene.images import write_png
from tests.dynamic_predictor.toy_predictor import SPEC
from tests.simulated_stream import SimulatedWalk


def test_scenes_of_images_anywhere(tmp_path: Path, capsys) -> None:
    walk, said = SimulatedWalk(8, lap=24), []
    images = [tmp_path / name / "image.png" for name in ("b", "a", "c")]
    for index, image in enumerate(images):
        image.parent.mkdir()
        write_png(image, walk.image(index))
    with registered(SPEC):
        work = PredictingWork(PredictorChoice(predictor="toy"), tmp_path / "out", warn=said.append)
        for _ in range(2):
            with work.predicted(images) as scene:
                assert len(scene.cameras) == 3 and scene.z_depths is not None and scene.z_depths[2].min() == 3
                assert (scene.frames.rgb8(1) == walk.image(1)).all()  # in the order that was given
        assert said == ["This is a toy."] and list((tmp_path / "out").iterdir()) == []
        sent = copy.deepcopy(work)  # as pickling does
        assert "driver" in work.__dict__ and "driver" not in sent.__dict__
        with sent.predicted(images[:2]) as scene:
            assert len(scene.cameras) == 2
    assert said == ["This is a toy."]
