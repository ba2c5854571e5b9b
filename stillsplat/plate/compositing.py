"""Puts the background into a frame at full size, tile by tile, so that memory does not grow with its size."""

from dataclasses import dataclass

import cv2
import numpy as np

from stillsplat.plate.background import Background, Fetched
from stillsplat.plate.codes import codes_of, values_of
from stillsplat.plate.frame_store import FrameStore
from stillsplat.plate.voting import Vote, vote
from stillsplat.plate.warping import inside

#: edge of a tile in pixels
_TILE = 384
#: weight of the render beside fetched colors where both have the same resolution
_RENDER_SHARE = 0.8


@dataclass(frozen=True)
class Layers:
    """What a frame is replaced by, at the size of the scene."""

    #: (h, w) float32 in [0, 1], 1 = is replaced
    matte: np.ndarray
    background: Background
    #: (h, w, 3) float32, the Gaussians in the values of the frame
    render: np.ndarray
    #: (h, w) float32 in [0, 1], how much of the render rests on what frames have shown
    ground: np.ndarray
    #: (h, w) bool, no frame has seen what is there
    invented: np.ndarray
    #: (h, w, 3) float32, what is put there; None: nothing, those pixels become transparent
    filling: np.ndarray | None


@dataclass(frozen=True)
class PlateFrame:
    """One frame of the plate at full size."""

    #: (H, W, 3) in the type of the input
    codes: np.ndarray
    #: (H, W) float32
    matte: np.ndarray
    #: (H, W) bool, subset of where the matte is above 0
    invented: np.ndarray
    #: whether the invented pixels are to be transparent
    transparent: bool


class Compositor:
    """Composites the frames of one clip. `noise` (3,): standard deviation of the grain of the clip, in values."""

    def __init__(self, store: FrameStore, scene_size: tuple[int, int], noise: np.ndarray, seed: int = 0) -> None:
        self._store, self._noise, self._seed = store, noise, seed
        self._scene_size = scene_size
        #: at the size of the scene and in 8 bits, the colors of the background are those of the frames
        self._done_already = (store.width, store.height) == scene_size and store.dtype == np.uint8
        scale = store.width / scene_size[0]
        #: a render of fewer pixels than the frame lacks its detail
        self._render_share = _RENDER_SHARE * float(np.clip(2.0 - scale, 0.0, 1.0))

    def composite(self, index: int, codes: np.ndarray, layers: Layers) -> PlateFrame:
        """Frame `index` with `codes` (H, W, 3) of the input. Pixels outside of the matte are not touched."""
        height, width = codes.shape[:2]
        result, matte = codes.copy(), np.zeros((height, width), np.float32)
        invented = np.zeros((height, width), bool)
        for top in range(0, height, _TILE):
            for left in range(0, width, _TILE):
                rows, columns = slice(top, min(top + _TILE, height)), slice(left, min(left + _TILE, width))
                part = self._enlarged(layers.matte, rows, columns)
                part[part < 1 / 255] = 0.0
                if not part.any():
                    continue
                matte[rows, columns] = part
                color, unseen = self._tile(index, layers, rows, columns)
                invented[rows, columns] = unseen & (part > 0)
                own = values_of(codes[rows, columns])
                mixed = own + (color - own) * part[..., None]
                changed = codes_of(mixed, codes.dtype)
                result[rows, columns] = np.where(part[..., None] > 0, changed, codes[rows, columns])
        return PlateFrame(result, matte, invented, layers.filling is None)

    def _tile(self, index: int, layers: Layers, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """The background (h, w, 3) of a tile with its grain, and which of its pixels are invented."""
        render = self._enlarged(layers.render, rows, columns, cv2.INTER_CUBIC)
        voted, weights = self._voted(layers.background, rows, columns)
        unseen = self._enlarged(layers.invented.astype(np.float32), rows, columns) > 0.5
        color, share = render, np.zeros(render.shape[:2], np.float32)
        if voted is not None:
            stacked = np.stack(weights)
            # from full trust to the render within the last thousandth of a near source's weight
            trust = np.clip(voted.support / 0.02, 0.0, 1.0)
            reliable = np.clip(2.0 * self._enlarged(layers.ground, rows, columns) - 0.5, 0.0, 1.0)
            blend = 1.0 - trust * (1.0 - self._render_share * reliable)
            color = voted.color + (render - voted.color) * blend[..., None]
            largest = stacked.max(axis=0)
            share = trust * (1.0 - blend) ** 2 * largest / np.maximum(stacked.sum(axis=0), 1e-6)
        if layers.filling is not None:
            filling = self._enlarged(layers.filling, rows, columns, cv2.INTER_CUBIC)
            color = np.where(unseen[..., None], filling, color)
            share = np.where(unseen, 0.0, share)
        return color + self._grain(index, rows, columns, share), unseen

    def _voted(self, background: Background, rows: slice, columns: slice) -> tuple[Vote | None, list[np.ndarray]]:
        """The vote of the sources of a tile at full size, and their weights (h, w); None where none sees anything."""
        if self._done_already:
            voted = background.voted
            weights = [source.weight[rows, columns] for source in background.sources]
            part = Vote(voted.color[rows, columns], voted.support[rows, columns], voted.spread[rows, columns])
            return (part if weights else None), weights
        found = [self._candidate(source, rows, columns) for source in background.sources]
        seen = [pair for pair in found if pair is not None]
        if not seen:
            return None, []
        weights = [weight for _, weight in seen]
        return vote(np.stack([color for color, _ in seen]), np.stack(weights)), weights

    def _candidate(self, source: Fetched, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray] | None:
        """Color (h, w, 3) of a tile in one source, and its weight (h, w); None where it sees nothing of the tile."""
        weight = self._enlarged(source.weight, rows, columns)
        if not weight.any():
            return None
        scale = np.array([self._store.width, self._store.height], np.float32) / np.array(self._scene_size, np.float32)
        places = (self._enlarged(source.places, rows, columns) + 0.5) * scale - 0.5
        weight = weight * inside(places, (self._store.height, self._store.width))
        seen = weight > 1e-4
        if not seen.any():
            return None
        low, high = (
            np.floor(places[seen].min(axis=0)).astype(int) - 4,
            np.ceil(places[seen].max(axis=0)).astype(int) + 5,
        )
        low = np.maximum(low, 0)
        high = np.minimum(high, [self._store.width, self._store.height])
        if ((high - low) > 4 * _TILE).any() or (high <= low).any():
            return None  # a tile that is spread over the source is seen too obliquely
        pixels = values_of(self._store.region(source.index, slice(low[1], high[1]), slice(low[0], high[0])))
        color = cv2.remap(
            pixels,
            np.ascontiguousarray(places[..., 0] - low[0], np.float32),
            np.ascontiguousarray(places[..., 1] - low[1], np.float32),
            cv2.INTER_LANCZOS4,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.maximum(color, 0.0) * source.gain + source.offset, np.where(seen, weight, 0.0)

    def _grain(self, index: int, rows: slice, columns: slice, share: np.ndarray) -> np.ndarray:
        """What grain the mean of several sources lacks. `share` (h, w): variance that is left of that of one frame."""
        lacking = np.sqrt(np.clip(1.0 - share, 0.0, 1.0))[..., None]
        if not self._noise.any():
            return np.zeros((1, 1, 3), np.float32)
        generator = np.random.default_rng([self._seed, index, rows.start, columns.start])
        noise = generator.standard_normal((*share.shape, 3), np.float32)
        return noise * self._noise.astype(np.float32) * lacking

    def _enlarged(
        self, values: np.ndarray, rows: slice, columns: slice, interpolation: int = cv2.INTER_LINEAR
    ) -> np.ndarray:
        """A tile of `values` (h, w, ...), float32 at the size of the scene, at full size."""
        width, height = self._scene_size
        x = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5) * (width / self._store.width) - 0.5
        y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) * (height / self._store.height) - 0.5
        if (width, height) == (self._store.width, self._store.height):
            return values[rows, columns].copy()
        return cv2.remap(values, *np.meshgrid(x, y), interpolation, borderMode=cv2.BORDER_REPLICATE)
