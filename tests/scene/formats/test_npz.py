"""npz and mini_npz files."""

import numpy as np

from scene.formats.exportable import Exportable
from scene.formats.registry import export
from scene.frames import MemoryFrames
from tests.scene.formats.da3_export_goldens import golden_scene, load_goldens


def test_npz_files_have_the_official_names_and_rounding(tmp_path):
    golden = load_goldens()
    matrices = {"extrinsics": golden["glb/extr"], "intrinsics": golden["glb/intr"]}
    source = Exportable(
        MemoryFrames(golden["glb/images"]), [], z_depths=golden["glb/depth"], confidences=golden["glb/conf"], **matrices
    )
    export(source, tmp_path, "npz,mini_npz")
    mini, full = (np.load(tmp_path / "exports" / name / "results.npz") for name in ("mini_npz", "npz"))
    assert set(mini.files) == {"depth", "conf", "extrinsics", "intrinsics"}
    assert set(full.files) == {*mini.files, "image"}
    np.testing.assert_array_equal(full["depth"], np.round(golden["glb/depth"], 6))
    np.testing.assert_array_equal(mini["depth"], np.round(golden["glb/depth"], 8))
    np.testing.assert_allclose(full["depth"], golden["glb/depth"], atol=6e-7)
    np.testing.assert_array_equal(mini["conf"], np.round(golden["glb/conf"], 2))
    for name, values in matrices.items():
        np.testing.assert_array_equal(full[name], values)


def test_cameras_and_maps_of_a_scene(tmp_path):
    golden = load_goldens()
    source = Exportable.of_scene(golden_scene(golden))
    export(source, tmp_path, "npz")
    found = np.load(tmp_path / "exports/npz/results.npz")
    np.testing.assert_allclose(found["extrinsics"], golden["glb/extr"], atol=1e-6)
    np.testing.assert_allclose(found["intrinsics"], golden["glb/intr"], rtol=1e-6)
    np.testing.assert_array_equal(found["image"], golden["glb/images"])
    assert found["conf"].max() <= 1
