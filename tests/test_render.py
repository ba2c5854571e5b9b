"""render.py: spellings of its options, its devices, and the images and videos that it writes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gaussian.trainer import train
from render import main
from scene.images import read_image
from tests.gaussian.wall_scene import COUNT, HEIGHT, SETTINGS, WIDTH, make_scene


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    train(make_scene(), replace(SETTINGS, iterations=3), folder)
    return folder


@pytest.mark.parametrize("spelling", ["-m", "--model", "--model_path"])
def test_spellings_of_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str], spelling: str) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert main([spelling, nowhere]) == 2
    assert nowhere in capsys.readouterr().err


def test_writes_images_and_a_video(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert main(["-m", str(model), "-o", str(output), "--frames", "5", "--get_video", "--device", "cpu"]) == 0
    assert len(list((output / "input").glob("*.png"))) == COUNT
    assert len(list((output / "interpolated").glob("*.png"))) == 5
    assert read_image(output / "input" / "00003.png").shape == (HEIGHT, WIDTH, 3)
    assert (output / "input.mp4").stat().st_size > 0 and (output / "interpolated.mp4").stat().st_size > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_cuda_without_a_gpu_is_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    assert main(["-m", str(model), "-o", str(output), "--path", "input", "--device", "cuda"]) == 2
    assert "no GPU" in capsys.readouterr().err and not output.exists()
    assert main(["-m", str(model), "-o", str(output), "--path", "input"]) == 0


def test_options_that_are_not_allowed(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["--frames", "0"], "--frames must be 1 to 100000"),
        (["--fps", "0"], "--fps must be above 0"),
        (["--device", "tpu"], "invalid choice"),
    ):
        assert main(["-m", str(model), *arguments]) == 2
        assert message in capsys.readouterr().err


def test_pictures_of_a_longer_path_go(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = ["-m", str(model), "-o", str(output), "--path", "interpolated"]
    assert main([*command, "--frames", "7"]) == 0 and main([*command, "--frames", "3"]) == 0
    assert sorted(path.name for path in output.iterdir()) == ["00000.png", "00001.png", "00002.png", "render.json"]
    # those of an earlier version, which kept no record, lie where this command puts them
    old = model / "renders" / "interpolated"
    old.mkdir(parents=True)
    (old / "00099.png").write_bytes(b"old")
    assert main(["-m", str(model), "--path", "interpolated", "--frames", "2"]) == 0
    assert sorted(path.name for path in old.iterdir()) == ["00000.png", "00001.png", "render.json"]


def test_pictures_of_others_are_not_replaced(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "00000.png").write_bytes(b"the sea")
    (tmp_path / "clip.mp4").write_bytes(b"the clip")
    command = ["-m", str(model), "--path", "input", "--get_video", "-o"]
    for place, message in (("holiday", "holds other things than renders"), ("clip", "clip.mp4 exists already")):
        assert main([*command, str(tmp_path / place)]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert (tmp_path / "holiday" / "00000.png").read_bytes() == b"the sea"
    assert (tmp_path / "clip.mp4").read_bytes() == b"the clip"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "holiday"]
