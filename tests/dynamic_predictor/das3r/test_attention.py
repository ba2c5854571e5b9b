"""Motion masks from the attention of small two-view networks with made-up weights: shapes and invariances. What moves
in them is not asked, because these networks know nothing about images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dynamic_predictor.contract import Views
from dynamic_predictor.das3r import attention
from dynamic_predictor.das3r.attention import pair_attention_motion
from dynamic_predictor.das3r.network import TwoViewNetwork
from dynamic_predictor.das3r.official_layout import save_pth
from dynamic_predictor.das3r.predictor import TwoViewPredictor
from dynamic_predictor.das3r.settings import TwoViewSettings
from dynamic_predictor.das3r.weights import DAS3R, MONST3R
from dynamic_predictor.driver.scene_driver import SceneDriver
from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.errors import InputError
from scene.frames import ImageFolderFrames
from scene.images import write_png
from tests.dynamic_predictor.das3r.small_networks import MINIMAL, filled_network

ROWS, COLUMNS = 3, 6
EDGES = [(0, 1), (1, 2), (2, 3), (0, 3)]


@pytest.fixture(scope="module")
def network() -> TwoViewNetwork:
    return filled_network(MINIMAL).eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    paths = {"das3r": folder / "das3r.pth", "monst3r": folder / "monst3r.pth"}
    with torch.no_grad():
        save_pth(filled_network(MINIMAL), paths["das3r"])
        save_pth(filled_network(replace(MINIMAL, has_mask_heads=False)), paths["monst3r"])
    return paths


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> list[Path]:
    """Seven frames: a block slides over a texture."""
    folder = tmp_path_factory.mktemp("clip")
    texture = np.random.default_rng(0).integers(0, 255, (60, 100, 3), np.uint8)
    paths = []
    for index in range(7):
        image = texture.copy()
        image[20:36, 5 * index : 5 * index + 20] = (250, 20, 20)
        paths.append(folder / f"{index:05d}.png")
        write_png(paths[-1], image)
    return paths


def _images(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, 3, 16 * ROWS, 16 * COLUMNS)).astype(np.float32)


def _maps(network: TwoViewNetwork, edges=EDGES, **options) -> np.ndarray:
    images = _images()
    return pair_attention_motion(network, lambda index: images[index], edges, 16 * ROWS, 16 * COLUMNS, **options)


def test_maps_are_in_the_unit_range_and_the_same_every_time(network):
    maps = _maps(network)
    assert maps.shape == (4, ROWS, COLUMNS) and maps.dtype == np.float32
    assert maps.min() == 0 and 0.9 < maps.max() <= 1
    np.testing.assert_array_equal(maps, _maps(network))


def test_neither_batches_nor_the_order_or_direction_of_pairs_matter(network):
    maps = _maps(network)
    for other in (
        _maps(network, batch_size=3),
        _maps(network, edges=EDGES[::-1]),
        _maps(network, edges=[(second, first) for first, second in EDGES] + EDGES),
    ):
        np.testing.assert_allclose(other, maps, atol=1e-3)


def test_the_observer_is_given_what_the_attention_uses(network):
    """The logits of the observed queries and keys explain the output of the layer, and observing changes nothing."""
    block = network.dec_blocks[0].cross_attn
    tokens, memory = torch.randn(1, 5, 32), torch.randn(1, 7, 32)
    seen = []
    with torch.no_grad():
        output = block(tokens, memory, None, None, lambda query, key: seen.append((query, key)))
        torch.testing.assert_close(output, block(tokens, memory))
        (query, key), value = seen[0], block._split(block.projv(memory))
        assert query.shape == (1, 2, 5, 16) and key.shape == (1, 2, 7, 16)
        weights = (query @ key.mT / 16**0.5).softmax(dim=-1)
        torch.testing.assert_close(output, block.proj((weights @ value).transpose(1, 2).flatten(2)))
    images = torch.from_numpy(_images(2))
    with torch.no_grad():
        views = [network.encode(image[None]) for image in images]
        calls: tuple[list, list] = ([], [])
        observed = network.decode(*views, tuple(lambda query, key, to=to: to.append(1) for to in calls))
        plain = network.decode(*views)
    assert [len(to) for to in calls] == [MINIMAL.decoder_depth] * 2
    for tokens_observed, tokens_plain in zip(observed[0], plain[0], strict=True):
        torch.testing.assert_close(tokens_observed, tokens_plain, rtol=0, atol=0)


def test_the_formula_sees_decoder_1_as_source_and_decoder_2_as_reference(network, monkeypatch):
    """The moments of one pair are the mean logits of the decoders' own layers."""
    found = []
    monkeypatch.setattr(
        attention, "role_statistics", lambda moments, rows, columns: found.append(moments.mean()) or moments
    )
    monkeypatch.setattr(attention, "cross_attention_motion", lambda *roles: torch.zeros(2, ROWS, COLUMNS))
    images = _images(2)
    pair_attention_motion(network, lambda index: images[index], [(0, 1)], 16 * ROWS, 16 * COLUMNS)
    logits: dict[tuple[int, int], list] = {(1, 0): [], (0, 1): [], (1, 1): [], (0, 0): []}

    def keeper(role: int, frame: int):
        return lambda query, key: logits[role, frame].append((query @ key.mT / 16**0.5).mean(dim=2))

    with torch.no_grad():
        first, second = (network.encode(torch.from_numpy(image[None])) for image in images)
        network.decode(first, second, (keeper(0, 1), keeper(1, 0)))
        network.decode(second, first, (keeper(0, 0), keeper(1, 1)))
    for role in (0, 1):
        for frame in (0, 1):
            expected = torch.cat(logits[role, frame], dim=1)[0].mean(dim=0)
            torch.testing.assert_close(found[role][frame], expected, atol=1e-5, rtol=1e-4)


def test_attention_that_is_not_finite_is_refused(network):
    images = _images()
    images[2, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="damaged"):
        pair_attention_motion(network, lambda index: images[index], EDGES, 16 * ROWS, 16 * COLUMNS)


def _predictor(name: str, weights: dict[str, Path], **changes) -> TwoViewPredictor:
    settings = {"weights": weights[name], "image_size": 96, "iterations": 3, "flow": "dis", **changes}
    return TwoViewPredictor({"das3r": DAS3R, "monst3r": MONST3R}[name], TwoViewSettings(**settings))


@pytest.mark.parametrize("name", ["das3r", "monst3r"])
def test_masks_have_the_size_of_the_frames_and_two_values(weights, clip, name):
    views = Views(ImageFolderFrames(clip))
    masks = _predictor(name, weights).attention_motion(views)
    assert len(masks) == 7
    values = np.stack([masks[index] for index in range(7)])
    assert values.shape == (7, 60, 100) and set(np.unique(values)) == {0.0, 1.0}
    again = _predictor(name, weights, batch_size=4).attention_motion(views)
    assert np.mean([again[index] != masks[index] for index in range(7)]) < 0.02


def test_long_clips_go_window_by_window_and_single_frames_do_not_move(weights, clip, monkeypatch):
    frames, asked = ImageFolderFrames(clip), []
    whole = attention.pair_attention_motion

    def counted(network, image, edges, *rest, **options):
        asked.append(1 + max(max(edge) for edge in edges))
        return whole(network, image, edges, *rest, **options)

    monkeypatch.setattr("dynamic_predictor.das3r.predictor.pair_attention_motion", counted)
    masks = _predictor("monst3r", weights, window=4, window_overlap=2).attention_motion(Views(frames))
    assert len(masks) == 7 and asked == [4, 4, 3]
    single = _predictor("monst3r", weights).attention_motion(Views(ImageFolderFrames(clip[:1])))
    assert len(single) == 1 and single[0].shape == (60, 100) and not single[0].any()


@pytest.mark.parametrize("source", ["attention", "attention:monst3r"])
def test_a_scene_gets_the_masks_of_attention(weights, clip, tmp_path, monkeypatch, source):
    settings = DriverSettings(str(clip[0].parent), predictor="das3r", masks_from=source, max_size=96, device="cpu")
    predictor = _predictor("das3r", weights)
    other = _predictor("monst3r", weights)
    for module in ("mask_source", "scene_driver"):
        monkeypatch.setattr(
            f"dynamic_predictor.driver.{module}.create_predictor", lambda name, **options: {"monst3r": other}[name]
        )
    with torch.enable_grad():
        driver = SceneDriver(settings, predictor=predictor)
        scene = driver.scene(StreamWorkspace(tmp_path / "work", {}, resume=False)).scene
    name = "das3r" if source == "attention" else "monst3r"
    assert scene.provenance["masks"] == f"attention of {name} (Easi3R)"
    assert scene.motion_masks is not None and len(scene.motion_masks) == 7
    expected = {"das3r": predictor, "monst3r": other}[name].attention_motion(Views(scene.frames))
    for index in range(7):
        np.testing.assert_array_equal(scene.motion_masks[index], expected[index])
