"""Every predictor of the table through every command with every shared option: used or refused, never ignored.

The networks are replaced by a stub that has the capabilities of the row and records what reaches it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dynamic_predictor import specs as table
from dynamic_predictor.contract import Prediction, Views
from dynamic_predictor.driver.folder_scenes import scene_of_folder
from dynamic_predictor.driver.scenes import scene_of_prediction
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.driver.sources import ImageFiles
from dynamic_predictor.geometric import motion
from dynamic_predictor.launch import main as launch
from dynamic_predictor.predictor_spec import PredictorSpec
from dynamic_predictor.specs import specs
from scene.errors import InputError
from scene.formats.exportable import Exportable
from scene.frames import ImageFolderFrames
from scene.video import write_video
from stillsplat.cli import main
from stillsplat.depth import estimate_depth_maps
from stillsplat.depth_settings import DepthSettings
from tests.stillsplat.stand_ins import HEIGHT, WIDTH, clip_images, write_clip

COUNT = 8
COMMANDS = ("run", "predict", "poses", "depth")
ROWS = list(specs())


@dataclass
class Received:
    """What reached a stub."""

    devices: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    settings: list[Any] = field(default_factory=list)
    views: list[Views] = field(default_factory=list)
    flows: list[str] = field(default_factory=list)


class Stub:
    """Predicts cameras on a line and constant depth, with the capabilities of a row."""

    def __init__(self, spec: PredictorSpec, received: Received) -> None:
        self.spec, self.received = spec, received
        self.seen = 0

    def predict(self, views: Views, *, progress=lambda stage, done, total: None) -> Prediction:
        self.received.views.append(views)
        count, height, width = len(views), views.frames.height, views.frames.width
        maps = np.zeros((count, height, width), np.float32)
        poses = np.tile(np.eye(4), (count, 1, 1))
        poses[:, 0, 3] = 0.05 * np.arange(count)
        focal = views.focal or 60.0
        matrix = [[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]
        found = np.tile((np.arange(width) < 10).astype(np.float32), (count, height, 1))
        return Prediction(
            z_depth=maps + 4,
            confidence=maps + 0.5,
            world_from_camera=poses if self.spec.cameras else None,
            intrinsics=np.tile(matrix, (count, 1, 1)) if self.spec.cameras else None,
            motion=views.motion_masks if views.motion_masks is not None else found if self.spec.motion else None,
            is_metric=self.spec.metric and (not self.spec.metric_needs_focal or views.focal is not None),
        )

    def start(self) -> None:
        self.seen = 0

    def step(self, view: Views) -> Prediction:
        found = self.predict(view)
        assert found.world_from_camera is not None
        found.world_from_camera[:, 0, 3] += 0.05 * self.seen
        self.seen += len(view)
        return found

    def state(self) -> dict[str, np.ndarray]:
        return {"seen": np.array(self.seen)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.seen = int(state["seen"])

    def predict_collection(self, images: Sequence[Path], *, progress=None) -> Prediction:
        frames = ImageFolderFrames(images)
        found = self.predict(Views(frames))
        return replace(found, exportable=Exportable.of_scene(scene_of_prediction(found, frames)))


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Received]]:
    """What reaches the stub of each predictor, by name."""
    all_received = {name: Received() for name in ROWS}

    def stub(spec: PredictorSpec) -> PredictorSpec:
        def load(settings: Any, device: str, seed: int) -> Stub:
            found = all_received[spec.name]
            found.devices.append(device)
            found.seeds.append(seed)
            found.settings.append(settings)
            return Stub(spec, found)

        return replace(spec, load=load)

    for name in ROWS:
        monkeypatch.setitem(table._TABLE, name, stub(specs()[name]))

    def still(scene, *, flow=None, progress=None):
        for found in all_received.values():
            found.flows.append(getattr(flow, "name", "dis"))
        return np.zeros((len(scene.frames), scene.frames.height, scene.frames.width), np.float32)

    monkeypatch.setattr(motion, "scene_motion", still)
    monkeypatch.setattr("stillsplat.report.write_report", lambda *arguments, **options: None)  # takes most of the time
    yield all_received


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip", clip_images(COUNT))


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    folder = tmp_path / "masks"
    folder.mkdir()
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, WIDTH // 2 :] = 255
    for index in range(COUNT):
        cv2.imwrite(str(folder / f"{index}.png"), mask)
    return folder


@pytest.fixture
def command(fakes, clip: Path, tmp_path: Path, capsys) -> Callable[..., tuple[int, str, Path]]:
    """`command(name, predictor, *options)`: exit status, standard error and output folder of one command."""

    def call(name: str, predictor: str, *options: object) -> tuple[int, str, Path]:
        out = tmp_path / f"{name}-{predictor}"
        words = [name, clip, "-o", out, "--predictor", predictor, *options]
        if name == "poses":
            words += ["--no-loop"]
        status = main([str(word) for word in words])
        return status, capsys.readouterr().err, out

    return call


def _scene(name: str, out: Path) -> Path:
    return out / "scene" if name == "run" else out


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("predictor", ROWS)
def test_every_command_takes_every_predictor_that_can(command, received, name, predictor):
    spec = specs()[predictor]
    status, error, out = command(name, predictor, "--seed", 7)
    if not spec.cameras and name != "depth":
        assert status == 2 and "finds no cameras" in error and not out.exists()
        return
    assert status == 0, error
    assert received[predictor].seeds == [7] and received[predictor].devices == ["cpu"]
    if name != "depth":
        scene = json.loads((_scene(name, out) / "scene.json").read_text())
        assert scene["predictor"] == predictor and scene["files"]["motion_masks"] is True
        expected = f"predicted ({predictor})" if spec.motion else "estimated (geometric motion stage"
        assert scene["provenance"]["masks"].startswith(expected)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    "predictor", ["geometric", "das3r", "monst3r", "da3-small", "da3-nested", "da3-metric", "cut3r"]
)
def test_fov_is_used_or_refused(command, received, name, predictor):
    spec = specs()[predictor]
    status, error, _ = command(name, predictor, "--fov", 90)
    if not spec.cameras and name != "depth":
        assert status == 2
    elif spec.known_focal:
        assert status == 0, error
        assert all(views.focal == pytest.approx(WIDTH / 2) for views in received[predictor].views)
    else:
        assert status == 2 and "leave out --fov" in error and not received[predictor].views


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("predictor", ["geometric", "das3r", "da3-small"])
def test_weights_reach_the_predictor_or_are_refused(command, received, name, predictor):
    status, error, _ = command(name, predictor, "--weights", "somewhere/model.pth")
    if specs()[predictor].weights:
        assert status == 0, error
        assert str(received[predictor].settings[0].weights) == "somewhere/model.pth"
    else:
        assert status == 2 and "leave out --weights" in error


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("predictor", ["geometric", "das3r", "da3-small"])
def test_frames_size_and_rate(command, received, name, predictor):
    chosen = ("--frames", "1:7:2", "--max-size", 32)
    status, error, _ = command(name, predictor, *chosen)
    assert status == 0, error
    views = received[predictor].views[0]
    assert len(views) == 3 and (views.frames.width, views.frames.height) == (32, 20)
    assert views.frames.timestamps == pytest.approx([1 / 30, 3 / 30, 5 / 30])
    status, error, _ = command(name, predictor, "--fps", 15, "--max-frames", 3, "--overwrite")
    assert status == 0, error
    assert len(received[predictor].views[-1]) == 3


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("predictor", ["geometric", "monst3r", "da3-small"])
def test_masks_win(command, received, masks, name, predictor):
    status, error, out = command(name, predictor, "--masks", masks)
    if name == "depth" and not specs()[predictor].known_masks:
        assert status == 2 and "leave out --masks" in error
        return
    assert status == 0, error
    seen = received[predictor].views[0].motion_masks
    assert seen is not None and (np.asarray(seen[0])[:, WIDTH // 2 :] == 1).all()
    if name != "depth":
        stored = cv2.imread(str(_scene(name, out) / "motion_masks" / "00003.png"), 0)
        assert (stored[:, WIDTH // 2 :] == 255).all() and (stored[:, : WIDTH // 2] == 0).all()
    status, error, _ = command(name, predictor, "--masks", masks, "--masks-from", "das3r", "--overwrite")
    assert status == 2 and "only one of them" in error


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("predictor", ["geometric", "das3r", "da3-small"])
def test_masks_from_another_predictor(command, received, name, predictor):
    other = "das3r" if predictor == "geometric" else "geometric"
    status, error, out = command(name, predictor, "--masks-from", other)
    if name == "depth" and not specs()[predictor].known_masks:
        assert status == 2 and "leave out --masks-from" in error
        return
    assert status == 0, error
    assert received[other].views and received[predictor].views[0].motion_masks is not None
    if name != "depth":
        stored = cv2.imread(str(_scene(name, out) / "motion_masks" / "00003.png"), 0)
        assert (stored[:, :10] == 255).all() and (stored[:, 10:] == 0).all()
    status, error, _ = command(name, predictor, "--masks-from", "monst3r", "--overwrite")
    assert status == 2 and "finds no motion masks" in error


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("predictor", ["geometric", "das3r", "da3-small"])
def test_flow_is_used_or_refused(command, received, masks, name, predictor):
    spec = specs()[predictor]
    status, error, _ = command(name, predictor, "--flow", "dis")
    if spec.flow:
        assert status == 0, error
        assert received[predictor].settings[0].flow == "dis"
    elif name == "depth":
        assert status == 2 and "leave out --flow" in error
    else:
        assert status == 0, error
        assert received[predictor].flows == ["dis"]  # of the motion stage
    status, error, _ = command(name, predictor, "--flow", "no-such-flow", "--overwrite")
    assert status == 2 and "no-such-flow" in error
    if not spec.flow:
        status, error, _ = command(name, predictor, "--flow", "dis", "--masks", masks, "--overwrite")
        assert status == 2 and "leave out --flow" in error


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("predictor", ["geometric", "das3r", "da3-small"])
def test_device(command, received, monkeypatch, name, predictor):
    import torch

    status, error, _ = command(name, predictor, "--device", "cpu")
    assert status == 0 and received[predictor].devices == ["cpu"], error
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    status, error, _ = command(name, predictor, "--device", "cuda", "--overwrite")
    assert status == 2 and "no GPU" in error
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    if name != "run" and specs()[predictor].motion:  # nothing but the stub runs on the device
        status, error, _ = command(name, predictor, "--device", "auto", "--overwrite")
        assert status == 0 and received[predictor].devices[-1] == "cuda", error


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("predictor", ["geometric", "da3-small"])
def test_exports(command, received, name, predictor):
    status, error, out = command(name, predictor, "--export", "glb,nerfstudio,npz")
    assert status == 0, error
    folder = out / "export" if name == "run" else out
    assert (folder / "scene.glb").exists() and (folder / "transforms.json").exists()
    assert (folder / "exports" / "npz" / "results.npz").exists()
    status, error, _ = command(name, predictor, "--export", "gs_ply", "--overwrite")
    assert status == 2 and "gs_ply" in error
    if name != "run":
        status, error, _ = command(name, predictor, "--export", "splat_ply", "--overwrite")
        assert status == 2 and "Gaussians" in error


def test_a_scene_without_masks_gets_them_or_is_refused(command, received, clip, tmp_path, capsys):
    """`run` on a scene without motion masks never trains the movers in without a word."""
    _, _, scene = command("predict", "da3-small")
    description = json.loads((scene / "scene.json").read_text())
    description["files"]["motion_masks"] = False
    (scene / "scene.json").write_text(json.dumps(description))
    assert main(["run", str(scene), "-o", str(tmp_path / "a")]) == 0
    assert "has no motion masks; they are estimated" in " ".join(capsys.readouterr().err.split())
    made = json.loads((tmp_path / "a" / "scene" / "scene.json").read_text())
    assert made["files"]["motion_masks"] and made["provenance"]["masks"].startswith("estimated")
    description["files"]["z_depth"] = description["files"]["confidence"] = False
    (scene / "scene.json").write_text(json.dumps(description))
    assert main(["run", str(scene), "-o", str(tmp_path / "b")]) == 2
    assert "--masks-from geometric" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--frames", "--fps", "--max-frames", "--max-size", "--fov", "--weights"])
def test_a_scene_fixes_frames_and_cameras(command, received, tmp_path, capsys, option):
    _, _, scene = command("predict", "das3r")
    value = {"--frames": "0:4", "--weights": "file"}.get(option, "20")
    assert main(["run", str(scene), "-o", str(tmp_path / "a"), "--predictor", "das3r", option, value]) == 2
    assert f"leave out {option}" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--predictor", "da3-small"], ["--flow", "dis"]])
def test_a_scene_needs_no_predictor_and_no_flow(command, received, tmp_path, capsys, words):
    _, _, scene = command("predict", "das3r")
    assert main(["run", str(scene), "-o", str(tmp_path / "a"), *words]) == 2
    assert f"leave out {words[0]}" in capsys.readouterr().err
    assert main(["depth", str(scene), "-o", str(tmp_path / "b"), "--predictor", "da3-small"]) == 2
    assert "is a scene" in capsys.readouterr().err


def test_masks_are_refused_where_single_images_have_none(command, received, masks):
    status, error, _ = command("depth", "das3r", "--each", "--masks", masks)
    assert status == 2 and "leave out --masks" in error


def test_angle_and_flow_reach_the_predictor_of_the_masks(command, received):
    status, error, _ = command("predict", "das3r", "--masks-from", "geometric", "--fov", 60)
    assert status == 0 and received["geometric"].views[0].focal == received["das3r"].views[0].focal, error
    assert received["geometric"].views[0].focal == pytest.approx(WIDTH / 2 / np.tan(np.radians(30)))
    status, error, _ = command("predict", "da3-small", "--masks-from", "das3r", "--flow", "dis")
    assert status == 0 and received["das3r"].settings[-1].flow == "dis", error


def test_exports_of_one_prediction_are_refused_for_longer_clips(command, received, clip, monkeypatch, tmp_path):
    monkeypatch.setitem(table._TABLE, "da3-giant", replace(specs()["da3-giant"], largest_views=4))
    write_video(tmp_path / "clip.mp4", clip_images(COUNT), 10.0)
    words = ["depth", str(tmp_path / "clip.mp4"), "-o", str(tmp_path / "depth"), "--predictor", "da3-giant"]
    with pytest.raises(InputError, match="There are 8 frames, but da3-giant .* at most 4 together"):
        estimate_depth_maps(DepthSettings(words[1], predictor="da3-giant", export="gs_ply"), words[3])
    assert not received["da3-giant"].views
    assert main([*words, "--export", "glb", "--chunk-size", "4", "--overlap", "2"]) == 0
    assert len(received["da3-giant"].views) == 3


def test_chunk_options_are_refused_where_there_are_no_chunks(command, received):
    status, error, _ = command("depth", "da3-small", "--each", "--chunk-size", 20, "--overlap", 5)
    assert status == 2 and "leave out --chunk-size" in error


def test_chunk_options_hold_for_exports_of_image_files(command, received):
    status, error, _ = command("depth", "da3-small", "--export", "glb", "--chunk-size", 4, "--overlap", 2)
    assert status == 0 and [len(views) for views in received["da3-small"].views] == [4, 4, 4], error


def test_masks_in_memory_are_known_masks(received, clip, tmp_path, monkeypatch):
    masks = np.zeros((COUNT, HEIGHT, WIDTH), np.float32)
    frames = ImageFolderFrames(sorted(clip.iterdir()))
    scene = scene_of_prediction(Stub(specs()["geometric"], Received()).predict(Views(frames)), frames)
    scene.motion_masks = masks
    monkeypatch.setattr("dynamic_predictor.driver.folder_scenes.open_scene", lambda folder: scene)
    with pytest.raises(InputError, match="leave out --flow"):
        scene_of_folder(DriverSettings(str(clip), flow="dis"), tmp_path)


def test_a_source_that_ends_early_is_told_for_single_images_too(command, received, monkeypatch):
    monkeypatch.setattr(ImageFiles, "ended", "The last frames are damaged.")
    status, error, _ = command("depth", "da3-small", "--each")
    assert status == 0 and "The last frames are damaged." in error


@pytest.mark.parametrize("predictor", ROWS)
def test_launch_takes_every_predictor_that_finds_cameras(received, clip, tmp_path, capsys, predictor):
    spec, out = specs()[predictor], tmp_path / "launch"
    words = ["--mode=eval_pose_custom", f"--dir_path={clip}", f"--predictor={predictor}", "--silent"]
    status = launch([*words, f"--output_dir={out}", "--seed=7", "--device=cpu", "--flow=dis"])
    if not spec.cameras:
        assert status == 2 and "nothing of that kind" in capsys.readouterr().err
        return
    assert status == 0, capsys.readouterr().err
    found = received[predictor]
    assert found.seeds == [7] and found.devices == ["cpu"]
    assert found.settings[0].flow == "dis" if spec.flow else found.flows == ["dis"]
    scene = json.loads((out / "scene.json").read_text())
    assert scene["predictor"] == predictor and scene["files"]["motion_masks"]
