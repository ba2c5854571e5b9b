"""A small clip, and stand-ins for the slow parts: a predictor that knows the answer and an optimizer of one step."""

import shutil

import cv2
import numpy as np
import pytest

from dynamic_predictor.specs import registered
from gaussian import rendering, trainer
from scene import splat_rendering
from stillsplat.second_pass import refinement
from tests.stillsplat.stand_ins import (
    HEIGHT,
    WIDTH,
    FakePredictor,
    FakeRenderer,
    clip_images,
    fake_render,
    fake_spec,
    fake_train,
    write_clip,
)


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip", clip_images())


@pytest.fixture
def fakes(monkeypatch):
    """The predictor "fake", and an optimizer and a renderer that take no time."""
    fake_train.calls, fake_train.error, FakePredictor.calls = [], None, 0
    monkeypatch.setattr(trainer, "train", fake_train)
    monkeypatch.setattr(refinement, "refine_masks", lambda *_: None)
    monkeypatch.setattr(rendering, "render", fake_render)
    monkeypatch.setattr(splat_rendering, "Renderer", FakeRenderer)
    with registered(fake_spec("fake")):
        yield fake_train


@pytest.fixture
def run_cli(capfd):
    """Runs a command in this process: (exit status, standard output, standard error)."""
    from stillsplat.cli import main

    def run(*arguments):
        capfd.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code
        output = capfd.readouterr()
        return status, output.out, output.err

    return run


@pytest.fixture
def truth(tmp_path):
    """A truth folder of the bench format for the small clip."""
    import json

    folder = tmp_path / "truth"
    images = clip_images()
    frames = []
    for kind in ("rgb", "clean", "mask", "seen", "depth", "novel"):
        (folder / kind).mkdir(parents=True)
    for index, image in enumerate(images):
        name = f"{index:05d}"
        moving = (image[..., 0] > 230) & (image[..., 2] < 77)
        for kind, values in (("rgb", image), ("clean", image)):
            cv2.imwrite(str(folder / kind / f"{name}.png"), cv2.cvtColor(values, cv2.COLOR_RGB2BGR))
        cv2.imwrite(str(folder / "mask" / f"{name}.png"), moving.astype(np.uint8) * 255)
        cv2.imwrite(str(folder / "seen" / f"{name}.png"), np.full((HEIGHT, WIDTH), 5, np.uint8))
        np.savez(folder / "depth" / f"{name}.npz", z_depth=np.full((HEIGHT, WIDTH), 8.0, np.float16))
        pose = np.eye(4)
        pose[0, 3] = 0.1 * index
        frames.append({"file": f"{name}.png", "time": index / 30, "world_from_camera": pose.tolist()})
    size = {"width": WIDTH, "height": HEIGHT, "fx": 60.0, "fy": 60.0, "cx": WIDTH / 2, "cy": HEIGHT / 2}
    (folder / "cameras.json").write_text(json.dumps({**size, "frames": frames}))
    shutil.copy(folder / "clean" / "00003.png", folder / "novel" / "00003.png")
    (folder / "novel" / "cameras.json").write_text(json.dumps({**size, "frames": frames[3:4]}))
    return folder
