"""npz and mini_npz files."""

import numpy as np

from scene.formats.exportable import Exportable
from scene.formats.prediction_npz import write_npz
from scene.formats.registry import export
from tests.scene.formats.da3_export_goldens import golden_scene, load_goldens


def test_npz_files_have_the_official_names_and_rounding(tmp_path):
    golden = load_goldens()
    arguments = {"confidence": golden["glb/conf"], "extrinsics": golden["glb/extr"], "intrinsics": golden["glb/intr"]}
    write_npz(tmp_path / "mini.npz", golden["glb/depth"], **arguments)
    write_npz(tmp_path / "full.npz", golden["glb/depth"], images=golden["glb/images"], **arguments)
    mini, full = np.load(tmp_path / "mini.npz"), np.load(tmp_path / "full.npz")
    assert set(mini.files) == {"depth", "conf", "extrinsics", "intrinsics"}
    assert set(full.files) == {*mini.files, "image"}
    np.testing.assert_allclose(full["depth"], golden["glb/depth"], atol=6e-7)
    np.testing.assert_array_equal(mini["conf"], np.round(golden["glb/conf"], 2))


def test_cameras_and_maps_of_a_scene(tmp_path):
    golden = load_goldens()
    source = Exportable.of_scene(golden_scene(golden))
    export(source, tmp_path, "npz")
    found = np.load(tmp_path / "exports/npz/results.npz")
    np.testing.assert_allclose(found["extrinsics"], golden["glb/extr"], atol=1e-6)
    np.testing.assert_allclose(found["intrinsics"], golden["glb/intr"], rtol=1e-6)
    np.testing.assert_array_equal(found["image"], golden["glb/images"])
    assert found["conf"].max() <= 1
