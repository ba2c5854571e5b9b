"""The table of formats: every row can be written, requests are checked, and formats can be added."""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scene.errors import InputError
from scene.formats import registry
from scene.formats.das3r import read_das3r
from scene.formats.exportable import Exportable
from scene.formats.nerfstudio import read_nerfstudio
from scene.formats.options import ExportOptions
from scene.formats.registry import (
    SCENE,
    Format,
    check_formats,
    export,
    format_names,
    formats,
    register,
)
from scene.formats.splat_ply import load_ply
from scene.formats.tum import read_tum
from scene.gaussians import Gaussians
from scene.images import read_image
from scene.scene import Scene
from tests.paths import ROOT
from tests.scene.formats import toy_format

#: modules of the formats that are not named after them
MODULES = {"mini_npz": "npz", "glb_cameras": "glb"}


def gaussians_of(count: int) -> Gaussians:
    generator = torch.Generator().manual_seed(0)
    return Gaussians(
        torch.rand(count, 3, generator=generator) + torch.tensor([0.0, 0.0, 2.0]),
        torch.full((count, 3), -3.0),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1),
        torch.zeros(count),
        torch.zeros(count, 4, 3),
    )


@pytest.fixture
def everything(small_scene: Scene) -> Exportable:
    """A scene with all results that a format can need."""
    count, height, width = len(small_scene.frames), small_scene.frames.height, small_scene.frames.width
    return Exportable.of_scene(
        small_scene,
        gaussians=gaussians_of(count * height * width),
        has_pixel_gaussians=True,
        features={"feat_layer_3": np.random.default_rng(0).normal(size=(count, 3, 4, 6))},
    )


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Format:
    monkeypatch.setattr(registry, "_FORMATS", registry.formats())
    register(toy_format.ROW)
    return toy_format.ROW


@pytest.mark.parametrize("name", list(formats()))
def test_a_format_writes_what_its_row_says_and_nothing_else(everything: Exportable, tmp_path: Path, name: str) -> None:
    options = ExportOptions(trajectory="original", max_points=200)
    for _ in range(2):  # the second time in place of the first
        export(everything, tmp_path / "out", name, options)
    written = {path.relative_to(tmp_path / "out").parts[0] for path in (tmp_path / "out").rglob("*") if path.is_file()}
    announced = formats()[name].writes
    if name == "colmap":
        assert written == {f"{stem}.{kind}" for stem in ("cameras", "images", "points3D") for kind in ("bin", "txt")}
    else:
        assert written == {part.strip().split("/")[0] for part in announced.split(",")}


@pytest.mark.parametrize("name", list(formats()))
def test_a_format_is_refused_without_each_of_its_needs(tmp_path: Path, name: str) -> None:
    row = formats()[name]
    assert check_formats(name, row.needs) == [name]
    for need in row.needs:
        with pytest.raises(InputError, match=f"The format {name} needs") as caught:
            check_formats(name, set(row.needs) - {need})
        assert str(caught.value).endswith(".")


def test_results_are_what_other_commands_read(everything: Exportable, tmp_path: Path) -> None:
    export(everything, tmp_path, "nerfstudio,tum,das3r,splat_ply,poses_npz")
    model = read_nerfstudio(tmp_path)
    assert model.file_paths == [f"images/{index:05d}.png" for index in range(5)]
    assert np.array_equal(read_image(tmp_path / model.file_paths[3]), everything.frames.rgb8(3))
    poses = np.stack([camera.world_from_camera for camera in everything.cameras])
    assert np.allclose([camera.world_from_camera for camera in model.cameras], poses)
    times, trajectory = read_tum(tmp_path / "trajectory.txt")
    assert np.allclose(trajectory, poses) and np.allclose(times, everything.frames.timestamps)
    assert everything.z_depths is not None
    again = read_das3r(tmp_path / "das3r")
    assert again.z_depths is not None and np.allclose(again.z_depths[2], everything.z_depths[2])
    assert everything.gaussians is not None
    assert len(load_ply(tmp_path / "gaussians.ply")) == len(everything.gaussians)
    arrays = np.load(tmp_path / "poses.npz")
    assert set(arrays) == {"world_from_camera", "camera_from_world", "intrinsics", "times"}
    assert np.allclose(arrays["world_from_camera"] @ arrays["camera_from_world"], np.eye(4))


def test_a_scene_and_a_result_with_a_method_are_exported_alike(small_scene: Scene, tmp_path: Path) -> None:
    class Result:
        def exportable(self) -> Exportable:
            return Exportable.of_scene(small_scene)

    export(small_scene, tmp_path / "scene", "ply")
    export(Result(), tmp_path / "result", ["ply"])
    assert (tmp_path / "scene/points.ply").read_bytes() == (tmp_path / "result/points.ply").read_bytes()


def test_confidences_of_a_network_become_those_of_a_scene(everything: Exportable, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    network = replace(everything, confidences=1 + rng.uniform(0, 3, (5, 30, 41)), has_network_confidence=True)
    export(network, tmp_path, "das3r")
    confidences = read_das3r(tmp_path / "das3r").confidences
    assert confidences is not None and network.confidences is not None and network.z_depths is not None
    known = network.z_depths[0] > 0
    assert np.allclose(confidences[0][known], 1 - 1 / network.confidences[0][known], atol=1e-5)


def test_depth_with_too_little_confidence_gives_no_points(everything: Exportable) -> None:
    values = np.full((5, 30, 41), 1.01)
    values[:, :, :20] = 2.0
    network = replace(everything, confidences=values, has_network_confidence=True, motion_masks=None)
    options = ExportOptions(confidence_percentile=0)
    assert everything.z_depths is not None
    known = sum(int((everything.z_depths[index][:, :20] > 0).sum()) for index in range(5))
    assert len(network.point_cloud(options).positions) == known
    assert len(replace(network, has_network_confidence=False).point_cloud(options).positions) > known


def test_a_format_is_in_the_file_of_its_name() -> None:
    for row in formats().values():
        assert row.write.__module__ == f"scene.formats.{MODULES.get(row.name, row.name)}"


def test_names_are_joined_by_commas_or_hyphens() -> None:
    assert format_names("glb, ply,glb") == format_names("glb-ply") == format_names(["glb", "ply"]) == ["glb", "ply"]
    with pytest.raises(InputError, match='no export format "usdz"; choose from: mini_npz, npz, glb'):
        format_names("glb,usdz")
    with pytest.raises(InputError, match="No export format"):
        format_names([])


def test_nothing_is_written_when_one_format_cannot_be(small_scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="splat_ply needs Gaussians, which this result does not have; choose"):
        export(small_scene, tmp_path / "out", "glb,splat_ply")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is not a folder"):
        export(small_scene, tmp_path / "file", "glb")


def test_available_results(everything: Exportable, small_scene: Scene) -> None:
    assert SCENE == Exportable.of_scene(small_scene).available()
    assert everything.available() == SCENE | {"gaussians", "pixel_gaussians", "features"}
    depth_alone = Exportable(small_scene.frames, [], z_depths=small_scene.z_depths)
    assert depth_alone.available() == {"images", "depth"}
    sparse = Exportable(small_scene.frames, small_scene.cameras, points=small_scene.points)
    assert sparse.available() == {"images", "cameras", "points"}
    assert sparse.point_cloud(ExportOptions()) is small_scene.points


def test_a_format_that_was_added_is_written_like_the_others(small_scene: Scene, tmp_path: Path, toy: Format) -> None:
    """The recipe of docs/exports.md."""
    assert list(formats())[-1] == "centers"
    export(small_scene, tmp_path, "centers,tum", ExportOptions(max_points=10))
    lines = (tmp_path / "centers.csv").read_text().splitlines()
    assert len(lines) == 6 and int(lines[-1]) <= 10
    assert [float(value) for value in lines[2].split(",")] == pytest.approx(small_scene.cameras[2].center.tolist())
    with pytest.raises(InputError, match="centers needs cameras"):
        check_formats("centers", {"images", "depth"})
    with pytest.raises(ValueError, match="free name"):
        register(toy)
    with pytest.raises(ValueError, match="free name"):
        register(replace(toy, name="two-words"))


def test_the_documentation_has_a_line_for_every_format() -> None:
    text = (ROOT / "docs" / "exports.md").read_text("utf-8")
    for row in formats().values():
        assert f"| `{row.name}` | {row.description} | {row.writes} | {', '.join(row.needs)} |" in text


def test_the_table_is_light() -> None:
    """Commands read it for their help, so that it must not import what writers need."""
    script = "import sys, scene.formats.registry; print([name for name in sys.modules if '.' not in name])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not {"torch", "matplotlib", "trimesh", "pycolmap"} & set(ast.literal_eval(done.stdout))
