"""The frames of a run as the plate needs them, made when they are used and kept while there is room."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch

from gaussian.model_folder import Model
from scene import splat_rendering
from scene.maps import map_of_size
from scene.observed import is_observed
from scene.scene import Scene
from stillsplat.plate.codes import curved, display_curve
from stillsplat.plate.warping import StaticView

_CACHE_BYTES = 512 << 20
#: a frame is not fetched from within this share of the long side of what moves in it
_MARGIN = 0.0045


class RunViews(Sequence[StaticView]):
    """`values`: the frames in values of the input (`codes`), (h, w, 3) float32 each; None: those of the scene."""

    def __init__(self, scene: Scene, model: Model, values: Callable[[int], np.ndarray] | None = None) -> None:
        self._scene, self._model, self._values = scene, model, values
        self._shaded: Sequence[np.ndarray] | None = None
        self._grounded: splat_rendering.Renderer | None = None
        self._renderer = splat_rendering.Renderer(model.gaussians)
        self._cache: OrderedDict[int, StaticView] = OrderedDict()
        pixels = scene.frames.width * scene.frames.height
        self._limit = max(12, _CACHE_BYTES // (pixels * 33))

    def __len__(self) -> int:
        return len(self._scene.frames)

    def __iter__(self) -> Iterator[StaticView]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> StaticView:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index in self._cache:
            self._cache.move_to_end(index)
        else:
            self._cache[index] = self._view(index)
            if len(self._cache) > self._limit:
                self._cache.popitem(last=False)
        return self._cache[index]

    def trust(self, grounded: np.ndarray) -> None:
        """From now on, depth is that of the Gaussians that are `grounded`, bool (N,), where there are any, and `ground`
        is known; before, it is 1 everywhere."""
        if grounded.any():
            which = torch.from_numpy(grounded)
            self._grounded = splat_rendering.Renderer(self._model.gaussians.select(which))
            self._cache = OrderedDict((index, self._with_ground(view)) for index, view in self._cache.items())

    def hide(self, shaded: Sequence[np.ndarray]) -> None:
        """From now on, what is `shaded`, a small bool map per frame, is hidden as well."""
        self._shaded = shaded
        self._cache = OrderedDict((index, self._with_shadow(view, index)) for index, view in self._cache.items())

    def moving(self, index: int) -> np.ndarray:
        """Bool (h, w): the motion mask."""
        masks = self._scene.motion_masks
        if masks is None:
            return np.zeros((self._scene.frames.height, self._scene.frames.width), bool)
        return masks[index] >= 0.5

    def observed(self, index: int) -> np.ndarray:
        """Bool (h, w): what the frame has observed."""
        observed = self._scene.observed
        if observed is None:
            return np.ones((self._scene.frames.height, self._scene.frames.width), bool)
        return is_observed(observed, index)

    def nearest_depth(self) -> float:
        """A depth that is nearer than everything in the scene."""
        some = np.unique(np.linspace(0, len(self) - 1, 8).round().astype(int))
        return 0.6 * float(np.percentile(np.concatenate([self[int(i)].z_depth[::8, ::8].ravel() for i in some]), 1))

    def _view(self, index: int) -> StaticView:
        camera = self._model.cameras[index]
        rendering = self._renderer.render(camera, exposure=self._model.exposures[index])
        render = rendering.image
        if self._values is None:
            image = self._scene.frames[index]
        else:
            image = self._values(index)
            render = curved(render, display_curve(self._scene.frames.rgb8(index), image))
        known = rendering.z_depth > 0
        far = 3.0 * float(np.percentile(rendering.z_depth[known], 99)) if known.any() else 1.0
        z_depth = np.where(known, rendering.z_depth, far).astype(np.float32)
        radius = max(2, round(_MARGIN * max(camera.width, camera.height)))
        hidden = cv2.dilate(self.moving(index).astype(np.uint8), np.ones((2 * radius + 1,) * 2, np.uint8)) > 0
        view = StaticView(
            camera, image, render, z_depth, hidden | ~self.observed(index), np.ones(z_depth.shape, np.float32)
        )
        return self._with_shadow(self._with_ground(view), index)

    def _with_ground(self, view: StaticView) -> StaticView:
        if self._grounded is None:
            return view
        seen = self._grounded.render(view.camera)
        z_depth = np.where(seen.z_depth > 0, seen.z_depth, view.z_depth).astype(np.float32)
        return replace(view, z_depth=z_depth, ground=seen.alpha)

    def _with_shadow(self, view: StaticView, index: int) -> StaticView:
        if self._shaded is None:
            return view
        shaded = map_of_size(self._shaded[index].astype(np.float32), (view.camera.width, view.camera.height)) > 0.4
        return replace(view, hidden=view.hidden | shaded)
