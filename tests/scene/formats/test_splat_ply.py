"""The PLY writer and reader against plyfile and against a file written by DAS3R's own code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from scene.errors import InputError
from scene.formats.splat_ply import load_ply, save_ply
from scene.gaussians import Gaussians
from tests.paths import SHARED

GOLDEN = SHARED / "parity/das3r/gs_point_cloud.ply"


def random_gaussians(count: int = 17, degree: int = 2) -> Gaussians:
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    rotations = torch.nn.functional.normalize(draw(count, 4), dim=1)
    return Gaussians(draw(count, 3), draw(count, 3), rotations, draw(count), draw(count, (degree + 1) ** 2, 3))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_round_trip(tmp_path: Path, degree: int) -> None:
    gaussians = random_gaussians(degree=degree)
    save_ply(tmp_path / "deep/splats.ply", gaussians)
    loaded = load_ply(tmp_path / "deep/splats.ply")
    for name, tensor in gaussians.with_sh_degree(3).tensors().items():
        torch.testing.assert_close(loaded.tensors()[name], tensor, msg=name)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["splats.ply"]


def test_no_gaussians_at_all(tmp_path: Path) -> None:
    save_ply(tmp_path / "splats.ply", Gaussians.empty(2))
    assert len(load_ply(tmp_path / "splats.ply")) == 0


def test_plyfile_reads_inria_order(tmp_path: Path) -> None:
    gaussians = random_gaussians(degree=1)
    save_ply(tmp_path / "splats.ply", gaussians)
    vertices = PlyData.read(str(tmp_path / "splats.ply"))["vertex"]
    expected = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    expected += [f"f_rest_{index}" for index in range(45)] + ["opacity", "scale_0", "scale_1", "scale_2"]
    assert [item.name for item in vertices.properties] == expected + ["rot_0", "rot_1", "rot_2", "rot_3"]
    # channel-major: the first 15 are red, and of those the first 3 are of degree 1
    coefficients = gaussians.sh_coefficients.numpy()
    np.testing.assert_array_equal(vertices["f_rest_0"], coefficients[:, 1, 0])
    np.testing.assert_array_equal(vertices["f_rest_16"], coefficients[:, 2, 1])
    np.testing.assert_array_equal(vertices["f_rest_44"], np.zeros(17))
    np.testing.assert_array_equal(vertices["scale_1"], gaussians.log_scales[:, 1].numpy())
    np.testing.assert_allclose(vertices["rot_0"], gaussians.rotations[:, 0].numpy(), rtol=1e-6)


def test_reads_file_without_normals_in_another_order(tmp_path: Path) -> None:
    names = ["rot_3", "rot_2", "rot_1", "rot_0", "x", "y", "z", "opacity", "scale_0", "scale_1", "scale_2"]
    names += ["f_dc_0", "f_dc_1", "f_dc_2"]
    rows = np.zeros(5, dtype=[(name, "f4") for name in names])
    for index, name in enumerate(names):
        rows[name] = index + np.arange(5) / 10
    PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(str(tmp_path / "other.ply"))
    loaded = load_ply(tmp_path / "other.ply")
    np.testing.assert_array_equal(loaded.rotations[:, 0], rows["rot_0"])
    np.testing.assert_array_equal(loaded.sh_coefficients[:, 0, 2], rows["f_dc_2"])
    assert loaded.sh_degree == 0


@pytest.mark.skipif(not GOLDEN.exists(), reason="the golden file is not beside this checkout")
def test_reads_das3r_file() -> None:
    vertices = PlyData.read(str(GOLDEN))["vertex"]
    loaded = load_ply(GOLDEN)
    assert len(loaded) == len(vertices["x"]) and loaded.sh_degree == 3
    np.testing.assert_array_equal(loaded.means[:, 1], vertices["y"])
    np.testing.assert_array_equal(loaded.sh_coefficients[:, 3, 2], vertices["f_rest_32"])
    product = vertices["conf_static"].astype(np.float64) / (1 + np.exp(-vertices["opacity_ori"].astype(np.float64)))
    inside = (product > 1e-5) & (product < 1 - 1e-5)
    np.testing.assert_allclose(loaded.opacities.numpy()[inside], product[inside], rtol=2e-4)
    assert torch.isfinite(loaded.logit_opacities).all()


@pytest.mark.parametrize(
    "content",
    [
        b"not a ply at all",
        b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n",
        b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nend_header\n\0\0\0\0",
        b"ply\nformat binary_little_endian 1.0\nelement vertex 99999999999999\nproperty float x\nend_header\n",
        b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty list uchar int x\nend_header\n",
    ],
)
def test_refuses_what_holds_no_gaussians(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.ply").write_bytes(content)
    with pytest.raises(InputError):
        load_ply(tmp_path / "bad.ply")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_ply(tmp_path / "absent.ply")
