"""Every format of Gaussians: rendered again it looks the same, other programs read and write the same, damage is one
sentence."""

import gzip
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scene.errors import InputError
from scene.formats.options import ExportOptions
from scene.formats.splat_file import FLIP_Y_AND_Z
from scene.similarity import Similarity
from scene.splat_files import read_splats, splat_format, write_splats
from scene.splats import Splats
from tests.paths import DATA
from tests.scene.formats.splat_samples import assert_same, covariances, pictures, psnr, sample_splats, splat_transform

#: file name -> (version of SPZ, least PSNR, tolerances of position, shape, opacity, coefficients against the original)
KINDS = {
    "a.ply": (3, 70, (0, 1e-5, 1e-6, 0)),
    "a.glb": (3, 70, (0, 1e-5, 1e-6, 0)),
    "a.compressed.ply": (3, 35, (2e-3, 0.03, 0.003, 0.02)),
    "a.splat": (3, 35, (0, 0.05, 0.003, 0.02)),
    "a.spz": (3, 35, (1e-5, 0.09, 0.003, 0.07)),
    "a4.spz": (4, 35, (1e-5, 0.09, 0.003, 0.07)),
}
WORDS = ("position", "shape", "opacity", "sh")
#: files that splat-transform 2.7.1 made from original.ply
THEIRS = ("by_splat_transform.compressed.ply", "by_splat_transform_3.spz", "by_splat_transform_4.spz")


def written(folder: Path, name: str, splats: Splats) -> Path:
    write_splats(folder / name, splats, ExportOptions(spz_version=4 if KINDS[name][0] == 4 else 3))
    return folder / name


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("name", KINDS)
def test_what_is_read_again_looks_the_same(tmp_path: Path, name: str, degree: int) -> None:
    splats = sample_splats(degree)
    again = read_splats(written(tmp_path, name, splats))
    if name.endswith(".splat"):
        splats = splats.with_sh_degree(0)
    assert again.sh_degree == splats.sh_degree
    before, after = pictures(splats), pictures(again)
    assert before.std() > 0.1 and psnr(before, after) >= KINDS[name][1]
    assert [path.name for path in tmp_path.iterdir()] == [name]
    # each by itself, where neighbors are farther apart than the steps of positions
    few = splats.select(np.arange(200))
    tolerances = dict(zip(WORDS, KINDS[name][2], strict=True))
    assert_same(few, read_splats(written(tmp_path, name, few)), **tolerances)


@pytest.mark.parametrize("name", KINDS)
def test_antialiased_models_say_so(tmp_path: Path, name: str) -> None:
    for antialiased in (False, True):
        path = written(tmp_path, name, replace(sample_splats(0, 10), antialiased=antialiased))
        assert read_splats(path).antialiased == (antialiased and not name.endswith(".splat"))
    assert (b"comment SplatRenderMode: mip\n" in path.read_bytes()) == name.endswith(".ply")


@pytest.mark.parametrize("name", KINDS)
def test_zero_bands_take_no_room(tmp_path: Path, name: str) -> None:
    padded = written(tmp_path, name, sample_splats(1, 50).with_sh_degree(3)).stat().st_size
    assert padded == written(tmp_path, name, sample_splats(1, 50)).stat().st_size
    assert read_splats(tmp_path / name).sh_degree == (0 if name.endswith(".splat") else 1)


@pytest.mark.parametrize("name", THEIRS)
def test_files_of_splat_transform_are_read(name: str) -> None:
    original = read_splats(DATA / "splats" / "original.ply")
    bounds = KINDS["a.spz"][2] if name.endswith(".spz") else KINDS["a.compressed.ply"][2]
    tolerances = dict(zip(WORDS, bounds, strict=True)) | {"position": 2e-3}
    assert_same(original, read_splats(DATA / "splats" / name), **tolerances)


def test_gltf_of_splat_transform_is_read() -> None:
    """It turns scenes by half a turn about z to have y up; ours is half a turn about x. View dependence turns along."""
    original = read_splats(DATA / "splats" / "original.ply")
    read = read_splats(DATA / "splats" / "by_splat_transform.glb")
    signs = np.array([-1, 1, -1], np.float32)
    assert np.allclose(read.means * signs, original.means, atol=1e-5)
    turned = original.transformed(Similarity(1.0, np.diag(signs.astype(float)), np.zeros(3)))
    assert_same(turned, read, position=1e-5, shape=1e-4, opacity=1e-5, sh=1e-5)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("name", [name for name in KINDS if not name.endswith(".glb")])
def test_splat_transform_reads_the_same(tmp_path: Path, name: str, degree: int) -> None:
    path = written(tmp_path, name, sample_splats(degree, 300))
    splat_transform(path, tmp_path / "theirs.ply")
    ours = read_splats(path)
    # of the bytes of .splat, we take the middle of antimatter15's rounding and they take another one
    shape = 0.05 if name.endswith(".splat") else 0.01
    assert_same(ours, read_splats(tmp_path / "theirs.ply"), position=1e-5, shape=shape, opacity=1e-4, sh=1e-4)


@pytest.mark.parametrize("name", ["a.ply", "a.compressed.ply"])
def test_gsply_reads_the_same_ply(tmp_path: Path, name: str) -> None:
    gsply = pytest.importorskip("gsply", reason="gsply is not installed (pip install gsply)")
    path = written(tmp_path, name, sample_splats(3, 300))
    ours = read_splats(path)
    assert_same(ours, _of_gsply(gsply.plyread(str(path))), position=1e-5, shape=0.01, opacity=1e-4, sh=1e-4)


@pytest.mark.parametrize("name", ["a.spz", "a4.spz"])
def test_gsply_reads_the_same_spz(tmp_path: Path, name: str) -> None:
    gsply = pytest.importorskip("gsply", reason="gsply is not installed (pip install gsply)")
    path = written(tmp_path, name, sample_splats(3, 300))
    # it keeps the axes of the file
    theirs, ours = _of_gsply(gsply.read_spz(str(path))).transformed(FLIP_Y_AND_Z), read_splats(path)
    assert_same(ours, theirs, position=1e-5, shape=0.01, opacity=1e-4, sh=1e-4)


def _of_gsply(data) -> Splats:
    rest = np.asarray(data.shN, np.float32).reshape(len(data.means), -1, 3)
    return Splats(
        means=np.asarray(data.means, np.float32),
        log_scales=np.asarray(data.scales, np.float32),
        rotations=np.asarray(data.quats, np.float32),
        logit_opacities=np.asarray(data.opacities, np.float32).reshape(-1),
        sh_coefficients=np.concatenate([np.asarray(data.sh0, np.float32).reshape(-1, 1, 3), rest], axis=1),
    )


def test_pygltflib_finds_linear_scales_and_y_up(tmp_path: Path) -> None:
    pygltflib = pytest.importorskip("pygltflib", reason="pygltflib is not installed (pip install pygltflib)")
    splats = sample_splats(2, 40)
    gltf = pygltflib.GLTF2().load(str(written(tmp_path, "a.glb", splats)))
    assert gltf.extensionsUsed == ["KHR_gaussian_splatting"]
    (primitive,) = gltf.meshes[0].primitives
    assert primitive.mode == 0 and primitive.extensions["KHR_gaussian_splatting"]["kernel"] == "ellipse"

    def values(name: str) -> np.ndarray:
        accessor = gltf.accessors[getattr(primitive.attributes, name)]
        view = gltf.bufferViews[accessor.bufferView]
        kind = {5126: "<f4", 5121: "u1"}[accessor.componentType]
        data = gltf.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
        return np.frombuffer(data, kind).reshape(accessor.count, -1)

    assert np.allclose(values("POSITION"), splats.means * [1, -1, -1], atol=1e-6)
    assert np.allclose(values("KHR_gaussian_splatting:SCALE"), splats.scales, rtol=1e-5)
    assert np.allclose(values("KHR_gaussian_splatting:OPACITY")[:, 0], splats.opacities, atol=1e-6)
    assert np.allclose(np.linalg.norm(values("KHR_gaussian_splatting:ROTATION"), axis=1), 1, atol=1e-6)
    assert np.allclose(values("KHR_gaussian_splatting:SH_DEGREE_0_COEF_0"), splats.sh_coefficients[:, 0], atol=1e-6)
    # half a turn about x: y changes its sign, and of the first degree the terms of y and z
    first = values("KHR_gaussian_splatting:SH_DEGREE_1_COEF_0")
    assert np.allclose(first, -splats.sh_coefficients[:, 1], atol=1e-6)
    assert not hasattr(primitive.attributes, "KHR_gaussian_splatting:SH_DEGREE_3_COEF_0")
    accessor = gltf.accessors[primitive.attributes.POSITION]
    assert np.allclose(accessor.min, values("POSITION").min(axis=0))


def test_content_decides_how_a_file_is_read_and_the_suffix_how_it_is_written(tmp_path: Path) -> None:
    assert splat_format("x/B.Compressed.PLY").name == "compressed_ply" and splat_format("b.ply").name == "splat_ply"
    with pytest.raises(InputError, match=r"no suffix of a format of Gaussians; choose from: \.ply, "):
        splat_format("scene.obj")
    for name in KINDS:
        path = written(tmp_path, name, sample_splats(0, 20))
        if path.suffix not in (".splat", ".spz"):
            renamed = path.rename(tmp_path / "renamed.bin")
            assert len(read_splats(renamed)) == 20
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(InputError, match="is no file of Gaussians; known formats: splat_ply, "):
        read_splats(tmp_path / "text.txt")
    with pytest.raises(InputError, match="is missing"):
        read_splats(tmp_path / "absent.ply")
    with pytest.raises(InputError, match="is not a file"):
        read_splats(tmp_path)


def test_gaussians_that_are_not_finite_are_one_sentence_or_left_out(tmp_path: Path) -> None:
    splats = sample_splats(1, 20)
    means = splats.means.copy()
    means[3, 0] = np.nan
    for name in ("a.ply", "a.splat"):
        path = written(tmp_path, name, replace(splats, means=means))
        with pytest.raises(InputError, match="has 1 of 20 Gaussians with values that are not finite"):
            read_splats(path)
        assert len(read_splats(path, drop_invalid=True)) == 19


@pytest.mark.parametrize("name", KINDS)
def test_files_that_are_cut_off_are_one_sentence(tmp_path: Path, name: str) -> None:
    content = written(tmp_path, name, sample_splats(2, 60)).read_bytes()
    for length in (0, 3, 15, 16, 31, 40, len(content) // 2 + 1, len(content) - 1):
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(InputError) as caught:
            read_splats(tmp_path / name)
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_gzip_and_zstandard_bombs_are_refused_without_unpacking(tmp_path: Path) -> None:
    """Headers that announce gigabytes, and streams that hold them."""
    zstandard = pytest.importorskip("zstandard")
    count = 50_000_000
    header = struct.pack("<IIIBBBB", 0x5053474E, 3, count, 0, 12, 0, 0)
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [compressor.compress(part) for part in (header, *(bytes(1 << 20) for _ in range(64)))]
    (tmp_path / "a.spz").write_bytes(b"".join(parts) + compressor.flush())
    with pytest.raises(InputError, match="50000000 Gaussians in a file of"):
        read_splats(tmp_path / "a.spz")
    # a stream that is far longer than its table says: only the beginning is unpacked
    sizes = (9, 1, 3, 3, 4)
    parts = [zstandard.ZstdCompressor().compress(bytes(1 << 24)) for _ in sizes]
    table = b"".join(struct.pack("<QQ", len(part), size) for part, size in zip(parts, sizes, strict=True))
    header = struct.pack("<IIIBBBBI12x", 0x5053474E, 4, 1, 0, 12, 0, 5, 32)
    (tmp_path / "b.spz").write_bytes(header + table + b"".join(parts))
    assert len(read_splats(tmp_path / "b.spz")) == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"magic": 1}, "not an SPZ file"),
        ({"version": 1}, "version 1 of SPZ, which is not read"),
        ({"version": 9}, "version 9 of SPZ, which is not read"),
        ({"degree": 7}, "degree 7"),
        ({"count": 0}, "0 Gaussians"),
    ],
)
def test_headers_of_spz_are_checked(tmp_path: Path, change: dict[str, int], expected: str) -> None:
    fields = {"magic": 0x5053474E, "version": 3, "count": 1, "degree": 0, "bits": 12, "flags": 0, "streams": 0} | change
    (tmp_path / "a.spz").write_bytes(gzip.compress(struct.pack("<IIIBBBB", *fields.values()) + bytes(200)))
    with pytest.raises(InputError, match=expected):
        read_splats(tmp_path / "a.spz")


def test_version_2_of_spz_is_read(tmp_path: Path) -> None:
    """Made by hand: rotations are x, y, z in a byte each, w follows."""
    header = struct.pack("<IIIBBBB", 0x5053474E, 2, 1, 0, 8, 1, 0)
    position = (
        (256).to_bytes(3, "little") + (-512 & 0xFFFFFF).to_bytes(3, "little") + (-768 & 0xFFFFFF).to_bytes(3, "little")
    )
    values = bytes([255]) + bytes([128, 128, 128]) + bytes([160, 176, 192]) + bytes([128, 128, 218])
    (tmp_path / "a.spz").write_bytes(gzip.compress(header + position + values))
    splats = read_splats(tmp_path / "a.spz")
    assert splats.means.tolist() == [[1, 2, 3]] and splats.antialiased
    assert splats.log_scales.tolist() == [[0, 1, 2]] and splats.opacities[0] > 0.9999
    # a quarter turn about z exchanges the lengths along x and y
    expected = np.diag([np.exp(2.0), 1.0, np.exp(4.0)])
    assert np.linalg.norm(covariances(splats)[0] - expected) < 0.02 * np.linalg.norm(expected)


_SMALL: dict[str, bytes] = {}


@pytest.mark.parametrize("kind", list(KINDS))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_an_input_error(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    """Bytes of a small file are changed, cut and repeated: the file is read or refused in one sentence."""
    if kind not in _SMALL:
        _SMALL[kind] = written(tmp_path, kind, sample_splats(1, 3)).read_bytes()
    content = bytearray(_SMALL[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, min(len(content), 1500) - 1))
        content[place] = data.draw(st.sampled_from([0, 1, 0x20, 0x2D, 0x30, 0x39, 0x7F, 0x80, 0xFF]))
    content = content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))]
    path = tmp_path / f"damaged{kind[1:] if kind[1] == '.' else kind[2:]}"
    path.write_bytes(bytes(content))
    try:
        read_splats(path)
    except InputError as error:
        assert str(error).endswith(".") and len(str(error)) < 1000
