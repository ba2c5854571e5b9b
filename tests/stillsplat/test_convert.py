"""Converting files of Gaussians, from Python and the command line."""

from pathlib import Path

import numpy as np
import pytest

from scene.errors import InputError
from scene.similarity import Similarity
from scene.splat_files import read_splats, write_splats
from stillsplat.cli import main
from stillsplat.convert import convert, rotation_between_axes
from stillsplat.convert_settings import AXES, ConvertSettings
from tests.scene.formats.splat_samples import pictures, psnr, sample_splats

UP = {"x": [1, 0, 0], "y": [0, 1, 0], "z": [0, 0, 1], "-x": [-1, 0, 0], "-y": [0, -1, 0], "-z": [0, 0, -1]}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_splats(tmp_path / "source.ply", sample_splats(2, 400))
    return tmp_path / "source.ply"


@pytest.mark.parametrize("before", AXES)
def test_axes_turn_into_each_other_without_mirroring(before: str) -> None:
    for after in AXES:
        rotation = rotation_between_axes(before, after)
        assert np.allclose(rotation @ UP[before], UP[after])
        assert np.allclose(rotation @ rotation.T, np.eye(3)) and np.linalg.det(rotation) > 0.999
    assert np.allclose(rotation_between_axes("-y", "z") @ [0, 0, 1], [0, 1, 0])


def test_crop_prune_and_thin_out(source: Path, tmp_path: Path) -> None:
    before = read_splats(source)
    settings = ConvertSettings(crop=(-1, -1, 0, 1, 1, 9), prune_opacity=0.4, max_gaussians=30, sh_degree=1)
    done = convert(source, tmp_path / "small.ply", settings)
    after = read_splats(tmp_path / "small.ply")
    assert (done.read, done.written, done.format, done.losses) == (400, 30, "splat_ply", ())
    assert len(after) == 30 and after.sh_degree == 1
    assert (np.abs(after.means[:, :2]) <= 1).all() and (after.opacities >= 0.4).all()
    candidates = before.select((np.abs(before.means[:, :2]) <= 1).all(axis=1) & (before.opacities >= 0.4))
    assert after.log_importance().min() >= np.sort(candidates.log_importance())[-30] - 1e-5


def test_turned_scaled_moved_and_back(source: Path, tmp_path: Path) -> None:
    """There and back through four formats' axes the picture is the same."""
    there = ConvertSettings(up="z", scale=2.0, offset=(1.0, 2.0, 3.0))
    convert(source, tmp_path / "a.glb", there)
    moved = read_splats(tmp_path / "a.glb")
    assert np.allclose(moved.means, 2 * read_splats(source).means[:, [0, 2, 1]] * [1, 1, -1] + [1, 2, 3], atol=1e-4)
    convert(tmp_path / "a.glb", tmp_path / "b.ply", ConvertSettings(offset=(-1.0, -2.0, -3.0)))
    convert(tmp_path / "b.ply", tmp_path / "c.ply", ConvertSettings(from_up="z", up="-y", scale=0.5))
    assert psnr(pictures(read_splats(source)), pictures(read_splats(tmp_path / "c.ply"))) > 60


def test_command_line(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "out.splat")
    assert main(["convert", str(source), target, "--crop", "-1,-1,0,1,1,9", "--up", "-z", "--offset", "-1,0,0.5"]) == 0
    printed = capsys.readouterr().out
    count = len(read_splats(target))
    assert f"{target}: {count} of 400 Gaussians, format splat\n" in printed and 0 < count < 400
    assert "note: the format .splat has no view dependence" in printed
    assert main(["convert", str(source), target]) == 2
    assert "exists already; choose another place or add --overwrite." in capsys.readouterr().err
    assert main(["convert", str(source), target, "--overwrite"]) == 0
    (tmp_path / "run").mkdir()
    source.rename(tmp_path / "run" / "splats.ply")
    assert main(["convert", str(tmp_path / "run"), str(tmp_path / "run.spz"), "--spz-version", "4"]) == 0
    assert (tmp_path / "run.spz").read_bytes()[:4] == b"NGSP"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--crop", "1,2,3"], '6 finite numbers separated by commas are needed, not "1,2,3"'),
        (["--crop", "1,0,0,-1,1,1"], "with x <= X"),
        (["--offset", "a,b,c"], "3 finite numbers"),
        (["--prune-opacity", "2"], "from 0 to 1, not 2"),
        (["--max-gaussians", "0"], "At least one"),
        (["--scale", "0"], "scale must be from"),
        (["--scale", "-1"], "scale must be from"),
        (["--up", "w"], "invalid choice"),
        (["--sh-degree", "4"], "invalid choice"),
        (["--crop", "90,90,90,91,91,91"], "No Gaussians of"),
    ],
)
def test_bad_settings_are_one_sentence(
    source: Path, tmp_path: Path, capsys, arguments: list[str], expected: str
) -> None:
    assert main(["convert", str(source), str(tmp_path / "out.ply"), *arguments]) == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1 and not (tmp_path / "out.ply").exists()


def test_bad_places(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not the output folder of stillsplat run"):
        convert(tmp_path, tmp_path / "a.ply")
    with pytest.raises(InputError, match="no suffix of a format"):
        convert(source, tmp_path / "a.usdz")
    with pytest.raises(InputError, match="There is no axis"):
        ConvertSettings(up="up")  # type: ignore[arg-type]


def test_scenes_far_from_the_origin_and_of_unusual_size(tmp_path: Path) -> None:
    """PLY and glTF keep them; what the others lose is said, with what mends it."""
    splats = sample_splats(1, 200)
    place = Similarity(1.0, np.eye(3), np.array([500000.0, 4500000.0, 100.0]))
    far = splats.transformed(place)
    assert far.means.dtype == np.float64
    write_splats(tmp_path / "far.ply", far)
    for name in ("again.ply", "far.glb"):
        done = convert(tmp_path / "far.ply", tmp_path / name)
        assert not any("origin" in loss for loss in done.losses)
        np.testing.assert_allclose(read_splats(tmp_path / name).means, far.means, rtol=0, atol=1e-6)
    for name in ("far.splat", "far.spz", "far.compressed.ply"):
        losses = convert(tmp_path / "far.ply", tmp_path / name).losses
        assert any("--offset=-500000,-4500000,-103" in loss for loss in losses)
    near = convert(tmp_path / "far.ply", tmp_path / "near.splat", ConvertSettings(offset=(-5e5, -45e5, -100.0)))
    assert not any("origin" in loss for loss in near.losses)
    found = np.sort(read_splats(tmp_path / "near.splat").means[:, 0])
    np.testing.assert_allclose(found, np.sort(splats.means[:, 0]), atol=1e-5)
    small = convert(tmp_path / "far.ply", tmp_path / "small.spz", ConvertSettings(scale=1e-6, offset=(-0.5, -4.5, 0)))
    assert any("usual size with --scale" in loss for loss in small.losses)
