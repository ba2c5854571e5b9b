"""launch.py with masks of another source in place of the predictor's own."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.contract import Views
from dynamic_predictor.specs import registered
from scene.progress import Progress, ignore_progress
from tests.dynamic_predictor.evaluation.known_answers import ORACLE, Oracle, OracleSettings

Launch = Callable[..., int]


class Attentive(Oracle):
    """Its attention finds what is annotated: the lower half of what it predicts."""

    def attention_motion(self, views: Views, *, progress: Progress = ignore_progress) -> np.ndarray:
        frames = views.frames
        masks = np.zeros((len(frames), frames.height, frames.width), np.float32)
        masks[:, frames.height // 2 :, : frames.width // 2] = 1
        return masks


@pytest.fixture(autouse=True)
def _attentive() -> Iterator[None]:
    row = replace(
        ORACLE,
        name="attentive",
        attention_motion="Easi3R",
        settings_type=lambda: OracleSettings,
        load=lambda settings, device, seed: Attentive(settings),
    )
    with registered(row):
        yield


def _davis(launch: Launch, *more: str) -> int:
    return launch("--mode=eval_mask", "--eval_dataset=davis", "--full_seq", *more)


@pytest.mark.parametrize(
    ("predictor", "source"), [("attentive", "attention"), ("oracle", "attention:attentive"), ("attentive", "oracle")]
)
def test_masks_of_another_source_are_scored(launch: Launch, tmp_path: Path, predictor: str, source: str) -> None:
    assert _davis(launch, f"--predictor={predictor}", f"--masks_from={source}") == 0
    found = json.loads((tmp_path / "out" / "evaluation" / "dog.json").read_text())
    # masks that the oracle predicts itself have a J of one half
    assert found["mask"]["j_mean"] == pytest.approx(0.5 if source == "oracle" else 1.0)
    assert found["made_by"]["masks"] == source
    scene = json.loads((tmp_path / "out" / "dog" / "scene.json").read_text())
    expected = "predicted (oracle)" if source == "oracle" else "attention of attentive (Easi3R)"
    assert scene["provenance"]["masks"] == expected


def test_a_scene_with_other_masks_is_another_scene(
    launch: Launch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _davis(launch, "--predictor=attentive") == 0
    assert _davis(launch, "--predictor=attentive", "--masks_from=attention") == 2
    assert "overwrite" in capsys.readouterr().err
    assert _davis(launch, "--predictor=attentive", "--masks_from=attention", "--overwrite") == 0


def test_frames_of_ones_own(launch: Launch, data_folder: Path, tmp_path: Path) -> None:
    clip = data_folder / "davis/DAVIS/JPEGImages/480p/dog"
    words = ["--mode=eval_pose_custom", f"--dir_path={clip}", "--predictor=attentive", "--masks_from=attention"]
    assert launch(*words) == 0
    scene = json.loads((tmp_path / "out" / "scene.json").read_text())
    assert scene["provenance"]["masks"] == "attention of attentive (Easi3R)"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--masks_from=attention"], "No motion is found in the attention of oracle"),
        (["--masks_from=attention:nobody"], '"nobody"'),
        (["--masks_from=attention:attentive", "--use_gt_mask"], "use only one of them"),
        (["--predictor=attentive", "--masks_from=attention", "--flow=dis"], "--flow"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    launch: Launch, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    assert _davis(launch, *words) == 2
    error = capsys.readouterr().err
    assert reason in error and "Traceback" not in error and not (tmp_path / "out").exists()


def test_single_images_do_not_move(launch: Launch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--mode=eval_depth", "--eval_dataset=nyu", "--predictor=attentive", "--masks_from=attention"]
    assert launch(*words) == 2
    assert "leave out --masks_from" in capsys.readouterr().err
